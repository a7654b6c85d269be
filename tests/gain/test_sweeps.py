"""Where the comparison of batches is swept over settings: data, runs, table and picture."""

from dataclasses import asdict, replace

import numpy as np
import polars
import pytest
import torch

import maninegs_sampling as mn

for framework in ("kornia", "lightning_fabric", "monai", "PIL"):
    pytest.importorskip(framework, reason=f"{framework} comes with the extra dev-all")

from benchmarks.reference.__main__ import main
from benchmarks.reference.data import TRAINING
from benchmarks.reference.gain import predictions, sweeps, training
from benchmarks.reference.gain.arms import ARMS
from benchmarks.reference.gain.figures import sweep_figure
from benchmarks.reference.gain.lesions import LESION_TASKS, lesion_scores, with_traits
from benchmarks.reference.gain.sweeps import SWEEPS, Point
from benchmarks.reference.gain.training import Settings, Temperature
from benchmarks.reference.phantom import LOG_ODDS, PHANTOMS

SHORT = Settings(steps=4, batch_size=16)
SMALL = {name: replace(phantom, n=400) for name, phantom in PHANTOMS.items()}


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    return SMALL["phantom-dim"].load(tmp_path_factory.mktemp("images"), 32)


def test_each_sweep_varies_one_thing_and_holds_the_common_value():
    for name in ("batch size", "temperature", "steps"):
        points = SWEEPS[name]
        assert {point.data for point in points} == {"wbcatt"}
        assert Settings() in [point.settings for point in points]
        setting = name.replace(" ", "_")
        for point in points:
            same = replace(
                point.settings, **{setting: getattr(Settings(), setting)}, temperature_rate=0.0
            )
            assert same == Settings()
    for name in ("visibility", "traits"):
        assert len({point.folder for point in SWEEPS[name]}) == 3
        assert {point.settings for point in SWEEPS[name]} == {sweeps.LESIONS}
    assert SWEEPS["visibility"][1].folder == SWEEPS["traits"][0].folder == "phantom-dim"


def test_traits_are_split_by_what_they_tell(cases):
    telling, others = (with_traits(cases, which) for which in ("telling", "others"))
    assert with_traits(cases, "all") is cases
    bits = cases.store.to_dense()
    kept = [abs(LOG_ODDS.get(name, 0)) >= 0.8 for name in mn.MVKL.bit_names]
    np.testing.assert_array_equal(telling.store.to_dense(), bits[:, kept])
    np.testing.assert_array_equal(others.store.to_dense(), bits[:, ~np.array(kept)])
    assert telling.images is cases.images
    with pytest.raises(mn.ManiNegError, match="which must be one of"):
        with_traits(cases, "some")


def test_lesions_have_scores(cases):
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(400, 100)).astype(np.float32)
    bits = cases.store.to_dense().astype(np.float32)
    label = cases.labels[:, None].astype(np.float32)
    told = lesion_scores(np.concatenate([9 * label, 9 * bits, 0.01 * noise], 1), cases)
    chance = lesion_scores(noise, cases)
    assert tuple(told) == tuple(chance) == LESION_TASKS
    for task in LESION_TASKS:
        assert told[task].test > 0.8
        assert abs(chance[task].test - 0.5) < 0.2
    assert told["malignant, all"].test > 0.99


@pytest.mark.parametrize("mode", ["unimodal", "multimodal"])
def test_two_views_of_a_lesion_are_its_two_images(cases, monkeypatch, mode):
    seen = []

    def recorded(images, *, smallest_area):
        seen.append(images)
        return images.unsqueeze(1).float()

    monkeypatch.setattr(training, "augmented", recorded)
    encoder, _ = training.pretrain(cases, ARMS["uniform"], mode, 0, SHORT)
    rows = cases.rows(TRAINING)
    store = cases.store.subset(rows)
    batch = next(iter(ARMS["uniform"].draw(store, 16, 0, 1)))
    expected = np.concatenate([cases.images[rows[batch], view] for view in (0, 1)])
    np.testing.assert_array_equal(seen[0].numpy(), expected)
    found = training.features_of(encoder, cases)
    swapped = training.features_of(encoder, replace(cases, images=cases.images[:, ::-1]))
    np.testing.assert_allclose(found, swapped, rtol=1e-4, atol=1e-5)


def test_temperature_is_learned_only_if_told(cases, monkeypatch):
    assert Temperature(0.7, learned=False)() == 0.7
    assert not list(Temperature(0.7, learned=False).parameters())
    learned = Temperature(0.7, learned=True)
    assert learned().item() == pytest.approx(0.7)
    learned.logarithm.data.fill_(-20)
    assert learned().item() == pytest.approx(0.01)

    used = []
    loss = training.Model.loss

    def recorded(model, views, bits, ids, arm, temperature):
        used.append(float(torch.as_tensor(temperature).detach()))
        return loss(model, views, bits, ids, arm, temperature)

    monkeypatch.setattr(training.Model, "loss", recorded)
    for rate in (0.0, 0.05):
        settings = replace(SHORT, temperature=0.7, temperature_rate=rate)
        training.pretrain(cases, ARMS["uniform"], "multimodal", 0, settings)
    assert used[:5] == pytest.approx([0.7] * 5)
    assert len({round(t, 6) for t in used[4:]}) == 4


