"""The options of clusters: purity, states, ranks, and what is refused."""

import numpy as np
import pytest

from maninegs_sampling import (
    LinearAnnealing,
    ManifestationStore,
    ManiNegBatchSampler,
    ManiNegError,
)
from maninegs_sampling.errors import ImmutableError
from tests.conftest import random_store
from tests.laws import assert_follows_law, assert_resumes

DUPLICATES = ("refill", "drop_patterns", "keep", "drop_instances")
CENTER = ("anchor", "cluster")

# Batches are functions of their numbers.

HARDEST = {
    "batch_size": 12, "mu": LinearAnnealing(5, 0, 12), "anchors_per_batch": 3, "center": "cluster",
    "skip_nearest": 2,
}  # fmt: skip


@pytest.mark.parametrize("duplicates", DUPLICATES)
@pytest.mark.parametrize("center", CENTER)
def test_any_batch_alone_equals_the_one_from_iteration(center, duplicates):
    options = {**HARDEST, "center": center, "duplicates": duplicates}
    sampler = ManiNegBatchSampler(random_store(100, 15), **options)
    for epoch in range(2):
        batches = list(sampler)
        for k in (7, 0, 3):
            alone = ManiNegBatchSampler(random_store(100, 15), **options)
            assert alone.batch(k, epoch=epoch) == batches[k]


def test_stopped_and_resumed_equals_never_stopped():
    assert_resumes(lambda: ManiNegBatchSampler(random_store(100, 15), **HARDEST))


@pytest.mark.parametrize("center", CENTER)
def test_ranks_that_share_a_batch_split_its_clusters(center):
    """`anchors_per_batch` counts those of the batch of all ranks."""
    store = random_store(96, 14)
    options = {**HARDEST, "center": center}
    whole = ManiNegBatchSampler(store, **options)
    parts = [
        ManiNegBatchSampler(
            store, num_replicas=3, rank=rank, shard="within", **options | {"batch_size": 4}
        )
        for rank in range(3)
    ]
    assert [sum(batches, []) for batches in zip(*parts, strict=True)] == list(whole)


def test_ranks_with_their_own_batches_have_clusters_of_their_own():
    ranks = [
        list(ManiNegBatchSampler(random_store(96, 14), num_replicas=2, rank=rank, **HARDEST))
        for rank in range(2)
    ]
    assert all(a != b for a, b in zip(*ranks, strict=True))


def test_later_anchors_are_uniform_among_what_may_still_enter():
    """Whatever the data: with clusters of one instance a batch is a uniform one."""
    bits = np.random.default_rng(0).random((30, 6)) < 0.2
    store = ManifestationStore.from_dense(bits)
    sampler = ManiNegBatchSampler(
        store, batch_size=3, mu=0.0, anchors_per_batch=3, duplicates="keep",
        batches_per_epoch=30_000,
    )  # fmt: skip
    assert_follows_law([batch[2] for batch in sampler], dict.fromkeys(range(30), 1 / 30))


# What is refused.

STORE = random_store(20, 6)  # 16 patterns


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"anchors_per_batch": 3}, "anchors_per_batch=3 must divide the batch, of 8 instances"),
        ({"anchors_per_batch": 16}, "anchors_per_batch=16 must divide the batch, of 8 instances"),
        ({"anchors_per_batch": 0}, "anchors_per_batch must be at least 1; got 0"),
        ({"anchors_per_batch": -2}, "anchors_per_batch must be at least 1; got -2"),
        ({"anchors_per_batch": 2.0}, "anchors_per_batch must be a whole number; got 2.0"),
        ({"anchors_per_batch": "2"}, "anchors_per_batch must be a whole number; got '2'"),
        ({"anchors_per_batch": None}, "anchors_per_batch must be a whole number; got None"),
        ({"anchors_per_batch": True}, "anchors_per_batch must be a whole number; got True"),
        ({"anchors_per_batch": 10**30}, "anchors_per_batch"),
        ({"center": "Cluster"}, "center must be one of 'anchor', 'cluster'; got 'Cluster'"),
        ({"center": None}, "center must be one of 'anchor', 'cluster'; got None"),
        ({"center": ["anchor"]}, "center must be one of 'anchor', 'cluster'"),
        ({"skip_nearest": -1}, "skip_nearest must be at least 0; got -1"),
        ({"skip_nearest": 1.0}, "skip_nearest must be a whole number; got 1.0"),
        ({"skip_nearest": "few"}, "skip_nearest must be a whole number; got 'few'"),
        ({"skip_nearest": None}, "skip_nearest must be a whole number; got None"),
        ({"skip_nearest": 16}, "skip_nearest=16 leaves 0 of 16 patterns"),
        ({"skip_nearest": 10**30}, "skip_nearest"),
        ({"skip_nearest": 9}, "skip_nearest=9 leaves 6 of 16 patterns .* which needs 7"),
        ({"skip_nearest": 15, "duplicates": "keep"}, "skip_nearest=15 leaves 0 of 16 patterns"),
        ({"skip_nearest": 15, "duplicates": "drop_patterns"}, "skip_nearest=15 leaves 0 of"),
        ({"coverage": "Epoch"}, "coverage must be one of 'free', 'epoch'; got 'Epoch'"),
        ({"coverage": None}, "coverage must be one of 'free', 'epoch'; got None"),
        ({"coverage": True}, "coverage must be one of 'free', 'epoch'; got True"),
    ],
)
def test_errors(options, message):
    with pytest.raises(ManiNegError, match=message):
        ManiNegBatchSampler(STORE, **{"batch_size": 8, "mu": 2.0, **options})


def test_anchors_must_divide_the_batch_of_all_ranks():
    options = {"mu": 2.0, "num_replicas": 3, "rank": 1, "batch_size": 2}
    ManiNegBatchSampler(STORE, anchors_per_batch=3, shard="within", **options)
    with pytest.raises(ManiNegError, match="anchors_per_batch=3 must divide the batch, of 2"):
        ManiNegBatchSampler(STORE, anchors_per_batch=3, **options)
    with pytest.raises(ManiNegError, match="anchors_per_batch=4 must divide the batch, of 6"):
        ManiNegBatchSampler(STORE, anchors_per_batch=4, shard="within", **options)


NEW_OPTIONS = [
    ("anchors_per_batch", 2), ("center", "cluster"), ("skip_nearest", 1), ("coverage", "epoch"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), NEW_OPTIONS)
def test_a_state_of_other_options_is_refused_by_name(name, value):
    options = {"batch_size": 4, "mu": 2.0, "duplicates": "keep"}
    plain = ManiNegBatchSampler(STORE, **options)
    other = ManiNegBatchSampler(STORE, **options | {name: value})
    with pytest.raises(ManiNegError, match=f"the state was made with {name}={value!r}"):
        plain.load_state_dict(other.state_dict())
    with pytest.raises(ManiNegError, match=f"this sampler has {name}={value!r}"):
        other.load_state_dict(plain.state_dict())


@pytest.mark.parametrize(("name", "value"), NEW_OPTIONS)
def test_an_option_cannot_be_changed_afterwards_and_is_shown(name, value):
    sampler = ManiNegBatchSampler(
        STORE, batch_size=4, mu=2.0, duplicates="keep", **{name: value}
    )  # fmt: skip
    with pytest.raises(ImmutableError, match=f"{name} of a ManiNegBatchSampler cannot be changed"):
        setattr(sampler, name, value)
    assert getattr(sampler, name) == value
    assert f"{name}={value!r}" in repr(sampler)
