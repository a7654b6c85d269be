"""How many pairs of instances lie at each distance, and the largest distance."""

import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from maninegs_sampling.data.patterns import frozen
from maninegs_sampling.data.store import ManifestationStore, check_store
from maninegs_sampling.distances import _kernels
from maninegs_sampling.distances._tiles import TILE
from maninegs_sampling.distances.metrics import (
    METRICS,
    MetricName,
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
    histogram = known_histogram(check_store("store", store), metric_of(metric).name)
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
    unweighted = store.n_instances == patterns and dtype == np.uint8
    counts, words, n_paired = store.counts.astype(np.int64), store.words, 0
    if not unweighted and dtype == np.uint8:
        order, n_paired = _in_pairs(counts)
        counts, words = counts[order], words[order]
    words, weights = METRICS[metric].patterns(transposed(words)), counts.astype(np.uint32)
    rows_between = 2**32 // store.n_instances  # a row adds at most that many to a cell

    def count(begin: int, end: int) -> NDArray[np.int64]:
        histogram = np.zeros(last_step + 1, np.int64)
        scratch = np.empty(TILE, dtype)
        if unweighted:
            table = np.zeros((2, 65536), np.uint32)
            _kernels.unweighted_histogram_rows(words, begin, end, scratch, table, histogram)
        elif dtype == np.uint8:
            table = np.zeros((2, 65536), np.uint32)
            _kernels.paired_histogram_rows(
                words,
                counts,
                weights,
                n_paired,
                rows_between,
                begin,
                end,
                scratch,
                table,
                histogram,
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


def _in_pairs(counts: NDArray[np.int64]) -> tuple[NDArray[np.int64], int]:
    """Return an order in which neighbors have equal counts, and for how many patterns they do.

    Places 2 k and 2 k + 1 below that even number hold patterns of equal count. Then comes one
    pattern of each count that an odd number of patterns has.
    """
    order = np.argsort(counts, kind="stable")
    last = np.flatnonzero(np.diff(counts[order], append=-1))
    alone = last[np.diff(last, prepend=-1) % 2 == 1]
    paired = np.delete(order, alone)
    return np.concatenate([paired, order[alone]]), len(paired)


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
