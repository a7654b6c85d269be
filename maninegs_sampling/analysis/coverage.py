"""How often a sampler draws each instance and each pattern."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from maninegs_sampling.analysis.batch_hardness import check_batch
from maninegs_sampling.analysis.hardness import BatchesByNumber, check_sampler, store_of_epochs
from maninegs_sampling.data.store import ManifestationStore, check_store
from maninegs_sampling.errors import InvalidTypeError, InvalidValueError, check_count


@dataclass(frozen=True)
class Coverage:
    """How often each instance and each pattern is drawn.

    Attributes:
        n_batches: Number of batches counted.
        instance_counts: (N,) int64, number of times that each instance is drawn.
        pattern_counts: (U,) int64, the same for each distinct pattern.
        seen_share: Share of the instances that an epoch draws at least once, averaged over the
            epochs.
    """

    n_batches: int
    instance_counts: NDArray[np.int64]
    pattern_counts: NDArray[np.int64]
    seen_share: float

    @property
    def unseen_share(self) -> float:
        """Share of the instances that are not drawn in any epoch."""
        return float((self.instance_counts == 0).mean())

    @property
    def unseen_pattern_share(self) -> float:
        """Share of the patterns that are not drawn in any epoch."""
        return float((self.pattern_counts == 0).mean())

    @property
    def gini(self) -> float:
        """Gini coefficient of `instance_counts`: 0 if all are equal, near 1 if one has all."""
        return gini(self.instance_counts)


def measure_coverage(
    store: ManifestationStore, epochs: Iterable[Iterable[Sequence[int]]]
) -> Coverage:
    """Return how often each instance and each pattern is in the given batches.

    Args:
        store: The manifestations.
        epochs: The batches of each epoch.

    Raises:
        InvalidTypeError: If a batch holds anything but whole numbers.
        InvalidValueError: If there are no batches, a batch is empty, or an instance is not in the
            store.

    Example:
        >>> store = ManifestationStore.from_dense([[0, 0], [0, 1], [0, 1], [1, 1]])
        >>> seen = measure_coverage(store, [[[0, 1], [0, 2]], [[0, 1]]])
        >>> seen.instance_counts.tolist(), seen.pattern_counts.tolist(), seen.seen_share
        ([3, 2, 1, 0], [3, 3, 0], 0.625)
    """
    check_store("store", store)
    counts = np.zeros(store.n_instances, np.int64)
    seen_shares = []
    n_batches = 0
    for epoch in epochs:
        in_epoch = np.zeros_like(counts)
        for batch in epoch:
            np.add.at(in_epoch, check_batch(batch, store.n_instances), 1)
            n_batches += 1
        counts += in_epoch
        seen_shares.append((in_epoch > 0).mean())
    if n_batches == 0:
        raise InvalidValueError("epochs must hold at least one batch")
    patterns = np.bincount(store.pattern_of, weights=counts, minlength=store.n_patterns)
    return Coverage(n_batches, counts, patterns.astype(np.int64), float(np.mean(seen_shares)))


def coverage(sampler: BatchesByNumber, *, epochs: int = 1, epoch: int = 0) -> Coverage:
    """Return how often each instance and each pattern is drawn. The sampler does not change.

    Args:
        sampler: `ManiNegBatchSampler`, `UniformDistinctBatchSampler`, `GraphBlockBatchSampler`,
            `NeighborGroupBatchSampler`, `RandomWalkBatchSampler`, or another batch sampler with
            `batch(k, epoch)`, a length and a store.
        epochs: Number of epochs.
        epoch: The first of them.

    Raises:
        InvalidTypeError: If `sampler` has no `batch`, length or store, or a number is not whole.
        InvalidValueError: If `epochs` is below 1 or `epoch` below 0, or the store of the sampler
            was replaced within these epochs.

    Example:
        >>> from maninegs_sampling import ManiNegBatchSampler
        >>> store = ManifestationStore.from_dense(np.eye(8, dtype=bool))
        >>> seen = coverage(ManiNegBatchSampler(store, batch_size=4, mu=2.0))
        >>> seen.n_batches, int(seen.instance_counts.sum())
        (2, 8)
    """
    check_sampler(sampler)
    epochs = check_count("epochs", epochs, at_least=1)
    first = check_count("epoch", epoch, at_least=0)
    numbers = range(first, first + epochs)
    return measure_coverage(
        store_of_epochs(sampler, numbers),
        ((sampler.batch(k, number) for k in range(len(sampler))) for number in numbers),
    )


def gini(counts: ArrayLike) -> float:
    """Return the Gini coefficient of non-negative counts; nan if all are 0.

    It is half the mean difference between two counts, divided by their mean.

    Args:
        counts: (N,) finite numbers, none negative.

    Raises:
        InvalidTypeError: If `counts` is not numeric.
        InvalidValueError: If `counts` is not a vector, is empty, or holds a value that is negative
            or not finite.

    Example:
        >>> gini([1, 1, 1, 1]), gini([0, 0, 0, 4])
        (0.0, 0.75)
    """
    ascending = np.sort(as_floats("counts", counts), axis=None)
    if np.ndim(counts) != 1 or len(ascending) == 0:
        raise InvalidValueError(
            f"counts must be a vector of at least one number; got shape {np.shape(counts)}"
        )
    if not np.isfinite(ascending).all() or ascending[0] < 0:
        raise InvalidValueError(f"counts must be finite and not negative; got {counts!r}")
    n, total = len(ascending), ascending.sum()
    if total == 0:
        return float("nan")
    return float((2 * np.arange(1, n + 1) - n - 1) @ ascending / (n * total))


def as_floats(name: str, values: ArrayLike) -> NDArray[np.float64]:
    """Return `values` as float64, or raise `InvalidTypeError` unless they are real numbers.

    Args:
        name: The argument's name, for the message.
        values: The argument.
    """
    try:
        array = np.asarray(values)
    except ValueError:  # ragged
        array = np.empty(0, object)
    if array.dtype.kind not in "iuf":
        raise InvalidTypeError(f"{name} must be numbers; got {values!r}")
    return array.astype(np.float64)
