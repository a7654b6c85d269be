"""Diagnostics, baselines and the comparison they make."""

import json
import re
import sys
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

import maninegs_sampling as mn
from maninegs_sampling import ManifestationStore, ManiNegBatchSampler, ManiNegError
from maninegs_sampling.analysis import baselines
from maninegs_sampling.analysis.batch_hardness import measure_hardness
from maninegs_sampling.analysis.coverage import measure_coverage
from maninegs_sampling.reports import comparison
from maninegs_sampling.reports.comparison_picture import _last_step, save_picture
from maninegs_sampling.reports.comparison_table import comparison_legend, comparison_table
from maninegs_sampling.reports.entries import Entry, LeftOut, default_epochs, epochs_of
from tests import naive
from tests.conftest import random_store

STORE = ManifestationStore.from_dense(
    np.repeat(random_store(40, 8, seed=2).to_dense(), 3, axis=0)[:101]
)
# Enough patterns for neighbor groups, which skip the 30 nearest.
MANY = ManifestationStore.from_dense(random_store(400, 8, seed=1).to_dense())
OTHER = ManiNegBatchSampler(random_store(20, 8), batch_size=4, mu=2.0)


def graph_blocks(store, batch_size, seed):
    return epochs_of(
        mn.GraphBlockBatchSampler, store, batch_size=batch_size, n_neighbors=batch_size, seed=seed
    )


@pytest.mark.parametrize(
    "make",
    [baselines.uniform, baselines.uniform_distinct, baselines.nearest_only, graph_blocks],
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
    batches = list(graph_blocks(STORE, 10, 0)(0))
    assert len({i for batch in batches for i in batch}) == 100
    blocks = measure_hardness(STORE, [batches]).pair_mean
    uniform = measure_hardness(STORE, [list(baselines.uniform(STORE, 10, 0)(0))]).pair_mean
    assert blocks < 0.8 * uniform


def test_comparison_has_every_sampler_and_ours_is_full():
    entries = list(comparison.compare(MANY, batch_size=16, epochs=3))
    mean, half, zero = comparison.default_mus(MANY)
    assert (half, zero) == (round(mean / 2, 1), 0.0)
    assert [entry.name for entry in entries] == [
        "uniform", "uniform-distinct", "nearest only", "graph blocks", "neighbor groups",
        "random walk",
        *(f"{reading}, mu={mu:g}" for reading in ("authors", "ManiNeg") for mu in (mean, half, 0)),
        "near cluster", "eight clusters", "eight covering",
    ]  # fmt: skip
    ours = {entry.name: entry.hardness for entry in entries if "ManiNeg" in entry.name}
    for hardness in ours.values():
        assert hardness.instances_min == hardness.patterns_min == 16
        assert hardness.repeats == 0
    means = [hardness.anchor_mean for hardness in ours.values()]
    assert means == sorted(means, reverse=True)
    for entry in entries:
        assert (entry.distribution is None) == ("mu" not in entry.name)


def expected_epochs(make, epochs, **options):
    """The batches of some epochs, drawn by number."""
    sampler = make(MANY, batch_size=16, num_replicas=1, rank=0, **options)
    return [[sampler.batch(k, epoch) for k in range(len(sampler))] for epoch in range(epochs)]


@pytest.mark.parametrize(
    ("name", "make", "options"),
    [
        ("uniform-distinct", mn.UniformDistinctBatchSampler, {}),
        ("graph blocks", mn.GraphBlockBatchSampler, {"n_neighbors": 16}),
        ("neighbor groups", mn.NeighborGroupBatchSampler, {"group_size": 8}),
        ("random walk", mn.RandomWalkBatchSampler, {}),
        ("ManiNeg, mu=0", ManiNegBatchSampler, {}),
        ("near cluster", ManiNegBatchSampler, {"center": "cluster"}),
        ("eight clusters", ManiNegBatchSampler, {"anchors_per_batch": 8}),
        (
            "eight covering",
            ManiNegBatchSampler,
            {"anchors_per_batch": 8, "duplicates": "keep", "coverage": "epoch"},
        ),
    ],
)
def test_an_entry_is_measured_over_the_batches_of_its_sampler(compared, name, make, options):
    if make is ManiNegBatchSampler:
        options = {"mu": 0.0, "sigma": 1.5} | options
    found = compared[name]
    epochs = expected_epochs(make, 2, seed=3, **options)
    hardness, seen = measure_hardness(MANY, epochs), measure_coverage(MANY, epochs)
    assert found.hardness.pair_histogram.tolist() == hardness.pair_histogram.tolist()
    assert found.hardness.masked_nearest_mean == hardness.masked_nearest_mean
    assert found.coverage.instance_counts.tolist() == seen.instance_counts.tolist()
    assert found.coverage.seen_share == seen.seen_share
    assert found.microseconds > 0


@pytest.fixture(scope="module")
def compared():
    entries = comparison.compare(MANY, batch_size=16, mus=[2.0, 0.0], sigma=1.5, epochs=2, seed=3)
    return {entry.name: entry for entry in entries}


def test_covering_batches_show_every_instance_once_an_epoch(compared):
    assert compared["eight covering"].coverage.instance_counts.tolist() == [2] * 400


def left_out(store, **options):
    rows = comparison.compare(store, epochs=1, mus=[1.0], **options)
    return {row.name: row.reason for row in rows if isinstance(row, LeftOut)}


def test_samplers_that_cannot_be_made_are_left_out_with_the_reason():
    assert left_out(MANY, batch_size=16) == {}
    found = left_out(MANY, batch_size=12)
    assert list(found) == ["neighbor groups", "eight clusters", "eight covering"]
    assert "must be a multiple of group_size; got batch_size=12" in found["neighbor groups"]
    assert "anchors_per_batch=8 must divide the batch, of 12" in found["eight covering"]
    few = ManifestationStore.from_dense(np.repeat(np.tri(20, 19, -1, dtype=bool), 9, axis=0))
    assert "skip_nearest" in left_out(few, batch_size=8)["neighbor groups"]


def test_without_metis_the_line_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "pymetis", None)
    rows = list(comparison.compare(MANY, batch_size=16, epochs=1, mus=[1.0]))
    table = comparison_table(rows).splitlines()
    assert not any(line.startswith("neighbor groups") for line in table)
    assert " ".join(line.strip() for line in table[-2:]).startswith(
        "left out: neighbor groups, because "
    )
    assert "pip install 'maninegs-sampling[metis]'" in " ".join(map(str.strip, table))
    assert max(map(len, table)) <= 80


