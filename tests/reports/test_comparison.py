"""Diagnostics, baselines and the comparison they make."""

import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from maninegs_sampling import ManifestationStore, ManiNegError
from maninegs_sampling.analysis import baselines
from maninegs_sampling.analysis.hardness import measure_hardness
from maninegs_sampling.reports import comparison
from maninegs_sampling.reports.comparison_picture import save_picture
from tests import naive
from tests.conftest import bit_matrices, random_store


@given(bits=bit_matrices(), data=st.data())
def test_hardness_equals_naive(bits, data):
    batch = st.lists(st.integers(0, len(bits) - 1), min_size=1, max_size=6)
    epochs = data.draw(st.lists(st.lists(batch, min_size=1, max_size=3), min_size=1, max_size=2))
    hardness = measure_hardness(ManifestationStore.from_dense(bits), epochs)
    batches = [b for epoch in epochs for b in epoch]
    anchors, pairs = naive.hardness(bits, batches)
    assert hardness.anchor_histogram.tolist() == anchors.tolist()
    assert hardness.pair_histogram.tolist() == pairs.tolist()
    assert hardness.n_batches == len(batches)
    assert hardness.instances_mean == pytest.approx(np.mean([len(b) for b in batches]))
    assert hardness.instances_min == min(len(b) for b in batches)
    patterns = [len({bits[i].tobytes() for i in b}) for b in batches]
    assert hardness.patterns_mean == pytest.approx(np.mean(patterns))
    assert hardness.patterns_min == min(patterns)
    assert hardness.repeats == sum(len(b) - len(set(b)) for b in batches)
    seen = [len({i for b in epoch for i in b}) for epoch in epochs]
    assert hardness.seen_per_epoch == pytest.approx(np.mean(seen))


def test_shares_and_means():
    store = ManifestationStore.from_dense([[0, 0, 0], [0, 0, 1], [0, 1, 1], [1, 1, 1]])
    hardness = measure_hardness(store, [[[0, 1, 2, 3]]])
    assert hardness.anchor_mean == 2
    assert hardness.pair_mean == pytest.approx(10 / 6)
    assert [hardness.share_within(d) for d in range(4)] == pytest.approx([0, 1 / 3, 2 / 3, 1])
    alone = measure_hardness(store, [[[0]]])
    assert np.isnan(alone.anchor_mean)
    assert np.isnan(alone.share_within(1))


STORE = ManifestationStore.from_dense(
    np.repeat(random_store(40, 8, seed=2).to_dense(), 3, axis=0)[:101]
)


@pytest.mark.parametrize(
    "make",
    [
        baselines.uniform,
        baselines.uniform_distinct,
        baselines.nearest_only,
        baselines.graph_blocks,
    ],
)
def test_baselines_are_whole_repeatable_epochs(make):
    epochs = make(STORE, 10, 0)
    first, second = list(epochs(0)), list(epochs(1))
    assert first != second
    assert first == list(make(STORE, 10, 0)(0)) != list(make(STORE, 10, 1)(0))
    assert [len(batch) for batch in first] == [10] * 10
    assert all(len(set(batch)) == 10 for batch in first)


def test_nearest_only_takes_the_nearest_patterns():
    bits = STORE.to_dense()
    for batch in baselines.nearest_only(STORE, 10, 0)(0):
        distances = [naive.hamming(bits[batch[0]], bits[i]) for i in batch[1:]]
        others = {bits[i].tobytes() for i in range(101)} - {bits[batch[0]].tobytes()}
        every = sorted(
            naive.hamming(bits[batch[0]], np.frombuffer(pattern, bool)) for pattern in others
        )
        assert sorted(distances) == every[:9]
        assert len({bits[i].tobytes() for i in batch}) == 10


def test_graph_blocks_partition_the_data_into_near_neighbors():
    batches = list(baselines.graph_blocks(STORE, 10, 0)(0))
    assert len({i for batch in batches for i in batch}) == 100
    blocks = measure_hardness(STORE, [batches]).pair_mean
    uniform = measure_hardness(STORE, [list(baselines.uniform(STORE, 10, 0)(0))]).pair_mean
    assert blocks < 0.8 * uniform


def test_the_graph_has_a_limit(monkeypatch):
    monkeypatch.setattr(baselines, "MOST_GRAPH_PATTERNS", 10)
    with pytest.raises(ManiNegError, match="must have at most 10 patterns"):
        baselines.graph_blocks(STORE, 10, 0)
    names = [entry.name for entry in comparison.compare(STORE, batch_size=10, epochs=1)]
    assert "graph blocks" not in names


def test_comparison_has_every_sampler_and_ours_is_full():
    entries = list(comparison.compare(STORE, batch_size=10, epochs=3))
    mean, half, zero = comparison.default_mus(STORE)
    assert (half, zero) == (round(mean / 2, 1), 0.0)
    assert [entry.name for entry in entries] == [
        "uniform", "uniform of distinct patterns", "nearest only", "graph blocks",
        *(f"{reading}, mu={mu:g}" for reading in ("authors", "ManiNeg") for mu in (mean, half, 0)),
    ]  # fmt: skip
    ours = {entry.name: entry.hardness for entry in entries if "ManiNeg" in entry.name}
    for hardness in ours.values():
        assert hardness.instances_min == hardness.patterns_min == 10
        assert hardness.repeats == 0
    means = [hardness.anchor_mean for hardness in ours.values()]
    assert means == sorted(means, reverse=True)
    for entry in entries:
        assert len(entry.row()) == len(comparison.COLUMNS)
        assert (entry.distribution is None) == ("mu" not in entry.name)


