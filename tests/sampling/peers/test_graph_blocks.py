"""Blocks of a bandwidth-minimizing order: partitions, near neighbors, bounded memory."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maninegs_sampling import GraphBlockBatchSampler, ManifestationStore, ManiNegError
from maninegs_sampling.distances.pairwise import pairwise_hamming
from maninegs_sampling.sampling.peers import graph_blocks
from tests.conftest import bit_matrices, random_store
from tests.naive import hamming
from tests.sampling.peers.hardness import pair_mean


@given(bits=bit_matrices(), n_neighbors=st.integers(1, 20))
def test_the_graph_joins_within_the_smallest_sufficient_distance(bits, n_neighbors):
    store = ManifestationStore.from_dense(bits)
    first = [int(np.flatnonzero(store.pattern_of == u)[0]) for u in range(store.n_patterns)]
    graph = graph_blocks.hamming_graph(store, n_neighbors).toarray()
    apart = np.array([[hamming(bits[i], bits[j]) for j in first] for i in first])

    def others(radius):
        return (apart <= radius).sum() - len(first)

    enough = len(first) * min(n_neighbors, len(first) - 1)
    radius = next(r for r in range(apart.max() + 1) if others(r) >= enough)
    assert np.array_equal(graph, apart <= radius)


def test_lists_are_joined_both_ways():
    lists = np.array([[1, -1], [0, 2], [-1, -1], [0, -1]], np.int32)
    expected = np.zeros((4, 4), bool)
    for i, j in ((0, 1), (1, 2), (0, 3)):
        expected[i, j] = expected[j, i] = True
    assert np.array_equal(graph_blocks.joined(lists).toarray(), expected)


def test_a_path_is_cut_into_its_pieces():
    """On a path the order is the path itself, so that all blocks but one are pieces of it."""
    n = 60
    numbers = np.random.default_rng(0).permutation(n)
    lists = np.full((n, 2), -1)
    for a, b in itertools.pairwise(numbers):
        lists[a, 0], lists[b, 1] = b, a
    store = ManifestationStore.from_dense(np.eye(n, dtype=bool))
    place = np.argsort(numbers)
    for neighbors in (lists, lists[:, :1]):
        sampler = GraphBlockBatchSampler(store, batch_size=6, neighbors=neighbors)
        cuts = set()
        for _ in range(4):
            spans = [np.ptp(place[batch]) for batch in sampler]
            assert sorted(spans)[:-1] == [5] * 9
            cuts.add(tuple(place[sampler.batch(0, epoch=sampler.epoch - 1)]))
        assert len(cuts) > 1


def test_blocks_of_near_neighbors(cbis):
    sampler = GraphBlockBatchSampler(cbis, batch_size=64)
    uniform = np.random.default_rng(0).permutation(3568)[:3520].reshape(55, 64)
    blocks = pair_mean(cbis, list(sampler))
    assert blocks < 0.6 * pair_mean(cbis, uniform)


def test_no_instance_is_always_left_out():
    store = random_store(50, 8)
    sampler = GraphBlockBatchSampler(store, batch_size=16)
    left_out = [set(range(50)) - set(sum(sampler, [])) for _ in range(40)]
    assert {len(left) for left in left_out} == {2}
    assert len(set.union(*left_out)) > 30


def test_the_order_is_that_of_all_ranks_however_a_batch_is_split():
    store = random_store(96, 9)
    whole = GraphBlockBatchSampler(store, batch_size=24, shard="within")
    for number in (2, 3, 4):
        ranks = [
            GraphBlockBatchSampler(
                store, batch_size=24 // number, shard="within", num_replicas=number, rank=rank
            )
            for rank in range(number)
        ]
        assert [sum(parts, []) for parts in zip(*ranks, strict=True)] == list(whole)
        whole.set_epoch(0)
        ranks[0].load_state_dict(whole.state_dict())


def test_the_graph_holds_no_square_matrix_and_has_a_limit(monkeypatch):
    sizes = []
    monkeypatch.setattr(
        graph_blocks,
        "pairwise_hamming",
        lambda rows, others: sizes.append(rows.n_instances) or pairwise_hamming(rows, others),
    )
    store = random_store(1000, 20)
    graph_blocks.hamming_graph(store, 10)
    assert max(sizes) <= 256
    assert sum(sizes) == store.n_patterns
    monkeypatch.setattr(graph_blocks, "MOST_EDGES", 5000)
    with pytest.raises(ManiNegError, match=r"takes \d+ edges, more than 5000; give lists"):
        GraphBlockBatchSampler(store, batch_size=10, n_neighbors=10)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 41}, "there are 40 instances, too few for batches of 41"),
        ({"n_neighbors": 0}, "n_neighbors must be at least 1; got 0"),
        ({"neighbors": [[1]]}, r"neighbors must have the shape \(40, K\)"),
        ({"batches_per_epoch": 7}, 'batches_per_epoch must be None or "ceil"; got 7'),
    ],
)
def test_errors(options, message):
    with pytest.raises(ManiNegError, match=message):
        GraphBlockBatchSampler(random_store(40, 8), **({"batch_size": 4} | options))