def test_an_epoch_that_cannot_be_planned_is_left_out():
    # Of 4 groups, one holds half of the instances: more than an epoch has batches.
    groups = np.where(np.arange(400) < 200, 0, np.arange(400))
    found = left_out(MANY, batch_size=16, groups=groups)
    assert list(found) == ["eight covering"]
    assert "one group has 200 instances, and an epoch has 25 batches" in found["eight covering"]


def test_as_many_epochs_as_have_enough_batches():
    store = ManifestationStore.from_dense(np.arange(6400)[:, None] % 2)
    for size, epochs in ((64, 20), (32, 10), (4, 1), (2, 1)):
        assert default_epochs(store, size) == epochs
    with pytest.raises(ManiNegError, match="batch_size must be at least 2"):
        default_epochs(store, 0)
    entry = next(iter(comparison.compare(MANY, batch_size=4)))
    assert entry.hardness.n_batches == 20 * 100


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
    return Entry(
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
    wide = random_store(150, 100)
    entries = [
        replace(row, microseconds=12_345.0) if isinstance(row, Entry) else row
        for row in comparison.compare(wide, batch_size=30, epochs=2)
    ]
    legend = comparison_legend(n_instances=101, epochs=2, mu=12.5)
    table = comparison_table(entries)
    lines = [*table.splitlines(), *legend.splitlines()]
    assert max(map(len, lines)) <= 80
    assert {line.split()[-1] for line in table.splitlines()[1 : len(entries) - 2]} == {"12k"}
    assert "at mu=12.5" in legend
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
        return Entry("any", *of, 1.0)

    batches = [[i, i + 1] for i in range(1000)]
    near = measured_there(batches)
    assert _last_step([near]) == 1
    for n_far, end in ((1, 1), (2, 1000)):
        far = measured_there(batches + [[0, 1000]] * n_far)
        assert _last_step([far]) == _last_step([near, far]) == end


def test_the_picture_is_a_png(tmp_path):
    rows = comparison.compare(STORE, batch_size=10, mus=[1.0], epochs=1)
    entries = [row for row in rows if isinstance(row, Entry)]
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
    ours = [e for e in entries if isinstance(e, Entry) and "authors" not in e.name]
    assert [entry.name for entry in ours][-2:] == ["ManiNeg, mu=1", "near cluster"]
    assert all(entry.hardness.instances_min == 10 for entry in ours)
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
    found = [getattr(entry, "distribution", None) for entry in entries]
    found = [shares for shares in found if shares is not None]
    assert len(found) == 2
    assert all(shares[4] == shares.sum() == 1 for shares in found)
