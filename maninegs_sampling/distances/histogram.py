"""How many pairs of instances lie at each distance, and the largest distance."""

import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from maninegs_sampling.data.patterns import frozen
from maninegs_sampling.data.store import ManifestationStore
from maninegs_sampling.distances import _kernels
from maninegs_sampling.distances._tiles import TILE
from maninegs_sampling.distances.metrics import (
    METRICS,
    MetricName,
    check_measurable,
    distance_dtype,
    metric_of,
    transposed,
)
from maninegs_sampling.threads import run_on_threads, thread_count

# Enough slabs for threads of unequal speed to finish together, few enough to start quickly.
_SLABS = 8 * thread_count()

# Rows of a slab of a histogram at most: a slab of a large store takes a second or less, so that the
# progress bar moves.
_ROWS_OF_SLAB = 4096


def distance_histogram(
    store: ManifestationStore, *, metric: MetricName = "hamming", progress: bool = False
) -> NDArray[np.int64]:
    """Return how many unordered pairs of instances lie at each distance.

    Memory is O(B). The work is one comparison for each pair of *patterns*, the first time; the
    result is kept for as long as the store exists. It is exact for any number of patterns.

    Args:
        store: The manifestations.
        metric: "hamming" or "jaccard".
        progress: Whether to show a progress bar, on a terminal and if tqdm is installed.

    Returns:
        (B + 1,) int64, summing to N (N - 1) / 2. The array is read-only. By "jaccard" it is
        (101,): entry 0 counts the pairs of equal patterns, and entry k those whose distance J is
        above (k - 1) / 100 and up to k / 100.

    Raises:
        InvalidValueError: If there is no such metric.

    Example:
        >>> store = ManifestationStore.from_dense([[1, 1, 0], [0, 1, 1], [1, 1, 0]])
        >>> distance_histogram(store).tolist()
        [1, 0, 2, 0]
    """
    histogram = known_histogram(check_measurable("store", store), metric_of(metric).name)
    if histogram is None:
        histogram = frozen(count_pairs(store, metric=metric, progress=progress))
        _histograms.setdefault(store, {})[metric] = histogram
    return histogram


def known_histogram(
    store: ManifestationStore, metric: MetricName = "hamming"
) -> NDArray[np.int64] | None:
    """Return what `distance_histogram` has returned for this store, or None if it was not asked.

    Args:
        store: The manifestations.
        metric: As in `distance_histogram`.
    """
    return _histograms.get(store, {}).get(metric)


# Stores are immutable, so a histogram stays right. Stores are compared by identity.
_histograms: WeakKeyDictionary[ManifestationStore, dict[MetricName, NDArray[np.int64]]] = (
    WeakKeyDictionary()
)


def count_pairs(
    store: ManifestationStore, *, metric: MetricName = "hamming", progress: bool = False
) -> NDArray[np.int64]:
    """Return what `distance_histogram` returns, counted anew.

    Args:
        store: The manifestations.
        metric: As in `distance_histogram`.
        progress: As in `distance_histogram`.
    """
    last_step = METRICS[metric].last_step(store)
    patterns, dtype = store.n_patterns, distance_dtype(store.n_bits)
    counts, words = store.counts.astype(np.int64), store.words
    if dtype == np.uint8:
        order, runs, n_paired = _by_count(counts, least=8 * (last_step + 1))
        counts, words = counts[order], words[order]
        pair_counts = counts[runs[-1] : runs[-1] + n_paired : 2].astype(np.uint32)
    words = METRICS[metric].patterns(transposed(words))
    rows_between = 2**32 // store.n_instances  # a row adds at most that many to a cell

    def count(begin: int, end: int) -> NDArray[np.int64]:
        histogram = np.zeros(last_step + 1, np.int64)
        scratch = np.empty(TILE, dtype)
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
    total = np.zeros(last_step + 1, np.int64)
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


def max_distance(store: ManifestationStore, *, metric: MetricName = "hamming") -> float:
    """Return the largest distance between two instances; 0 if all share one pattern.

    Args:
        store: The manifestations.
        metric: "hamming", or "jaccard", whose distances are rounded up to hundredths.

    Returns:
        An int by "hamming", a float by "jaccard".

    Raises:
        InvalidValueError: If there is no such metric.

    Example:
        >>> store = ManifestationStore.from_dense([[1, 1, 0], [0, 1, 1], [1, 1, 0]])
        >>> max_distance(store), max_distance(store, metric="jaccard")
        (2, 0.67)
    """
    histogram = distance_histogram(store, metric=metric)
    return METRICS[metric].distance(int(np.flatnonzero(np.append(1, histogram[1:]))[-1]))
