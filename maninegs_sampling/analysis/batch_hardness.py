"""The distances between the instances of given batches (section IV-D of the paper)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maninegs_sampling.data.patterns import frozen
from maninegs_sampling.data.store import ManifestationStore
from maninegs_sampling.distances import _kernels
from maninegs_sampling.distances.metrics import (
    METRICS,
    MetricName,
    check_measurable,
    distance_dtype,
    metric_of,
    transposed,
)
from maninegs_sampling.errors import InvalidTypeError, InvalidValueError

# Number of nearest negatives of each row. Seven others are an eighth of a batch of 64 with the row.
N_NEAREST = 7


@dataclass(frozen=True)
class Hardness:
    """The distances between the manifestations in a set of batches.

    A row is an instance in its place in a batch. Means named `masked_` leave out pairs of equal
    patterns, which are no negatives of each other if the loss is given their patterns as `ids=`.
    In batches of distinct patterns they equal the other means. By "jaccard" distances are rounded
    up to hundredths, and histograms are (101,), as in `distance_histogram`.

    Attributes:
        n_batches: Number of batches measured.
        instances_mean, instances_min: Instances per batch, mean and minimum.
        patterns_mean, patterns_min: Distinct patterns per batch, mean and minimum.
        repeats: Number of times that a batch holds an instance again, over all batches.
        anchor_histogram: (B + 1,) int64, pairs of an anchor (a batch's first instance) and a
            negative at each distance: Figure 5 (a) of the paper.
        pair_histogram: (B + 1,) int64, unordered pairs of a batch at each distance: Figure 5 (b).
        masked_nearest_histogram: (B + 1,) int64, pairs of a row and one of the 7 nearest rows of
            another pattern in its batch, at each distance.
        anchor_band, pair_band: (2, B + 1) float64, ends of a 95% confidence interval for the
            share of pairs at each distance. The batch is the unit, because the pairs of one batch
            depend on each other. nan for a single batch.
        nearest_mean: Mean distance of a row to the 7 nearest other rows of its batch (to all others
            if there are fewer), averaged over all rows. nan if no row has another.
        masked_nearest_mean: The same for the 7 nearest rows of another pattern. Rows that have none
            do not count; nan if no row has one.
        metric: "hamming" or "jaccard".
    """

    n_batches: int
    instances_mean: float
    instances_min: int
    patterns_mean: float
    patterns_min: int
    repeats: int
    anchor_histogram: NDArray[np.int64]
    pair_histogram: NDArray[np.int64]
    masked_nearest_histogram: NDArray[np.int64]
    anchor_band: NDArray[np.float64]
    pair_band: NDArray[np.float64]
    nearest_mean: float
    masked_nearest_mean: float
    metric: MetricName = "hamming"

    @property
    def anchor_mean(self) -> float:
        """Mean distance between an anchor and a negative."""
        return histogram_mean(self.anchor_histogram, self.metric)

    @property
    def masked_anchor_mean(self) -> float:
        """Mean distance between an anchor and a negative of another pattern."""
        return histogram_mean(_without_equal(self.anchor_histogram), self.metric)

    @property
    def pair_mean(self) -> float:
        """Mean distance over all pairs of a batch."""
        return histogram_mean(self.pair_histogram, self.metric)

    @property
    def masked_pair_mean(self) -> float:
        """Mean distance over the pairs of a batch that have different patterns."""
        return histogram_mean(_without_equal(self.pair_histogram), self.metric)

    def share_within(self, distance: float) -> float:
        """Return the share of the negatives that are at most `distance` from their anchor."""
        last = METRICS[self.metric].check_distance("distance", distance, least_step=0)
        total = self.anchor_histogram.sum()
        return float(self.anchor_histogram[: last + 1].sum() / total) if total else float("nan")


def histogram_mean(histogram: NDArray[np.int64], metric: MetricName = "hamming") -> float:
    """Return the mean of the distances counted in `histogram`; nan if it is empty.

    Args:
        histogram: (D + 1,) int64, number of pairs at each distance from 0 on.
        metric: "hamming" or "jaccard".

    Example:
        >>> histogram_mean(np.array([0, 2, 2]))
        1.5
    """
    total = histogram.sum()
    distances = METRICS[metric].distances(np.arange(len(histogram)))
    return float(histogram @ distances / total) if total else float("nan")


def _without_equal(histogram: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the histogram of the pairs of different patterns."""
    return np.append(0, histogram[1:])


class _Nearest:
    """Sums the distances of rows to their nearest negatives."""

    def __init__(self, per_unit: int) -> None:
        self._per_unit = per_unit
        self._sum_of_means = 0.0
        self._n_rows = 0

    def add(self, distances: NDArray[Any], negatives: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Add the rows of a batch and return the distances to their nearest negatives.

        Args:
            distances: (n, n) distances between the rows, in steps.
            negatives: (n, n) True where one row is a negative of the other.
        """
        far = np.where(negatives, distances.astype(np.float32), np.float32(np.inf))
        last = min(N_NEAREST, len(far)) - 1
        nearest = np.partition(far, last, axis=1)[:, : last + 1]
        found = np.isfinite(nearest)
        n_found = found.sum(axis=1)
        sums = np.where(found, nearest, 0).sum(axis=1, dtype=np.float64)
        has_one = n_found > 0
        self._sum_of_means += float((sums[has_one] / n_found[has_one]).sum())
        self._n_rows += int(has_one.sum())
        distances_found: NDArray[np.float32] = nearest[found]
        return distances_found

    def mean(self) -> float:
        if not self._n_rows:
            return float("nan")
        return self._sum_of_means / self._n_rows / self._per_unit


class _Shares:
    """Sums the histograms of batches, and the variance of their shares from batch to batch."""

    def __init__(self, n: int) -> None:
        self.histogram = np.zeros(n, np.int64)
        self._n_batches = 0
        self._sum = np.zeros(n)
        self._squares = np.zeros(n)

    def add(self, histogram: NDArray[np.int64]) -> None:
        self.histogram += histogram
        share = histogram / max(1, histogram.sum())
        self._n_batches += 1
        self._sum += share
        self._squares += share**2

    def band(self) -> NDArray[np.float64]:
        n = self._n_batches
        mean = self._sum / n
        if n < 2:
            return np.full((2, len(mean)), np.nan)
        variance = np.maximum(self._squares - n * mean**2, 0.0) / (n - 1)
        half = 1.96 * np.sqrt(variance / n)
        return np.clip(np.stack((mean - half, mean + half)), 0.0, 1.0)


def measure_hardness(
    store: ManifestationStore,
    epochs: Iterable[Iterable[Sequence[int]]],
    *,
    metric: MetricName = "hamming",
) -> Hardness:
    """Return the hardness of the given batches.

    Args:
        store: The manifestations.
        epochs: The batches of each epoch. The first instance of a batch is its anchor.
        metric: "hamming" or "jaccard".

    Raises:
        InvalidTypeError: If a batch holds anything but whole numbers.
        InvalidValueError: If there are no batches, a batch is empty, an instance is not in the
            store, or there is no such metric.

    Example:
        >>> store = ManifestationStore.from_dense([[0, 0], [0, 1], [1, 1]])
        >>> hardness = measure_hardness(store, [[[0, 1], [0, 2]]])
        >>> hardness.anchor_histogram.tolist(), hardness.pair_mean
        ([0, 1, 1], 1.5)
    """
    words = transposed(check_measurable("store", store).words)
    measure = metric_of(metric)
    dtype, n_distances = distance_dtype(store.n_bits), measure.last_step(store) + 1
    anchors, pairs = _Shares(n_distances), _Shares(n_distances)
    nearest, masked_nearest = _Nearest(measure.per_unit), _Nearest(measure.per_unit)
    nearest_histogram = np.zeros(n_distances, np.int64)
    sizes: list[int] = []
    patterns: list[int] = []
    repeats = 0
    for batch in chain.from_iterable(epochs):
        instances = check_batch(batch, store.n_instances)
        pattern_of, n = store.pattern_of[instances], len(instances)
        sizes.append(n)
        patterns.append(len(np.unique(pattern_of)))
        repeats += n - len(np.unique(instances))
        chosen = measure.patterns(frozen(np.ascontiguousarray(words[:, pattern_of])))
        distances = np.empty((n, n), dtype)
        _kernels.pairwise_rows(chosen, chosen, 0, n, distances)
        anchors.add(np.bincount(distances[0, 1:], minlength=n_distances))
        both_ways = np.bincount(distances.ravel(), minlength=n_distances)
        both_ways[0] -= n  # a row and itself
        pairs.add(both_ways // 2)
        nearest.add(distances, ~np.eye(n, dtype=np.bool_))
        near = masked_nearest.add(distances, distances > 0).astype(np.int64)
        nearest_histogram += np.bincount(near, minlength=n_distances)
    if not sizes:
        raise InvalidValueError("epochs must hold at least one batch")
    return Hardness(
        n_batches=len(sizes),
        instances_mean=float(np.mean(sizes)),
        instances_min=min(sizes),
        patterns_mean=float(np.mean(patterns)),
        patterns_min=min(patterns),
        repeats=repeats,
        anchor_histogram=anchors.histogram,
        pair_histogram=pairs.histogram,
        masked_nearest_histogram=nearest_histogram,
        anchor_band=anchors.band(),
        pair_band=pairs.band(),
        nearest_mean=nearest.mean(),
        masked_nearest_mean=masked_nearest.mean(),
        metric=measure.name,
    )


def check_batch(batch: Sequence[int], n_instances: int) -> NDArray[np.int64]:
    """Return a batch as an array, or raise unless it holds one or more instances of the store.

    Args:
        batch: Numbers of instances.
        n_instances: Number of instances of the store.

    Raises:
        InvalidTypeError: If the batch holds anything but whole numbers.
        InvalidValueError: If it is no vector, is empty, or an instance is out of range.
    """
    instances = np.asarray(batch)
    if instances.ndim != 1 or len(instances) == 0:
        raise InvalidValueError(
            f"each batch must be a vector of at least one instance; got shape {instances.shape}"
        )
    if instances.dtype.kind not in "iu":
        raise InvalidTypeError(f"each batch must hold whole numbers; got dtype {instances.dtype}")
    outside = (instances < 0) | (instances >= n_instances)
    if outside.any():
        raise InvalidValueError(
            f"instances must be in [0, {n_instances}); a batch holds {instances[outside][0]}"
        )
    return instances
