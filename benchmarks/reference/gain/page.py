"""The page of results, written from the committed tables alone."""

from pathlib import Path
from typing import Any, Final

import polars

from benchmarks.reference.gain.comparison import (
    gain_text,
    report,
    smallest_effect,
)
from benchmarks.reference.gain.figures import differences_figure, sweep_figure
from benchmarks.reference.gain.later_rounds import LATER_ROUNDS, finding, section
from benchmarks.reference.gain.plan import (
    BEFORE,
    MOST_ARMS,
    Plan,
    Tables,
    by_design,
    complete,
    decided,
    hours_of_a_run,
    seeds_of_round_2,
)
from benchmarks.reference.gain.predictions import ARM, prediction_table
from benchmarks.reference.gain.rules import (
    MOST_SEEDS,
    missing,
    noise,
    seeds_to_find,
    unpaired_noise,
    verdicts,
)
from benchmarks.reference.gain.runs import read_runs
from benchmarks.reference.gain.sweeps import sweep_findings, sweep_table
from benchmarks.reference.gain.tasks import PRIMARY, TASKS
from benchmarks.reference.pretraining import MODES
from benchmarks.reference.tables import markdown
from maninegs_sampling.data.storage import write_atomically
from maninegs_sampling.reports.drawing import as_png


def write_page(folder: Path) -> None:
    """Write README.md and its pictures into the folder of the tables."""
    names = ("pilot", "round-1", "round-2", *(later.name for later in LATER_ROUNDS), "sweeps")
    tables = {n: read_runs(folder / f"{n}.csv") for n in names if (folder / f"{n}.csv").exists()}
    predicted = folder / "predictions.csv"
    if predicted.exists():
        tables["predictions"] = polars.read_csv(predicted)
    write_atomically(folder / "README.md", [page(tables).encode()])
    for name, figure in figures(tables).items():
        write_atomically(folder / f"{name}.png", [as_png(figure, dpi=110)])


def page(tables: Tables) -> str:
    """Return the whole page."""
    tables, plan = by_design(tables)
    parts = [INTRODUCTION, in_short(tables, plan), advice(tables, plan), QUESTION]
    parts += [pilot_section(tables), round_1_section(tables, plan), round_2_section(tables, plan)]
    parts += [section(r, tables[r.name]) for r in LATER_ROUNDS if r.name in tables]
    parts += [sweeps_section(tables), predictions_section(tables), REPEATING]
    return "\n\n".join(part for part in parts if part) + "\n"


def in_short(tables: Tables, plan: Plan | None) -> str:
    """Return what was found, a line for each mode and primary task."""
    lines = []
    for mode in MODES:
        if not decided(tables, plan, mode):
            lines.append(f"- **{mode}: not decided.** {progress(tables, plan, mode)}")
            continue
        rows = tables["round-2"].filter(mode=mode)
        for task in PRIMARY:
            for verdict in ("helps", "harms", "not decided"):
                arms = arms_that(verdict, rows, task)
                named = [f"`{arm}` {gain_text(rows, arm, task)}" for arm in arms]
                if named:
                    lines.append(f"- {mode}, {task}: **{verdict}**: {', '.join(named)}.")
    for later in LATER_ROUNDS:
        if later.name in tables and later.complete(tables[later.name]):
            lines += finding(later, tables[later.name])
    if "sweeps" in tables:
        lines += sweep_findings(tables["sweeps"])
    return "## In short\n\n" + "\n".join(lines)


def progress(tables: Tables, plan: Plan | None, mode: str) -> str:
    """Return which runs are missing before a mode is decided."""
    if plan is None:
        parts = []
        for name, arms, seeds in BEFORE:
            whole = len(arms) * len(seeds)
            left = len(missing(tables[name], mode, arms, seeds)) if name in tables else whole
            parts.append(f"{whole - left} of {whole} runs of {TITLES[name]}")
        finished = f"Finished are {' and '.join(parts)}."
        if not complete(tables, *BEFORE[0]):
            return f"{finished} Round 2 decides."
        n = (MOST_ARMS + 2) * seeds_of_round_2(tables, dict.fromkeys(MODES, MOST_ARMS))
        hours = n * hours_of_a_run(tables, mode)
        return (
            f"{finished} Round 2, which decides, has at most {n} runs ({hours:.1f} hours of one "
            "core)."
        )
    chosen, planned = plan[mode]
    whole = len(chosen) * len(planned)
    left = whole
    if "round-2" in tables:
        left = len(missing(tables["round-2"], mode, chosen, planned))
    hours = left * hours_of_a_run(tables, mode)
    return (
        f"Finished are {whole - left} of the {whole} runs of round 2, which decides; the rest "
        f"take {hours:.1f} hours of one core."
    )


