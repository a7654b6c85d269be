"""Hamming distances between manifestations: checks, allocates, calls the kernels."""

import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from maninegs_sampling.data.patterns import frozen
from maninegs_sampling.data.store import ManifestationStore, check_store
from maninegs_sampling.distances import _kernels
from maninegs_sampling.distances._lookup import COUNTS_BY_LOOKUP
from maninegs_sampling.distances._planes import new_planes, pairwise_rows_by_lookup
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

# Rows of a slab of a histogram at most: a slab of a large store takes a second or less, so that the
# progress bar moves.
_ROWS_OF_SLAB = 4096


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

    def fill(begin: int, end: int) -> None:
        if COUNTS_BY_LOOKUP:
            planes = new_planes(end - begin, store.n_bits)
            pairwise_rows_by_lookup(left, right, begin, end, planes, out)
        else:
            _kernels.pairwise_rows(left, right, begin, end, out)

    run_on_threads(fill, np.linspace(0, shape[0], _SLABS + 1, dtype=np.int64))
    return out


def pattern_distances(store: ManifestationStore, pattern: int) -> NDArray[Any]:
    """Return (U,) distances of one pattern of `store` to all of them, in O(U)."""
    words = transposed(store.words)
    out = np.empty((1, store.n_patterns), distance_dtype(store.n_bits))
    _kernels.pairwise_rows(words[:, pattern : pattern + 1].copy(), words, 0, 1, out)
    distances: NDArray[Any] = out[0]
    return distances


def distance_histogram(store: ManifestationStore, *, progress: bool = False) -> NDArray[np.int64]:
    """Return how many unordered pairs of instances lie at each distance.

    Memory is O(B). The work is one comparison for each pair of *patterns*, the first time; the
    result is kept for as long as the store exists. It is exact for any number of patterns.

    Args:
        store: The manifestations.
        progress: Whether to show a progress bar, on a terminal and if tqdm is installed.

    Returns:
        (B + 1,) int64, summing to N (N - 1) / 2. The array is read-only.

    Example:
        >>> store = ManifestationStore.from_dense([[1, 1, 0], [0, 1, 1], [1, 1, 0]])
        >>> distance_histogram(store).tolist()
        [1, 0, 2, 0]
    """
    histogram = _histograms.get(check_store("store", store))
    if histogram is None:
        histogram = _histograms[store] = frozen(count_pairs(store, progress=progress))
    return histogram


def known_histogram(store: ManifestationStore) -> NDArray[np.int64] | None:
    """Return what `distance_histogram` has returned for this store, or None if it was not asked.

    Args:
        store: The manifestations.
    """
    return _histograms.get(store)


# Stores are immutable, so a histogram stays right. Stores are compared by identity.
_histograms: WeakKeyDictionary[ManifestationStore, NDArray[np.int64]] = WeakKeyDictionary()


def count_pairs(store: ManifestationStore, *, progress: bool = False) -> NDArray[np.int64]:
    """Return what `distance_histogram` returns, counted anew.

    Args:
        store: The manifestations.
        progress: As in `distance_histogram`.
    """
    patterns, dtype = store.n_patterns, distance_dtype(store.n_bits)
    counts, words = store.counts.astype(np.int64), store.words
    if dtype == np.uint8:
        order, runs, n_paired = _by_count(counts, least=8 * (store.n_bits + 1))
        counts, words = counts[order], words[order]
        pair_counts = counts[runs[-1] : runs[-1] + n_paired : 2].astype(np.uint32)
    words = transposed(words)
    rows_between = 2**32 // store.n_instances  # a row adds at most that many to a cell

    def count(begin: int, end: int) -> NDArray[np.int64]:
        histogram = np.zeros(store.n_bits + 1, np.int64)
        scratch = np.empty(_kernels.TILE, dtype)
        if dtype == np.uint8:
            table = np.zeros((2, 65536), np.uint32)
            where = begin, end, scratch, table, np.zeros_like(histogram), histogram
            _kernels.equal_counts_histogram_rows(words, counts, runs, *where)
            _kernels.paired_histogram_rows(
                words, counts, pair_counts, int(runs[-1]), rows_between, *where
            )
        else:
            bins = np.empty((4, len(histogram)), np.int64)
            _kernels.histogram_rows(words, counts, begin, end, scratch, bins, histogram)
        return histogram

    # Row i has U - 1 - i pairs: these edges give every slab the same number of them.
    slabs = max(_SLABS, patterns // _ROWS_OF_SLAB)
    edges = np.rint(patterns * (1 - np.sqrt(1 - np.linspace(0, 1, slabs + 1)))).astype(np.int64)
    total = np.zeros(store.n_bits + 1, np.int64)
    with _progress_bar(len(np.unique(edges)) - 1, progress) as advance:

        def count_and_tell(begin: int, end: int) -> NDArray[np.int64]:
            histogram = count(begin, end)
            advance()
            return histogram

        for part in run_on_threads(count_and_tell, edges):
            total += part
    total[0] += int((counts * (counts - 1) // 2).sum())
    return total


@contextmanager
def _progress_bar(steps: int, shown: bool) -> Iterator[Callable[[], object]]:
    """Give a function that tells of one step done, to a bar if it is wanted and tqdm is there."""
    if not shown or importlib.util.find_spec("tqdm") is None:
        yield lambda: None
        return
    from tqdm import tqdm

    # sys.stderr may escape what moves the cursor; disable=None shows the bar on terminals only.
    with tqdm(
        total=steps, desc="counting pairs", leave=False, file=sys.__stderr__, disable=None
    ) as bar:
        yield bar.update


def _by_count(
    counts: NDArray[np.int64], least: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """Return an order of the patterns by count, the edges of long runs in it, and n.

    Between two edges lie `least` patterns or more, all of one count. After the last edge come n / 2
    pairs of patterns of one count, and then one pattern of each count that is left.
    """
    order = np.argsort(counts, kind="stable")
    starts = np.flatnonzero(np.diff(counts[order], prepend=-1))
    sizes = np.diff(starts, append=len(counts))
    is_long = sizes >= least
    of_run = np.repeat(np.arange(len(sizes)), sizes)
    is_odd_one = ~is_long & (sizes % 2 == 1)
    alone = np.zeros(len(counts), np.bool_)
    alone[starts[is_odd_one]] = True
    rank = np.where(alone, 2, np.where(is_long[of_run], 0, 1))
    edges = np.append(0, np.cumsum(sizes[is_long]))
    return order[np.argsort(rank, kind="stable")], edges, int((rank == 1).sum())


def max_distance(store: ManifestationStore) -> int:
    """Return the largest distance between two instances; 0 if all share one pattern.

    Example:
        >>> max_distance(ManifestationStore.from_dense([[1, 1, 0], [0, 1, 1], [1, 1, 0]]))
        2
    """
    return int(np.flatnonzero(np.append(1, distance_histogram(store)[1:]))[-1])
