"""The distances between all instances of two stores."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from maninegs_sampling.data.store import ManifestationStore
from maninegs_sampling.distances import _kernels
from maninegs_sampling.distances._lookup import COUNTS_BY_LOOKUP
from maninegs_sampling.distances._planes import new_planes, pairwise_rows_by_lookup
from maninegs_sampling.distances._tiles import TILE
from maninegs_sampling.distances.metrics import (
    METRICS,
    check_measurable,
    distance_dtype,
    transposed,
)
from maninegs_sampling.errors import InvalidTypeError, InvalidValueError
from maninegs_sampling.threads import run_on_threads, thread_count

# Enough slabs for threads of unequal speed to finish together, few enough to start quickly.
_SLABS = 8 * thread_count()


def pairwise_hamming(
    store: ManifestationStore,
    other: ManifestationStore | None = None,
    out: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """Return the Hamming distance of every instance of `store` to every one of `other`.

    Args:
        store: N instances.
        other: M instances with the same number of bits; `store` itself by default.
        out: (N, M), C-contiguous, of the dtype of the result; filled and returned if given.

    Returns:
        (N, M) uint8, or uint16 from 256 bits on.

    Raises:
        InvalidValueError: If the numbers of bits differ, or `out` has another shape or layout.
        InvalidTypeError: If `out` has another dtype.

    Example:
        >>> store = ManifestationStore.from_dense([[1, 1, 0], [0, 1, 1], [1, 1, 0]])
        >>> pairwise_hamming(store).tolist()
        [[0, 2, 0], [2, 0, 2], [0, 2, 0]]
    """
    other = _check_other(store, other)
    out = _check_out(out, store, other, distance_dtype(store.n_bits))
    left = transposed(store.words[store.pattern_of])
    right = left if other is store else transposed(other.words[other.pattern_of])

    def fill(begin: int, end: int) -> None:
        if COUNTS_BY_LOOKUP:
            planes = new_planes(end - begin, store.n_bits)
            pairwise_rows_by_lookup(left, right, begin, end, planes, out)
        else:
            _kernels.pairwise_rows(left, right, begin, end, out)

    run_on_threads(fill, np.linspace(0, len(out), _SLABS + 1, dtype=np.int64))
    return out


def pairwise_jaccard(
    store: ManifestationStore,
    other: ManifestationStore | None = None,
    out: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """Return the Jaccard distance of every instance of `store` to every one of `other`.

    It is 1 - |a & b| / |a | b| for the sets a and b of bits that are set: 1 minus the Tanimoto
    similarity of fingerprints. Two empty sets are at distance 0, an empty set and another at 1.

    Args:
        store: N instances.
        other: M instances with the same number of bits; `store` itself by default.
        out: (N, M) float32, C-contiguous; filled and returned if given.

    Returns:
        (N, M) float32, each the nearest to the exact distance.

    Raises:
        InvalidValueError: If the numbers of bits differ, or `out` has another shape or layout.
        InvalidTypeError: If `out` has another dtype.

    Example:
        >>> store = ManifestationStore.from_dense([[1, 1, 0], [0, 1, 0], [0, 0, 0]])
        >>> pairwise_jaccard(store).tolist()
        [[0.0, 0.5, 1.0], [0.5, 0.0, 1.0], [1.0, 1.0, 0.0]]
    """
    other = _check_other(store, other)
    out = _check_out(out, store, other, np.dtype(np.float32))
    patterns = METRICS["jaccard"].patterns
    left = patterns(transposed(store.words[store.pattern_of]))
    right = left if other is store else patterns(transposed(other.words[other.pattern_of]))

    # As in `pairwise_rows`: with one word a pattern, tiles would only break up the writing.
    at_once = TILE if store.words.shape[1] > 1 else other.n_instances

    def fill(begin: int, end: int) -> None:
        scratch = np.empty(at_once, distance_dtype(store.n_bits))
        _kernels.jaccard_rows(left, right, begin, end, scratch, out)

    run_on_threads(fill, np.linspace(0, len(out), _SLABS + 1, dtype=np.int64))
    return out


def _check_other(store: ManifestationStore, other: ManifestationStore | None) -> ManifestationStore:
    """Return the store to compare with, or raise unless both have the same number of bits."""
    check_measurable("store", store)
    other = store if other is None else check_measurable("other", other)
    if store.n_bits != other.n_bits:
        raise InvalidValueError(
            f"both stores need the same bits; store has {store.n_bits}, other {other.n_bits}"
        )
    return other


def _check_out(
    out: NDArray[Any] | None,
    store: ManifestationStore,
    other: ManifestationStore,
    dtype: np.dtype[Any],
) -> NDArray[Any]:
    """Return where the distances are written, or raise unless it has their dtype and shape."""
    shape = (store.n_instances, other.n_instances)
    if out is None:
        return np.empty(shape, dtype)
    if not isinstance(out, np.ndarray) or out.dtype != dtype:
        got = getattr(out, "dtype", type(out).__name__)
        raise InvalidTypeError(
            f"out must be an array of {dtype} for {store.n_bits} bits; got {got}"
        )
    if out.shape != shape or not out.flags.c_contiguous or not out.flags.writeable:
        raise InvalidValueError(
            f"out must be a writable C-contiguous array of shape {shape}; got shape {out.shape}, "
            f"strides {out.strides}"
        )
    return out
