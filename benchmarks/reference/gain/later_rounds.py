"""The rounds that were added to the design after round 1, each for one question."""

from dataclasses import asdict, dataclass
from typing import Final

import numpy as np
import polars

from benchmarks.reference.gain.comparison import (
    BASELINE,
    by_seed,
    gain_text,
    holm,
    p_value,
    report,
)
from benchmarks.reference.gain.rules import missing, verdicts
from benchmarks.reference.gain.tasks import PRIMARY
from benchmarks.reference.gain.training import Settings
from benchmarks.reference.tables import markdown, with_interval


@dataclass(frozen=True)
class LaterRound:
    """A round of one mode, read when it is complete.

    Attributes:
        name: of its table.
        title: of its section.
        question: what the section says first.
        mode: "unimodal" or "multimodal".
        arms: which are compared with uniform batches, themselves among them.
        seeds: of all arms.
        twins: pairs of arms whose difference is of interest, too.
    """

    name: str
    title: str
    question: str
    mode: str
    arms: tuple[str, ...]
    seeds: range
    twins: tuple[tuple[str, str], ...] = ()

    def planned(self, rows: polars.DataFrame) -> polars.DataFrame:
        """Return the rows that the design plans; runs beyond it must not count."""
        return rows.filter(
            polars.col("arm").is_in(self.arms),
            polars.col("seed").is_in(self.seeds),
            mode=self.mode,
            **asdict(Settings()),
        )

    def complete(self, rows: polars.DataFrame) -> bool:
        """Whether all runs are there."""
        return not missing(rows, self.mode, self.arms, self.seeds)


LATER_ROUNDS: Final = (
    LaterRound(
        "round-3",
        "Round 3: the hypothesis alone",
        "Unimodal training is noisy, and round 2 finds only differences of 2 points there. This "
        "round asks about one arm, the hypothesis, on 120 seeds.",
        "unimodal",
        (BASELINE, "clusters-epoch-masked"),
        range(400, 520),
    ),
    LaterRound(
        "round-4",
        "Round 4: hardness or frequency",
        "Batches of distinct patterns show instances of rare patterns more often than the data "
        "does. The arms `...-dealt` draw the same instances, as often, as their twins, but deal "
        "them to batches at random: they have the frequencies and not the hardness. "
        "`manineg-epoch-masked` has the hardness and not the frequencies.",
        "multimodal",
        (
            BASELINE, "uniform-distinct", "uniform-distinct-dealt", "manineg-paper",
            "manineg-paper-dealt", "manineg-epoch-masked",
        ),
        range(600, 610),
        (
            ("uniform-distinct", "uniform-distinct-dealt"),
            ("manineg-paper", "manineg-paper-dealt"),
        ),
    ),
)  # fmt: skip


def section(later: LaterRound, rows: polars.DataFrame) -> str:
    """Return a round's section; only how far it is before it is complete."""
    heading = f"## {later.title}\n\n{later.question}"
    whole = len(later.arms) * len(later.seeds)
    left = len(missing(rows, later.mode, later.arms, later.seeds))
    if left:
        return (
            f"{heading} Finished are {whole - left} of its {whole} runs; it is read when all are."
        )
    parts = [heading, report(rows).rstrip()]
    if later.twins:
        parts += [
            "Each arm less its dealt twin, in points, with Holm's p-values:",
            twins(later, rows),
        ]
    parts.append(f"![{later.title}]({later.name}.png)")
    return "\n\n".join(parts)


def twins(later: LaterRound, rows: polars.DataFrame) -> str:
    """Return the differences between arms and their twins."""
    cells: dict[tuple[str, str], list[str]] = {pair: [] for pair in later.twins}
    for task in PRIMARY:
        found = [
            np.array([first[seed] - second[seed] for seed in later.seeds])
            for first, second in (
                (by_seed(rows, a, task), by_seed(rows, b, task)) for a, b in later.twins
            )
        ]
        corrected = holm([p_value(d) for d in found])
        for pair, d, p in zip(later.twins, found, corrected, strict=True):
            cells[pair] += [with_interval(list(d)), f"{p:.3f}"]
    header = ["", *(text for task in PRIMARY for text in (task, "p"))]
    lines = [[f"{a} less {b}", *values] for (a, b), values in cells.items()]
    return markdown(header, lines)


def finding(later: LaterRound, rows: polars.DataFrame) -> list[str]:
    """Return what a complete round found, a line for each primary task."""
    lines = []
    for task in PRIMARY:
        named = [
            f"`{arm}` {verdict} {gain_text(rows, arm, task)}"
            for arm, verdict in verdicts(rows, task).items()
        ]
        lines.append(f"- {later.title}, {later.mode}, {task}: {'; '.join(named)}.")
    return lines