def test_comparison_is_repeatable_but_for_the_time(tmp_path):
    contents = []
    for name in "ab":
        path = tmp_path / name
        entries = list(comparison.compare(STORE, batch_size=10, mus=[1.0], epochs=2, seed=5))
        comparison.save_json(path, STORE, entries, {"seed": 5})
        content = json.loads(path.read_text())
        assert all(entry.pop("microseconds_per_batch") > 0 for entry in content["samplers"])
        contents.append(content)
    assert contents[0] == contents[1]
    assert (
        contents[0]["samplers"][0]["pair_histogram"] == entries[0].hardness.pair_histogram.tolist()
    )


def test_the_picture_is_a_png(tmp_path):
    entries = list(comparison.compare(STORE, batch_size=10, mus=[1.0], epochs=1))
    save_picture(tmp_path / "a.png", STORE, entries)
    assert (tmp_path / "a.png").read_bytes()[:4] == b"\x89PNG"
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"batch_size": 64}, "the data has 33: use a batch size of at most 33"),
    ],
)
def test_errors(options, message):
    with pytest.raises(ManiNegError, match=message):
        list(comparison.compare(STORE, **options))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": "a"}, "batch_size must be a whole number; got 'a'"),
        ({"epochs": 1.5}, "epochs must be a whole number; got 1.5"),
        ({"sigma": "a"}, "sigma must be a number; got 'a'"),
        ({"mus": "a"}, "mus must be a sequence of numbers; got 'a'"),
        ({"mus": 3.0}, "mus must be a sequence of numbers; got 3.0"),
        ({"mus": [1.0, None]}, r"mus\[1\] must be a number; got None"),
        ({"mus": []}, "mus must be at least one number"),
        ({"seed": -1}, "seed must be at least 0"),
        ({"groups": [1]}, "groups must hold one label"),
        ({"groups": [1] * 101}, "the data has 1: use no groups"),
    ],
)
def test_errors_come_before_anything_is_asked_for(options, message):
    with pytest.raises(ManiNegError, match=message):
        comparison.compare(STORE, **({"batch_size": 10} | options))


def test_uniform_distinct_skips_what_is_there():
    # Of 12 instances the first 9 are alike, so most draws are skipped.
    bits = np.array([[0, 0]] * 9 + [[0, 1], [1, 0], [1, 1]], dtype=bool)
    store = ManifestationStore.from_dense(bits)
    epochs = baselines.uniform_distinct(store, 2, 0)
    batches = [tuple(batch) for epoch in range(1500) for batch in epochs(epoch)]
    assert all(bits[a].tobytes() != bits[b].tobytes() for a, b in batches)
    # first: 1 of 12; then 1 of those with another pattern
    exact = {}
    for a in range(12):
        others = [b for b in range(12) if bits[a].tobytes() != bits[b].tobytes()]
        exact |= {(a, b): 1 / 12 / len(others) for b in others}
    counts = np.array([batches.count(pair) for pair in exact])
    assert counts.sum() == len(batches)
    assert stats.chisquare(counts, len(batches) * np.array(list(exact.values()))).pvalue > 0.001
    full = list(baselines.uniform_distinct(store, 4, 0)(0))
    assert all(len(batch) == 4 for batch in full)
    short = next(iter(baselines.uniform_distinct(store, 5, 0)(0)))
    assert len(short) == 4


def test_uniform_distinct_takes_one_of_each_group():
    groups = np.arange(101) % 12
    for batch in baselines.uniform_distinct(STORE, 10, 0, groups)(0):
        assert len({groups[i] for i in batch}) == 10
    entries = comparison.compare(STORE, batch_size=10, epochs=1, mus=[1.0], groups=groups)
    assert [entry.hardness.instances_min for entry in entries if "authors" not in entry.name] == [
        10
    ] * 5
    with pytest.raises(ManiNegError, match="groups must hold one label"):
        baselines.uniform_distinct(STORE, 10, 0, [1, 2])


def test_the_picture_takes_its_colors_from_the_one_palette():
    import inspect

    from maninegs_sampling.reports import comparison_picture, drawing

    palette = [drawing.UNIFORM, drawing.MANINEG, drawing.DISTRIBUTION, drawing.INDEPENDENT]
    assert len({*palette, drawing.AUTHORS, drawing.MINED}) == 6
    assert not re.search("#[0-9a-fA-F]{6}", inspect.getsource(comparison_picture))


def test_a_distribution_between_the_distances_that_occur_is_that_of_the_nearest_ones():
    store = ManifestationStore.from_dense(np.kron(np.eye(20), np.ones((1, 2))).astype(bool))
    entries = comparison.compare(store, batch_size=5, epochs=1, mus=[1.0], sigma=1e-3)
    found = [entry.distribution for entry in entries if entry.distribution is not None]
    assert all(shares[4] == shares.sum() == 1 for shares in found)
