"""How the distances between pairs of instances are distributed: counted, or estimated if too many.

Counting compares all pairs of patterns, which takes a second for 100,000 of them and minutes for a
million. `distance_histogram` always counts.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maninegs_sampling import randomness
from maninegs_sampling.data.patterns import frozen
from maninegs_sampling.data.store import ManifestationStore
from maninegs_sampling.distances.histogram import (
    distance_histogram,
    known_histogram,
    max_distance,
)
from maninegs_sampling.distances.metrics import (
    METRICS,
    MetricName,
    check_measurable,
    metric_of,
    steps_of_pairs,
)

# Stores of more patterns than this are estimated: counting all pairs would take over a second.
MOST_COUNTED_PATTERNS = 2**17

# An estimated share of pairs has a standard error of at most 1 / 2048.
DRAWN_PAIRS = 2**20


@dataclass(frozen=True)
class PairDistances:
    """The shares of the pairs of instances at each distance.

    Attributes:
        shares: (B + 1,) float64, share of the unordered pairs at each distance; all 0 if there is
            one instance. The share at distance 0 is never estimated. By "jaccard" (101,), as in
            `distance_histogram`.
        errors: (B + 1,) float64, standard errors of `shares`; 0 where it is exact. A distance that
            no drawn pair has gets the error of one that 1 drawn pair in DRAWN_PAIRS has.
        n_drawn: Number of random pairs that `shares` are estimated from; None if all were counted.
        metric: "hamming" or "jaccard".
    """

    shares: NDArray[np.float64]
    errors: NDArray[np.float64]
    n_drawn: int | None = None
    metric: MetricName = "hamming"

    @property
    def source(self) -> str:
        """What the shares come from, for a sentence: "all pairs", or how many random ones."""
        return "all pairs" if self.n_drawn is None else f"{self.n_drawn:,} random pairs"

    @property
    def largest(self) -> float:
        """The largest distance of these pairs, which random pairs may miss; 0 if all are equal."""
        last = int(np.flatnonzero(np.append(1, self.shares[1:]))[-1])
        return METRICS[self.metric].distance(last)

    @property
    def mean(self) -> float:
        """The mean of the distances."""
        return float(self.shares @ self._distances)

    @property
    def standard_deviation(self) -> float:
        """The standard deviation of the distances."""
        return math.sqrt(self.shares @ (self._distances - self.mean) ** 2)

    @property
    def _distances(self) -> NDArray[Any]:
        return METRICS[self.metric].distances(np.arange(len(self.shares)))


def few_enough_to_count(store: ManifestationStore) -> bool:
    """Return whether all pairs are counted without being asked for.

    Args:
        store: The manifestations.
    """
    return store.n_patterns <= MOST_COUNTED_PATTERNS


def pair_distances(
    store: ManifestationStore, *, metric: MetricName = "hamming", exact: bool = False
) -> PairDistances:
    """Return the shares of the pairs of instances at each distance.

    They are counted for at most MOST_COUNTED_PATTERNS patterns, if `exact`, and if
    `distance_histogram` has counted this store before. Otherwise they are estimated from
    DRAWN_PAIRS random pairs, see `estimated_pair_distances`.

    Args:
        store: The manifestations.
        metric: "hamming" or "jaccard".
        exact: Whether to count all pairs in any case.

    Example:
        >>> store = ManifestationStore.from_dense([[1, 1, 0], [0, 1, 1], [1, 1, 0], [1, 1, 0]])
        >>> pair_distances(store).shares.tolist()
        [0.5, 0.0, 0.5, 0.0]
    """
    metric = metric_of(metric).name
    counted = exact or few_enough_to_count(check_measurable("store", store))
    histogram = known_histogram(store, metric)
    if counted and histogram is None:
        histogram = distance_histogram(store, metric=metric)
    if histogram is None:
        return estimated_pair_distances(store, metric=metric)
    shares = histogram / max(1, histogram.sum())
    return PairDistances(frozen(shares), frozen(np.zeros(len(shares))), metric=metric)


def estimated_pair_distances(
    store: ManifestationStore, *, metric: MetricName = "hamming"
) -> PairDistances:
    """Return shares estimated from DRAWN_PAIRS random pairs of instances of different patterns.

    The pairs are independent and the same in every run. The share of pairs of equal patterns
    follows from the counts of the patterns.

    Args:
        store: Two patterns or more.
        metric: "hamming" or "jaccard".
    """
    n = store.n_instances
    counts = store.counts.astype(np.int64)
    different = n * (n - 1) // 2 - int((counts * (counts - 1) // 2).sum())
    share = different / (n * (n - 1) // 2)
    left, right = _random_pairs(counts)
    steps = steps_of_pairs(store.words, left, right, metric)
    drawn = np.bincount(steps, minlength=METRICS[metric].last_step(store) + 1)
    shares = share * (drawn / DRAWN_PAIRS)
    likely = (drawn + 1) / (DRAWN_PAIRS + 2)
    errors = share * np.sqrt(likely * (1 - likely) / DRAWN_PAIRS)
    shares[0], errors[0] = 1 - share, 0
    return PairDistances(frozen(shares), frozen(errors), DRAWN_PAIRS, metric)


def _random_pairs(counts: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the patterns of DRAWN_PAIRS random pairs of instances of different patterns."""
    rng = randomness.generator_at(0, randomness.RANDOM_PAIRS)
    ends = np.cumsum(counts)
    n = ends[-1]
    # An instance of pattern p has n - counts[p] partners.
    pairs = np.cumsum(counts * (n - counts))
    left = np.searchsorted(pairs, rng.integers(pairs[-1], size=DRAWN_PAIRS), side="right")
    # Number the partners as if the instances of the left pattern were not there.
    partner = rng.integers(n - counts[left])
    partner += np.where(partner >= ends[left] - counts[left], counts[left], 0)
    return left, np.searchsorted(ends, partner, side="right")


