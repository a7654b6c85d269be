"""Groups of neighbors: the graph and the equal parts against their slow twins; METIS itself."""

import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array

from maninegs_sampling import ManifestationStore, ManiNegError, NeighborGroupBatchSampler
from maninegs_sampling.sampling.peers.equal_groups import equalize, partition
from maninegs_sampling.sampling.peers.neighbor_groups import instance_graph, reciprocal_pairs
from maninegs_sampling.sampling.peers.neighbors import NeighborLists, nearest_patterns
from tests.conftest import bit_matrices, random_store
from tests.sampling.peers import naive
from tests.sampling.peers.hardness import pair_mean

pytest.importorskip("pymetis", reason="pymetis comes with the extra metis")


def graph_of(edges, n):
    pairs = np.array(sorted(edges), np.int64).reshape(-1, 2)
    rows, columns = np.concatenate([pairs, pairs[:, ::-1]]).T
    return csr_array((np.ones(len(rows), bool), (rows, columns)), shape=(n, n))


@given(bits=bit_matrices(), n_neighbors=st.integers(1, 12), skip=st.integers(0, 3))
def test_the_graph_equals_naive(bits, n_neighbors, skip):
    store = ManifestationStore.from_dense(bits)
    nearest = nearest_patterns(store, n_neighbors, skip_nearest=skip)
    members = [np.flatnonzero(store.pattern_of == u).tolist() for u in range(store.n_patterns)]
    assert reciprocal_pairs(nearest).tolist() == sorted(naive.reciprocal_pairs(nearest.tolist()))
    graph = instance_graph(NeighborLists(store.pattern_of, nearest))
    edges = naive.instance_edges(nearest.tolist(), members)
    assert np.array_equal(graph.toarray(), graph_of(edges, len(bits)).toarray())
    assert graph.nnz <= 2 * len(bits) * n_neighbors


