"""The distances between the instances of a batch (section IV-D of the paper)."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, count, islice
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from maninegs_sampling.analysis import baselines
from maninegs_sampling.data.store import ManifestationStore, check_store
from maninegs_sampling.distances import _kernels
from maninegs_sampling.distances.hamming import distance_dtype, transposed
from maninegs_sampling.distances.index import DistanceBucketIndex
from maninegs_sampling.errors import InvalidTypeError, InvalidValueError, check_count
from maninegs_sampling.sampling.distribution import check_mean
from maninegs_sampling.sampling.sampler import ManiNegBatchSampler


@dataclass(frozen=True)
class Hardness:
    """The Hamming distances between the manifestations in a set of batches.

    Attributes:
        n_batches: Number of batches measured.
        instances_mean, instances_min: Instances per batch, mean and minimum.
        patterns_mean, patterns_min: Distinct patterns per batch, mean and minimum.
        repeats: Number of times that a batch holds an instance again, over all batches.
        anchor_histogram: (B + 1,) int64, pairs of an anchor (a batch's first instance) and a
            negative at each distance: Figure 5 (a) of the paper.
        pair_histogram: (B + 1,) int64, unordered pairs of a batch at each distance: Figure 5 (b).
        anchor_band, pair_band: (2, B + 1) float64, ends of a 95% confidence interval for the
            share of pairs at each distance. The batch is the unit, because the pairs of one batch
            depend on each other. nan for a single batch.
        seen_per_epoch: Mean number of distinct instances in an epoch.
    """

    n_batches: int
    instances_mean: float
    instances_min: int
    patterns_mean: float
    patterns_min: int
    repeats: int
    anchor_histogram: NDArray[np.int64]
    pair_histogram: NDArray[np.int64]
    anchor_band: NDArray[np.float64]
    pair_band: NDArray[np.float64]
    seen_per_epoch: float

    @property
    def anchor_mean(self) -> float:
        """Mean distance between an anchor and a negative."""
        return histogram_mean(self.anchor_histogram)

    @property
    def pair_mean(self) -> float:
        """Mean distance over all pairs of a batch."""
        return histogram_mean(self.pair_histogram)

    def share_within(self, distance: int) -> float:
        """Return the share of the negatives that are at most `distance` from their anchor."""
        distance = check_count("distance", distance, at_least=0)
        total = self.anchor_histogram.sum()
        return float(self.anchor_histogram[: distance + 1].sum() / total) if total else float("nan")


def histogram_mean(histogram: NDArray[np.int64]) -> float:
    """Return the mean of the distances counted in `histogram`; nan if it is empty.

    Args:
        histogram: (D + 1,) int64, number of pairs at each distance from 0 on.

    Example:
        >>> histogram_mean(np.array([0, 2, 2]))
        1.5
    """
    total = histogram.sum()
    return float(histogram @ np.arange(len(histogram)) / total) if total else float("nan")


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
    store: ManifestationStore, epochs: Iterable[Iterable[Sequence[int]]]
) -> Hardness:
    """Return the hardness of the given batches.

    Args:
        store: The manifestations.
        epochs: The batches of each epoch. The first instance of a batch is its anchor.

    Raises:
        InvalidTypeError: If a batch holds anything but whole numbers.
        InvalidValueError: If there are no batches, a batch is empty, or an instance is not in the
            store.

    Example:
        >>> store = ManifestationStore.from_dense([[0, 0], [0, 1], [1, 1]])
        >>> hardness = measure_hardness(store, [[[0, 1], [0, 2]]])
        >>> hardness.anchor_histogram.tolist(), hardness.seen_per_epoch
        ([0, 1, 1], 3.0)
    """
    words = transposed(check_store("store", store).words)
    dtype = distance_dtype(store.n_bits)
    anchors, pairs = _Shares(store.n_bits + 1), _Shares(store.n_bits + 1)
    sizes: list[int] = []
    patterns: list[int] = []
    seen: list[int] = []
    repeats = 0
    for epoch in epochs:
        seen_in_epoch = np.zeros(store.n_instances, np.bool_)
        for batch in epoch:
            instances = _check_batch(batch, store.n_instances)
            pattern_of = store.pattern_of[instances]
            seen_in_epoch[instances] = True
            sizes.append(len(batch))
            patterns.append(len(np.unique(pattern_of)))
            repeats += len(batch) - len(np.unique(instances))
            chosen = np.ascontiguousarray(words[:, pattern_of])
            distances = np.empty((len(batch), len(batch)), dtype)
            _kernels.pairwise_rows(chosen, chosen, 0, len(batch), distances)
            anchors.add(np.bincount(distances[0, 1:], minlength=store.n_bits + 1))
            upper = distances[np.triu_indices(len(batch), 1)]
            pairs.add(np.bincount(upper, minlength=store.n_bits + 1))
        seen.append(int(seen_in_epoch.sum()))
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
        anchor_band=anchors.band(),
        pair_band=pairs.band(),
        seen_per_epoch=float(np.mean(seen)),
    )


def _check_batch(batch: Sequence[int], n_instances: int) -> NDArray[np.int64]:
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


def check_sampler(sampler: object) -> ManiNegBatchSampler:
    """Return `sampler`, or raise `InvalidTypeError` unless it is a `ManiNegBatchSampler`."""
    if not isinstance(sampler, ManiNegBatchSampler):
        raise InvalidTypeError(
            f"sampler must be a ManiNegBatchSampler; got {type(sampler).__name__}. "
            "measure_hardness measures the batches of other samplers."
        )
    return sampler


def hardness(sampler: ManiNegBatchSampler, *, batches: int = 200, epoch: int = 0) -> Hardness:
    """Return the hardness of the batches of a sampler. The sampler does not change.

    Args:
        sampler: Sampler whose batches are measured.
        batches: Number of batches. If an epoch has fewer, the next epochs follow.
        epoch: The first epoch. If mu is annealed, the hardness depends on it.

    Raises:
        InvalidTypeError: If `sampler` is not a `ManiNegBatchSampler`, or a number is not whole.
        InvalidValueError: If `batches` is below 1 or `epoch` below 0.

    Example:
        >>> store = ManifestationStore.from_dense(np.eye(8, dtype=bool))
        >>> sampler = ManiNegBatchSampler(store, batch_size=4, mu=2.0)
        >>> hardness(sampler, batches=6).pair_mean
        2.0
    """
    check_sampler(sampler)
    batches = check_count("batches", batches, at_least=1)
    epoch = check_count("epoch", epoch, at_least=0)
    return measure_hardness(sampler.store, _batches_by_epoch(sampler, batches, epoch))


def check_mus(mus: Sequence[float]) -> tuple[float, ...]:
    """Return `mus` as floats, or raise unless they are one or more finite numbers.

    Raises:
        InvalidTypeError: If `mus` is not a sequence of numbers.
        InvalidValueError: If `mus` is empty or holds a number that is not finite.
    """
    if isinstance(mus, str) or not isinstance(mus, Iterable):
        raise InvalidTypeError(f"mus must be a sequence of numbers; got {mus!r}")
    means = tuple(check_mean(f"mus[{i}]", mu) for i, mu in enumerate(mus))
    if not means:
        raise InvalidValueError(f"mus must be at least one number; got {mus!r}")
    return means


def local_sampler(
    store: ManifestationStore, *, index: DistanceBucketIndex | None = None, **options: Any
) -> ManiNegBatchSampler:
    """Return a sampler for measuring: not sharded, whatever ranks the process belongs to.

    Args:
        store: The manifestations.
        index: An index of `store` to draw from. If None, the sampler builds one.
        options: Options of `ManiNegBatchSampler`.
    """
    return ManiNegBatchSampler(store, index=index, num_replicas=1, rank=0, **options)


def hardness_at(
    store: ManifestationStore,
    mus: Sequence[float],
    *,
    sigma: float,
    batch_size: int = 64,
    batches: int = 200,
    groups: ArrayLike | None = None,
    index: DistanceBucketIndex | None = None,
    seed: int = 0,
) -> tuple[Hardness, ...]:
    """Return the hardness of ManiNeg batches at each mu: Figure 5 of the paper.

    Args:
        store: The manifestations.
        mus: (M,) means of the distance distribution.
        sigma: Standard deviation of the distance distribution.
        batch_size: Instances per batch.
        batches: Number of batches to measure at each mu.
        groups: N labels. No two instances of a batch share one.
        index: An index of `store` to draw from. If None, one is built.
        seed: Seed of the sampler.

    Example:
        >>> store = ManifestationStore.from_dense(np.random.default_rng(0).random((300, 20)) < 0.5)
        >>> far, near = hardness_at(store, [10, 0], sigma=3.0, batches=20)
        >>> near.pair_mean < far.pair_mean
        True
    """
    means = check_mus(mus)
    batches = check_count("batches", batches, at_least=1)
    # The k-th epoch of one sampler is drawn at the k-th mu.
    sampler = local_sampler(
        store,
        batch_size=batch_size,
        mu=lambda step: means[step // batches],
        sigma=sigma,
        groups=groups,
        seed=seed,
        batches_per_epoch=batches,
        index=index,
    )
    return tuple(hardness(sampler, batches=batches, epoch=k) for k in range(len(means)))


def uniform_distinct_hardness(
    store: ManifestationStore,
    *,
    batch_size: int = 64,
    groups: ArrayLike | None = None,
    batches: int = 200,
    seed: int = 0,
) -> Hardness:
    """Return the hardness of uniform batches of distinct patterns, the baseline for ManiNeg.

    Args:
        store: The manifestations.
        batch_size: Instances per batch.
        groups: N labels. No two instances of a batch share one.
        batches: Number of batches to measure.
        seed: Seed of the batches.

    Example:
        >>> store = ManifestationStore.from_dense([[0, 0], [0, 0], [0, 0], [1, 1]])
        >>> uniform_distinct_hardness(store, batch_size=2).pair_mean
        2.0
    """
    batches = check_count("batches", batches, at_least=1)
    epoch_batches = baselines.uniform_distinct(store, batch_size, seed, groups)
    drawn = chain.from_iterable(map(epoch_batches, count()))
    return measure_hardness(store, [islice(drawn, batches)])


def _batches_by_epoch(
    sampler: ManiNegBatchSampler, batches: int, first_epoch: int
) -> Iterator[Iterator[list[int]]]:
    length = len(sampler)
    for first in range(0, batches, length):
        epoch = first_epoch + first // length
        yield (sampler.batch(k, epoch) for k in range(min(length, batches - first)))
