"""What every peer promises: purity, partitions, states, ranks, wrapping; lists in place of bits."""

import pickle
import threading
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import (
    DataLoader,
    DistributedSampler,
    RandomSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)

from maninegs_sampling import (
    GraphBlockBatchSampler,
    ManifestationStore,
    ManiNegBatchSampler,
    ManiNegError,
    NeighborGroupBatchSampler,
    RandomWalkBatchSampler,
    UniformDistinctBatchSampler,
)
from tests.conftest import bit_matrices, random_store
from tests.laws import assert_resumes
from tests.sampling.test_wrapping import Collating, Keeping

pytest.importorskip("pymetis", reason="pymetis comes with the extra metis")

# 103 instances of some 60 patterns; lists of neighbors by another distance.
STORE = ManifestationStore.from_dense(
    random_store(60, 10).to_dense()[np.random.default_rng(1).integers(0, 60, 103)]
)
POINTS = np.random.default_rng(0).normal(size=(103, 3))
LISTS = np.linalg.norm(POINTS[:, None] - POINTS, axis=2).argsort(axis=1)[:, :20]

CASES: dict[str, tuple[Any, dict[str, Any]]] = {
    "uniform": (UniformDistinctBatchSampler, {}),
    "uniform, groups": (UniformDistinctBatchSampler, {"groups": np.arange(103) // 2}),
    "blocks": (GraphBlockBatchSampler, {"n_neighbors": 6}),
    "blocks, lists": (GraphBlockBatchSampler, {"n_neighbors": 6, "neighbors": LISTS}),
    "groups": (NeighborGroupBatchSampler, {"group_size": 2, "skip_nearest": 2}),
    "groups, lists": (
        NeighborGroupBatchSampler,
        {"group_size": 2, "skip_nearest": 2, "neighbors": LISTS},
    ),
    "walks": (RandomWalkBatchSampler, {"n_neighbors": 6}),
    "walks, lists": (RandomWalkBatchSampler, {"n_neighbors": 6, "neighbors": LISTS}),
}
PLANNED = {name: case for name, case in CASES.items() if case[0].__name__[:1] in "GN"}


def make(name, **options):
    cls, own = CASES[name]
    return cls(STORE, **({"batch_size": 4, **own} | options))


every = pytest.mark.parametrize("name", CASES)
every_planned = pytest.mark.parametrize("name", PLANNED)


@every
def test_any_batch_alone_equals_the_one_from_iteration(name):
    sampler = make(name, seed=7)
    assert len(sampler) == 25
    for epoch in range(2):
        batches = list(sampler)
        assert [len(batch) for batch in batches] == [4] * 25
        assert all(type(i) is int for batch in batches for i in batch)
        assert [make(name, seed=7).batch(k, epoch) for k in (24, 0, 11)] == [
            batches[k] for k in (24, 0, 11)
        ]


@every
def test_epochs_and_seeds_differ(name):
    epochs = [
        frozenset(frozenset(sampler.batch(k, epoch)) for k in range(25))
        for seed in (0, 1)
        for sampler in [make(name, seed=seed)]
        for epoch in (0, 1)
    ]
    assert len(set(epochs)) == 4


@every
def test_stopped_and_resumed_equals_never_stopped(name):
    assert_resumes(lambda: make(name))
    assert_resumes(lambda: make(name, batches_per_epoch="ceil", batch_size=6))


@every_planned
@pytest.mark.parametrize("batches_per_epoch", [None, "ceil"])
@pytest.mark.parametrize("shard", ["batches", "within"])
@pytest.mark.parametrize("number", [1, 2, 3])
def test_each_instance_once_an_epoch_over_all_ranks(name, number, shard, batches_per_epoch):
    ranks = [
        make(name, num_replicas=number, rank=rank, shard=shard, batches_per_epoch=batches_per_epoch)
        for rank in range(number)
    ]
    for _ in range(2):
        passes = [list(rank) for rank in ranks]
        assert [len(batches) for batches in passes] == [len(ranks[0])] * number
        for batches in passes:
            assert [len(batch) for batch in batches[:-1]] == [4] * (len(ranks[0]) - 1)
        last = [len(batches[-1]) for batches in passes]
        assert max(last) - min(last) <= (shard == "batches" and batches_per_epoch == "ceil")
        seen = sorted(i for batches in passes for batch in batches for i in batch)
        assert len(set(seen)) == len(seen)
        rest = 103 % (4 * number)
        left = {"batches": 0, "within": rest % number}[shard] if batches_per_epoch else rest
        assert len(seen) == 103 - left


@given(
    name=st.sampled_from(sorted({"blocks", "groups"})),
    bits=bit_matrices(),
    batch_size=st.sampled_from([1, 2, 4, 6]),
    part=st.sampled_from([1.0, 0.5]),
    giant=st.booleans(),
)
def test_an_epoch_is_a_partition(name, bits, batch_size, part, giant):
    if giant:
        bits[: len(bits) * 3 // 4] = bits[0]
    store = ManifestationStore.from_dense(bits)
    indices = np.random.default_rng(0).permutation(len(bits))[: max(1, int(part * len(bits)))]
    cls, own = CASES[name]
    own = own | (
        {"group_size": 1 + (batch_size > 1), "skip_nearest": 0} if name == "groups" else {}
    )
    sampler = cls(store, batch_size=batch_size, indices=indices, batches_per_epoch="ceil", **own)
    for _ in range(2):
        batches = list(sampler)
        assert sorted(sum(batches, [])) == sorted(indices.tolist())
        assert [len(batch) for batch in batches[:-1]] == [batch_size] * (len(batches) - 1)


@every
@pytest.mark.parametrize("shard", ["batches", "within"])
@pytest.mark.parametrize("number", [2, 3])
def test_ranks_draw_their_part_and_resume(name, number, shard):
    def make_rank(rank):
        return make(name, num_replicas=number, rank=rank, shard=shard)

    passes = [list(make_rank(rank)) for rank in range(number)]
    if shard == "within":
        whole = make(name, batch_size=4 * number, shard="within")
        assert [sum(parts, []) for parts in zip(*passes, strict=True)] == list(whole)
        half = make(name, batch_size=4 * number, shard="within")
        iterator = iter(half)
        seen = [next(iterator) for _ in range(3)]
        team = [make_rank(rank) for rank in range(number)]
        for sampler in team:
            sampler.load_state_dict(half.state_dict())
        seen += [sum(parts, []) for parts in zip(*team, strict=True)]
        whole.set_epoch(0)
        assert seen == list(whole)
    else:
        assert len({tuple(batch) for batches in passes for batch in batches}) == number * len(
            passes[0]
        )
    assert_resumes(lambda: make_rank(1), epochs=2)


@every
def test_the_number_of_ranks_may_change(name):
    two = make(name, num_replicas=2, rank=0)
    state = two.state_dict() | {"epoch": 3, "position": 6}
    one = make(name)
    with pytest.warns(UserWarning, match="of 2 ranks with 12 batches an epoch, and now 1 have 25"):
        one.load_state_dict(state)
    assert (one.epoch, one.position) == (3, 12)
    assert next(iter(one)) == one.batch(12, 3)


@every
def test_ranks_that_start_later(name, monkeypatch):
    sampler = make(name, distributed="auto")
    assert len(sampler) == 25
    sampler.batch(0)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    assert list(sampler) == list(make(name, num_replicas=2, rank=1))


@every
def test_a_part_is_as_if_it_were_alone(name):
    part = np.random.default_rng(2).permutation(103)[:80]
    sampler = make(name, indices=part)
    assert set(sum(sampler, [])) <= set(part.tolist())
    cls, own = CASES[name]
    own = dict(own)
    if "neighbors" in own:
        number_of = np.full(103, -1)
        number_of[part] = np.arange(80)
        own["neighbors"] = number_of[LISTS[part]]
    if "groups" in own:
        own["groups"] = own["groups"][part]
    alone = cls(STORE.subset(part), batch_size=4, **own)
    sampler.set_epoch(0)
    assert list(sampler) == [part[batch].tolist() for batch in alone]


@every
def test_a_state_of_another_class_or_of_other_options_is_refused(name):
    state = make(name).state_dict()
    for other in CASES:
        if CASES[other][0] is not CASES[name][0]:
            with pytest.raises(ManiNegError, match="the state was made with sampler='"):
                make(other).load_state_dict(state)
        elif other != name:
            with pytest.raises(ManiNegError, match="the state was made with"):
                make(other).load_state_dict(state)
    with pytest.raises(ManiNegError, match=r"made with sampler='.*this is a ManiNegBatchSampler"):
        ManiNegBatchSampler(STORE, batch_size=4, mu=3.0).load_state_dict(state)
    changed = {"uniform": {"seed": 1}, "blocks": {"n_neighbors": 12}, "groups": {"group_size": 4},
               "walks": {"restart_probability": 0.1}}[name.partition(",")[0]]  # fmt: skip
    for options in (changed, {"batch_size": 2}, {"indices": range(100)}):
        with pytest.raises(ManiNegError, match="the state was made with"):
            make(name, **options).load_state_dict(state)


@every
def test_pickles_threads_and_two_iterators(name):
    sampler = make(name)
    whole = list(make(name))
    assert list(pickle.loads(pickle.dumps(sampler))) == whole
    iterators = [iter(sampler) for _ in range(4)]
    results = [None] * 4
    threads = [
        threading.Thread(target=lambda i=i: results.__setitem__(i, list(iterators[i])))
        for i in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [whole] * 4


@every
def test_options_are_fixed_and_shown(name):
    sampler = make(name)
    shown = repr(sampler)
    assert shown.startswith(type(sampler).__name__ + "(ManifestationStore(103 instances")
    own = {"uniform": [], "blocks": ["n_neighbors"],
           "groups": ["group_size", "skip_nearest", "n_neighbors"],
           "walks": ["n_neighbors", "restart_probability"]}[name.partition(",")[0]]  # fmt: skip
    for option in [*own, "batch_size", "seed", "num_replicas", "rank", "shard"]:
        assert f"{option}=" in shown
        with pytest.raises(AttributeError, match=f"{option} of a {type(sampler).__name__} cannot"):
            setattr(sampler, option, 3)


# Wrapping.

DATA = range(103)


def wrap(name, loader, **options):
    cls, own = CASES[name]
    return cls.wrap(loader, STORE, **own, **options)


@every
@pytest.mark.parametrize("drop_last", [True, False])
def test_a_wrapped_loader_keeps_its_settings(name, drop_last):
    loader = DataLoader(DATA, batch_size=8, shuffle=True, drop_last=drop_last)
    wrapped = wrap(name, loader)
    assert len(wrapped) == len(loader) == 12 + (not drop_last)
    expected = [wrapped.batch_sampler.batch(k) for k in range(len(loader))]
    assert [batch.tolist() for batch in wrapped] == expected
    if name in PLANNED and not drop_last:
        assert sorted(i for batch in wrapped for i in batch.tolist()) == list(DATA)


@every
def test_items_and_ranks_of_the_replaced_sampler_are_kept(name):
    part = torch.randperm(103, generator=torch.manual_seed(0))[:90]
    wrapped = wrap(name, DataLoader(DATA, 6, sampler=SubsetRandomSampler(part)))
    assert {i for batch in wrapped for i in batch.tolist()} <= set(part.tolist())
    assert len(wrapped) == 15
    replaced = DistributedSampler(DATA, 3, 2)
    loader = DataLoader(DATA, 4, sampler=replaced)
    wrapped = wrap(name, loader)
    assert len(wrapped) == len(loader) == 9
    replaced.set_epoch(5)
    ranked = {"num_replicas": 3, "rank": 2, "batches_per_epoch": "ceil"}
    sampler = make(name, **ranked)
    assert next(iter(wrapped)).tolist() == sampler.batch(0, 5)
    again = wrap(name, wrapped, seed=3)
    assert (again.batch_sampler.num_replicas, again.batch_sampler.seed, len(again)) == (3, 3, 9)
    hard = ManiNegBatchSampler.wrap(wrapped, STORE, mu=3.0)
    assert (hard.batch_sampler.num_replicas, len(hard)) == (3, 9)
    assert wrap(name, hard).batch_sampler.batch(2) == sampler.batch(2)


@every
def test_subclasses_of_loaders_are_kept(name):
    made = Keeping(DATA, buffer_size=7, repeats=3, use_threads=True, label="y", batch_size=10)
    wrapped = wrap(name, made)
    assert (type(wrapped), wrapped.buffer_size, wrapped.label) == (Keeping, 7, "y")
    follow_batch, items = next(iter(wrap(name, Collating(DATA, 10, follow_batch=["edges"]))))
    assert (follow_batch, len(items)) == (["edges"], 10)


@every
def test_what_cannot_be_kept_is_refused(name):
    weighted = DataLoader(DATA, 10, sampler=WeightedRandomSampler([1.0] * 103, 103))
    with pytest.raises(ManiNegError, match="the choice that WeightedRandomSampler makes"):
        wrap(name, weighted)
    cls, own = CASES[name]
    with pytest.raises(
        ManiNegError, match=f"{cls.__name__} takes a ManifestationStore, not a sampler"
    ):
        cls(RandomSampler(DATA), batch_size=4, **own)
    short = DataLoader(DATA, 4, sampler=RandomSampler(DATA, num_samples=20))
    if name in PLANNED:
        with pytest.raises(ManiNegError, match='batches_per_epoch must be None or "ceil"; got 5'):
            wrap(name, short)
    else:
        assert len(wrap(name, short)) == 5


@every
def test_workers_draw_the_same(name):
    sampler = make(name)
    loader = DataLoader(DATA, batch_sampler=make(name), num_workers=2)
    for _ in range(2):
        assert [batch.tolist() for batch in loader] == list(sampler)
