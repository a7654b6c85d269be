"""Reading sparse matrices of traits without a dense copy."""

from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from maninegs_sampling.data.blocks import patterns_in_blocks
from maninegs_sampling.data.patterns import check_bits, check_instances, pack
from maninegs_sampling.errors import InvalidTypeError, InvalidValueError
from maninegs_sampling.quoting import quoted


def sparse_patterns(matrix: Any) -> tuple[NDArray[np.uint64], NDArray[Any]]:
    """Return the distinct rows of a sparse matrix, packed and sorted, and each row's pattern."""
    rows = _checked_rows(matrix)

    def words(begin: int, end: int) -> NDArray[np.uint64]:
        bits = np.zeros((end - begin, rows.shape[1]), np.bool_)
        first, last = rows.indptr[begin], rows.indptr[end]
        row = np.repeat(np.arange(end - begin), np.diff(rows.indptr[begin : end + 1]))
        bits[row, rows.indices[first:last]] = rows.data[first:last] != 0
        return pack(bits)

    return patterns_in_blocks(rows.shape[0], rows.shape[1], words)


def _checked_rows(matrix: Any) -> Any:
    """Return the matrix as CSR without duplicate entries, or raise if a value is not 0 or 1."""
    if not scipy.sparse.issparse(matrix):
        raise InvalidTypeError(
            f"matrix must be a scipy sparse matrix; got {quoted(type(matrix).__name__)}. "
            "ManifestationStore.from_dense reads other matrices."
        )
    if matrix.ndim != 2:
        raise InvalidValueError(
            f"matrix must have the shape (instances, traits); got shape {matrix.shape}"
        )
    if 0 in matrix.shape:
        raise InvalidValueError(
            f"a store needs at least one instance and one trait; got shape {matrix.shape}"
        )
    check_instances(matrix.shape[0])
    check_bits(matrix.shape[1])
    if matrix.dtype.kind not in "biuf":
        raise InvalidTypeError(f"matrix must hold bool or numbers; got dtype {matrix.dtype}")
    if matrix.dtype.kind in "iu" and not getattr(matrix, "has_canonical_format", True):
        matrix = matrix.astype(np.int64)  # in which sums of entries do not wrap around
    rows = matrix.tocsr()
    if not rows.has_canonical_format:
        rows = rows.copy() if rows is matrix else rows
        rows.sum_duplicates()
    wrong = np.flatnonzero((rows.data != 0) & (rows.data != 1))
    if len(wrong) > 0:
        row = int(np.searchsorted(rows.indptr, wrong[0], side="right")) - 1
        value = rows.data[wrong[0]]
        problem = f"is {value}" if value == value else "is missing (NaN)"
        raise InvalidValueError(
            f"matrix must hold 0 and 1; row {row}, column {rows.indices[wrong[0]]} {problem} "
            f"({len(wrong)} such entries). Entries that are stored twice add up. "
            "(matrix > 0) turns counts into bits."
        )
    return rows
