"""What is planned of each table, and what of it is finished."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Final

import polars

from benchmarks.reference.gain.arms import CONTROLS, FIRST_ARMS
from benchmarks.reference.gain.comparison import BASELINE, PLACEBO
from benchmarks.reference.gain.later_rounds import LATER_ROUNDS
from benchmarks.reference.gain.rules import (
    ALWAYS,
    FIRST_SEED,
    PILOT_SEEDS,
    ROUND_1_SEEDS,
    going_on,
    missing,
    n_seeds,
    noise,
)
from benchmarks.reference.gain.tasks import PRIMARY
from benchmarks.reference.gain.training import Settings
from benchmarks.reference.pretraining import MODES

MOST_ARMS: Final = len(ALWAYS) + 4  # of a family of round 2
# The table, arms and seeds of what is finished before round 2.
BEFORE: Final = (
    ("pilot", [BASELINE, PLACEBO], PILOT_SEEDS),
    ("round-1", list(FIRST_ARMS), ROUND_1_SEEDS),
)
Tables = dict[str, polars.DataFrame]
Plan = dict[str, tuple[list[str], range]]  # for each mode, the arms and the seeds of round 2


def by_design(tables: Tables) -> tuple[Tables, Plan | None]:
    """Return the planned runs of each table, and the plan; runs beyond it must not count."""
    planned = dict(tables)
    for name, arms, seeds in BEFORE:
        if name in tables:
            planned[name] = tables[name].filter(
                polars.col("arm").is_in(arms), polars.col("seed").is_in(seeds), **asdict(Settings())
            )
    for later in LATER_ROUNDS:
        if later.name in tables:
            planned[later.name] = later.planned(tables[later.name])
    plan = plan_of(planned)
    if plan is not None and "round-2" in tables:
        parts = [
            tables["round-2"].filter(
                polars.col("arm").is_in(arms),
                polars.col("seed").is_in(seeds),
                mode=mode,
                **asdict(Settings()),
            )
            for mode, (arms, seeds) in plan.items()
        ]
        planned["round-2"] = polars.concat(parts)
    return planned, plan


def plan_of(tables: Tables) -> Plan | None:
    """Return the arms and seeds of round 2, or None where pilot or round 1 are not finished."""
    if not all(complete(tables, *part) for part in BEFORE):
        return None
    arms = {mode: going_on(tables["round-1"].filter(mode=mode)) for mode in MODES}
    n = seeds_of_round_2(tables, {mode: family_size(arms[mode]) for mode in MODES})
    return {mode: (arms[mode], range(FIRST_SEED, FIRST_SEED + n)) for mode in MODES}


def seeds_of_round_2(tables: Tables, n_arms: dict[str, int]) -> int:
    """Return the number of seeds, given the pilot and each mode's number of arms."""
    deviations = {mode: noise(tables["pilot"].filter(mode=mode), PRIMARY[0]) for mode in MODES}
    return max(n_seeds(deviations[mode], n_arms[mode]) for mode in MODES)


def complete(tables: Tables, name: str, arms: Sequence[str], seeds: range) -> bool:
    """Whether a table is there and has all runs of both modes."""
    return name in tables and not any(missing(tables[name], m, arms, seeds) for m in MODES)


def decided(tables: Tables, plan: Plan | None, mode: str) -> bool:
    """Whether all runs of a mode of round 2 are there."""
    if plan is None or "round-2" not in tables:
        return False
    return not missing(tables["round-2"], mode, *plan[mode])


def family_size(arms: Sequence[str]) -> int:
    """Return the number of arms that are hypotheses."""
    return len(set(arms) - set(CONTROLS))


def hours_of_a_run(tables: Tables, mode: str) -> float:
    """Return the mean hours of one core that a run of the pilot took."""
    seconds = tables["pilot"].filter(mode=mode).unique(["arm", "seed"])["seconds"]
    return float(seconds.to_numpy().mean()) / 3600
