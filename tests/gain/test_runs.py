"""Runs, their tables, tuning, and the table of differences from uniform batches."""

import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars
import pytest
import torch
from scipy import stats

import maninegs_sampling as mn

for framework in ("kornia", "lightning_fabric", "monai", "PIL"):
    pytest.importorskip(framework, reason=f"{framework} comes with the extra dev-all")


from benchmarks.reference.__main__ import main
from benchmarks.reference.gain import comparison, tasks
from benchmarks.reference.gain.arms import ARMS, CONTROLS, manineg
from benchmarks.reference.gain.commands import seed_range
from benchmarks.reference.gain.runs import SETTINGS, Run, merge, perform, read_runs, split
from benchmarks.reference.gain.training import Settings
from benchmarks.reference.gain.tuning import CANDIDATES, tune

ROOT = Path(__file__).parents[2]
SHORT = Settings(steps=12, batch_size=16)


# Runs


def run_gain(folder, out, *more):
    main(
        ["gain", "--data", f"wbcatt={folder}", "--out", str(out), "--round", "smoke",
         "--settings", "steps=12", "batch_size=16", *more]
    )  # fmt: skip


def test_a_round_is_cached_merged_and_compared(folder, tmp_path, capsys):
    for seed in ("0", "1"):  # as two processes would
        run_gain(folder, tmp_path, "--seeds", seed, "--modes", "unimodal",
                 "--arms", "uniform", "uniform-again", "uniform-distinct")  # fmt: skip
    files = sorted((tmp_path / "smoke").iterdir())
    made = [file.stat().st_mtime_ns for file in files]
    run_gain(folder, tmp_path, "--seeds", "0-1", "--modes", "unimodal", "--arms", "uniform")
    assert [file.stat().st_mtime_ns for file in files] == made
    table = tmp_path / "table.csv"
    main(["gain-merge", "--out", str(tmp_path), "--round", "smoke", "--table", str(table)])
    rows = polars.read_csv(table)
    assert len(rows) == 2 * 3 * len(tasks.TASKS)
    assert rows["steps"].unique().to_list() == [12]
    assert "torch=" in rows["versions"][0]
    capsys.readouterr()
    main(["gain-table", "--table", str(table), "--pilot", str(table)])
    text = capsys.readouterr().out
    assert "unimodal (size 32, network pooled, batch_size 16, steps 12" in text
    scores = {
        (arm, seed): score
        for arm, seed, task, score in rows.select("arm", "seed", "task", "score").iter_rows()
        if task == "subtype"
    }
    gain = 100 * np.mean([scores["uniform-distinct", s] - scores["uniform", s] for s in (0, 1)])
    (line,) = (line for line in text.splitlines() if line.startswith("| uniform-distinct"))
    assert f"{gain:+.2f} [" in line.split("|")[3 + tasks.TASKS.index("subtype")]
    assert "can be resolved" in text


def test_arms_that_cannot_draw_fail_before_any_training(folder, tmp_path, monkeypatch):
    later = manineg(lambda *arguments: {"mu": 0, "an_option": 1})
    monkeypatch.setitem(ARMS, "weighted", replace(ARMS["weighted"], draw=later))
    with pytest.raises(TypeError, match="unexpected keyword argument 'an_option'"):
        run_gain(folder, tmp_path, "--arms", "uniform", "weighted", "--seeds", "0")
    assert not (tmp_path / "smoke").exists()


