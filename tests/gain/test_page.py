"""The rules of the comparison, and the page of results that is written from its tables."""

from pathlib import Path

import numpy as np
import polars
import pytest
from scipy import stats

for framework in ("kornia", "lightning_fabric", "monai", "PIL"):
    pytest.importorskip(framework, reason=f"{framework} comes with the extra dev-all")

from benchmarks.reference.__main__ import main
from benchmarks.reference.gain import page, rules
from benchmarks.reference.gain.arms import CONTROLS, FIRST_ARMS
from benchmarks.reference.gain.comparison import holm, smallest_effect
from benchmarks.reference.gain.later_rounds import LATER_ROUNDS
from benchmarks.reference.gain.runs import SETTINGS
from benchmarks.reference.gain.tasks import PRIMARY, TASKS
from benchmarks.reference.gain.training import Settings

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results" / "gain"
FEW, ALL = PRIMARY


def made_up(arms, seeds, gains=(), modes=("unimodal", "multimodal"), noise=0.002):
    """A table of runs whose arms gain what is told, in points: (arm, task) to gain."""
    rng = np.random.default_rng(0)
    settings = {name: getattr(Settings(), name) for name in SETTINGS}
    return polars.DataFrame(
        [
            {"mode": mode, "arm": arm, "seed": seed, **settings, "batches": "0", "seconds": 36.0,
             "versions": "torch=2", "task": task,
             "score": 0.6 + dict(gains).get((arm, task), 0) / 100 + rng.normal(0, noise),
             "validation": 0.5}
            for mode in modes for arm in arms for seed in seeds for task in TASKS
        ]
    )  # fmt: skip


PILOT = made_up(CONTROLS[:2], range(950, 960))
GAINS = {
    ("vmf", FEW): 3, ("weighted", FEW): 5, ("graph-blocks", FEW): 4, ("cluster-hard", FEW): 2,
    ("random-walk", ALL): 6, ("untrained", FEW): 20, ("manineg-paper", FEW): -9,
}  # fmt: skip
ROUND_1 = made_up(FIRST_ARMS, range(100, 103), GAINS)
ON = [
    "uniform", "uniform-again", "manineg-paper", "manineg-suggested", "clusters-epoch-masked",
    "weighted", "graph-blocks", "vmf", "random-walk",
]  # fmt: skip


# The rules


def test_what_goes_on_by_the_rule():
    assert rules.going_on(ROUND_1.filter(mode="unimodal")) == ON
    losses = {(arm, task): -5 for arm in FIRST_ARMS for task in PRIMARY if arm != "uniform"}
    nothing = made_up(FIRST_ARMS, range(100, 103), losses).filter(mode="unimodal")
    assert rules.going_on(nothing) == ON[:5]
    both = made_up(FIRST_ARMS, range(100, 103), losses | {("vmf", FEW): 3, ("vmf", ALL): 3})
    assert rules.going_on(both.filter(mode="multimodal")) == [*ON[:5], "vmf"]


def test_seeds_of_round_2():
    assert rules.n_seeds(0.5, 7) == 10
    assert rules.n_seeds(5.0, 7) == 20
    between = rules.n_seeds(0.9, 7)
    assert 10 < between < 20
    assert smallest_effect(0.9, between, 7) <= 1 < smallest_effect(0.9, between - 1, 7)
    n = rules.seeds_to_find(0.5, 1.0, 7)
    assert smallest_effect(1.0, n, 7) <= 0.5 < smallest_effect(1.0, n - 1, 7)


def test_noise_with_and_without_pairs():
    shared = np.random.default_rng(1).normal(0, 0.05, 10)  # what a seed gives to both arms
    score = polars.col("score") + polars.col("seed").replace_strict(range(950, 960), shared)
    rows = PILOT.filter(mode="unimodal").with_columns(score=score)
    a, b = (rows.filter(arm=arm, task=FEW)["score"].to_numpy() for arm in CONTROLS[:2])
    assert rules.noise(rows, FEW) == pytest.approx(100 * (a - b).std(ddof=1))
    unpaired = np.sqrt(a.var(ddof=1) + b.var(ddof=1))
    assert rules.unpaired_noise(rows, FEW) == pytest.approx(100 * unpaired)
    assert rules.noise(rows, FEW) < rules.unpaired_noise(rows, FEW) / 3


