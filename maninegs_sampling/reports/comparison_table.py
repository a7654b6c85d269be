"""The table of a comparison, as text for a terminal of 80 columns."""

from collections.abc import Sequence

from maninegs_sampling.analysis.batch_hardness import N_NEAREST, Hardness
from maninegs_sampling.reports.comparison import UNIFORM_DISTINCT, Entry
from maninegs_sampling.reports.text_table import text_table

COLUMNS = (
    "sampler", "size", "patterns", "anchor", "pairs", f"nearest {N_NEAREST}", "seen", "gini", "us",
)  # fmt: skip

_LEGEND = """\
size, patterns: instances and distinct patterns in a batch, on average
anchor:         mean distance, in bits, of the negatives from their anchor
pairs:          mean distance over all pairs of a batch
nearest {nearest}:      mean distance of an instance to the {nearest} nearest in its batch, or
                to all of another pattern if there are fewer
%:              the distance against that of {uniform}
                Pairs of equal patterns are left out of all three distances: a
                loss masks them if it is given ids=. comparison.json has both.
seen:           share of the {n} instances that an epoch draws, on average
gini:           how unequally instances are drawn in {epochs} epochs; 0 is equally
us:             microseconds to draw a batch, median over epochs"""


def comparison_table(entries: Sequence[Entry]) -> str:
    """Return the table of all entries, each beside uniform batches of distinct patterns.

    Args:
        entries: What was measured, uniform batches of distinct patterns among it.
    """
    yardstick = next(entry.hardness for entry in entries if entry.name == UNIFORM_DISTINCT)
    return text_table(COLUMNS, [_row(entry, yardstick) for entry in entries])


def comparison_legend(*, n_instances: int, epochs: int) -> str:
    """Return what the columns mean.

    Args:
        n_instances: Number of instances of the data.
        epochs: Number of epochs measured.
    """
    return _LEGEND.format(uniform=UNIFORM_DISTINCT, nearest=N_NEAREST, n=n_instances, epochs=epochs)


def _row(entry: Entry, yardstick: Hardness) -> tuple[str, ...]:
    h = entry.hardness
    return (
        entry.name,
        f"{h.instances_mean:.1f}",
        f"{h.patterns_mean:.1f}",
        f"{h.masked_anchor_mean:.2f}",
        _beside(h.masked_pair_mean, yardstick.masked_pair_mean),
        _beside(h.masked_nearest_mean, yardstick.masked_nearest_mean),
        f"{entry.coverage.seen_share:.0%}",
        f"{entry.coverage.gini:.2f}",
        f"{entry.microseconds:.0f}",
    )


def _beside(mean: float, uniform: float) -> str:
    """Return a mean distance and its difference from that of uniform batches, in percent."""
    difference = round(mean / uniform - 1, 2) + 0.0  # not -0%
    return f"{mean:.2f} {difference:+5.0%}"
