"""Epochs, annealing and purity: any batch is a function of its number."""

import itertools
import pickle
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maninegs_sampling import (
    LinearAnnealing,
    ManifestationStore,
    ManiNegBatchSampler,
)
from tests.conftest import random_store
from tests.laws import assert_resumes

EMPTY = ("renormalize", "nearest")
DRAW = ("instance", "pattern")
DUPLICATES = ("refill", "drop_patterns", "keep", "drop_instances")


def batches_of(sampler, epoch=0):
    sampler.set_epoch(epoch)
    return list(sampler)


# Anchors, epochs and annealing.


@pytest.mark.parametrize("n", [1, 7, 64, 65])
def test_every_instance_is_anchor_once_in_any_n_consecutive_batches(n):
    store = ManifestationStore.from_dense(np.arange(n)[:, None] >> np.arange(8) & 1)
    sampler = ManiNegBatchSampler(store, batch_size=1, mu=1.0, batches_per_epoch=5)
    anchors = [batch[0] for epoch in range(2 * n) for batch in batches_of(sampler, epoch)]
    for start in range(len(anchors) - n):
        assert sorted(anchors[start : start + n]) == list(range(n))


def test_anchor_order_depends_on_the_seed():
    store = random_store(100, 20)
    orders = [
        [batch[0] for batch in ManiNegBatchSampler(store, batch_size=1, mu=1.0, seed=seed)]
        for seed in range(3)
    ]
    assert orders[0] != orders[1] != orders[2]
    assert [sorted(order) for order in orders] == [list(range(100))] * 3


@pytest.mark.parametrize(
    ("n", "options", "length"),
    [
        (100, {}, 12),
        (100, {"batches_per_epoch": "anchors"}, 100),
        (100, {"batches_per_epoch": 7}, 7),
        (100, {"num_replicas": 3, "rank": 1}, 4),
        (100, {"num_replicas": 3, "rank": 1, "shard": "within"}, 4),
        (100, {"num_replicas": 3, "rank": 1, "batches_per_epoch": "anchors"}, 34),
        (100, {"num_replicas": 3, "rank": 1, "batches_per_epoch": "anchors", "shard": "within"}, 100),
        (9, {"num_replicas": 2, "rank": 1}, 1),
        (9, {"batches_per_epoch": "ceil"}, 2),
        (100, {"num_replicas": 3, "rank": 1, "batches_per_epoch": "ceil", "shard": "within"}, 5),
    ],
)  # fmt: skip
def test_length(n, options, length):
    sampler = ManiNegBatchSampler(random_store(n, 40), batch_size=8, mu=9.0, duplicates="keep", **options)  # fmt: skip
    assert len(sampler) == length == len(list(sampler))


def test_mu_is_that_of_the_global_step_however_early_a_batch_is_drawn():
    store = random_store(64, 12)
    seen = []

    def schedule(step):
        seen.append(step)
        return 12.0 if step < 10 else 1.0

    sampler = ManiNegBatchSampler(store, batch_size=4, mu=schedule, sigma=0.1)
    step_mu = ManiNegBatchSampler(store, batch_size=4, mu=12.0, sigma=0.1)
    step_low = ManiNegBatchSampler(store, batch_size=4, mu=1.0, sigma=0.1)
    for k in reversed(range(len(sampler))):
        expected = step_mu if k < 10 else step_low
        assert sampler.batch(k) == expected.batch(k)
    assert sampler.batch(0, epoch=1) == step_low.batch(0, epoch=1)
    assert max(seen) == 16


def test_epochs_advance_differ_and_repeat():
    store = random_store(64, 12)
    sampler = ManiNegBatchSampler(store, batch_size=4, mu=3.0)
    epochs = [list(sampler) for _ in range(3)]
    assert sampler.epoch == 3
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]
    for epoch in (2, 0, 1):
        assert batches_of(sampler, epoch) == epochs[epoch]
    sampler.sampler.set_epoch(1)
    assert list(sampler) == epochs[1]
    sampler.set_epoch(1)
    assert [batch[0] for batch in epochs[1]] == list(sampler.sampler)


def test_a_pass_that_is_broken_off_is_followed_by_the_next_epoch():
    sampler = ManiNegBatchSampler(random_store(64, 12), batch_size=4, mu=LinearAnnealing(9, 0, 40))
    epochs = [batches_of(sampler, epoch) for epoch in range(4)]
    sampler.set_epoch(0)
    for epoch in range(3):
        assert [batch for batch, _ in zip(sampler, range(4), strict=False)] == epochs[epoch][:4]
        assert sampler.epoch == epoch + 1
    assert next(iter(sampler)) == epochs[3][0]
    sampler.set_epoch(1)
    assert list(sampler) == epochs[1]


def test_set_epoch_starts_the_epoch_of_a_broken_off_pass_again():
    sampler = ManiNegBatchSampler(random_store(64, 12), batch_size=4, mu=3.0)
    whole = batches_of(sampler, 0)
    sampler.set_epoch(0)
    assert list(itertools.islice(sampler, 5)) == whole[:5]
    sampler.set_epoch(0)
    assert list(sampler) == whole


def test_an_option_cannot_be_changed_afterwards():
    sampler = ManiNegBatchSampler(random_store(64, 12), batch_size=4, mu=3.0)
    for name in ("batch_size", "mu", "sigma", "low", "high", "seed", "store", "index", "rank",
                 "num_replicas", "drop_last", "epoch", "sampler", "shard", "draw"):  # fmt: skip
        with pytest.raises(AttributeError, match=f"{name} of a ManiNegBatchSampler cannot be"):
            setattr(sampler, name, 8)
    sampler.note = "of the caller's own"
    assert [len(batch) for batch in sampler] == [4] * 16


