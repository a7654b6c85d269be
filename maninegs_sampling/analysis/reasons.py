"""What was found about some data: numbers first; `str` turns each finding into a sentence."""

from dataclasses import dataclass
from typing import Literal

from maninegs_sampling.distances.metrics import METRICS, MetricName

# Where the trainings are that the reasons speak of.
RESULTS = "benchmarks/results/gain/README.md"

Supply = Literal["patterns", "groups"]


@dataclass(frozen=True)
class Reason:
    """A finding. Its attributes are the numbers; `str(reason)` is the sentence."""


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

    distance: float
    metric: MetricName = "hamming"

    def __str__(self) -> str:
        apart = f"{self.distance}{METRICS[self.metric].unit} apart"
        return f"all patterns are {apart}: no negatives are nearer than others"


@dataclass(frozen=True)
class FinalHardness(Reason):
    """The mean distance over all pairs of a batch at the last mu, which decides the verdict.

    Attributes:
        mu: The last mu.
        pair_mean: Mean distance over all pairs of a batch at this mu.
        uniform_mean: The same for uniform batches of distinct patterns.
        harder: Whether the difference is large enough.
        easier_at: The smallest mu at which batches are easier than uniform ones, if there is one.
        metric: "hamming" or "jaccard".
    """

    mu: float
    pair_mean: float
    uniform_mean: float
    harder: bool
    easier_at: float | None = None
    metric: MetricName = "hamming"

    def __str__(self) -> str:
        change = self.pair_mean / self.uniform_mean - 1
        found = (
            f"at mu = {self.mu:g}, all pairs of a batch are {self.pair_mean:.2f}"
            f"{METRICS[self.metric].unit} apart on average, {change:+.0%} against "
            f"{self.uniform_mean:.2f} in uniform batches of distinct patterns"
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
        within: Number of other patterns at most 1, 2 and 3 bits away; by "jaccard" 0.1, 0.2 and
            0.3.
        nearest: Mean distance to the nearest batch_size - 1 patterns.
        batch_size: Instances per batch.
        metric: "hamming" or "jaccard".
    """

    within: tuple[float, float, float]
    nearest: float
    batch_size: int
    metric: MetricName = "hamming"

    def __str__(self) -> str:
        metric = METRICS[self.metric]
        one, two, three = self.within
        first, second, third = metric.near
        return (
            f"an anchor has {one:.1f}, {two:.1f} and {three:.1f} other patterns within {first}, "
            f"{second} and {third}{metric.unit}; its nearest {self.batch_size - 1} are "
            f"{metric.text(self.nearest)} away on average"
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
    """The traits with the largest shares of the traits in which instances differ.

    Attributes:
        names: Names of the traits.
        shares: Their shares.
    """

    names: tuple[str, ...]
    shares: tuple[float, ...]

    def __str__(self) -> str:
        listed = zip(self.names, self.shares, strict=True)
        traits = ", ".join(f"{name} {share:.0%}" for name, share in listed)
        return f"the traits with the largest shares of all differences: {traits}"


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
class FrequencyShift(Reason):
    """How batches of distinct patterns change how often instances are seen.

    Attributes:
        share: Share of the places in batches that would have to hold instances of other patterns
            for each pattern to be seen as often as in the data: the total-variation distance
            between the two distributions over patterns, in [0, 1].
        n_common: Number of the most common patterns that the next two are about.
        common_in_data: Their share of the instances.
        common_in_batches: Their share of the places in batches of distinct patterns.
        batch_size: Instances per batch.
    """

    share: float
    n_common: int
    common_in_data: float
    common_in_batches: float
    batch_size: int

    def __str__(self) -> str:
        return (
            f"the {self.n_common} most common patterns hold {self.common_in_data:.0%} of the "
            f"instances but only {self.common_in_batches:.0%} of the places in batches of "
            f"{self.batch_size} distinct patterns, which show rare patterns too often: in this "
            f"project's trainings this alone cost 4 to 7 points ({RESULTS}); with "
            'coverage="epoch" every instance is seen equally often'
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
            "harder batches do not promise better representations: in this project's trainings on "
            f"real images they gained nothing ({RESULTS})"
        )
