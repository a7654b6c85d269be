"""Hamming distances between manifestations: checks, allocates, calls the kernels."""

from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from maninegs_sampling.data.patterns import frozen
from maninegs_sampling.data.store import ManifestationStore, check_store
from maninegs_sampling.distances import _kernels
from maninegs_sampling.errors import InvalidTypeError, InvalidValueError
from maninegs_sampling.threads import run_on_threads, thread_count


def distance_dtype(n_bits: int) -> np.dtype[Any]:
    """Return uint8 up to 255 bits and uint16 from 256 bits on."""
    return np.dtype(np.uint8 if n_bits < 256 else np.uint16)


def transposed(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return (U, W) words as contiguous (W, U), the layout of the kernels, not writable.

    The result may share memory with `words`. It is always read-only, because numba compiles a
    kernel once more for writable arrays.
    """
    return frozen(np.ascontiguousarray(words.T))


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
    check_store("store", store)
    other = store if other is None else check_store("other", other)
    if store.n_bits != other.n_bits:
        raise InvalidValueError(
            f"both stores need the same bits; store has {store.n_bits}, other {other.n_bits}"
        )
    shape = (store.n_instances, other.n_instances)
    dtype = distance_dtype(store.n_bits)
    if out is None:
        out = np.empty(shape, dtype)
    elif not isinstance(out, np.ndarray) or out.dtype != dtype:
        got = getattr(out, "dtype", type(out).__name__)
        raise InvalidTypeError(
            f"out must be an array of {dtype} for {store.n_bits} bits; got {got}"
        )
    elif out.shape != shape or not out.flags.c_contiguous or not out.flags.writeable:
        raise InvalidValueError(
            f"out must be a writable C-contiguous array of shape {shape}; got shape {out.shape}, "
            f"strides {out.strides}"
        )
    left = transposed(store.words[store.pattern_of])
    right = left if other is store else transposed(other.words[other.pattern_of])
    run_on_threads(
        lambda begin, end: _kernels.pairwise_rows(left, right, begin, end, out),
        np.linspace(0, shape[0], _SLABS + 1, dtype=np.int64),
    )
    return out


def pattern_distances(store: ManifestationStore, pattern: int) -> NDArray[Any]:
    """Return (U,) distances of one pattern of `store` to all of them, in O(U)."""
    words = transposed(store.words)
    out = np.empty((1, store.n_patterns), distance_dtype(store.n_bits))
    _kernels.pairwise_rows(words[:, pattern : pattern + 1].copy(), words, 0, 1, out)
    distances: NDArray[Any] = out[0]
    return distances


def distance_histogram(store: ManifestationStore) -> NDArray[np.int64]:
    """Return how many unordered pairs of instances lie at each distance.

    Memory is O(B). The work is one comparison for each pair of *patterns*, the first time; the
    result is kept for as long as the store exists.

    Args:
        store: The manifestations.

    Returns:
        (B + 1,) int64, summing to N (N - 1) / 2. The array is read-only.

    Example:
        >>> store = ManifestationStore.from_dense([[1, 1, 0], [0, 1, 1], [1, 1, 0]])
        >>> distance_histogram(store).tolist()
        [1, 0, 2, 0]
    """
    histogram = _histograms.get(check_store("store", store))
    if histogram is None:
        histogram = _histograms[store] = frozen(count_pairs(store))
    return histogram


# Stores are immutable, so a histogram stays right. Stores are compared by identity.
_histograms: WeakKeyDictionary[ManifestationStore, NDArray[np.int64]] = WeakKeyDictionary()


def count_pairs(store: ManifestationStore) -> NDArray[np.int64]:
    """Return what `distance_histogram` returns, counted anew.

    Args:
        store: The manifestations.
    """
    words, patterns = transposed(store.words), store.n_patterns
    dtype = distance_dtype(store.n_bits)
    unweighted = store.n_instances == patterns and dtype == np.uint8
    counts = store.counts.astype(np.int64)

    def count(begin: int, end: int) -> NDArray[np.int64]:
        histogram = np.zeros(store.n_bits + 1, np.int64)
        scratch = np.empty(_kernels.TILE, dtype)
        if unweighted:
            table = np.zeros((2, 65536), np.uint32)
            _kernels.unweighted_histogram_rows(words, begin, end, scratch, table, histogram)
        else:
            bins = np.empty((4, len(histogram)), np.int64)
            _kernels.histogram_rows(words, counts, begin, end, scratch, bins, histogram)
        return histogram

    # Row i has U - 1 - i pairs: these edges give every slab the same number of them.
    edges = patterns * (1 - np.sqrt(1 - np.linspace(0, 1, _SLABS + 1)))
    total = np.zeros(store.n_bits + 1, np.int64)
    for part in run_on_threads(count, np.rint(edges).astype(np.int64)):
        total += part
    total[0] += int((counts * (counts - 1) // 2).sum())
    return total


def max_distance(store: ManifestationStore) -> int:
    """Return the largest distance between two instances; 0 if all share one pattern.

    Example:
        >>> max_distance(ManifestationStore.from_dense([[1, 1, 0], [0, 1, 1], [1, 1, 0]]))
        2
    """
    return int(np.flatnonzero(np.append(1, distance_histogram(store)[1:]))[-1])