def test_a_killed_run_gives_the_same_rows(folder, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    arguments = ("--seeds", "5", "--modes", "multimodal", "--arms", "manineg-paper")
    run_gain(folder, whole, *arguments)
    command = [
        sys.executable, "-m", "benchmarks.reference", "gain", "--data", f"wbcatt={folder}",
        "--out", str(killed), "--round", "smoke", "--settings", "steps=12", "batch_size=16",
        *arguments,
    ]  # fmt: skip
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    while process.poll() is None and not list(killed.glob("images/*.npy")):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not list(killed.glob("smoke/*.csv"))
    run_gain(folder, killed, *arguments)
    tables = [
        polars.read_csv(next((out / "smoke").iterdir())).drop("seconds") for out in (whole, killed)
    ]
    assert tables[0].equals(tables[1])


def test_settings_have_files_of_their_own(tmp_path):
    runs = [Run("unimodal", "uniform", 0, replace(SHORT, rate=rate)) for rate in (1e-3, 2e-3)]
    assert runs[0].path(tmp_path) != runs[1].path(tmp_path)


def test_one_thread_computes(cells, tmp_path, monkeypatch):
    threads = []
    monkeypatch.setattr(
        "benchmarks.reference.gain.runs.pretrain",
        lambda *arguments: threads.append(torch.get_num_threads()) or (None, ""),
    )
    monkeypatch.setattr("benchmarks.reference.gain.runs.features_of", lambda *arguments: None)
    monkeypatch.setattr("benchmarks.reference.gain.runs.scores", lambda *arguments: {})
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with pytest.raises(polars.exceptions.ColumnNotFoundError):
            perform(Run("unimodal", "uniform", 0, SHORT), cells, tmp_path)["task"]
    finally:
        torch.set_num_threads(before)
    assert threads == [1]


def made_up_runs(file, n_seeds=2):
    """A table of runs as `merge` writes it."""
    extra = {"batches": "0123456789ab", "seconds": 30.1, "versions": "torch=2"}
    rows = made_up_table(n_seeds).with_columns(**{n: polars.lit(v) for n, v in extra.items()})
    digits = polars.when(arm="vmf").then(polars.lit("012345678901"))  # read as text, too
    rows = rows.with_columns(batches=digits.otherwise("batches"))
    columns = ["mode", "arm", "seed", *SETTINGS, *extra, "task", "score", "validation"]
    rows.select(columns).sort("mode", "arm", "seed", maintain_order=True).write_csv(file)


def test_a_round_goes_on_from_its_table(tmp_path, monkeypatch):
    """Splitting is the opposite of merging, and runs of the table are not made again."""
    table, again = tmp_path / "table.csv", tmp_path / "again.csv"
    made_up_runs(table)
    where = ("--out", str(tmp_path), "--round", "later")
    main(["gain-split", *where, "--table", str(table)])
    main(["gain-merge", *where, "--table", str(again)])
    assert again.read_bytes() == table.read_bytes()
    assert split(table, tmp_path / "later") == 0  # nothing is overwritten
    monkeypatch.setattr("benchmarks.reference.gain.runs.pretrain", None)
    settings = Settings(32, "pooled", 64, 1000, 1e-3, 0.2, 0.5, 0.0)
    rows = perform(Run("unimodal", "vmf", 1, settings), None, tmp_path / "later")
    expected = read_runs(table).filter(arm="vmf", seed=1)
    assert rows.equals(expected)
    assert rows["batches"].unique().to_list() == ["012345678901"]
    with pytest.raises(TypeError):  # this one is made, and there is nothing to make it with
        perform(Run("unimodal", "vmf", 2, settings), None, tmp_path / "later")


def test_a_cut_table_is_refused(tmp_path):
    made_up_runs(tmp_path / "table.csv")
    lines = (tmp_path / "table.csv").read_text().splitlines()
    (tmp_path / "cut.csv").write_text("\n".join(lines[:-2]))
    with pytest.raises(
        mn.ManiNegError, match=r"weighted 1 must have the tasks .*got cell type, 1%"
    ):
        split(tmp_path / "cut.csv", tmp_path / "runs")


def test_tables_without_a_later_setting_have_its_default(tmp_path):
    made_up_runs(tmp_path / "table.csv")
    whole = polars.read_csv(tmp_path / "table.csv")
    whole.drop("temperature").write_csv(tmp_path / "before.csv")
    found = read_runs(tmp_path / "before.csv")
    assert found["temperature"].unique().to_list() == [Settings().temperature]
    assert sorted(found.columns) == sorted(whole.columns)


def test_a_run_that_is_there_twice_is_not_merged(tmp_path):
    """As it would be if its file had been named when there were fewer settings."""
    made_up_runs(tmp_path / "table.csv")
    split(tmp_path / "table.csv", tmp_path / "runs")
    file = next((tmp_path / "runs").glob("*vmf-1-*"))
    (tmp_path / "runs" / "older-name.csv").write_bytes(file.read_bytes())
    with pytest.raises(mn.ManiNegError, match="must hold each run once; got unimodal vmf 1 twice"):
        merge(tmp_path / "runs", tmp_path / "again.csv")


def test_nothing_to_merge(tmp_path):
    with pytest.raises(mn.ManiNegError, match="holds no finished run"):
        merge(tmp_path, tmp_path / "table.csv")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--seeds", "3-1", "--arms", "uniform"], "seeds are A-B"),
        (["--seeds", "x", "--arms", "uniform"], "seeds are A-B"),
        (["--seeds", "1", "--arms", "hard"], "invalid choice: 'hard'"),
        (["--seeds", "1", "--arms", "uniform", "--settings", "speed=1"], "settings are size,"),
        (["--seeds", "1", "--arms", "uniform", "--settings", "steps=a"], "must be of type int"),
    ],
)
def test_wrong_options(folder, tmp_path, capsys, options, message):
    with pytest.raises(SystemExit):
        main(
            ["gain", "--data", f"wbcatt={folder}", "--out", str(tmp_path), "--round", "a", *options]
        )
    assert message in capsys.readouterr().err


def test_other_data_are_refused(tmp_path):
    run = ["--seeds", "1", "--arms", "uniform", "--round", "a"]
    with pytest.raises(SystemExit, match=r"data of gain are wbcatt=FOLDER; got 'phantom'"):
        main(["gain", "--data", "phantom", "--out", str(tmp_path), *run])