def mean_distance(store: ManifestationStore, *, metric: MetricName = "hamming") -> float:
    """Return the mean distance between two instances; nan if there is one instance.

    By "hamming" it is exact: it follows from the frequencies of the traits, for any number of
    patterns. By "jaccard" it is that of `pair_distances`, which are rounded up to hundredths.

    Args:
        store: The manifestations.
        metric: "hamming" or "jaccard".

    Example:
        >>> mean_distance(ManifestationStore.from_dense([[1, 1, 0], [0, 1, 1], [1, 1, 0]]))
        1.3333333333333333
    """
    n = store.n_instances
    if n == 1:
        return float("nan")
    if metric != "hamming":
        return pair_distances(store, metric=metric).mean
    differing: int = sum(k * (n - k) for k in trait_counts(store).tolist())
    return differing / (n * (n - 1) // 2)


def trait_counts(store: ManifestationStore) -> NDArray[np.int64]:
    """Return (B,) int64, how many instances have each trait.

    Args:
        store: The manifestations.
    """
    ones = np.empty(store.n_bits, np.int64)
    for b in range(store.n_bits):
        has_trait = (store.words[:, b // 64] & np.uint64(1 << (b % 64))) != 0
        ones[b] = store.counts[has_trait].sum(dtype=np.int64)
    return ones


def distance_limit(store: ManifestationStore, *, metric: MetricName = "hamming") -> float:
    """Return a distance that no pair exceeds.

    It is the largest distance for at most MOST_COUNTED_PATTERNS patterns. Otherwise it is the
    number of traits that vary, or 1 by "jaccard".

    Args:
        store: The manifestations.
        metric: "hamming" or "jaccard".
    """
    if few_enough_to_count(store):
        return max_distance(store, metric=metric)
    if metric != "hamming":
        return METRICS[metric].distance(METRICS[metric].last_step(store))
    ones = trait_counts(store)
    return int(((ones > 0) & (ones < store.n_instances)).sum())
