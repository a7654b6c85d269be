"""Options of the losses, checked in one place by the functions and the modules."""

import math
from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any, Literal, get_args

import numpy as np
import torch.distributed as dist
from torch import Tensor

from maninegs_sampling.errors import InvalidTypeError, InvalidValueError, check_choice
from maninegs_sampling.quoting import quoted

Reduction = Literal["mean", "sum", "none"]
Similarity = Literal["jaccard", "hamming"]

# A loss, or a loss and a dict of detached values to log.
Result = Tensor | tuple[Tensor, dict[str, Tensor]]


def check_number(name: str, value: object, expected: str = "a number") -> float:
    """Return `value` as a float: a Python or NumPy number, or an array of no dimensions.

    Raises:
        InvalidTypeError: If it is not a real number. Booleans and tensors are refused: a tensor's
            gradient would be lost silently.
        InvalidValueError: If it is larger than any float.
    """
    number = value[()] if isinstance(value, np.ndarray) and value.ndim == 0 else value
    if isinstance(number, bool) or not isinstance(number, Real):
        raise InvalidTypeError(f"{name} must be {expected}; got {quoted(value)}")
    try:
        return float(number)
    except OverflowError:
        raise InvalidValueError(f"{name} is too large for a float; got {quoted(value)}") from None


def check_positive(name: str, value: object, expected: str = "a number") -> float:
    """Return `value` as a float, or raise if it is not a positive finite number."""
    number = check_number(name, value, expected)
    if not 0.0 < number < math.inf:
        raise InvalidValueError(f"{name} must be positive and finite; got {quoted(value)}")
    return number


def check_finite(name: str, value: object, expected: str = "a number") -> float:
    """Return `value` as a float, or raise if it is not a finite number."""
    number = check_number(name, value, expected)
    if not math.isfinite(number):
        raise InvalidValueError(f"{name} must be finite; got {quoted(value)}")
    return number


def check_flag(name: str, value: object) -> bool:
    """Return `value`, or raise unless it is True or False."""
    if not isinstance(value, bool):
        raise InvalidTypeError(f"{name} must be True or False; got {quoted(value)}")
    return value


def check_share(name: str, value: object) -> float:
    """Return `value` as a float, or raise if it is outside [0, 1]."""
    number = check_number(name, value)
    if not 0.0 <= number <= 1.0:
        raise InvalidValueError(f"{name} must lie in [0, 1]; got {quoted(value)}")
    return number


def check_smoothings(name: str, value: object, n_terms: int) -> list[float]:
    """Return one number in [0, 1] for each term, from a sequence of them or from one for all.

    Raises:
        InvalidValueError: If a number is outside [0, 1], or there is not one for each term.
        InvalidTypeError: If it is neither a number nor a sequence of numbers.
    """
    checked = check_share_or_shares(name, value)
    if not isinstance(checked, list):
        return [checked] * n_terms
    if len(checked) != n_terms:
        raise InvalidValueError(
            f"{name} must be one number or one for each of the {n_terms} terms; got {quoted(value)}"
        )
    return checked


def check_share_or_shares(name: str, value: object) -> float | list[float]:
    """Return `value` as a float in [0, 1], or as a list of them for a sequence."""
    if isinstance(value, (list, tuple)) or (isinstance(value, np.ndarray) and value.ndim):
        return [check_share(f"{name}[{m}]", share) for m, share in enumerate(value)]
    return check_share(name, value)


def check_nonnegative(name: str, value: object) -> float:
    """Return `value` as a float, or raise if it is negative or not finite."""
    number = check_number(name, value)
    if not 0.0 <= number < math.inf:
        raise InvalidValueError(f"{name} must be finite and at least 0; got {quoted(value)}")
    return number


def check_tau_plus(name: str, value: object) -> float:
    """Return `value` as a float, or raise if it is outside [0, 1)."""
    number = check_number(name, value)
    if not 0.0 <= number < 1.0:
        raise InvalidValueError(f"{name} must lie in [0, 1); got {quoted(value)}")
    return number


def check_weights(name: str, value: object) -> list[float] | None:
    """Return `value` as a list of finite floats, or None for None."""
    if value is None:
        return None
    if isinstance(value, str) or not isinstance(value, (Sequence, np.ndarray)):
        raise InvalidTypeError(f"{name} must be a sequence of numbers; got {quoted(value)}")
    return [check_finite(f"{name}[{m}]", weight) for m, weight in enumerate(value)]


def check_reduction(name: str, value: object) -> object:
    """Return `value`, or raise unless it is one of the choices of `Reduction`."""
    return check_choice(name, value, get_args(Reduction))


def check_gather(name: str, value: object) -> object:
    """Return `value`, or raise unless it is a boolean or a process group of this process."""
    if dist.is_available() and value is dist.GroupMember.NON_GROUP_MEMBER:
        raise InvalidValueError(f"{name} is a process group that this process is not in")
    if not isinstance(value, (bool, dist.ProcessGroup)):
        raise InvalidTypeError(
            f"{name} must be True, False or a process group; got {quoted(value)}"
        )
    return value


def check_similarity(name: str, value: object) -> object:
    """Return `value`, or raise unless it is one of the choices of `Similarity`."""
    return check_choice(name, value, get_args(Similarity))


Checks = dict[str, Callable[[str, object], Any]]

# By the name of the option. Each returns the value that the loss is to use.
CHECKS: Checks = {
    "alpha": check_nonnegative,
    "beta": check_nonnegative,
    "gather": check_gather,
    "image_weight": check_share,
    "label_smoothing": check_share,
    "modality_weight": check_finite,
    "normalize": check_flag,
    "reduction": check_reduction,
    "similarity": check_similarity,
    "symmetric": check_flag,
    "tau_plus": check_tau_plus,
    "weights": check_weights,
}