def advice(tables: Tables, plan: Plan | None) -> str:
    """Return what a user should do."""
    helpful, harmful = (
        [
            f"- {mode} training, judged by {task}: {', '.join(f'`{arm}`' for arm in arms)}"
            for mode in MODES
            if decided(tables, plan, mode)
            for task in PRIMARY
            if (arms := arms_that(verdict, tables["round-2"].filter(mode=mode), task))
        ]
        for verdict in ("helps", "harms")
    )
    parts = ["## What a user should do"]
    if helpful:
        parts += [BETTER, "\n".join(helpful), CANDIDATES]
    else:
        parts.append(NO_GAIN)
    if harmful:
        parts += ["These were worse than uniform batches:", "\n".join(harmful)]
    return "\n\n".join(parts)


def arms_that(verdict: str, rows: polars.DataFrame, task: str) -> list[str]:
    """Return the arms of round 2 with this verdict, given the rows of one mode."""
    return [arm for arm, found in verdicts(rows, task).items() if found == verdict]


def pilot_section(tables: Tables) -> str:
    """Return how noisy differences are, and what it takes to find one."""
    if not complete(tables, *BEFORE[0]):
        return ""
    pilot = tables["pilot"]
    lines = []
    for mode in MODES:
        rows = pilot.filter(mode=mode)
        hours = hours_of_a_run(tables, mode)
        for task in TASKS:
            deviation = noise(rows, task)
            effects = [
                f"{smallest_effect(deviation, n, MOST_ARMS):.2f}" for n in (10, 15, MOST_SEEDS)
            ]
            for effect in (1.0, 0.5):
                n = seeds_to_find(effect, deviation, MOST_ARMS)
                effects.append(f"{n} ({n * (MOST_ARMS + 2) * hours:.1f} h)")
            unpaired = f"{unpaired_noise(rows, task):.2f}"
            lines.append([mode, task, f"{deviation:.2f}", unpaired, *effects])
    header = [
        "", "", "deviation", "without pairs", "10 seeds", "15 seeds", f"{MOST_SEEDS} seeds",
        "seeds for 1 point", "seeds for 0.5 points",
    ]  # fmt: skip
    return f"""## What the comparison can resolve

Ten pairs of uniform runs that differ only in which batches are drawn give the standard deviation
of a paired difference, in points. Beside it stands what it would be without pairs: where it is no
smaller, equal initial weights and augmentation do not make two runs alike. From the deviation
follow the smallest mean difference that is found with a power of 80%, after Holm's correction over
{MOST_ARMS} arms, the most that round 2 can have; and the number of seeds that find a difference of
1 and of 0.5 points, with the hours of one core that {MOST_ARMS + 2} arms take for them. An arm
whose gain varies with the seed needs more.

{markdown(header, lines)}"""


def round_1_section(tables: Tables, plan: Plan | None) -> str:
    """Return round 1 and what goes on; nothing before it is complete."""
    if plan is None:
        return HIDDEN
    going_on = "\n".join(
        f"- {mode}: {', '.join(f'`{a}`' for a in arms)}" for mode, (arms, _) in plan.items()
    )
    seeds = next(iter(plan.values()))[1]
    return f"""## Round 1

Three seeds, all arms. It drops the hopeless, and nothing is concluded from it: among so many
arms, some look good by chance. Differences from uniform batches are in points, with 95%
intervals.

{without_p(report(tables["round-1"]))}

![Round 1: differences from uniform batches](round-1.png)

By the rule, these go on to round 2, with seeds {seeds[0]} to {seeds[-1]}:

{going_on}"""


def without_p(text: str) -> str:
    """Return tables of `report` without their columns of p-values."""
    n = len(PRIMARY)
    lines = [
        "|".join([*line.split("|")[: -n - 1], ""]) if line.startswith("|") else line
        for line in text.splitlines()
    ]
    return "\n".join(lines)