def test_missing_runs_are_named():
    cut = PILOT.filter(~((polars.col("arm") == "uniform") & (polars.col("seed") == 953)))
    arms = CONTROLS[:2]
    assert rules.missing(cut, "unimodal", arms, range(950, 960)) == [("uniform", 953)]
    assert rules.missing(PILOT, "unimodal", arms, range(950, 960)) == []
    assert len(rules.missing(PILOT.head(0), "unimodal", arms, range(950, 960))) == 20


def test_verdicts_are_holms():
    gains = {("vmf", FEW): 2, ("weighted", FEW): -2}
    rows = made_up(ON, range(200, 210), gains).filter(mode="unimodal")
    found = rules.verdicts(rows, FEW)
    score = {r["arm"]: [] for r in rows.to_dicts()}
    for r in rows.filter(task=FEW).sort("seed").to_dicts():
        score[r["arm"]].append(r["score"])
    family = [arm for arm in ON if arm not in CONTROLS]
    p = [stats.ttest_rel(score[arm], score["uniform"]).pvalue for arm in family]
    expected = {
        arm: "not decided"
        if corrected >= 0.05
        else ("helps" if np.mean(score[arm]) > np.mean(score["uniform"]) else "harms")
        for arm, corrected in zip(family, holm(p), strict=True)
    }
    assert found == expected
    assert (found["vmf"], found["weighted"]) == ("helps", "harms")
    assert set(rules.verdicts(rows.filter(polars.col("seed") < 201), FEW).values()) == {
        "not decided"  # of one seed there is no test
    }


# The page


def test_page_without_tables():
    text = page.page({})
    assert "unimodal: not decided.** Finished are 0 of 20 runs of the pilot" in text
    assert "0 of 51 runs of round 1" in text
    assert "no gain of harder batches" in text
    assert "What the comparison can resolve" not in text


def test_round_1_is_hidden_until_it_is_complete():
    part = ROUND_1.filter(~((polars.col("arm") == "vmf") & (polars.col("seed") == 102)))
    tables = {"pilot": PILOT, "round-1": part}
    text = page.page(tables)
    assert (
        "50 of 51 runs of round 1. Round 2, which decides, has at most 90 runs (0.9 hours" in text
    )
    assert "| vmf" not in text
    assert "+3.0" not in text
    assert not page.figures(tables)
    assert "What the comparison can resolve" in text


def test_round_1_drops_and_concludes_nothing():
    tables = {"pilot": PILOT, "round-1": ROUND_1}
    text = page.page(tables)
    line = next(line for line in text.splitlines() if line.startswith("| weighted"))
    differences = [
        100 * (a - b)
        for a, b in zip(
            *(ROUND_1.filter(arm=a, task=FEW, mode="unimodal")["score"]
              for a in ("weighted", "uniform")), strict=True,
        )
    ]  # fmt: skip
    assert f"{np.mean(differences):+.2f} [" in line.split("|")[3 + TASKS.index(FEW)]
    assert "p, cell type" not in text
    assert "seeds 200 to 209" in text
    assert f"- unimodal: {', '.join(f'`{arm}`' for arm in ON)}" in text
    assert "Finished are 0 of the 90 runs of round 2" in text
    assert "helps" not in text
    assert set(page.figures(tables)) == {"round-1"}


