"""What is measured of one sampler, for tables and pictures that compare several."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from maninegs_sampling.analysis.baselines import Epochs
from maninegs_sampling.analysis.batch_hardness import Hardness, measure_hardness
from maninegs_sampling.analysis.coverage import Coverage, measure_coverage
from maninegs_sampling.data.store import ManifestationStore
from maninegs_sampling.distances.metrics import METRICS, MetricName
from maninegs_sampling.errors import InvalidValueError, MissingExtraError, check_count
from maninegs_sampling.sampling.base import ReproducibleBatchSampler

# Families of samplers, which have one color each in pictures.
Kind = Literal["uniform", "mined", "authors", "ManiNeg"]

# Measured batches are enough from here on: larger data would take minutes for the same means.
_ENOUGH_BATCHES = 2_000
_MOST_EPOCHS = 20

# Compiling, building and one plan are not timed: they go into an epoch that is not measured.
_UNMEASURED_EPOCH = 10**6


@dataclass(frozen=True)
class Entry:
    """One sampler's row.

    Attributes:
        name: Name of the sampler.
        hardness: The distances in its batches.
        coverage: How often it drew each instance, over all epochs.
        microseconds: Time to draw a batch, median over epochs. Planning an epoch is part of it.
        distribution: (D + 1,) the distribution of the distances from the anchor, over the distances
            that occur in the data; None if the sampler has none. By "jaccard" (101,), as in
            `distance_histogram`.
        kind: Its family.
        pictured: Whether a picture shows it.
    """

    name: str
    hardness: Hardness
    coverage: Coverage
    microseconds: float
    distribution: NDArray[np.float64] | None = None
    kind: Kind = "mined"
    pictured: bool = True

    def as_json(self) -> dict[str, Any]:
        """Return the numbers, not rounded, and the histograms."""
        h = self.hardness
        return {
            "name": self.name,
            "batches": h.n_batches,
            "instances_mean": h.instances_mean,
            "instances_min": h.instances_min,
            "patterns_mean": h.patterns_mean,
            "patterns_min": h.patterns_min,
            "anchor_distance_mean": h.anchor_mean,
            "masked_anchor_distance_mean": h.masked_anchor_mean,
            "pair_distance_mean": h.pair_mean,
            "masked_pair_distance_mean": h.masked_pair_mean,
            "nearest_distance_mean": h.nearest_mean,
            "masked_nearest_distance_mean": h.masked_nearest_mean,
            "share_within": {str(d): h.share_within(d) for d in METRICS[h.metric].near},
            "seen_share": self.coverage.seen_share,
            "gini": self.coverage.gini,
            "repeats": h.repeats,
            "microseconds_per_batch": self.microseconds,
            "anchor_histogram": h.anchor_histogram.tolist(),
            "pair_histogram": h.pair_histogram.tolist(),
            "masked_nearest_histogram": h.masked_nearest_histogram.tolist(),
            "distribution": None if self.distribution is None else self.distribution.tolist(),
        }


@dataclass(frozen=True)
class LeftOut:
    """A sampler that cannot be made on the data.

    Attributes:
        name: Name of the sampler.
        reason: Why not, as a sentence.
    """

    name: str
    reason: str


@dataclass(frozen=True)
class Candidate:
    """A sampler to measure.

    Attributes:
        name: Name of the sampler.
        make: Returns its batches by epoch.
        kind, distribution, pictured: As in `Entry`.
        metric: By which distances are measured.
        warm_up: The epoch of the batch that is drawn before time is taken.
    """

    name: str
    make: Callable[[], Epochs]
    kind: Kind = "mined"
    distribution: NDArray[np.float64] | None = None
    pictured: bool = True
    warm_up: int = _UNMEASURED_EPOCH
    metric: MetricName = "hamming"

    def measured(self, store: ManifestationStore, epochs: int) -> Entry:
        """Return what was measured over all batches of the first epochs.

        Args:
            store: The manifestations.
            epochs: Number of epochs.
        """
        epoch_batches = self.make()
        next(iter(epoch_batches(self.warm_up)))
        drawn, seconds_per_batch = [], []
        for epoch in range(epochs):
            begin = time.perf_counter()
            drawn.append(list(epoch_batches(epoch)))
            seconds_per_batch.append((time.perf_counter() - begin) / len(drawn[-1]))
        return Entry(
            self.name,
            measure_hardness(store, drawn, metric=self.metric),
            measure_coverage(store, drawn),
            1e6 * float(np.median(seconds_per_batch)),
            self.distribution,
            self.kind,
            self.pictured,
        )

    def measured_if_possible(self, store: ManifestationStore, epochs: int) -> Entry | LeftOut:
        """Return what was measured, or why the sampler cannot draw from this data.

        Args:
            store: The manifestations.
            epochs: Number of epochs.
        """
        try:
            return self.measured(store, epochs)
        except (InvalidValueError, MissingExtraError) as error:
            return LeftOut(self.name, str(error))


def epochs_of(make: Callable[..., ReproducibleBatchSampler], *args: Any, **options: Any) -> Epochs:
    """Make a sampler that belongs to no rank, and return its epochs, each of which is a pass.

    Args:
        make: The class of the sampler, or another function that makes it.
        args: Its arguments.
        options: Its options.
    """
    sampler = make(*args, num_replicas=1, rank=0, **options)

    def epoch_batches(epoch: int) -> ReproducibleBatchSampler:
        sampler.set_epoch(epoch)
        return sampler

    return epoch_batches


def default_epochs(store: ManifestationStore, batch_size: int) -> int:
    """Return the number of epochs that make up 2,000 batches, but at least 1 and at most 20.

    Args:
        store: The manifestations.
        batch_size: Instances per batch.

    Example:
        >>> store = ManifestationStore.from_dense(np.arange(100_000)[:, None] % 2)
        >>> default_epochs(store, 64), default_epochs(store, 512)
        (1, 10)
    """
    size = check_count("batch_size", batch_size, at_least=2)
    per_epoch = max(1, store.n_instances // size)
    return min(_MOST_EPOCHS, max(1, _ENOUGH_BATCHES // per_epoch))
