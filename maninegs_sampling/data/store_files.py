"""Saving and loading the arrays of a store, and checking what a file says they are."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from maninegs_sampling.data import storage
from maninegs_sampling.data._pattern_kernels import first_out_of_order
from maninegs_sampling.data.patterns import (
    check_all_seen,
    check_bits,
    check_names,
    check_pattern_of,
    check_shapes,
    check_used_bits,
    frozen,
    id_dtype,
)
from maninegs_sampling.errors import InvalidTypeError, InvalidValueError

# The arrays of a file: their possible dtypes and their number of dimensions.
_ARRAYS: dict[str, tuple[tuple[DTypeLike, ...], int]] = {
    "words": ((np.uint64,), 2),
    "pattern_of": ((np.uint8, np.uint16, np.uint32), 1),
}


def save(
    path: str | Path,
    words: NDArray[np.uint64],
    pattern_of: NDArray[Any],
    n_bits: int,
    bit_names: tuple[str, ...] | None,
) -> None:
    """Write the arrays and names of a store to `path`, atomically."""
    header = {"n_bits": n_bits, "bit_names": bit_names}
    storage.save(path, header, {"words": words, "pattern_of": pattern_of})


def load(
    path: str | Path, *, mmap: bool, verify: bool
) -> tuple[NDArray[np.uint64], NDArray[Any], int, tuple[str, ...] | None]:
    """Return what `save` was given.

    Args:
        path: the file.
        mmap: whether to return read-only memory maps.
        verify: whether to check the arrays, which takes one pass over the file.

    Raises:
        StorageError: If the file is not a saved store or its content cannot be one.
    """
    with storage.opened(path, _ARRAYS) as stored:
        words, pattern_of = stored.places["words"], stored.places["pattern_of"]
        names = stored.header.get("bit_names")
        # `save` writes texts only.
        if names is not None and not (
            isinstance(names, list) and all(isinstance(name, str) for name in names)
        ):
            raise storage.damaged(path, "bit_names are not a list of texts")
        try:
            n_bits = check_bits(stored.header.get("n_bits"))
            check_shapes(words.shape, pattern_of.shape, n_bits)
            checked_names = check_names(names, n_bits)
            _check_id_dtype(pattern_of.dtype, words.shape[0])
            check = _ArrayCheck(words.shape[0], n_bits) if verify else None
            arrays = stored.load(mmap=mmap, check=check.rows if check else None)
            if check:
                check.end()
        except (InvalidValueError, InvalidTypeError) as error:
            raise storage.damaged(path, str(error)) from None
    return arrays["words"], arrays["pattern_of"], n_bits, checked_names


def _check_id_dtype(dtype: np.dtype[Any], n_patterns: int) -> None:
    if dtype != id_dtype(n_patterns):
        raise InvalidTypeError(
            f"pattern_of must be {id_dtype(n_patterns)} for {n_patterns} patterns; got {dtype}"
        )


class _ArrayCheck:
    """Checks of the arrays of a file, some rows at a time and in order.

    A pattern larger than the one before is larger than all before it, so patterns are distinct if
    each comes after the one before.

    Args:
        n_patterns: U.
        n_bits: B.
    """

    def __init__(self, n_patterns: int, n_bits: int) -> None:
        self._n_bits = n_bits
        self._seen = np.zeros(n_patterns, np.bool_)
        self._before = frozen(np.empty((0, -(-n_bits // 64)), np.uint64))

    def rows(self, name: str, first: int, rows: NDArray[Any]) -> None:
        """Raise unless some rows of `words` or `pattern_of` can be those of a store.

        Args:
            name: "words" or "pattern_of".
            first: the number of the first row.
            rows: one or more rows.
        """
        if name == "pattern_of":
            check_pattern_of(rows, first, self._seen)
            return
        check_used_bits(rows, self._n_bits)
        wrong = first_out_of_order(self._before, frozen(rows.view()))
        if wrong >= 0:
            raise InvalidValueError(
                f"patterns must be sorted and distinct; pattern {first + wrong} does not come "
                "after the one before"
            )
        self._before = frozen(rows[-1:].copy())

    def end(self) -> None:
        """Raise unless every pattern has an instance."""
        check_all_seen(self._seen)