def test_a_schedule_of_ones_own_is_asked_only_for_steps_that_are_drawn():
    """A table of 25 steps serves a training of 25 steps, whatever the epoch's length."""
    table = np.linspace(9, 0, 25).astype(np.float32)
    sampler = ManiNegBatchSampler(random_store(640, 12), batch_size=4, mu=lambda step: table[step])
    assert len([batch for _, batch in zip(range(25), sampler, strict=False)]) == 25
    ends_at_25 = iter(ManiNegBatchSampler(sampler.store, batch_size=4, mu=table.__getitem__))
    for _ in range(25):
        next(ends_at_25)
    with pytest.raises(IndexError):
        next(ends_at_25)


def test_thousands_of_bits_and_a_far_bound_cost_no_more_memory():
    """Shares of a chunk, not all of it: 4,096 bits took 0.7 GB, a bound of 10**7 80 MB a batch."""
    import tracemalloc

    store = random_store(300, 4096)
    for options in ({"batch_size": 2}, {"batch_size": 64, "high": 10**7},
                    {"batch_size": 64, "high": 10**7, "empty": "nearest"}):  # fmt: skip
        sampler = ManiNegBatchSampler(store, mu=LinearAnnealing(2000, 0, 10**6), **options)
        sampler.batch(0)
        tracemalloc.start()
        next(iter(sampler))
        assert sampler.describe(0, 0).distribution.sum() == pytest.approx(1.0)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 50e6, (options, peak)


def test_an_iterator_left_behind_does_not_move_the_sampler():
    sampler = ManiNegBatchSampler(random_store(64, 12), batch_size=4, mu=3.0)
    epochs = [list(sampler) for _ in range(3)]
    sampler.set_epoch(0)
    stale = iter(sampler)
    assert [next(stale) for _ in range(3)] == epochs[0][:3]
    sampler.set_epoch(2)
    assert list(stale) == epochs[0][3:]
    assert sampler.epoch == 2
    current = iter(sampler)
    assert [next(current) for _ in range(5)] == epochs[2][:5]
    assert sampler.state_dict()["epoch"] == 2
    assert sampler.state_dict()["position"] == 5


def test_an_iterator_begun_late_leaves_a_loaded_position():
    sampler = ManiNegBatchSampler(random_store(64, 12), batch_size=4, mu=3.0)
    epochs = [list(sampler) for _ in range(2)]
    sampler.set_epoch(0)
    stale = iter(sampler)
    sampler.load_state_dict(sampler.state_dict() | {"epoch": 1, "position": 5})
    assert list(stale) == epochs[0]
    assert list(sampler) == epochs[1][5:]


def test_a_loop_that_counts_its_steps_also_reaches_the_next_epoch():
    sampler = ManiNegBatchSampler(random_store(64, 12), batch_size=4, mu=3.0)
    for _ in zip(range(len(sampler)), sampler, strict=False):
        pass
    assert sampler.epoch == 1


# Purity.


@given(seed=st.integers(0, 2**64 - 1), k=st.integers(0, 11), epoch=st.integers(0, 5))
def test_any_batch_alone_equals_the_one_from_iteration(seed, k, epoch):
    store = random_store(100, 15)
    options = {"batch_size": 8, "mu": LinearAnnealing(9, 0, 40), "seed": seed}
    sampler = ManiNegBatchSampler(store, **options)
    assert (
        ManiNegBatchSampler(store, **options).batch(k, epoch=epoch) == batches_of(sampler, epoch)[k]
    )


def test_iterators_and_threads_do_not_disturb_each_other():
    sampler = ManiNegBatchSampler(random_store(500, 20), batch_size=8, mu=4.0)
    whole = batches_of(sampler, 0)
    sampler.set_epoch(0)
    a, b = iter(sampler), iter(sampler)
    interleaved = list(zip(a, b, strict=True))
    assert [x for x, _ in interleaved] == [y for _, y in interleaved] == whole

    sampler.set_epoch(0)
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


def test_a_pickled_sampler_draws_the_same():
    sampler = ManiNegBatchSampler(random_store(64, 12), batch_size=4, mu=LinearAnnealing(5, 0, 9))
    assert list(pickle.loads(pickle.dumps(sampler))) == list(sampler)


@pytest.mark.parametrize("duplicates", DUPLICATES)
def test_stopped_and_resumed_equals_never_stopped(duplicates):
    store = random_store(60, 12)
    assert_resumes(
        lambda: ManiNegBatchSampler(
            store, batch_size=6, mu=LinearAnnealing(6, 0, 15), duplicates=duplicates
        )
    )


def test_set_epoch_after_loading_keeps_the_position():
    store = random_store(64, 12)
    first = ManiNegBatchSampler(store, batch_size=4, mu=3.0)
    whole = batches_of(first, 2)
    second = ManiNegBatchSampler(store, batch_size=4, mu=3.0)
    second.load_state_dict({**first.state_dict(), "epoch": 2, "position": 5})
    second.set_epoch(2)
    assert list(second) == whole[5:]
    assert len(second) == 16


def test_a_position_counted_by_the_loop_resumes_there():
    store = random_store(64, 12)
    first = ManiNegBatchSampler(store, batch_size=4, mu=3.0)
    state = first.state_dict()
    state["position"] = 9
    second = ManiNegBatchSampler(store, batch_size=4, mu=3.0)
    second.load_state_dict(state)
    assert list(second) == list(first)[9:]
