"""Why suggested settings have their values: numbers first; `str` makes a sentence of each."""

from dataclasses import dataclass

from maninegs_sampling.analysis.reasons import FrequencyShift, Reason
from maninegs_sampling.distances.metrics import METRICS, MetricName


@dataclass(frozen=True)
class MuReason(Reason):
    """Why mu starts, ends and falls as it does.

    Attributes:
        start: The first mu.
        easier_at: The next larger mu that was tried, if batches are easier than uniform ones there.
        end: The last mu.
        nearest: Mean distance to an anchor's nearest cluster_size - 1 patterns.
        cluster_size: Instances of an anchor's cluster: the batch, if it has one anchor.
        fall: Number of steps over which mu falls.
        steps: Number of steps of the training.
        metric: "hamming" or "jaccard".
    """

    start: float
    easier_at: float | None
    end: float
    nearest: float
    cluster_size: int
    fall: int
    steps: int
    metric: MetricName = "hamming"

    def __str__(self) -> str:
        if self.easier_at is None:
            start = "the mean distance in uniform batches of distinct patterns"
        else:
            start = f"because batches are easier than uniform ones at {self.easier_at:g}"
        return (
            f"starts at {self.start:g}, {start}; ends at {self.end:g}, two sigma below the "
            f"{METRICS[self.metric].text(self.nearest)} to an anchor's nearest "
            f"{self.cluster_size - 1} patterns (0 if that is negative), because a lower mu draws "
            "nearly the same batches; falls over "
            f"the first {self.fall:,} of {self.steps:,} steps, half of them, as in the authors' "
            "code"
        )


@dataclass(frozen=True)
class SigmaReason(Reason):
    """Why sigma is what it is.

    Attributes:
        sigma: The standard deviation.
        n_drawn: Number of random pairs that it is estimated from; None if it is that of all pairs.
    """

    sigma: float
    n_drawn: int | None = None

    def __str__(self) -> str:
        text = f"{self.sigma:g}, the standard deviation of the distances in the data"
        if self.n_drawn is None:
            return text
        return f"{text}, estimated from {self.n_drawn:,} random pairs"


@dataclass(frozen=True)
class LowReason(Reason):
    """Why low is the smallest distance above 0."""

    low: float = 1

    def __str__(self) -> str:
        return f"{self.low}, because instances with the anchor's own pattern are never negatives"


@dataclass(frozen=True)
class HighReason(Reason):
    """Why high is what it is.

    Attributes:
        high: The largest distance, or one that no pair exceeds.
        is_largest: Whether a pair has it.
        metric: "hamming" or "jaccard".
    """

    high: float
    is_largest: bool = True
    metric: MetricName = "hamming"

    def __str__(self) -> str:
        if not self.is_largest:
            what = ", the number of traits that vary" if self.metric == "hamming" else ""
            return (
                f"{self.high}{what}, which no distance exceeds; there are too many pairs to look "
                "for the largest one"
            )
        return f"{self.high}, the largest distance in the data"


@dataclass(frozen=True)
class MetricReason(Reason):
    """Why the metric is among the settings."""

    metric: MetricName

    def __str__(self) -> str:
        return f"{self.metric}, as asked for; mu, sigma, low and high are distances from 0 to 1"


@dataclass(frozen=True)
class GroupsReason(Reason):
    """Why groups are among the settings."""

    def __str__(self) -> str:
        return "as given; no two instances of a batch share a group"


@dataclass(frozen=True)
class AnchorsReason(Reason):
    """What several anchors in a batch mean.

    Attributes:
        anchors: Anchors, and so clusters, of a batch.
        cluster_size: Instances of a cluster.
    """

    anchors: int
    cluster_size: int

    def __str__(self) -> str:
        n = self.cluster_size - 1
        negatives = "negative" if n == 1 else f"{n} negatives"
        return (
            f"{self.anchors}, as asked for: a batch has {self.anchors} clusters of "
            f"{self.cluster_size} instances, each an anchor and its {negatives}"
        )


@dataclass(frozen=True)
class CenterReason(Reason):
    """What it means to measure distances from a cluster."""

    def __str__(self) -> str:
        return (
            "cluster, as asked for: distances are measured from all members of the cluster so far, "
            "so that all its pairs are near"
        )


@dataclass(frozen=True)
class CoverageReason(Reason):
    """Why an epoch covers the data, and whether its batches hold distinct patterns.

    Attributes:
        largest: Instances of the most common pattern.
        n_batches: Batches of an epoch.
        shift: What batches of distinct patterns would do to the frequencies of patterns, if that is
            why; None if coverage was asked for.
    """

    largest: int
    n_batches: int
    shift: FrequencyShift | None = None

    @property
    def fits(self) -> bool:
        """Whether each instance of a pattern can be in a batch of its own."""
        return self.largest <= self.n_batches

    def __str__(self) -> str:
        if self.shift is None:
            why = "as asked for"
        else:
            why = (
                f"because batches of {self.shift.batch_size} distinct patterns would give the "
                f"{self.shift.n_common} most common patterns {self.shift.common_in_batches:.0%} of "
                f"the places instead of {self.shift.common_in_data:.0%}"
            )
        covers = f"epoch, {why}: each instance is in one batch of an epoch"
        if not self.fits:
            return covers
        return (
            f"{covers}; no pattern has more than {self.largest:,} instances and an epoch has "
            f"{self.n_batches:,} batches, so no batch holds a pattern twice"
        )


@dataclass(frozen=True)
class KeepReason(Reason):
    """Why batches that cover the data hold equal patterns.

    Attributes:
        largest: Instances of the most common pattern.
        n_batches: Batches of an epoch.
    """

    largest: int
    n_batches: int

    def __str__(self) -> str:
        return (
            f"keep, because one pattern has {self.largest:,} instances and an epoch only "
            f"{self.n_batches:,} batches, so that some batches hold it twice; wrap the dataset in "
            "PatternDataset and give the patterns to the loss as ids=, so that it does not push "
            "equal ones apart"
        )
