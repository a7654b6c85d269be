"""Batches of several ranks."""

import itertools

import numpy as np
import pytest
from torch.utils.data import SequentialSampler
from torch.utils.data.distributed import DistributedSampler

from maninegs_sampling import (
    LinearAnnealing,
    ManifestationStore,
    ManiNegBatchSampler,
    ManiNegError,
)
from tests.conftest import random_store

STORE = random_store(20, 6)


# Ranks.


def test_shard_batches_gives_each_rank_its_own():
    store = random_store(96, 14)
    ranks = [
        ManiNegBatchSampler(store, batch_size=4, mu=3.0, num_replicas=3, rank=rank)
        for rank in range(3)
    ]
    passes = [list(rank) for rank in ranks]
    assert {len(batches) for batches in passes} == {8}
    anchors = [batch[0] for batches in passes for batch in batches]
    assert len(set(anchors)) == len(anchors)
    more = [batch[0] for rank in ranks for _ in range(3) for batch in rank]
    assert sorted(anchors + more) == list(range(96))


def test_ranks_epochs_and_batches_have_streams_of_their_own():
    """From one stream, anchors that all see the same would draw the same negatives."""
    store = ManifestationStore.from_dense(np.eye(1000, dtype=bool))
    drawn = [
        set(sampler.batch(k, epoch=epoch)[1:])
        for rank in (0, 1)
        for sampler in [ManiNegBatchSampler(store, batch_size=8, mu=2.0, num_replicas=2, rank=rank)]
        for epoch in (0, 1)
        for k in range(8)
    ]
    shared = [len(a & b) for a, b in itertools.combinations(drawn, 2)]
    assert max(shared) <= 3  # of 7; 4 or more have probability 3e-8 in a pair, 1.5e-5 in all


def test_shard_within_splits_one_hard_batch():
    store = random_store(96, 14)
    whole = list(ManiNegBatchSampler(store, batch_size=12, mu=3.0))
    ranks = [
        list(
            ManiNegBatchSampler(
                store, batch_size=4, mu=3.0, num_replicas=3, rank=rank, shard="within"
            )
        )
        for rank in range(3)
    ]
    assert [sum(parts, []) for parts in zip(*ranks, strict=True)] == whole


def test_the_ranks_that_share_a_batch_may_change_between_runs():
    store = random_store(96, 14)

    def ranks(number, state=None):
        made = [
            ManiNegBatchSampler(
                store, batch_size=12 // number, mu=LinearAnnealing(7, 0, 30), shard="within",
                num_replicas=number, rank=rank,
            )
            for rank in range(number)
        ]  # fmt: skip
        if state is not None:
            for sampler in made:
                sampler.load_state_dict(state)
        return made

    whole = list(ranks(1)[0])
    (first,) = ranks(1)
    for _ in zip(range(3), first, strict=False):
        pass
    state, seen = first.state_dict(), whole[:3]
    for number in (3, 2, 4):
        team = ranks(number, state)
        passes = [iter(sampler) for sampler in team]
        seen.append(sum((next(one) for one in passes), []))
        assert len({repr(sampler.state_dict()) for sampler in team}) == 1
        state = team[-1].state_dict()
    assert seen == whole[:6]


def test_ranks_with_their_own_batches_may_change_between_runs():
    store = random_store(96, 14)
    options = {"batch_size": 4, "mu": 3.0}
    two = ManiNegBatchSampler(store, num_replicas=2, rank=0, **options)
    state = two.state_dict() | {"epoch": 5, "position": 9}
    for number, position in ((1, 18), (2, 9), (3, 6), (4, 4)):
        sampler = ManiNegBatchSampler(store, num_replicas=number, rank=0, **options)
        if number == 2:
            sampler.load_state_dict(state)
        else:
            with pytest.warns(UserWarning, match="of 2 ranks with 12 batches an epoch, and now"):
                sampler.load_state_dict(state)
        assert (sampler.epoch, sampler.state_dict()["position"]) == (5, position)
        assert next(iter(sampler)) == sampler.batch(position, epoch=5)
    with pytest.raises(ManiNegError, match="was made with seed=0; this sampler has seed=1"):
        ManiNegBatchSampler(store, seed=1, **options).load_state_dict(state)
    with pytest.raises(ManiNegError, match="batches_per_epoch=3"):
        ManiNegBatchSampler(
            store, num_replicas=2, rank=0, batches_per_epoch=3, **options
        ).load_state_dict(state)


def test_an_injected_distributed_sampler_says_the_ranks():
    injected = DistributedSampler(range(20), num_replicas=2, rank=1)
    expected = ManiNegBatchSampler(STORE, batch_size=4, mu=2.0, num_replicas=2, rank=1)
    for options in ({}, {"distributed": "auto"}):
        rebuilt = ManiNegBatchSampler(STORE, batch_size=4, mu=2.0, sampler=injected, **options)
        assert list(rebuilt) == list(expected)
        expected.set_epoch(0)
    told = ManiNegBatchSampler(
        STORE, batch_size=4, mu=2.0, sampler=injected, num_replicas=1, rank=0
    )
    assert (told.num_replicas, told.rank) == (1, 0)
    with pytest.raises(ManiNegError, match="got SequentialSampler"):
        ManiNegBatchSampler(STORE, batch_size=4, mu=2.0, sampler=SequentialSampler(range(20)))


def test_ranks_that_start_after_the_sampler_was_made(monkeypatch):
    sampler = ManiNegBatchSampler(STORE, batch_size=2, mu=2.0, distributed="auto")
    silent = ManiNegBatchSampler(STORE, batch_size=2, mu=2.0)
    assert len(sampler) == 10  # no ranks yet
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    expected = ManiNegBatchSampler(STORE, batch_size=2, mu=2.0, num_replicas=2, rank=1)
    assert (len(sampler), list(sampler)) == (5, list(expected))
    monkeypatch.setenv("RANK", "0")  # known once, ranks stay
    assert list(sampler) == list(expected)
    with pytest.warns(UserWarning, match="runs 2 ranks, and each of them"):
        iter(silent)
    assert len(silent) == 10


def test_ranks_that_start_before_anything_was_drawn(monkeypatch):
    """A state knows of them, and too few patterns for all of them are an error."""
    sampler = ManiNegBatchSampler(STORE, batch_size=2, mu=2.0, distributed="auto")
    short = ManiNegBatchSampler(STORE, batch_size=15, mu=2.0, distributed="auto", shard="within")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    assert sampler.state_dict()["fingerprint"]["num_replicas"] == 2
    for _ in range(2):
        with pytest.raises(ManiNegError, match="too few for batches of 30"):
            iter(short)


def test_short_batches_are_split_equally():
    store = ManifestationStore.from_dense(np.tri(12, 12, -1, dtype=bool))
    options = {"mu": 1.0, "high": 2, "num_replicas": 2, "shard": "within", "batches_per_epoch": 12}
    with pytest.warns(UserWarning, match="instead of 8"):
        parts = [list(ManiNegBatchSampler(store, batch_size=4, rank=r, **options)) for r in (0, 1)]
    for a, b in zip(*parts, strict=True):
        assert 1 <= len(a) == len(b) <= 2
        assert not set(a) & set(b)