def test_seed_ranges():
    assert list(seed_range("100-102")) == [100, 101, 102]
    assert list(seed_range("7")) == [7]


def test_tuning_takes_the_best_value_of_one_setting_after_the_other(monkeypatch):
    def made_up(run, cells, folder):
        assert run.arm == "uniform"
        s = run.settings
        value = (
            (s.network == "pooled")
            + s.temperature
            - abs(s.rate - 1e-3)
            - s.smallest_area
            + 0.001 * run.seed
        )
        rows = [{"task": task, "validation": value, "score": -value} for task in tasks.TASKS]
        return polars.DataFrame(rows)

    monkeypatch.setattr("benchmarks.reference.gain.tuning.perform", made_up)
    start = replace(SHORT, network="small")
    best, text = tune(None, "unimodal", range(2), start, None)
    assert best == replace(SHORT, network="pooled", temperature=0.5, rate=1e-3, smallest_area=0.1)
    assert len(text.splitlines()) == 2 + sum(map(len, CANDIDATES.values()))


# The table


def made_up_table(n_seeds=4):
    rng = np.random.default_rng(0)
    same = dict(zip(SETTINGS, (32, "pooled", 64, 1000, 1e-3, 0.2, 0.5, 0.0), strict=True))
    return polars.DataFrame(
        [
            {"mode": "unimodal", "arm": arm, "seed": seed, **same, "task": task,
             "score": rng.normal(0.6, 0.02), "validation": 0.0}
            for arm in ("uniform", "uniform-again", "vmf", "weighted", "graph-blocks")
            for seed in range(n_seeds)
            for task in tasks.TASKS
        ]
    )  # fmt: skip


def naive_differences(table, arm, task):
    score = {(r["arm"], r["seed"], r["task"]): r["score"] for r in table.to_dicts()}
    seeds = sorted({r["seed"] for r in table.to_dicts()})
    return [100 * (score[arm, s, task] - score["uniform", s, task]) for s in seeds]


def test_the_table_equals_a_naive_computation():
    table = made_up_table()
    text = comparison.report(table, table)
    lines = {line.split("|")[1].strip(): line.split("|")[2:-1] for line in text.splitlines()[2:]}
    header = [cell.strip() for cell in lines[""]]
    for arm in ("vmf", "weighted", "graph-blocks", "uniform-again"):
        for task in tasks.TASKS:
            d = naive_differences(table, arm, task)
            half = stats.t.ppf(0.975, 3) * np.std(d, ddof=1) / 2
            expected = f"{np.mean(d):+.2f} [{np.mean(d) - half:+.2f}, {np.mean(d) + half:+.2f}]"
            assert lines[arm][header.index(task)].strip() == expected
    for task in tasks.PRIMARY:
        family = ("vmf", "weighted", "graph-blocks")
        p = {a: stats.ttest_1samp(naive_differences(table, a, task), 0).pvalue for a in family}
        smaller, least = 0.0, {}
        for step, arm in enumerate(sorted(p, key=p.get)):
            smaller = max(smaller, min(1, (3 - step) * p[arm]))
            least[arm] = f"{smaller:.3f}"
        column = header.index(f"p, {task}")
        assert {arm: lines[arm][column].strip() for arm in family} == least
        assert lines["uniform-again"][column].strip() == ""
        deviation = np.std(naive_differences(table, "uniform-again", task), ddof=1)
        resolved = f"{comparison.smallest_effect(deviation, 4, 3):.2f}"
        assert lines["can be resolved"][header.index(task)].strip() == resolved


def test_only_common_seeds_are_paired():
    table = made_up_table().filter(~((polars.col("arm") == "vmf") & (polars.col("seed") < 2)))
    assert len(comparison.differences(table, "vmf", "traits")) == 2
    assert "| vmf           | 2 " in comparison.report(table)


def test_settings_are_not_mixed():
    table = made_up_table()
    both = polars.concat([table, table.with_columns(temperature=polars.lit(0.7))])
    text = comparison.report(both, table)
    assert text.count("uniform, in %") == 2
    assert text.count("can be resolved") == 1  # the pilot has one of the two temperatures


def test_holm_of_known_values():
    np.testing.assert_allclose(comparison.holm([0.01, 0.04, 0.03]), [0.03, 0.06, 0.06])
    np.testing.assert_allclose(comparison.holm([0.6, np.nan]), [1.0, np.nan])


def test_smallest_effect_has_the_stated_power():
    rng = np.random.default_rng(0)
    effect = comparison.smallest_effect(2.0, 10, 5)
    p = stats.ttest_1samp(rng.normal(effect, 2.0, (20_000, 10)), 0, axis=1).pvalue
    assert abs((p < 0.05 / 5).mean() - 0.8) < 0.015
    assert comparison.smallest_effect(2.0, 1, 5) == np.inf


def test_controls_are_arms():
    assert set(CONTROLS) <= set(ARMS)
