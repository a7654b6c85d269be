"""Random walks: the exact law of the batches that they gather."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maninegs_sampling import (
    ManifestationStore,
    ManiNegError,
    RandomWalkBatchSampler,
    UniformDistinctBatchSampler,
)
from maninegs_sampling.sampling.peers import random_walk
from tests.conftest import bit_matrices
from tests.laws import assert_follows_law
from tests.sampling.peers import naive
from tests.sampling.peers.hardness import pair_mean

# Patterns 0 to 4, as the store numbers them, of 2, 1, 3, 1 and 1 instances.
ROWS = [[0, 0, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0], *[[1, 1, 0, 0]] * 3, [1, 1, 1, 0], [1, 1, 1, 1]]
MEMBERS = [[0, 1], [2], [3, 4, 5], [6], [7]]
PATTERNS = [ROWS[group[0]] for group in MEMBERS]
# Two components, an instance without neighbors, and one that no list names.
LISTS = [[1, 2, -1], [0, -1, -1], [0, 1, -1], [4, -1, -1], [3, -1, -1], [-1, -1, -1], [0, 3, -1],
         [6, -1, -1]]  # fmt: skip


def drawn_and_law(
    lists, members, anchors, restart, patience, batch_size=3, per_anchor=6000, **options
):
    store = ManifestationStore.from_dense(ROWS)
    sampler = RandomWalkBatchSampler(
        store, batch_size=batch_size, restart_probability=restart,
        batches_per_epoch=per_anchor * len(ROWS), **options,
    )  # fmt: skip
    drawn = [tuple(batch) for batch in sampler if batch[0] in anchors]
    assert len(drawn) == per_anchor * len(anchors)
    law = {}
    for anchor in anchors:
        exact = naive.walk_law(lists, members, anchor, batch_size, restart, patience)
        law |= {batch: chance / len(anchors) for batch, chance in exact.items()}
    return drawn, law


@pytest.mark.parametrize("patience", [1, 3, 12])
@pytest.mark.parametrize("restart", [0.0, 0.3])
def test_walks_over_patterns_follow_the_exact_law(monkeypatch, restart, patience):
    monkeypatch.setattr(random_walk, "PATIENCE", patience)
    lists = naive.nearest(PATTERNS, 2)
    assert_follows_law(*drawn_and_law(lists, MEMBERS, (0, 3, 7), restart, patience, n_neighbors=2))


@pytest.mark.parametrize("patience", [1, 3])
@pytest.mark.parametrize("restart", [0.0, 0.3])
def test_walks_over_lists_follow_the_exact_law(monkeypatch, restart, patience):
    monkeypatch.setattr(random_walk, "PATIENCE", patience)
    lists = naive.listed(LISTS, list(range(8)))
    members = [[i] for i in range(8)]
    assert_follows_law(
        *drawn_and_law(lists, members, (0, 3, 5), restart, patience, neighbors=LISTS)
    )


def test_the_law_test_notices_another_restart_and_another_graph(monkeypatch):
    monkeypatch.setattr(random_walk, "PATIENCE", 3)
    for restart, k in ((0.5, 2), (0.2, 3)):
        lists = naive.nearest(PATTERNS, k)
        drawn, _ = drawn_and_law(lists, MEMBERS, (0, 3), 0.2, 3, n_neighbors=2)
        _, law = drawn_and_law(lists, MEMBERS, (0, 3), restart, 3, per_anchor=1, n_neighbors=2)
        with pytest.raises(AssertionError, match=r"p =|impossible"):
            assert_follows_law(drawn, law)


def test_ranks_epochs_and_batches_have_streams_of_their_own():
    """From one stream, walks on a complete graph would take the same ways from every start."""
    store = ManifestationStore.from_dense(np.eye(1000, dtype=bool))
    drawn = [
        set(sampler.batch(k, epoch)[1:])
        for rank in (0, 1)
        for sampler in [
            RandomWalkBatchSampler(
                store, batch_size=8, n_neighbors=999, restart_probability=0, num_replicas=2,
                rank=rank,
            )
        ]
        for epoch in (0, 1)
        for k in range(8)
    ]  # fmt: skip
    shared = [len(a & b) for a, b in itertools.combinations(drawn, 2)]
    assert max(shared) <= 3  # of 7; 4 or more have probability 3e-8 in a pair


@given(bits=bit_matrices(), batch_size=st.integers(1, 8), n_neighbors=st.integers(1, 60))
def test_every_batch_is_full_and_of_distinct_patterns(bits, batch_size, n_neighbors):
    store = ManifestationStore.from_dense(bits)
    if store.n_patterns < batch_size:
        with pytest.raises(ManiNegError, match=f"there are {store.n_patterns} "):
            RandomWalkBatchSampler(store, batch_size=batch_size)
        return
    sampler = RandomWalkBatchSampler(
        store, batch_size=batch_size, n_neighbors=n_neighbors, batches_per_epoch="anchors"
    )
    batches = list(sampler)
    assert sorted(batch[0] for batch in batches) == list(range(len(bits)))
    for batch in batches:
        assert all(type(i) is int for i in batch)
        assert len(batch) == len({bits[i].tobytes() for i in batch}) == batch_size


def test_walks_stay_near(cbis):
    sampler = RandomWalkBatchSampler(cbis, batch_size=64)
    nearer = RandomWalkBatchSampler(cbis, batch_size=64, restart_probability=0.5)
    uniform = UniformDistinctBatchSampler(cbis, batch_size=64)
    means = [pair_mean(cbis, list(one)) for one in (nearer, sampler, uniform)]
    assert means == sorted(means)
    assert means[0] < 0.95 * means[2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 41}, "there are 40 distinct patterns, too few for batches of 41"),
        ({"batch_size": 102, "neighbors": np.roll(np.arange(101), 1)[:, None]}, "101 instances"),
        ({"restart_probability": 1.0}, r"restart_probability must be in \[0, 1\); got 1.0"),
        ({"restart_probability": -0.1}, "got -0.1"),
        ({"restart_probability": "often"}, "restart_probability must be a number; got 'often'"),
        ({"restart_probability": float("nan")}, "restart_probability must be finite"),
        ({"n_neighbors": 0}, "n_neighbors must be at least 1; got 0"),
        ({"n_neighbors": 1.5}, "n_neighbors must be a whole number; got 1.5"),
        ({"neighbors": [[1]]}, r"neighbors must have the shape \(101, K\)"),
    ],
)
def test_errors(options, message):
    store = ManifestationStore.from_dense(np.eye(40, dtype=bool)[np.arange(101) % 40])
    with pytest.raises(ManiNegError, match=message):
        RandomWalkBatchSampler(store, **({"batch_size": 4} | options))