@st.composite
def parts_and_edges(draw):
    n, group_size = draw(st.integers(1, 14)), draw(st.integers(1, 5))
    parts = draw(st.lists(st.integers(0, -(-n // group_size) - 1), min_size=n, max_size=n))
    pairs = st.tuples(st.integers(0, n - 1), st.integers(0, n - 1))
    edges = {tuple(sorted(pair)) for pair in draw(st.sets(pairs, max_size=30))}
    return parts, {pair for pair in edges if pair[0] != pair[1]}, group_size


@given(parts_and_edges())
def test_parts_are_made_equal_as_naive_does_it(case):
    parts, edges, group_size = case
    groups = equalize(np.array(parts), graph_of(edges, len(parts)), group_size)
    sizes = np.bincount(groups)
    assert set(sizes[:-1]) <= {group_size}
    assert sizes[-1] == (len(parts) % group_size or group_size)
    assert groups.tolist() == naive.equalize(parts, edges, group_size)


def test_equal_parts_are_left_as_they_are():
    parts = np.array([1, 0, 1, 0, 2])
    graph = graph_of({(0, 2)}, 5)
    assert equalize(parts, graph, 2).tolist() == parts.tolist()


def test_metis_finds_cliques():
    """Twelve cliques of eight in a ring, their members scattered, are the groups."""
    numbers = np.random.default_rng(0).permutation(96).reshape(12, 8)
    edges = {tuple(sorted((a, b))) for clique in numbers for a in clique for b in clique if a < b}
    edges |= {tuple(sorted((numbers[c, 0], numbers[c - 1, 1]))) for c in range(12)}
    graph = graph_of(edges, 96)
    groups = partition(graph, 8, seed=0)
    found = {frozenset(np.flatnonzero(groups == g).tolist()) for g in range(12)}
    assert found == {frozenset(clique.tolist()) for clique in numbers}
    assert np.array_equal(groups, partition(graph, 8, seed=0))


@pytest.mark.parametrize("group_size", [1, 2, 3, 8, 49, 50, 51])
@pytest.mark.parametrize("edges", [set(), {(0, 1)}, {(i, i + 1) for i in range(49)}])
def test_metis_divides_any_graph(edges, group_size):
    sizes = np.bincount(partition(graph_of(edges, 50), group_size, seed=3))
    assert set(sizes[:-1]) <= {group_size}
    assert sizes.sum() == 50
    assert sizes[-1] == (50 % group_size or group_size)


def groups_of(batches, size):
    return [frozenset(b[i : i + size]) for b in batches for i in range(0, len(b), size)]


@pytest.mark.parametrize(("n", "changed"), [(96, 0), (97, 1)])
def test_groups_stay_together_and_meet_others_in_each_epoch(n, changed):
    options = {"batch_size": 12, "group_size": 4, "skip_nearest": 2, "n_neighbors": 10}
    store = random_store(n, 9)
    sampler = NeighborGroupBatchSampler(store, batches_per_epoch="ceil", **options)
    epochs = [list(sampler) for _ in range(3)]
    groups = [{g for g in groups_of(epoch, 4) if len(g) == 4} for epoch in epochs]
    assert len(groups[0]) == 24
    assert len(set.intersection(*groups)) >= 24 - 3 * changed
    meetings = [{frozenset(batch) for batch in epoch} for epoch in epochs]
    assert len(meetings[0] & meetings[1]) <= changed
    other = NeighborGroupBatchSampler(store, seed=1, **options)
    assert not set(map(frozenset, other)) & meetings[0]


def test_no_instance_is_always_left_out():
    options = {"batch_size": 8, "group_size": 4, "skip_nearest": 2, "n_neighbors": 10}
    store = random_store(51, 8)
    sampler = NeighborGroupBatchSampler(store, **options)
    left_out = [set(range(51)) - set(sum(sampler, [])) for _ in range(60)]
    assert {len(left) for left in left_out} == {3}
    assert len(set.union(*left_out)) > 30
    ceil = NeighborGroupBatchSampler(store, batches_per_epoch="ceil", **options)
    assert {len(set(sum(ceil, []))) for _ in range(60)} == {51}
    last = [frozenset(ceil.batch(6, epoch)) for epoch in range(60)]
    assert {len(batch) for batch in last} == {3}
    assert len(frozenset.union(*last)) > 30


def test_one_giant_pattern():
    bits = random_store(400, 10, seed=4).to_dense()
    bits[:300] = bits[0]
    sampler = NeighborGroupBatchSampler(
        ManifestationStore.from_dense(bits), batch_size=16, group_size=8, skip_nearest=3
    )
    assert sorted(sum(sampler, [])) == list(range(400))


def test_the_nearest_ranks_are_skipped():
    """On a line, instances next to each other are joined without skipping, and not with it."""
    n = 64
    near = [[j for d in range(1, n) for j in (i - d, i + d) if 0 <= j < n] for i in range(n)]
    store = ManifestationStore.from_dense(np.eye(n, dtype=bool))

    def mean_gap(skip):
        sampler = NeighborGroupBatchSampler(
            store, batch_size=4, group_size=4, skip_nearest=skip, n_neighbors=8, neighbors=near
        )
        return np.mean([np.diff(sorted(batch)).mean() for batch in sampler])

    assert mean_gap(0) < 2 < mean_gap(8)


def test_groups_are_near(cbis):
    near = NeighborGroupBatchSampler(cbis, batch_size=8, group_size=8, skip_nearest=0)
    skipping = NeighborGroupBatchSampler(cbis, batch_size=8, group_size=8)
    uniform = np.random.default_rng(0).permutation(3568).reshape(-1, 8)
    means = [pair_mean(cbis, list(s)) for s in (near, skipping, uniform)]
    assert means == sorted(means)


def test_a_partition_of_another_metis_is_refused(monkeypatch):
    store = random_store(60, 8)
    options = {"batch_size": 4, "group_size": 4, "skip_nearest": 0}
    state = NeighborGroupBatchSampler(store, **options).state_dict()
    NeighborGroupBatchSampler(store, **options).load_state_dict(state)
    monkeypatch.setattr(
        "maninegs_sampling.sampling.peers.neighbor_groups.partition",
        lambda graph, size, seed: np.arange(60) // size,
    )
    with pytest.raises(ManiNegError, match="the state was made with groups="):
        NeighborGroupBatchSampler(store, **options).load_state_dict(state)


def test_pymetis_is_asked_for(monkeypatch):
    monkeypatch.setitem(sys.modules, "pymetis", None)
    with pytest.raises(ManiNegError, match=r"graph needs pymetis: .*maninegs-sampling\[metis\]"):
        NeighborGroupBatchSampler(random_store(60, 8), batch_size=4, group_size=4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 6}, "must be a multiple of group_size; got batch_size=6, group_size=4"),
        ({"group_size": 0}, "group_size must be at least 1; got 0"),
        ({"skip_nearest": -1}, "skip_nearest must be at least 0; got -1"),
        ({"skip_nearest": 39}, "skip_nearest=39 leaves no neighbors: the longest list has 39"),
        ({"n_neighbors": 0}, "n_neighbors must be at least 1; got 0"),
        ({"neighbors": [[1]]}, r"neighbors must have the shape \(40, K\)"),
        ({"neighbors": np.roll(np.arange(40), 1)[:, None]}, "skip_nearest=30 leaves no neighbors"),
        ({"batch_size": 44}, "there are 40 instances, too few for batches of 44"),
        ({"batches_per_epoch": "anchors"}, "must be None or \"ceil\"; got 'anchors'"),
    ],
)
def test_errors(options, message):
    store = ManifestationStore.from_dense(np.eye(40, dtype=bool))
    with pytest.raises(ManiNegError, match=message):
        NeighborGroupBatchSampler(store, **({"batch_size": 4, "group_size": 4} | options))