def test_round_2_decides_when_a_mode_is_complete():
    gains = {("vmf", FEW): 2, ("vmf", ALL): -2}
    round_2 = made_up(ON, range(200, 210), gains)
    tables = {"pilot": PILOT, "round-1": ROUND_1, "round-2": round_2.filter(mode="unimodal")}
    text = page.page(tables)
    assert "- unimodal, cell type, 2%: **helps**: `vmf` (+" in text
    assert "- unimodal, cell type, all: **harms**: `vmf` (-" in text
    assert "- **multimodal: not decided.** Finished are 0 of the 90 runs of round 2" in text
    better, worse = text.split("These were worse than uniform batches:")
    assert "- unimodal training, judged by cell type, 2%: `vmf`" in better
    assert "- unimodal training, judged by cell type, all: `vmf`" in worse
    assert "no gain of harder batches" not in text
    assert text.count("p, cell type, 2%") == 1
    assert set(page.figures(tables)) == {"round-1", "round-2"}

    part = round_2.filter((polars.col("mode") == "unimodal") & (polars.col("seed") < 205))
    text = page.page({**tables, "round-2": part})
    assert "unimodal: not decided.** Finished are 45 of the 90 runs" in text
    assert "Until then there are no p-values." in text
    assert "p, cell type" not in text
    assert "**helps**" not in text


def test_later_rounds_are_read_when_complete():
    hypothesis, mechanism = LATER_ROUNDS
    gains = {("clusters-epoch-masked", FEW): 2, ("manineg-paper", ALL): -4}
    gains |= {("manineg-paper-dealt", ALL): -1}
    tables = {"pilot": PILOT, "round-1": ROUND_1}
    for later in LATER_ROUNDS:
        tables[later.name] = made_up(later.arms, later.seeds, gains, [later.mode])
    text = page.page(tables)
    assert (
        f"- {hypothesis.title}, unimodal, cell type, 2%: `clusters-epoch-masked` helps (+2" in text
    )
    assert "`manineg-paper` harms (-4" in text
    line = next(row for row in text.splitlines() if row.startswith("| manineg-paper less"))
    a, b = (
        tables["round-4"].filter(arm=arm, task=ALL).sort("seed")["score"].to_numpy()
        for arm in mechanism.twins[1]
    )
    assert f"{100 * np.mean(a - b):+.2f} [" in line.split("|")[4]
    assert float(line.split("|")[5]) == pytest.approx(2 * stats.ttest_rel(a, b).pvalue, abs=6e-4)
    assert set(page.figures(tables)) == {"round-1", "round-3", "round-4"}

    tables["round-3"] = tables["round-3"].filter(polars.col("seed") != 500)
    text = page.page(tables)
    assert "Finished are 238 of its 240 runs" in text
    assert "`clusters-epoch-masked` helps" not in text
    assert set(page.figures(tables)) == {"round-1", "round-4"}

    more = made_up(["vmf", "uniform"], range(600, 610), {("vmf", FEW): 9}, ["multimodal"])
    tables["round-4"] = polars.concat([tables["round-4"], more.filter(arm="vmf")])
    assert page.page(tables) == text


def test_runs_beyond_the_plan_do_not_count():
    round_2 = made_up(ON, range(200, 210))
    tables = {"pilot": PILOT, "round-1": ROUND_1, "round-2": round_2}
    more = made_up(["vmf", "uniform", "clusters-epoch"], range(210, 214), {("vmf", FEW): 9})
    other = ROUND_1.with_columns(temperature=polars.lit(0.7), score=polars.col("score") * 0.5)
    seeds = made_up(FIRST_ARMS, range(400, 402), {("cluster-hard", FEW): 30})
    again = {
        "pilot": polars.concat([PILOT, seeds]),
        "round-1": polars.concat([ROUND_1, other, seeds]),
        "round-2": polars.concat([round_2, more]),
    }
    assert page.page(again) == page.page(tables)


def test_committed_page_is_what_the_command_writes(tmp_path):
    for table in RESULTS.glob("*.csv"):
        (tmp_path / table.name).write_bytes(table.read_bytes())
    main(["gain-page", "--folder", str(tmp_path)])
    assert (tmp_path / "README.md").read_text() == (RESULTS / "README.md").read_text()
    pictures = {picture.name for picture in tmp_path.glob("*.png")}
    assert pictures == {picture.name for picture in RESULTS.glob("*.png")}