@pytest.mark.parametrize("name", ["vmf", "weighted"])
def test_losses_take_a_learned_temperature(cases, name):
    settings = replace(SHORT, temperature_rate=0.01)
    encoder, _ = training.pretrain(cases, ARMS[name], "multimodal", 0, settings)
    assert all(torch.isfinite(parameter).all() for parameter in encoder.parameters())


def test_sweeps_are_run_shown_and_resumed(tmp_path, capsys, monkeypatch):
    base = replace(SHORT, size=16)
    few = {
        "batch size": (
            Point("16", "phantom", base),
            Point("256", "phantom", replace(base, batch_size=256)),
        ),
        "traits": (Point("all", "phantom", base), Point("telling", "phantom", base, "telling")),
    }
    for name in ("sweeps.SWEEPS", "commands.SWEEPS", "figures.SWEEPS"):
        monkeypatch.setattr(f"benchmarks.reference.gain.{name}", few)
    monkeypatch.setattr("benchmarks.reference.gain.sweeps.PHANTOMS", SMALL)
    table = tmp_path / "sweeps.csv"

    def run(out, seeds):
        main(
            ["gain-sweeps", "--data", "wbcatt=nowhere", "--out", str(out), "--table", str(table),
             "--arms", "uniform", "clusters-distinct", "--modes", "unimodal", "--seeds", seeds]
        )  # fmt: skip

    run(tmp_path, "0-1")
    rows = polars.read_csv(table)
    assert rows["data"].unique().sort().to_list() == ["phantom", "phantom-telling"]
    # One point is in both sweeps and trained once; one has fewer than 256 distinct patterns.
    assert len(rows) == len(LESION_TASKS) * 2 * (2 + 1 + 2)
    assert "left out phantom unimodal-clusters-distinct-0" in capsys.readouterr().err

    text = sweeps.sweep_table(rows)
    scores = rows.filter(data="phantom", batch_size=16, task="malignant, all")
    gain = 100 * float(
        scores.filter(arm="clusters-distinct")["score"].mean()
        - scores.filter(arm="uniform")["score"].mean()
    )
    lines = [line for line in text.splitlines() if line.split("|")[3].strip() in ("16", "all")]
    assert len(lines) == 2
    assert all(f"{gain:+.2f} [" in line.split("|")[-2] for line in lines)
    raised = polars.when(polars.col("arm") == "clusters-distinct").then(1).otherwise(0)
    for sign, counts in ((1, "better at 2 and worse at 0"), (-1, "better at 0 and worse at 2")):
        score = sign * raised * (0.1 + 0.001 * polars.col("seed"))
        shifted = rows.with_columns(score.alias("score"))
        (line,) = sweeps.sweep_findings(shifted)
        assert f"`clusters-distinct` {counts} of 2 combinations" in line
    figure = sweep_figure(rows, "unimodal")
    assert len(figure.axes) == 4
    (points,) = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert len(points.get_xdata()) == 1  # of the batches of 256 there are no differences

    monkeypatch.setattr("benchmarks.reference.gain.runs.features_of", None)
    before = table.read_bytes()
    run(tmp_path / "elsewhere", "0-1")  # all comes from the table
    assert table.read_bytes() == before


def test_predictions_stand_beside_what_came_out():
    rng = np.random.default_rng(0)
    rows = [
        {"data": point.folder, "mode": "unimodal", "arm": arm, "seed": seed,
         **asdict(point.settings), "task": task,
         "score": 0.5 + 0.03 * (arm == "manineg-paper" and point.folder == "phantom") + noise}
        for point in predictions.points() for arm in ("uniform", "manineg-paper")
        for seed, noise in enumerate(rng.normal(0, 1e-4, 5)) for task in sweeps.tasks_of(point)
        if point.settings.batch_size < 256
    ]  # fmt: skip
    predicted = polars.DataFrame(
        [
            {"data": p.folder, "batch_size": p.settings.batch_size, "answer": "harder batches",
             "change": -0.25, "shift": float("nan") if p.settings.batch_size == 256 else 0.5}
            for p in predictions.points()
        ]
    )  # fmt: skip
    lines = predictions.prediction_table(predicted, polars.DataFrame(rows)).splitlines()
    found = {(c[1].strip(), c[2].strip()): c[3:-1] for c in (line.split("|") for line in lines)}
    lesions, cells = found["phantom", "64"], found["wbcatt", "256"]
    assert [c.strip() for c in lesions[:3]] == ["harder batches", "-25%", "0.50"]
    assert "+3.0" in lesions[3]
    assert "+3.0" in lesions[4]
    assert [c.strip() for c in cells[2:]] == ["", "", ""]
