"""Groups, such as patients, whose instances may not meet in a batch; the instances to draw from."""

from collections.abc import Hashable, Mapping, Set
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from maninegs_sampling.data.dense import as_array
from maninegs_sampling.errors import InvalidTypeError, InvalidValueError
from maninegs_sampling.quoting import quoted


def group_numbers(groups: ArrayLike, n_instances: int) -> NDArray[np.int32]:
    """Return (N,) int32, the number of each instance's group, in order of appearance.

    Args:
        groups: N labels: an array, a tensor, a data frame's column or a list.
        n_instances: N.

    Raises:
        InvalidValueError: If the number of labels is not N, or if a label is missing.
        InvalidTypeError: If a label is not a single value.
    """
    labels = _as_list(groups)
    if len(labels) != n_instances:
        raise InvalidValueError(
            f"groups must hold one label for each of the {n_instances} instances; got {len(labels)}"
        )
    numbers: dict[Any, int] = {}
    found = np.empty(n_instances, np.int32)
    for i, label in enumerate(labels):
        if getattr(label, "ndim", None) == 0 and hasattr(label, "item"):
            label = label.item()  # a tensor of one number is equal to no other
        if not _is_value(label):
            raise InvalidTypeError(
                f"groups must hold one label for each instance; groups[{i}] is {quoted(label)}"
            )
        if _is_missing(label):
            raise InvalidValueError(
                f"groups[{i}] is missing; give each instance without a group a label of its own"
            )
        found[i] = numbers.setdefault(label, len(numbers))
    return found


def _as_list(groups: Any) -> list[Any]:
    # Not np.asarray: of a list with texts and NaN it makes a text "nan", which would be a group.
    if isinstance(groups, np.ndarray) and groups.dtype.kind in "mM":
        return [None if missing else value for value, missing in zip(
            groups.astype(np.int64).tolist(), np.isnat(groups).tolist(), strict=True
        )]  # fmt: skip
    if isinstance(groups, torch.Tensor):
        groups = as_array("groups", groups)
    if isinstance(groups, (str, bytes, Mapping, Set)) or not hasattr(groups, "__iter__"):
        raise InvalidTypeError(f"groups must hold a label for each instance; got {quoted(groups)}")
    if np.ma.isMaskedArray(groups):
        groups = groups.tolist(None)  # masked labels become None
    labels = groups.tolist() if hasattr(groups, "tolist") else list(groups)
    if not isinstance(labels, list):  # an array or a tensor of no dimensions
        raise InvalidTypeError(f"groups must hold a label for each instance; got {quoted(groups)}")
    return labels


def _is_value(label: Any) -> bool:
    """Return whether labels of this kind can be equal to each other."""
    # An object that is hashed by identity is equal to itself alone: a group of one.
    hashes: Any = type(label).__hash__
    by_identity = hashes is object.__hash__ and label is not None
    several = isinstance(label, tuple) or hasattr(label, "ndim")
    return isinstance(label, Hashable) and not several and not by_identity


def _is_missing(label: Any) -> bool:
    try:
        return label is None or bool(label != label)
    except (TypeError, ArithmeticError):  # pandas.NA and Decimal("sNaN") cannot be compared
        return True


def distinct_indices(indices: Any) -> NDArray[np.int64]:
    """Return `indices`, whole numbers, as read-only int64, or raise if one appears twice."""
    chosen = as_array("indices", indices).astype(np.int64)
    chosen.flags.writeable = False
    values, counts = np.unique(chosen, return_counts=True)
    if len(values) < chosen.size:
        raise InvalidValueError(
            f"indices must not repeat an instance; {values[counts.argmax()]} appears "
            f"{counts.max()} times"
        )
    return chosen


def numbers_of_drawn(
    groups: NDArray[np.int32] | None, indices: NDArray[np.int64] | None
) -> NDArray[np.int32]:
    """Return the groups of the instances that may be drawn, numbered from 0; empty for None.

    Args:
        groups: (N,) int32, the number of each instance's group.
        indices: (n,) the instances that may be drawn; None for all.
    """
    if groups is None:
        return np.empty(0, np.int32)
    if indices is not None:
        return np.unique(groups[indices], return_inverse=True)[1].astype(np.int32)
    return groups


def check_number_of_groups(n_groups: int, batch_size: int) -> None:
    """Raise `InvalidValueError` if there are groups, and too few for a batch."""
    if 0 < n_groups < batch_size:
        raise InvalidValueError(
            f"groups has {n_groups} distinct labels, too few for batches of {batch_size} "
            "with one instance of each"
        )
