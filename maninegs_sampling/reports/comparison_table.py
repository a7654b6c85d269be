"""The table of a comparison, as text for a terminal of 80 columns."""

import textwrap
from collections.abc import Sequence

from maninegs_sampling.analysis.batch_hardness import N_NEAREST, Hardness
from maninegs_sampling.distances.metrics import MetricName
from maninegs_sampling.quoting import escape_controls
from maninegs_sampling.reports.comparison import EIGHT, UNIFORM_DISTINCT
from maninegs_sampling.reports.entries import Entry, LeftOut
from maninegs_sampling.reports.text_table import text_table

COLUMNS = (
    "sampler", "size", "patterns", "anchor", "pairs", f"nearest {N_NEAREST}", "seen", "gini", "us",
)  # fmt: skip

_WIDTH = 80

_LEGEND = """\
near cluster:   one cluster whose members are all near (center="cluster"),
                at mu={mu:g}, as the next two
eight clusters: {eight} anchors and their negatives (anchors_per_batch={eight})
eight covering: the same, each instance once an epoch, patterns may repeat
                (duplicates="keep", coverage="epoch")
size, patterns: instances and distinct patterns in a batch, on average
anchor:         {distance} of the others from the first of a
                batch, which is the anchor or the first of the anchors
pairs:          mean distance over all pairs of a batch
nearest {nearest}:      mean distance of an instance to the {nearest} nearest in its batch, or
                to all of another pattern if there are fewer
%:              the distance against that of {uniform}
                Pairs of equal patterns are left out of all three distances: a
                loss masks them if it is given ids=. comparison.json has both.
seen:           share of the {n} instances that an epoch draws, on average
gini:           how unequally instances are drawn in {epochs}; 0 is equally
us:             microseconds a batch takes in a pass over the sampler (k:
                thousands), planning an epoch included, median over epochs"""


def comparison_table(measured: Sequence[Entry | LeftOut]) -> str:
    """Return the table of all entries, each beside uniform batches of distinct patterns.

    Below it stands what was left out, and why.

    Args:
        measured: What `compare` yields, uniform batches of distinct patterns among it.
    """
    entries = [row for row in measured if isinstance(row, Entry)]
    yardstick = next(entry.hardness for entry in entries if entry.name == UNIFORM_DISTINCT)
    table = text_table(COLUMNS, [_row(entry, yardstick) for entry in entries])
    left_out = [_why_left_out(row) for row in measured if isinstance(row, LeftOut)]
    return "\n".join([table, *([""] if left_out else []), *left_out])


def comparison_legend(
    *, n_instances: int, epochs: int, mu: float, metric: MetricName = "hamming"
) -> str:
    """Return what the rows and columns mean.

    Args:
        n_instances: Number of instances of the data.
        epochs: Number of epochs measured.
        mu: The smallest mu.
        metric: "hamming" or "jaccard".
    """
    return _LEGEND.format(
        uniform=UNIFORM_DISTINCT,
        nearest=N_NEAREST,
        eight=EIGHT,
        n=n_instances,
        epochs=f"{epochs} epoch{'s' if epochs > 1 else ''}",
        mu=mu,
        distance="mean distance, in bits," if metric == "hamming" else "mean Jaccard distance",
    )


def _why_left_out(row: LeftOut) -> str:
    text = escape_controls(f"left out: {row.name}, because {row.reason}")
    return textwrap.fill(
        text, _WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )


def _row(entry: Entry, yardstick: Hardness) -> tuple[str, ...]:
    h = entry.hardness
    return (
        entry.name,
        f"{h.instances_mean:.1f}",
        f"{h.patterns_mean:.1f}",
        _three_digits(h.masked_anchor_mean),
        _beside(h.masked_pair_mean, yardstick.masked_pair_mean),
        _beside(h.masked_nearest_mean, yardstick.masked_nearest_mean),
        f"{entry.coverage.seen_share:.0%}",
        f"{entry.coverage.gini:.2f}",
        _four_places(entry.microseconds),
    )


def _three_digits(mean: float) -> str:
    """Return a mean distance with three significant digits: the table is narrow."""
    return f"{mean:.2f}" if not mean >= 9.995 else f"{mean:.1f}" if mean < 99.95 else f"{mean:.0f}"


def _four_places(microseconds: float) -> str:
    """Return a time in microseconds, or in thousands of them from 10,000 on."""
    return f"{microseconds:.0f}" if microseconds < 9_999.5 else f"{microseconds / 1000:.0f}k"


def _beside(mean: float, uniform: float) -> str:
    """Return a mean distance and its difference from that of uniform batches, in percent."""
    difference = round(mean / uniform - 1, 2) + 0.0  # not -0%
    return f"{_three_digits(mean)} {difference:+4.0%}"
