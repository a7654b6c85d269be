"""The trainings that compare batches and losses on real images: data, arms, pairing and tasks."""

import io
from dataclasses import replace

import numpy as np
import polars
import pytest
import torch
from torch.nn import functional as F  # noqa: N812

import maninegs_sampling as mn

for framework in ("kornia", "lightning_fabric", "monai", "PIL"):
    pytest.importorskip(framework, reason=f"{framework} comes with the extra dev-all")

from PIL import Image

from benchmarks.reference import wbcatt
from benchmarks.reference.augmentation import augmented
from benchmarks.reference.data import TEST, TRAINING, VALIDATION
from benchmarks.reference.gain import tasks, training, weighting
from benchmarks.reference.gain.arms import ARMS
from benchmarks.reference.gain.training import Settings
from tests.gain.conftest import PARTS

SHORT = Settings(steps=12, batch_size=16)
# Arms whose batches never hold a pattern twice.
DISTINCT = {
    "uniform-distinct", "manineg-paper", "manineg-suggested", "clusters-distinct", "cluster-hard",
    "random-walk",
}  # fmt: skip


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


# Each arm trains in one mode, in turn; the slow tests are of the other.
MODES = ("unimodal", "multimodal")
TRAINED = [
    pytest.param(name, mode, marks=() if turn % 2 == number else pytest.mark.slow)
    for turn, name in enumerate(ARMS)
    for number, mode in enumerate(MODES)
]


@pytest.mark.parametrize(("name", "mode"), TRAINED)
def test_arms_train(cells, name, mode):
    encoder, _ = training.pretrain(cells, ARMS[name], mode, 0, SHORT)
    features = training.features_of(encoder, cells)
    assert features.shape == (1200, 128)
    assert np.isfinite(features).all()
    start = training.initial_model(cells.store.n_bits, mode, 0, SHORT).encoder
    changed = not torch.equal(encoder.conv1.weight, start.conv1.weight)
    assert changed == (name != "untrained")


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


def test_dealt_batches_hold_the_same_instances_in_another_company(cells):
    store = cells.store.subset(cells.rows(TRAINING))
    drawn = [list(ARMS[f"uniform-distinct{end}"].draw(store, 8, 3, 40)) for end in ("", "-dealt")]
    own, dealt = (np.array(batches) for batches in drawn)
    assert own.shape == dealt.shape == (40, 8)
    assert (np.sort(own.ravel()) == np.sort(dealt.ravel())).all()
    repeated = [sum(len(set(store.pattern_of[b])) < 8 for b in batches) for batches in drawn]
    assert repeated[0] == 0
    assert repeated[1] > 0
