"""The rules of benchmarks/results/gain/DESIGN.md: what goes on to round 2, and what it decides."""

from collections.abc import Iterable
from typing import Final, Literal

import numpy as np
import polars

from benchmarks.reference.gain.arms import CONTROLS, FIRST_ARMS
from benchmarks.reference.gain.comparison import (
    BASELINE,
    LEVEL,
    PLACEBO,
    by_seed,
    differences,
    holm,
    p_value,
    smallest_effect,
)
from benchmarks.reference.gain.tasks import PRIMARY

PILOT_SEEDS: Final = range(950, 960)
ROUND_1_SEEDS: Final = range(100, 103)
FIRST_SEED: Final = 200  # of round 2
FEWEST_SEEDS, MOST_SEEDS = 10, 20  # of round 2
RESOLVED: Final = 1.0  # points that round 2 is to find, if the most seeds allow it
ALWAYS: Final = ("manineg-paper", "manineg-suggested", "clusters-epoch-masked")

Verdict = Literal["helps", "harms", "not decided"]


def noise(pilot: polars.DataFrame, task: str) -> float:
    """Return the standard deviation of the pilot's paired differences of one mode, in points."""
    return float(np.std(differences(pilot, PLACEBO, task), ddof=1))


def unpaired_noise(pilot: polars.DataFrame, task: str) -> float:
    """Return the standard deviation if the pilot's runs were not paired by seed, in points."""
    variances = [
        np.var(list(by_seed(pilot, arm, task).values()), ddof=1) for arm in (BASELINE, PLACEBO)
    ]
    return float(np.sqrt(sum(variances)))


def going_on(rows: polars.DataFrame) -> list[str]:
    """Return the arms of round 2, given the rows of one mode of round 1."""
    others = [arm for arm in FIRST_ARMS if arm not in (*CONTROLS, *ALWAYS)]

    def best(task: str, n: int) -> list[str]:
        gains = {arm: float(np.mean(differences(rows, arm, task))) for arm in others}
        ranked = sorted(others, key=lambda arm: -gains[arm])
        return [arm for arm in ranked[:n] if gains[arm] > 0]

    few, every = PRIMARY
    return list(dict.fromkeys([BASELINE, PLACEBO, *ALWAYS, *best(few, 3), *best(every, 1)]))


def n_seeds(deviation: float, n_arms: int) -> int:
    """Return the number of seeds of round 2 for one mode.

    Args:
        deviation: `noise` of the task with few labels.
        n_arms: size of the family, the controls left out.
    """
    for n in range(FEWEST_SEEDS, MOST_SEEDS):
        if smallest_effect(deviation, n, n_arms) <= RESOLVED:
            return n
    return MOST_SEEDS


def seeds_to_find(effect: float, deviation: float, n_arms: int) -> int:
    """Return the least number of seeds that find a mean difference with a power of 80%."""
    n = 2
    while smallest_effect(deviation, n, n_arms) > effect:
        n += 1
    return n


def missing(
    rows: polars.DataFrame, mode: str, arms: Iterable[str], seeds: Iterable[int]
) -> list[tuple[str, int]]:
    """Return the arms and seeds of a mode of which a table has no run."""
    found = set(rows.filter(mode=mode).select("arm", "seed").unique().iter_rows())
    return [(arm, seed) for seed in seeds for arm in arms if (arm, seed) not in found]


def verdicts(rows: polars.DataFrame, task: str) -> dict[str, Verdict]:
    """Return what round 2 says about each arm, given the rows of one mode."""
    family = [arm for arm in rows["arm"].unique(maintain_order=True) if arm not in CONTROLS]
    found = [differences(rows, arm, task) for arm in family]
    corrected = holm([p_value(d) for d in found])
    return {
        arm: "not decided" if not p < LEVEL else "helps" if d.mean() > 0 else "harms"
        for arm, d, p in zip(family, found, corrected, strict=True)
    }
