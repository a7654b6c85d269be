"""Paired differences from uniform batches, computed from a table of runs."""

import math
from typing import Final

import numpy as np
import polars
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, stats

from benchmarks.reference.gain.arms import CONTROLS
from benchmarks.reference.gain.runs import SETTINGS
from benchmarks.reference.gain.tasks import PRIMARY, TASKS
from benchmarks.reference.tables import interval, markdown, spread, with_interval

BASELINE: Final = "uniform"
PLACEBO: Final = "uniform-again"
LEVEL: Final = 0.05
POWER: Final = 0.8


def by_seed(rows: polars.DataFrame, arm: str, task: str) -> dict[int, float]:
    """Return the scores of an arm in percent, by seed."""
    chosen = rows.filter((polars.col("arm") == arm) & (polars.col("task") == task))
    return {seed: 100 * score for seed, score in chosen.select("seed", "score").iter_rows()}


def differences(rows: polars.DataFrame, arm: str, task: str) -> NDArray[np.float64]:
    """Return an arm's score less that of uniform batches, in points, for each common seed."""
    first, second = by_seed(rows, arm, task), by_seed(rows, BASELINE, task)
    return np.array([first[seed] - second[seed] for seed in sorted(first.keys() & second.keys())])


def gain_text(rows: polars.DataFrame, arm: str, task: str) -> str:
    """Return an arm's difference from uniform batches with its interval, as text."""
    mean, low, high = interval(list(differences(rows, arm, task)))
    return f"({mean:+.2f} points, 95% interval {low:+.2f} to {high:+.2f})"


def holm(p: ArrayLike) -> NDArray[np.float64]:
    """Return p-values that are corrected by Holm's method; nan stays nan and counts as a test."""
    p = np.asarray(p, np.float64)
    order = np.argsort(p)
    corrected = np.empty_like(p)
    corrected[order] = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    return np.minimum(corrected, 1)


def smallest_effect(deviation: float, n: int, n_arms: int) -> float:
    """Return the mean difference that a paired t-test finds with a power of 80%.

    Args:
        deviation: standard deviation of a paired difference.
        n: number of seeds.
        n_arms: size of the family. The level is 5% / n_arms, which is Holm's for its first test.
    """
    if n < 2:
        return math.inf
    critical = stats.t.isf(LEVEL / n_arms / 2, n - 1)

    def missing_power(noncentrality: float) -> float:
        return float(stats.nct.sf(critical, n - 1, noncentrality)) - POWER

    return float(optimize.brentq(missing_power, 0, 10 * critical) * deviation / math.sqrt(n))


def p_value(d: NDArray[np.float64]) -> float:
    """Return the two-sided p-value of a paired t-test, or nan for fewer than two differences."""
    return float(stats.ttest_1samp(d, 0).pvalue) if len(d) > 1 else math.nan


def report(table: polars.DataFrame, pilot: polars.DataFrame | None = None) -> str:
    """Return a table of differences for each mode and each choice of settings.

    Args:
        table: the runs to compare.
        pilot: runs of `uniform` and `uniform-again`, whose differences tell what can be resolved.
    """
    parts = []
    for key, rows in table.group_by("mode", *SETTINGS, maintain_order=True):
        mode, *values = key
        settings = ", ".join(f"{n} {v}" for n, v in zip(SETTINGS, values, strict=True))
        same = dict(zip(("mode", *SETTINGS), key, strict=True))
        noise = None if pilot is None else pilot.filter(**same)
        parts.append(f"{mode} ({settings})\n\n{comparison(rows, noise)}")
    return "\n\n".join(parts) + "\n"


def comparison(rows: polars.DataFrame, pilot: polars.DataFrame | None) -> str:
    """Return the table of one mode and one choice of settings."""
    present = rows["arm"].unique().to_list()
    arms = sorted(set(present) - {BASELINE}, key=lambda arm: (arm not in CONTROLS, arm))
    family = [arm for arm in arms if arm not in CONTROLS]
    uniform = [spread(list(by_seed(rows, BASELINE, task).values()), 1.0) for task in TASKS]
    seeds = rows.filter(polars.col("arm") == BASELINE)["seed"].n_unique()
    lines = [[f"{BASELINE}, in %", str(seeds), *uniform, *[""] * len(PRIMARY)]]
    corrected = {
        task: dict(
            zip(
                family, holm([p_value(differences(rows, arm, task)) for arm in family]), strict=True
            )
        )
        for task in PRIMARY
    }
    for arm in arms:
        found = [list(differences(rows, arm, task)) for task in TASKS]
        p = [f"{corrected[task][arm]:.3f}" if arm in family else "" for task in PRIMARY]
        lines.append([arm, str(len(found[0])), *map(with_interval, found), *p])
    if pilot is not None and len(pilot) and family:
        lines.append(resolved(pilot, seeds, len(family)))
    header = ["", "seeds", *TASKS, *(f"p, {task}" for task in PRIMARY)]
    return markdown(header, lines)


def resolved(pilot: polars.DataFrame, seeds: int, n_arms: int) -> list[str]:
    """Return the line of the smallest effects that the comparison can resolve."""
    deviations = [np.std(differences(pilot, PLACEBO, task), ddof=1) for task in TASKS]
    effects = [f"{smallest_effect(float(d), seeds, n_arms):.2f}" for d in deviations]
    return ["can be resolved", str(seeds), *effects, *[""] * len(PRIMARY)]
