"""Numbers that losses take as options, checked once."""

import math
from numbers import Real

import numpy as np

from maninegs_sampling.errors import InvalidTypeError, InvalidValueError


def check_number(name: str, value: object, expected: str = "a number") -> float:
    """Return `value` as a float: a Python or NumPy number, or an array of no dimensions.

    Raises:
        InvalidTypeError: it is no real number. True and False are none, and no tensor is taken: its
            gradient would be lost without a word.
        InvalidValueError: it is larger than any float.
    """
    number = value[()] if isinstance(value, np.ndarray) and value.ndim == 0 else value
    if isinstance(number, bool) or not isinstance(number, Real):
        raise InvalidTypeError(f"{name} must be {expected}; got {value!r}")
    try:
        return float(number)
    except OverflowError:
        raise InvalidValueError(f"{name} is too large for a float; got {value!r}") from None


def check_positive(name: str, value: object, expected: str = "a number") -> float:
    """Return `value` as a float, or raise if it is no number, not positive or not finite."""
    number = check_number(name, value, expected)
    if not 0.0 < number < math.inf:
        raise InvalidValueError(f"{name} must be positive and finite; got {value!r}")
    return number


def check_finite(name: str, value: object) -> float:
    """Return `value` as a float, or raise if it is no number or not finite."""
    number = check_number(name, value)
    if not math.isfinite(number):
        raise InvalidValueError(f"{name} must be finite; got {value!r}")
    return number


def check_label_smoothing(value: object) -> float:
    """Return `value` as a float, or raise if it lies outside [0, 1]."""
    number = check_number("label_smoothing", value)
    if not 0.0 <= number <= 1.0:
        raise InvalidValueError(f"label_smoothing must lie in [0, 1]; got {value!r}")
    return number
