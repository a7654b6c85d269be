"""How often a sampler draws each instance and each pattern."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from maninegs_sampling.analysis.hardness import check_sampler
from maninegs_sampling.errors import InvalidTypeError, InvalidValueError, check_count
from maninegs_sampling.sampling.sampler import ManiNegBatchSampler


@dataclass(frozen=True)
class Coverage:
    """How often each instance and each pattern is drawn.

    Attributes:
        n_batches: Number of batches counted.
        instance_counts: (N,) int64, number of times that each instance is drawn.
        pattern_counts: (U,) int64, the same for each distinct pattern.
    """

    n_batches: int
    instance_counts: NDArray[np.int64]
    pattern_counts: NDArray[np.int64]

    @property
    def unseen_share(self) -> float:
        """Share of the instances that are never drawn."""
        return float((self.instance_counts == 0).mean())

    @property
    def unseen_pattern_share(self) -> float:
        """Share of the patterns that are never drawn."""
        return float((self.pattern_counts == 0).mean())

    @property
    def gini(self) -> float:
        """Gini coefficient of `instance_counts`: 0 if all are equal, near 1 if one has all."""
        return gini(self.instance_counts)


def coverage(sampler: ManiNegBatchSampler, *, epochs: int = 1, epoch: int = 0) -> Coverage:
    """Return how often each instance and each pattern is drawn. The sampler does not change.

    Args:
        sampler: Sampler whose batches are counted.
        epochs: Number of epochs.
        epoch: The first of them.

    Raises:
        InvalidTypeError: If `sampler` is not a `ManiNegBatchSampler`, or a number is not whole.
        InvalidValueError: If `epochs` is below 1 or `epoch` below 0.

    Example:
        >>> from maninegs_sampling import ManifestationStore
        >>> store = ManifestationStore.from_dense(np.eye(8, dtype=bool))
        >>> seen = coverage(ManiNegBatchSampler(store, batch_size=4, mu=2.0))
        >>> seen.n_batches, int(seen.instance_counts.sum())
        (2, 8)
    """
    store = check_sampler(sampler).store
    epochs = check_count("epochs", epochs, at_least=1)
    first = check_count("epoch", epoch, at_least=0)
    counts = np.zeros(store.n_instances, np.int64)
    for number in range(first, first + epochs):
        for k in range(len(sampler)):
            np.add.at(counts, sampler.batch(k, number), 1)
    patterns = np.bincount(store.pattern_of, weights=counts, minlength=store.n_patterns)
    return Coverage(epochs * len(sampler), counts, patterns.astype(np.int64))


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