def round_2_section(tables: Tables, plan: Plan | None) -> str:
    """Return round 2; p-values only where a mode is finished."""
    if plan is None or "round-2" not in tables:
        return ""
    parts = ["## Round 2"]
    for mode in MODES:
        rows = tables["round-2"].filter(mode=mode)
        if not len(rows):
            continue
        text = report(rows, tables["pilot"]).rstrip()
        if not decided(tables, plan, mode):
            parts.append(f"{progress(tables, plan, mode)} Until then there are no p-values.")
            text = without_p(text)
        parts.append(text)
    return "\n\n".join([*parts, "![Round 2: differences from uniform batches](round-2.png)"])


def sweeps_section(tables: Tables) -> str:
    """Return when an arm helps."""
    if "sweeps" not in tables:
        return ""
    return f"""## When does it help?

Differences from uniform batches are in points, with uncorrected 95% intervals: they describe, and
decide nothing.

{sweep_table(tables["sweeps"])}

![Gain against each setting](sweeps.png)"""


def predictions_section(tables: Tables) -> str:
    """Return what the library predicts beside what came out."""
    if "sweeps" not in tables or "predictions" not in tables:
        return ""
    return f"""## Does the table alone predict it?

For each data set and batch size of the sweeps: what `suitability` answers, how the mean distance
over all pairs of a batch changes, how far batches of distinct patterns shift the frequencies of
patterns (`frequency_shift`, from 0 to 1), and what came out for `{ARM}`.

{prediction_table(tables["predictions"], tables["sweeps"])}"""


def figures(tables: Tables) -> dict[str, Any]:
    """Return the page's matplotlib Figures by file name."""
    tables, plan = by_design(tables)
    made: dict[str, Any] = {}
    for name in ("round-1", "round-2"):
        if plan is not None and name in tables:
            made[name] = differences_figure(tables[name])
    for later in LATER_ROUNDS:
        if later.name in tables and later.complete(tables[later.name]):
            made[later.name] = differences_figure(tables[later.name], [later.mode])
    if "sweeps" in tables:
        made["sweeps"] = sweep_figure(tables["sweeps"], tables["sweeps"]["mode"][0])
    return made


TITLES: Final = {"pilot": "the pilot", "round-1": "round 1"}

INTRODUCTION: Final = """# Does it help? Results

<!-- Written by `python -m benchmarks.reference gain-page`; edit the command, not this file. -->

Does a batch, or a loss, make better image features than uniform batches do? The design, with its
arms, tasks and rules, was committed before any two arms were compared: [DESIGN.md](DESIGN.md).
Every number here is computed from the tables of runs beside this page."""

NO_GAIN: Final = """Use uniform batches unless you can test: no gain of harder batches or of another
loss has been shown here. If you try one, compare it with uniform batches on the same seeds and on
held-out data, and judge it by the task that you care about, with few labels or with all."""

BETTER: Final = """On data like these, and with a training like this one, these arms were better
than uniform batches:"""

CANDIDATES: Final = """Elsewhere they are candidates: compare them with uniform batches on your own
data, on several seeds."""

HIDDEN: Final = """## Round 1

Its differences are not shown, and were not looked at, before all of its runs are finished."""

QUESTION: Final = """## Question and design

White blood cells (WBCAtt), 10,284 gray images of 32 pixels, a manifestation of 15 bits that people
marked; a small ResNet, 1,000 steps of 64 cells, without and with the manifestation in the loss
(*unimodal*, *multimodal*). A seed gives all arms the same initial weights and the same
augmentation, so that arms are compared in pairs. Scores are of frozen features on the official
test part: the accuracy of the cell type from 2% of the labels and from all are primary. What
harder batches may cost is reported beside what they may gain.

A **pilot** measures the noise. **Round 1** drops the hopeless on three seeds. **Round 2** decides,
on at least ten other seeds, with p-values that are corrected for the number of arms. Nothing is
called equal: where no difference is found, the interval says which gain or loss it still allows."""

REPEATING: Final = """## To repeat it

    python -m benchmarks.reference gain-page --folder benchmarks/results/gain

writes this page from `pilot.csv`, `round-1.csv` to `round-4.csv`, `sweeps.csv` and
`predictions.csv`, of which those that are not there yet are left out. [DESIGN.md](DESIGN.md) has
the commands that make the tables; a round that was stopped goes on from its table."""
