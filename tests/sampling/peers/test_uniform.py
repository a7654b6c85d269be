"""Uniform batches of distinct patterns: their exact law, and what cannot be filled."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maninegs_sampling import ManifestationStore, ManiNegError, UniformDistinctBatchSampler
from maninegs_sampling.sampling.peers import uniform
from tests.conftest import bit_matrices, random_store
from tests.laws import assert_follows_law
from tests.sampling.peers import naive

ROWS = [[0, 0, 0]] * 4 + [[0, 0, 1]] * 2 + [[0, 1, 1], [1, 1, 1], [1, 0, 0]]
GROUPS = ["a", "b", "c", "c", "b", "d", "d", "e", "a"]


def drawn(n_batches=20_000, batch_size=3, **options):
    store = ManifestationStore.from_dense(ROWS)
    sampler = UniformDistinctBatchSampler(
        store, batch_size=batch_size, batches_per_epoch=n_batches, **options
    )
    return [tuple(batch) for batch in sampler]


@pytest.mark.parametrize("groups", [None, GROUPS], ids=["", "groups"])
@pytest.mark.parametrize("patience", [0.0, 1 / 16, 1 / 4, 100.0])
def test_batches_follow_the_exact_law(monkeypatch, patience, groups):
    """Whether instances are listed at the first refusal, later, or never."""
    monkeypatch.setattr(uniform, "_PATIENCE", patience)
    assert_follows_law(drawn(groups=groups), naive.uniform_law(ROWS, 3, groups))


@pytest.mark.parametrize("patience", [0.0, 100.0])
def test_the_law_holds_where_every_pattern_is_needed(monkeypatch, patience):
    monkeypatch.setattr(uniform, "_PATIENCE", patience)
    assert_follows_law(drawn(batch_size=5), naive.uniform_law(ROWS, 5))


def test_the_law_test_notices_forgotten_groups_and_patterns():
    for law in (naive.uniform_law(ROWS, 3), naive.uniform_law([[i] for i in range(9)], 3)):
        with pytest.raises(AssertionError, match="p ="):
            assert_follows_law(drawn(groups=GROUPS), law)


def test_ranks_epochs_and_seeds_have_streams_of_their_own():
    store = ManifestationStore.from_dense(np.eye(500, dtype=bool))
    batches = {
        tuple(sampler.batch(k, epoch))
        for seed in (0, 1)
        for rank in (0, 1)
        for sampler in [
            UniformDistinctBatchSampler(store, batch_size=8, seed=seed, num_replicas=2, rank=rank)
        ]
        for epoch in (0, 1)
        for k in range(20)
    }
    assert len(batches) == 2 * 2 * 2 * 20


@given(bits=bit_matrices(), batch_size=st.integers(1, 12), n_groups=st.sampled_from([0, 1, 3, 100]))
def test_every_batch_keeps_its_contract(bits, batch_size, n_groups):
    store = ManifestationStore.from_dense(bits)
    groups = np.arange(len(bits)) % n_groups if n_groups else None
    try:
        sampler = UniformDistinctBatchSampler(
            store, batch_size=batch_size, batches_per_epoch=5, groups=groups
        )
    except ManiNegError:
        few_groups = n_groups and len(np.unique(groups)) < batch_size
        assert store.n_patterns < batch_size or few_groups
        return
    sampler._warned = True
    batches = list(sampler)
    assert len(batches) == len(sampler) == 5
    for batch in batches:
        assert all(type(i) is int and 0 <= i < len(bits) for i in batch)
        assert len({bits[i].tobytes() for i in batch}) == len(batch)
        if groups is None:
            assert len(batch) == batch_size
        else:
            assert len(set(groups[batch])) == len(batch)
            rest = set(range(len(bits))) - set(batch)
            patterns, taken = {bits[i].tobytes() for i in batch}, set(groups[batch])
            full = len(batch) == batch_size
            assert full or all(bits[i].tobytes() in patterns or groups[i] in taken for i in rest)


def test_one_giant_pattern_and_real_data(cbis):
    bits = random_store(3000, 12, seed=4).to_dense()
    bits[:2700] = bits[0]
    for store in (ManifestationStore.from_dense(bits), cbis):
        for batch in UniformDistinctBatchSampler(store, batch_size=64):
            assert len(batch) == len(set(store.pattern_of[batch])) == 64


def test_a_batch_that_groups_leave_short_is_said_once():
    store = ManifestationStore.from_dense([[0, 0], [0, 1], [1, 0], [1, 1]])
    sampler = UniformDistinctBatchSampler(
        store, batch_size=2, groups=[0, 0, 0, 1], batches_per_epoch=200
    )
    assert {len(batch) for batch in sampler} == {2}
    store = ManifestationStore.from_dense([[0, 0], [0, 0], [0, 1]])
    sampler = UniformDistinctBatchSampler(
        store, batch_size=2, groups=[0, 1, 0], batches_per_epoch=50
    )
    with pytest.warns(UserWarning, match="a batch holds 1 instead of 2 instances") as caught:
        batches = list(sampler) + list(sampler)
    assert len(caught) == 1
    assert {len(batch) for batch in batches} == {1, 2}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"batch_size": 6},
            "have 5 distinct patterns, too few for batches of 6 without duplicates",
        ),
        ({"batch_size": 3, "num_replicas": 2, "rank": 0, "shard": "within"}, "for batches of 6"),
        ({"batch_size": 3, "groups": [0, 1] * 4 + [0]}, "groups has 2 distinct labels, too few"),
        ({"batch_size": 3, "groups": [0, 1]}, "groups must hold one label for each of the 9"),
        ({"batch_size": 3, "indices": [0, 1, 2]}, "have 1 distinct patterns"),
        ({"batch_size": 0}, "batch_size must be at least 1; got 0"),
        ({"batch_size": 3, "batches_per_epoch": "all"}, 'a number, "ceil" or "anchors"'),
    ],
)
def test_errors(options, message):
    with pytest.raises(ManiNegError, match=message):
        UniformDistinctBatchSampler(ManifestationStore.from_dense(ROWS), **options)
