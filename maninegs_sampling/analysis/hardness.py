"""The hardness of the batches that a sampler draws (section IV-D of the paper)."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, count, islice
from typing import Any, Protocol, runtime_checkable

from numpy.typing import ArrayLike

from maninegs_sampling.analysis import baselines
from maninegs_sampling.analysis.batch_hardness import Hardness, measure_hardness
from maninegs_sampling.data.store import ManifestationStore
from maninegs_sampling.distances.index import DistanceBucketIndex
from maninegs_sampling.distances.metrics import METRICS, MetricName, metric_of
from maninegs_sampling.errors import InvalidTypeError, InvalidValueError, check_count
from maninegs_sampling.sampling.base import ReproducibleBatchSampler
from maninegs_sampling.sampling.sampler import ManiNegBatchSampler


@runtime_checkable
class BatchesByNumber(Protocol):
    """A batch sampler that draws any batch again by its number."""

    @property
    def store(self) -> ManifestationStore:
        """One manifestation for each instance."""

    def __len__(self) -> int:
        """Return the number of batches an epoch."""

    def batch(self, k: int, epoch: int = 0) -> list[int]:
        """Return batch `k` of `epoch`."""


def check_sampler(sampler: object) -> BatchesByNumber:
    """Return `sampler`, or raise `InvalidTypeError` unless its batches can be drawn by number."""
    if not isinstance(sampler, BatchesByNumber):
        raise InvalidTypeError(
            "sampler must have batch(k, epoch), a length and a store, as ManiNegBatchSampler has; "
            f"got {type(sampler).__name__}. measure_hardness and measure_coverage take any batches."
        )
    return sampler


def store_of_epochs(sampler: BatchesByNumber, epochs: range) -> ManifestationStore:
    """Return the store that the batches of all `epochs`, at least one, are drawn with.

    Raises:
        InvalidValueError: If it is replaced within them.
    """
    if not isinstance(sampler, ReproducibleBatchSampler):
        return sampler.store
    store = sampler.store_at(epochs[0])
    for epoch in epochs[1:]:
        if sampler.store_at(epoch) is not store:
            raise InvalidValueError(
                f"the store of this sampler is replaced in epoch {epoch}; measure the epochs "
                "before it and those from it on separately"
            )
    return store


def hardness(
    sampler: BatchesByNumber,
    *,
    batches: int = 200,
    epoch: int = 0,
    metric: MetricName | None = None,
) -> Hardness:
    """Return the hardness of the batches of a sampler. The sampler does not change.

    Args:
        sampler: `ManiNegBatchSampler`, `UniformDistinctBatchSampler`, `GraphBlockBatchSampler`,
            `NeighborGroupBatchSampler`, `RandomWalkBatchSampler`, or another batch sampler with
            `batch(k, epoch)`, a length and a store.
        batches: Number of batches. If an epoch has fewer, the next epochs follow.
        epoch: The first epoch. If mu is annealed, the hardness depends on it.
        metric: "hamming" or "jaccard". By default the sampler's, or "hamming" if it has none.

    Raises:
        InvalidTypeError: If `sampler` has no `batch`, length or store, or a number is not whole.
        InvalidValueError: If `batches` is below 1, `epoch` below 0, or there is no such metric, or
            the store of the sampler was replaced within the epochs that are measured.

    Example:
        >>> import numpy as np
        >>> store = ManifestationStore.from_dense(np.eye(8, dtype=bool))
        >>> sampler = ManiNegBatchSampler(store, batch_size=4, mu=2.0)
        >>> found = hardness(sampler, batches=6)
        >>> found.pair_mean, found.nearest_mean
        (2.0, 2.0)
    """
    check_sampler(sampler)
    batches = check_count("batches", batches, at_least=1)
    epoch = check_count("epoch", epoch, at_least=0)
    last = epoch + (batches - 1) // len(sampler)
    store = store_of_epochs(sampler, range(epoch, last + 1))
    own: MetricName = getattr(sampler, "metric", "hamming")
    drawn = _batches_by_epoch(sampler, batches, epoch)
    return measure_hardness(store, drawn, metric=own if metric is None else metric)


def check_mus(mus: Sequence[float], metric: MetricName = "hamming") -> tuple[float, ...]:
    """Return `mus` as floats, or raise unless they are one or more numbers that mu can be.

    Raises:
        InvalidTypeError: If `mus` is not a sequence of numbers.
        InvalidValueError: If `mus` is empty or holds a number out of the range of the metric.
    """
    if isinstance(mus, str) or not isinstance(mus, Iterable):
        raise InvalidTypeError(f"mus must be a sequence of numbers; got {mus!r}")
    means = tuple(METRICS[metric].check_mu(f"mus[{i}]", mu) for i, mu in enumerate(mus))
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
    metric: MetricName = "hamming",
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
        metric: "hamming" or "jaccard".
        batch_size: Instances per batch.
        batches: Number of batches to measure at each mu.
        groups: N labels. No two instances of a batch share one.
        index: An index of `store` to draw from. If None, one is built.
        seed: Seed of the sampler.

    Example:
        >>> import numpy as np
        >>> store = ManifestationStore.from_dense(np.random.default_rng(0).random((300, 20)) < 0.5)
        >>> far, near = hardness_at(store, [10, 0], sigma=3.0, batches=20)
        >>> near.pair_mean < far.pair_mean
        True
    """
    means = check_mus(mus, metric_of(metric).name)
    batches = check_count("batches", batches, at_least=1)
    # The k-th epoch of one sampler is drawn at the k-th mu.
    sampler = local_sampler(
        store,
        batch_size=batch_size,
        mu=lambda step: means[step // batches],
        sigma=sigma,
        metric=metric,
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
    metric: MetricName = "hamming",
) -> Hardness:
    """Return the hardness of uniform batches of distinct patterns, the baseline for ManiNeg.

    Args:
        store: The manifestations.
        batch_size: Instances per batch.
        groups: N labels. No two instances of a batch share one.
        batches: Number of batches to measure.
        seed: Seed of the batches.
        metric: "hamming" or "jaccard".

    Example:
        >>> store = ManifestationStore.from_dense([[0, 0], [0, 0], [0, 0], [1, 1]])
        >>> uniform_distinct_hardness(store, batch_size=2).pair_mean
        2.0
    """
    batches = check_count("batches", batches, at_least=1)
    epoch_batches = baselines.uniform_distinct(store, batch_size, seed, groups)
    drawn = chain.from_iterable(map(epoch_batches, count()))
    return measure_hardness(store, [islice(drawn, batches)], metric=metric)


def _batches_by_epoch(
    sampler: BatchesByNumber, batches: int, first_epoch: int
) -> Iterator[Iterator[list[int]]]:
    length = len(sampler)
    for first in range(0, batches, length):
        epoch = first_epoch + first // length
        yield (sampler.batch(k, epoch) for k in range(min(length, batches - first)))
