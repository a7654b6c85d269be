"""Diagnostics, baselines and the comparison they make."""

import json
import re

import numpy as np
import pytest
from scipy import stats

from maninegs_sampling import ManifestationStore, ManiNegBatchSampler, ManiNegError
from maninegs_sampling.analysis import baselines
from maninegs_sampling.analysis.batch_hardness import measure_hardness
from maninegs_sampling.analysis.coverage import measure_coverage
from maninegs_sampling.reports import comparison
from maninegs_sampling.reports.comparison_picture import _last_distance, save_picture
from maninegs_sampling.reports.comparison_table import comparison_legend, comparison_table
from tests import naive
from tests.conftest import random_store

STORE = ManifestationStore.from_dense(
    np.repeat(random_store(40, 8, seed=2).to_dense(), 3, axis=0)[:101]
)


OTHER = ManiNegBatchSampler(random_store(20, 8), batch_size=4, mu=2.0)


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
        "uniform", "uniform-distinct", "nearest only", "graph blocks",
        *(f"{reading}, mu={mu:g}" for reading in ("authors", "ManiNeg") for mu in (mean, half, 0)),
    ]  # fmt: skip
    ours = {entry.name: entry.hardness for entry in entries if "ManiNeg" in entry.name}
    for hardness in ours.values():
        assert hardness.instances_min == hardness.patterns_min == 10
        assert hardness.repeats == 0
    means = [hardness.anchor_mean for hardness in ours.values()]
    assert means == sorted(means, reverse=True)
    for entry in entries:
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


def measured(name, batches, microseconds=1.0):
    epochs = [batches]
    return comparison.Entry(
        name, measure_hardness(STORE, epochs), measure_coverage(STORE, epochs), microseconds
    )


def test_each_row_of_the_table_is_beside_uniform_distinct():
    distinct = list(baselines.uniform_distinct(STORE, 10, 0)(0))
    equal = [[0, 1, 2, 40, 60], [0, 1, 2]]
    entries = [
        measured("equal, first", equal, 123.4),
        measured(comparison.UNIFORM_DISTINCT, distinct),
    ]
    lines = comparison_table(entries).splitlines()
    assert lines[0].split() == [
        "sampler", "size", "patterns", "anchor", "pairs", "nearest", "7", "seen", "gini", "us"
    ]  # fmt: skip
    bits = STORE.to_dense()
    _, pairs = naive.hardness(bits, equal)
    _, uniform_pairs = naive.hardness(bits, distinct)
    pair = pairs @ np.arange(9) / pairs[1:].sum()
    against = pair / (uniform_pairs @ np.arange(9) / uniform_pairs.sum()) - 1
    nearest = naive.nearest_mean(bits, equal, 7, masked=True)
    near_against = nearest / naive.nearest_mean(bits, distinct, 7, masked=True) - 1
    against, near_against = (f"{x:+.0%}".replace("-0%", "+0%") for x in (against, near_against))
    of_anchor = [naive.hamming(bits[0], bits[i]) for i in (40, 60)]
    assert lines[1].split() == [
        "equal,", "first", "4.0", "2.0", f"{np.mean(of_anchor):.2f}",
        f"{pair:.2f}", against, f"{nearest:.2f}", near_against,
        "5%", "0.96", "123",
    ]  # fmt: skip
    yardstick = lines[2].split()
    assert yardstick[5] == yardstick[7] == "+0%"


def test_a_sampler_without_two_patterns_in_a_batch_has_no_distance_in_the_table():
    distinct = measured(
        comparison.UNIFORM_DISTINCT, list(baselines.uniform_distinct(STORE, 9, 0)(0))
    )
    assert "nan" in comparison_table([distinct, measured("equal", [[0, 1, 2]])])


def test_the_table_and_its_legend_fit_a_terminal():
    entries = list(comparison.compare(STORE, batch_size=10, epochs=2))
    legend = comparison_legend(n_instances=STORE.n_instances, epochs=2)
    lines = [*comparison_table(entries).splitlines(), *legend.splitlines()]
    assert max(map(len, lines)) <= 80
    assert "share of the 101 instances" in legend
    assert "in 2 epochs" in legend


def test_other_samplers_are_measured_last():
    mine = ManiNegBatchSampler(STORE, batch_size=5, mu=0.0, sigma=1.0, duplicates="keep", seed=3)
    epochs = [[mine.batch(k, epoch) for k in range(len(mine))] for epoch in range(2)]
    before = mine.state_dict()
    *_, found = comparison.compare(STORE, batch_size=10, mus=[1.0], epochs=2, samplers={"my": mine})
    assert mine.state_dict() == before
    assert (found.name, found.distribution) == ("my", None)
    expected = measure_hardness(STORE, epochs)
    assert found.hardness.masked_nearest_mean == expected.masked_nearest_mean
    assert found.hardness.pair_histogram.tolist() == expected.pair_histogram.tolist()
    seen = measure_coverage(STORE, epochs)
    assert (found.coverage.seen_share, found.coverage.gini) == (seen.seen_share, seen.gini)


def test_the_json_file_has_the_distances_with_and_without_equal_patterns(tmp_path):
    entries = [measured("equal", [[0, 1, 2, 40, 60]])]
    comparison.save_json(tmp_path / "a.json", STORE, entries, {})
    (found,) = json.loads((tmp_path / "a.json").read_text())["samplers"]
    h = entries[0].hardness
    for kind in ("anchor", "pair", "nearest"):
        for name in (kind, f"masked_{kind}"):
            assert found[f"{name}_distance_mean"] == getattr(h, f"{name}_mean")
    assert found["masked_pair_distance_mean"] > found["pair_distance_mean"]
    assert found["masked_nearest_histogram"] == h.masked_nearest_histogram.tolist()
    assert found["seen_share"] == 5 / 101
    assert found["gini"] == entries[0].coverage.gini


def test_the_picture_ends_where_nearly_all_pairs_have_ended():
    store = ManifestationStore.from_dense(np.tri(1001, 1000, -1, dtype=bool))  # |i - j| bits apart

    def measured_there(batches):
        of = (measure_hardness(store, [batches]), measure_coverage(store, [batches]))
        return comparison.Entry("any", *of, 1.0)

    batches = [[i, i + 1] for i in range(1000)]
    near = measured_there(batches)
    assert _last_distance([near]) == 1
    for n_far, end in ((1, 1), (2, 1000)):
        far = measured_there(batches + [[0, 1000]] * n_far)
        assert _last_distance([far]) == _last_distance([near, far]) == end


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
        ({"samplers": [1]}, "samplers must map names to samplers; got list"),
        ({"samplers": {"a": 1}}, r"sampler must have batch\(k, epoch\), .*; got int"),
        ({"samplers": {"a": OTHER}}, r"samplers\['a'\] draws from another store"),
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
