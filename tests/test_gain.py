"""The comparison of batches and losses on real images: arms, pairing, tasks, runs and the table."""

import io
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
from torch.nn import functional as F  # noqa: N812

import maninegs_sampling as mn

for framework in ("kornia", "lightning_fabric", "monai", "PIL"):
    pytest.importorskip(framework, reason=f"{framework} comes with the extra dev-all")

from PIL import Image

from benchmarks.reference import wbcatt
from benchmarks.reference.__main__ import main
from benchmarks.reference.augmentation import augmented
from benchmarks.reference.data import TEST, TRAINING, VALIDATION
from benchmarks.reference.gain import comparison, tasks, training, weighting
from benchmarks.reference.gain.arms import ARMS, CONTROLS, manineg
from benchmarks.reference.gain.commands import seed_range
from benchmarks.reference.gain.runs import SETTINGS, Run, merge, perform, read_runs, split
from benchmarks.reference.gain.training import Settings
from benchmarks.reference.gain.tuning import CANDIDATES, tune

ROOT = Path(__file__).parents[1]
SHORT = Settings(steps=12, batch_size=16)
# Arms whose batches never hold a pattern twice.
DISTINCT = {
    "uniform-distinct", "manineg-paper", "manineg-suggested", "clusters-distinct", "cluster-hard",
    "random-walk",
}  # fmt: skip
PARTS = {"train": 1000, "val": 80, "test": 120}  # 1% of the labels are 10 cells
KINDS = ("Basophil", "Eosinophil", "Neutrophil")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A small folder like the real one: gray squares whose size tells the type."""
    made = tmp_path_factory.mktemp("wbcatt")
    rng = np.random.default_rng(0)
    n = sum(PARTS.values())
    kind = rng.integers(3, size=n)
    files = []
    for k in kind:
        pixels = rng.integers(0, 60, (64, 64, 3), dtype=np.uint8)
        pixels[20 : 30 + 10 * k, 20 : 30 + 10 * k] += 120
        jpeg = io.BytesIO()
        Image.fromarray(pixels).save(jpeg, "JPEG")
        files.append(jpeg.getvalue())
    offsets = np.cumsum([0, *map(len, files)])
    jpeg = np.frombuffer(b"".join(files), np.uint8)
    np.savez(made / "images.npz", jpeg=jpeg, offsets=offsets)
    options = dict.fromkeys(wbcatt.ATTRIBUTES, "ab")
    options |= {"nucleus_shape": "abcdef", "cytoplasm_colour": "abc"}
    # The first option is the most frequent, so that many cells share a pattern.
    table = {
        name: np.array(list(values))[np.minimum(rng.geometric(0.6, n), len(values)) - 1]
        for name, values in options.items()
    }
    subtype = np.where(kind == 2, rng.choice(["band", "segmented"], n), None)
    polars.DataFrame(
        {
            "cell_type": np.array(KINDS)[kind],
            "neutrophil_subtype": list(subtype),
            "official_split": np.repeat(list(PARTS), list(PARTS.values())),
            **table,
        }
    ).write_csv(made / "cells.csv")
    return made


@pytest.fixture(scope="module")
def cells(folder, tmp_path_factory):
    return wbcatt.load(folder, tmp_path_factory.mktemp("cache"), SHORT.size)


# Data


def test_cells_are_read(cells):
    assert cells.images.shape == (1200, 1, 32, 32)
    assert cells.store.n_bits == 15
    assert [len(cells.rows(part)) for part in (TRAINING, VALIDATION, TEST)] == list(PARTS.values())
    inside = cells.images[:, 0, 18, 18].astype(int)  # of the square, unless it is the smallest
    assert inside[cells.cell_type == 0].max() < inside[cells.cell_type == 2].min()
    np.testing.assert_array_equal(cells.subtype >= 0, cells.cell_type == 2)
    assert set(cells.subtype) == {-1, 0, 1}


def test_missing_files_and_rows_are_errors(folder, tmp_path):
    with pytest.raises(mn.ManiNegError, match=r"must hold cells\.csv"):
        wbcatt.load(tmp_path, tmp_path, 32)
    (tmp_path / "images.npz").write_bytes((folder / "images.npz").read_bytes())
    polars.read_csv(folder / "cells.csv").head(9).write_csv(tmp_path / "cells.csv")
    with pytest.raises(mn.ManiNegError, match=r"has 9 rows and images\.npz has 1200 images"):
        wbcatt.load(tmp_path, tmp_path, 32)


def test_real_cells(real_data, tmp_path):
    real = wbcatt.load(real_data / "wbcatt", tmp_path, 16)
    assert (real.store.n_instances, real.store.n_bits, real.store.n_patterns) == (10_284, 15, 244)
    assert np.bincount(real.part).tolist() == [6158, 1028, 3098]
    assert np.bincount(real.cell_type).tolist() == [1212, 3111, 1214, 1419, 3328]
    assert np.bincount(real.subtype + 1).tolist() == [7006, 1632, 1646]
    with np.load(real_data / "wbcatt" / "images.npz") as files:
        start, end = files["offsets"][7:9]
        jpeg = files["jpeg"][start:end].tobytes()
    with Image.open(io.BytesIO(jpeg)) as image:
        assert abs(np.asarray(image.convert("L")).mean() - real.images[7].mean()) < 1


# Arms


@pytest.mark.parametrize("mode", ["unimodal", "multimodal"])
@pytest.mark.parametrize("name", ARMS)
def test_arms_train(cells, name, mode):
    encoder, _ = training.pretrain(cells, ARMS[name], mode, 0, SHORT)
    features = training.features_of(encoder, cells)
    assert features.shape == (1200, 128)
    assert np.isfinite(features).all()
    start = training.initial_model(cells.store.n_bits, mode, 0, SHORT).encoder
    changed = not torch.equal(encoder.conv1.weight, start.conv1.weight)
    assert changed == (name != "untrained")


def test_arms_without_their_sampler_fail_before_any_training(folder, tmp_path, monkeypatch):
    later = manineg(lambda *arguments: {"mu": 0, "an_option": 1})
    monkeypatch.setitem(ARMS, "weighted", replace(ARMS["weighted"], draw=later))
    with pytest.raises(TypeError, match="unexpected keyword argument 'an_option'"):
        run_gain(folder, tmp_path, "--arms", "uniform", "weighted", "--seeds", "0")
    assert not (tmp_path / "smoke").exists()


@pytest.mark.parametrize("name", sorted(set(ARMS) - {"untrained"}))
def test_arms_draw_what_they_say(cells, name):
    store = cells.store.subset(cells.rows(TRAINING))
    drawn = [list(ARMS[name].draw(store, 16, seed, 30)) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert [len(batch) for batch in drawn[0]] == [16] * 30
    distinct = all(len(set(store.pattern_of[batch])) == 16 for batch in drawn[0])
    assert distinct == (name in DISTINCT)
    again = list(ARMS["uniform"].draw(store, 16, 0, 30))
    assert (drawn[0] == again) == (name in {"uniform", "uniform-masked", "vmf", "weighted"})


@pytest.mark.parametrize("with_ids", [False, True])
def test_weighted_losses_by_hand(with_ids):
    z_i, z_j = torch.randn(2, 5, 8, generator=torch.manual_seed(0)).double()
    ids = torch.tensor([0, 1, 1, 2, 3])
    unit = F.normalize(torch.cat([z_i, z_j]))

    def one(a, positive, candidates, id_of):
        kept = [b for b in candidates if id_of[b] != id_of[a]]
        cosine = [float(unit[a] @ unit[b]) for b in kept]
        negatives = sum(np.exp(c / 0.5 + weighting.STRENGTH * c) for c in cosine)
        pair = np.exp(float(unit[a] @ unit[positive]) / 0.5)
        return -np.log(pair / (pair + negatives))

    id_of = (ids if with_ids else torch.arange(5)).repeat(2).tolist()
    views = [one(a, (a + 5) % 10, range(10), id_of) for a in range(10)]
    modal = [one(a, (a + 5) % 10, range(5, 10) if a < 5 else range(5), id_of) for a in range(10)]
    arguments = {"temperature": 0.5, "ids": ids if with_ids else None}
    found = weighting.weighted_nt_xent(z_i, z_j, **arguments)
    assert abs(float(found) - np.mean(views)) < 1e-9
    found = weighting.weighted_inter_modal_nt_xent(z_i, z_j, **arguments)
    assert abs(float(found) - np.mean(modal)) < 1e-9


def test_weights_have_no_gradient():
    """Without strength it is NT-Xent; with it, the gradient is that of fixed weights."""
    z = torch.randn(2, 6, 8, generator=torch.manual_seed(1)).double().requires_grad_()
    loss = weighting.weighted_nt_xent(z[0], z[1], temperature=0.5, ids=None)
    (gradient,) = torch.autograd.grad(loss, z)
    unit = F.normalize(z.flatten(0, 1))
    cosines = unit @ unit.T
    fixed = weighting.STRENGTH * cosines.detach()
    partner = torch.arange(12).roll(6)
    fixed[torch.arange(12), partner] = 0
    logits = (cosines / 0.5 + fixed).masked_fill(torch.eye(12, dtype=torch.bool), -torch.inf)
    (expected,) = torch.autograd.grad(F.cross_entropy(logits, partner), z)
    torch.testing.assert_close(gradient, expected)


def test_masking_changes_the_loss_of_views_only(cells):
    model = training.initial_model(cells.store.n_bits, "multimodal", 0, SHORT).eval()
    views = torch.randn(32, 1, 32, 32, generator=torch.manual_seed(0))
    bits = torch.randint(0, 2, (16, 15), generator=torch.manual_seed(0)).float()
    arms = ARMS["uniform"], ARMS["uniform-masked"]
    same, different = torch.zeros(16, dtype=torch.int64), torch.arange(16)

    def losses(ids):
        return [float(model.loss(views, bits, ids, arm, 0.2).detach()) for arm in arms]

    plain, masked = losses(different)
    assert plain == pytest.approx(masked)
    plain, masked = losses(same)
    assert masked == pytest.approx(0, abs=1e-5)  # no negatives are left at all
    assert plain > 1


# Pairing


def test_arms_of_a_seed_share_weights_and_augmentation(cells, monkeypatch):
    seen = []

    # The images are replaced by equal ones, so that only random numbers can make a difference.
    def recorded(images, *, smallest_area):
        views = augmented(torch.full_like(images, 1) * torch.arange(32, dtype=torch.uint8) * 8)
        seen.append((views, smallest_area))
        return views

    monkeypatch.setattr(training, "augmented", recorded)
    for name in ("uniform", "manineg-paper", "weighted"):
        training.pretrain(cells, ARMS[name], "unimodal", 3, replace(SHORT, steps=4))
    training.pretrain(cells, ARMS["uniform"], "unimodal", 4, replace(SHORT, steps=4))
    streams = [torch.stack([views for views, _ in seen[k : k + 4]]) for k in (0, 4, 8, 12)]
    assert torch.equal(streams[0], streams[1])
    assert torch.equal(streams[0], streams[2])
    assert not torch.equal(streams[0], streams[3])
    assert {area for _, area in seen} == {SHORT.smallest_area}


def test_initial_weights_depend_on_the_seed_alone():
    models = [
        training.initial_model(15, mode, seed, SHORT)
        for mode, seed in (("unimodal", 0), ("multimodal", 0), ("unimodal", 1))
    ]
    weights = [model.encoder.layer1[0].conv1.weight for model in models]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert models[1].manifestation_encoder is not None


def test_training_is_reproducible(cells):
    runs = [training.pretrain(cells, ARMS["manineg-paper"], "multimodal", 0, SHORT) for _ in "ab"]
    first, again = (encoder.state_dict() for encoder, _ in runs)
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert runs[0][1] == runs[1][1]


# Tasks


def test_scores_of_perfect_and_of_useless_features(cells):
    rng = np.random.default_rng(0)
    kinds = np.eye(3, dtype=np.float32)[cells.cell_type]
    bits = cells.store.to_dense().astype(np.float32)
    subtype = np.eye(3, dtype=np.float32)[cells.subtype + 1]
    noise = rng.normal(0, 0.01, (1200, 107)).astype(np.float32)
    perfect = tasks.scores(np.concatenate([3 * kinds, bits, subtype, noise], 1), cells)
    useless = tasks.scores(rng.normal(size=(1200, 128)).astype(np.float32), cells)
    assert tuple(perfect) == tuple(useless) == tasks.TASKS
    for task in ("cell type, all", "subtype", "traits", "retrieval"):
        assert min(perfect[task]) > 0.95
    for task, chance in zip(tasks.TASKS, (1 / 3,) * 4 + (1 / 2, 1 / 2, 1 / 3), strict=True):
        assert abs(useless[task].test - chance) < 0.15


def test_label_subsets_are_fixed_and_of_the_right_size():
    rows = np.arange(100, 6258)
    chosen = tasks.subsets(rows, 0.02)
    assert [len(subset) for subset in chosen] == [123] * tasks.SUBSETS
    assert len({tuple(subset) for subset in chosen}) == tasks.SUBSETS
    assert all(len(set(subset)) == 123 and set(subset) <= set(rows) for subset in chosen)
    np.testing.assert_array_equal(chosen, tasks.subsets(rows, 0.02))


def test_penalty_is_chosen_on_validation_and_never_on_test():
    class Fake:
        def __init__(self, penalty):
            self.penalty = penalty

        def fit(self, x, y):
            return self

    table = {1.0: (0.9, 0.1), 10.0: (0.2, 0.7), 100.0: (0.8, 0.6), 1000.0: (0.3, 0.3)}
    x, rows = np.arange(2), [np.array([0])]
    score = tasks.probe(
        Fake, lambda model, x, y: table[model.penalty][x[0]], x, x, rows, np.array([1]), rows[0]
    )
    assert score == (0.2, 0.7)


def test_precision_equals_the_slow_one():
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(40, 5)), rng.integers(3, size=40)
    slow = []
    for i in range(40):
        cosines = [x[i] @ x[j] / np.linalg.norm(x[i]) / np.linalg.norm(x[j]) for j in range(40)]
        order = [j for j in np.argsort(cosines)[::-1] if j != i][:10]
        slow.append(np.mean(labels[order] == labels[i]))
    assert tasks.precision(x, labels) == pytest.approx(np.mean(slow))


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
