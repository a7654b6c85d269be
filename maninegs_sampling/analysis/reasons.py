"""What was found about some data: numbers first; `str` turns each finding into a sentence."""

from dataclasses import dataclass
from typing import Literal

Supply = Literal["patterns", "groups"]


@dataclass(frozen=True)
class Reason:
    """A finding. Its attributes are the numbers; `str(reason)` is the sentence."""


# Findings about the data


@dataclass(frozen=True)
class TooFew(Reason):
    """The data has too few distinct patterns or groups for one batch.

    Attributes:
        what: What there are too few of, "patterns" or "groups".
        available: Number in the data.
        batch_size: Instances per batch.
    """

    what: Supply
    available: int
    batch_size: int

    def __str__(self) -> str:
        other = {"patterns": "more traits", "groups": "no groups"}[self.what]
        smaller = f"a batch size of at most {self.available}, or " if self.available > 1 else ""
        return (
            f"batches of {self.batch_size} without duplicates need {self.batch_size} distinct "
            f"{self.what} and the data has {self.available}: use {smaller}{other}"
        )


@dataclass(frozen=True)
class OneDistance(Reason):
    """All distinct patterns have the same distance."""

    distance: int

    def __str__(self) -> str:
        return f"all patterns are {self.distance} bits apart: no negatives are nearer than others"


@dataclass(frozen=True)
class FinalHardness(Reason):
    """The mean distance over all pairs of a batch at the last mu, which decides the verdict.

    Attributes:
        mu: The last mu.
        pair_mean: Mean distance over all pairs of a batch at this mu.
        uniform_mean: The same for uniform batches of distinct patterns.
        harder: Whether the difference is large enough.
        easier_at: The smallest mu at which batches are easier than uniform ones, if there is one.
    """

    mu: float
    pair_mean: float
    uniform_mean: float
    harder: bool
    easier_at: float | None = None

    def __str__(self) -> str:
        change = self.pair_mean / self.uniform_mean - 1
        found = (
            f"at mu = {self.mu:g}, all pairs of a batch are {self.pair_mean:.2f} bits apart on "
            f"average, {change:+.0%} against {self.uniform_mean:.2f} in uniform batches of "
            "distinct patterns"
        )
        if not self.harder:
            return f"a low mu makes batches hardly harder: {found}"
        if self.easier_at is None:
            return f"the lower mu, the harder the batches: {found}"
        return f"{found}; at mu = {self.easier_at:g} they are farther apart than in uniform ones"


@dataclass(frozen=True)
class NearPatterns(Reason):
    """How many patterns lie near an anchor.

    Attributes:
        within: Number of other patterns at most 1, 2 and 3 bits away.
        nearest: Mean distance to the nearest batch_size - 1 patterns.
        batch_size: Instances per batch.
    """

    within: tuple[float, float, float]
    nearest: float
    batch_size: int

    def __str__(self) -> str:
        one, two, three = self.within
        return (
            f"an anchor has {one:.1f}, {two:.1f} and {three:.1f} other patterns within 1, 2 and 3 "
            f"bits; its nearest {self.batch_size - 1} are {self.nearest:.1f} bits away on average"
        )


@dataclass(frozen=True)
class EqualsLabel(Reason):
    """A trait equals the label, or its opposite, in every instance."""

    name: str

    def __str__(self) -> str:
        return (
            f"{self.name!r} equals the label, which moves negatives of the other class away: "
            "exclude this trait, or use a supervised contrastive loss (section VI of the paper)"
        )


@dataclass(frozen=True)
class LargestShares(Reason):
    """The traits with the largest shares of the mean distance.

    Attributes:
        names: Names of the traits.
        shares: Their shares.
    """

    names: tuple[str, ...]
    shares: tuple[float, ...]

    def __str__(self) -> str:
        listed = zip(self.names, self.shares, strict=True)
        traits = ", ".join(f"{name} {share:.0%}" for name, share in listed)
        return f"the traits with the largest shares of the distance: {traits}"


@dataclass(frozen=True)
class Duplicates(Reason):
    """How many instances of a uniform batch repeat a pattern.

    Attributes:
        expected: Expected number of such instances.
        batch_size: Instances per batch.
    """

    expected: float
    batch_size: int

    def __str__(self) -> str:
        return (
            f"in a uniform batch of {self.batch_size}, {self.expected:.1f} instances repeat the "
            "pattern of another, and the loss pushes the two apart; ManiNeg batches have none"
        )


@dataclass(frozen=True)
class ShortBatches(Reason):
    """Some batches are not full.

    Attributes:
        smallest: Instances in the smallest batch.
        batch_size: Instances per full batch.
    """

    smallest: int
    batch_size: int

    def __str__(self) -> str:
        return (
            "some anchors have too few instances of other patterns and groups: the smallest batch "
            f"has {self.smallest} instances instead of {self.batch_size}"
        )


@dataclass(frozen=True)
class NoPromise(Reason):
    """Harder batches are not the same as better representations."""

    def __str__(self) -> str:
        return (
            "harder batches do not promise better representations: this project's reference "
            "trainings have not shown a gain from them (benchmarks/results)"
        )


# Reasons for settings


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
    """

    start: float
    easier_at: float | None
    end: float
    nearest: float
    cluster_size: int
    fall: int
    steps: int

    def __str__(self) -> str:
        if self.easier_at is None:
            start = "the mean distance in uniform batches of distinct patterns"
        else:
            start = f"because batches are easier than uniform ones at {self.easier_at:g}"
        return (
            f"starts at {self.start:g}, {start}; ends at {self.end:g}, two sigma below the "
            f"{self.nearest:.1f} bits to an anchor's nearest {self.cluster_size - 1} patterns (0 "
            "if that is negative), because a lower mu draws nearly the same batches; falls over "
            f"the first {self.fall:,} of {self.steps:,} steps, half of them, as in the authors' "
            "code"
        )


@dataclass(frozen=True)
class SigmaReason(Reason):
    """Why sigma is what it is."""

    sigma: float

    def __str__(self) -> str:
        return f"{self.sigma:g}, the standard deviation of the distances in the data"


@dataclass(frozen=True)
class LowReason(Reason):
    """Why low is 1."""

    def __str__(self) -> str:
        return "1, because instances with the anchor's own pattern are never negatives"


@dataclass(frozen=True)
class HighReason(Reason):
    """Why high is what it is."""

    high: int

    def __str__(self) -> str:
        return f"{self.high}, the largest distance in the data"


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
    """

    largest: int
    n_batches: int

    @property
    def fits(self) -> bool:
        """Whether each instance of a pattern can be in a batch of its own."""
        return self.largest <= self.n_batches

    def __str__(self) -> str:
        asked = "epoch, as asked for: each instance is in one batch of an epoch"
        if not self.fits:
            return asked
        return (
            f"{asked}; no pattern has more than {self.largest:,} instances and an epoch has "
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
