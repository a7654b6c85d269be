"""Groups, such as patients, whose instances may not meet in a batch; the instances to draw from."""

from collections.abc import Hashable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from maninegs_sampling.errors import InvalidTypeError, InvalidValueError


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
    numbers: dict[Hashable, int] = {}
    found = np.empty(n_instances, np.int32)
    for i, label in enumerate(labels):
        if isinstance(label, (list, tuple, dict, set, np.ndarray)):
            raise InvalidTypeError(
                f"groups must hold one label for each instance; groups[{i}] is {label!r}"
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
    if isinstance(groups, (str, bytes)) or not hasattr(groups, "__iter__"):
        raise InvalidTypeError(f"groups must hold a label for each instance; got {groups!r}")
    if np.ma.isMaskedArray(groups):
        groups = groups.tolist(None)  # masked labels become None
    labels = groups.tolist() if hasattr(groups, "tolist") else list(groups)
    if not isinstance(labels, list):  # an array or a tensor of no dimensions
        raise InvalidTypeError(f"groups must hold a label for each instance; got {groups!r}")
    return labels


def _is_missing(label: Any) -> bool:
    try:
        return label is None or bool(label != label)
    except TypeError:  # pandas.NA is neither equal nor unequal to anything
        return True


def distinct_indices(indices: Any) -> NDArray[np.int64]:
    """Return `indices` as int64, or raise if one appears twice."""
    chosen = np.asarray(indices).astype(np.int64)
    values, counts = np.unique(chosen, return_counts=True)
    if len(values) < chosen.size:
        raise InvalidValueError(
            f"indices must not repeat an instance; {values[counts.argmax()]} appears "
            f"{counts.max()} times"
        )
    return chosen


def numbers_of_drawn(
    groups: ArrayLike | None, n_instances: int, indices: NDArray[np.int64] | None
) -> NDArray[np.int32]:
    """Return the groups of the instances that may be drawn, numbered from 0; empty for None."""
    if groups is None:
        return np.empty(0, np.int32)
    numbers = group_numbers(groups, n_instances)
    if indices is not None:
        numbers = np.unique(numbers[indices], return_inverse=True)[1].astype(np.int32)
    return numbers
