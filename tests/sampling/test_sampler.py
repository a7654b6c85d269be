"""The drawing itself: its exact law, its contracts on every batch, and its purity."""

import itertools
import pickle
import threading
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import BatchSampler, RandomSampler, SequentialSampler
from torch.utils.data.distributed import DistributedSampler

from maninegs_sampling import (
    DistanceBucketIndex,
    LinearAnnealing,
    ManifestationStore,
    ManiNegBatchSampler,
    ManiNegError,
    StepwiseAnnealing,
    TruncatedGaussian,
    max_distance,
    pairwise_hamming,
)
from tests import naive
from tests.conftest import bit_matrices, random_store
from tests.laws import assert_follows_law, assert_resumes

EMPTY = ("renormalize", "nearest")
DRAW = ("instance", "pattern")
DUPLICATES = ("refill", "drop_patterns", "keep", "drop_instances")


def batches_of(sampler, epoch=0):
    sampler.set_epoch(epoch)
    return list(sampler)


# The law, against the exact probabilities of all ordered batches of a small store. Distances from
# the rows 0 and 1 leave gaps; patterns are shared by one, two and three instances.
ROWS = [
    [0, 0, 0, 0, 0, 0],
    [0, 0, 0, 0, 0, 1],
    [0, 0, 0, 0, 0, 1],
    [0, 0, 1, 1, 0, 0],
    [0, 0, 1, 1, 0, 0],
    [0, 0, 1, 1, 0, 0],
    [1, 0, 0, 1, 0, 0],
    [1, 1, 1, 1, 1, 0],
    [1, 1, 1, 1, 1, 1],
]  # fmt: skip
GROUPS = ["a", "b", "c", "c", "b", "d", "d", "e", "a"]


def drawn_and_law(options, mu, sigma, anchors=(0, 3, 7), n_per_anchor=4000, rows=ROWS):
    """Batches drawn with these anchors, and the exact law of such batches."""
    store = ManifestationStore.from_dense(rows)
    sampler = ManiNegBatchSampler(
        store,
        batch_size=4,
        mu=mu,
        sigma=sigma,
        batches_per_epoch=n_per_anchor * len(rows),
        seed=3,
        **options,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        drawn = [tuple(batch) for batch in sampler if batch[0] in anchors]
    assert len(drawn) == n_per_anchor * len(anchors)
    low, high = options.get("low", 1), options.get("high") or max_distance(store)
    log_weights = naive.log_pmf(mu, sigma, low, high)
    # relative to the likeliest: with a tiny sigma every weight itself would underflow
    weights = {low + k: float(np.exp(w)) for k, w in enumerate(log_weights)}
    law = {}
    for anchor in anchors:
        naive_options = {
            k: v for k, v in options.items() if k in ("empty", "draw", "duplicates", "groups")
        }
        batch_law = naive.batch_law(rows, anchor, 4, weights, **naive_options)
        for batch, chance in batch_law.items():
            law[batch] = law.get(batch, 0.0) + chance / len(anchors)
    return drawn, law


@pytest.mark.parametrize("groups", [None, GROUPS], ids=["", "groups"])
@pytest.mark.parametrize("duplicates", DUPLICATES)
@pytest.mark.parametrize("draw", DRAW)
@pytest.mark.parametrize("empty", EMPTY)
@pytest.mark.parametrize("memory_limit", ["1GiB", 0], ids=["precomputed", "scanned"])
def test_batches_follow_the_exact_law(memory_limit, empty, draw, duplicates, groups):
    options = {"empty": empty, "draw": draw, "duplicates": duplicates, "groups": groups}
    drawn, law = drawn_and_law({**options, "memory_limit": memory_limit}, mu=2.0, sigma=1.5)
    assert_follows_law(drawn, law)


@pytest.mark.parametrize("draw", DRAW)
@pytest.mark.parametrize("duplicates", DUPLICATES)
@pytest.mark.parametrize("memory_limit", ["1GiB", 0], ids=["precomputed", "scanned"])
def test_the_law_holds_where_every_instance_has_its_own_pattern(memory_limit, duplicates, draw):
    options = {"draw": draw, "duplicates": duplicates, "empty": "renormalize"}
    rows = [ROWS[i] for i in (7, 3, 0, 6, 8, 1)]
    drawn, law = drawn_and_law(
        {**options, "memory_limit": memory_limit}, mu=2.0, sigma=1.5, anchors=(0, 2, 5), rows=rows
    )
    assert_follows_law(drawn, law)


@pytest.mark.parametrize("duplicates", DUPLICATES)
@pytest.mark.parametrize("draw", DRAW)
@pytest.mark.parametrize("repeats", [1, 3])
def test_both_indices_draw_the_same_from_thousands_of_patterns(repeats, draw, duplicates):
    bits = np.repeat(random_store(5000, 35).to_dense(), repeats, axis=0)
    store = ManifestationStore.from_dense(np.random.default_rng(1).permutation(bits)[:9000])
    options = {"batch_size": 64, "draw": draw, "duplicates": duplicates,
               "mu": LinearAnnealing(17, 0, steps=20), "batches_per_epoch": 30}  # fmt: skip
    precomputed = ManiNegBatchSampler(store, **options)
    scanned = ManiNegBatchSampler(store, memory_limit=0, **options)
    assert precomputed.index.precomputed
    assert not scanned.index.precomputed
    assert list(precomputed) == list(scanned)


@pytest.mark.parametrize("empty", EMPTY)
@pytest.mark.parametrize(("mu", "sigma"), [(0.0, 1.0), (40.0, 3.0), (-20.0, 2.0), (3.0, 0.4)])
def test_the_law_holds_with_mu_anywhere(empty, mu, sigma):
    options = {"empty": empty, "draw": "instance", "duplicates": "refill"}
    assert_follows_law(*drawn_and_law(options, mu, sigma))


@pytest.mark.parametrize("empty", EMPTY)
@pytest.mark.parametrize(("low", "high"), [(2, 5), (1, 3), (3, 30), (6, 6), (2, 7)])
def test_the_law_holds_between_low_and_high(empty, low, high):
    options = {"empty": empty, "draw": "instance", "duplicates": "refill", "low": low, "high": high}
    assert_follows_law(*drawn_and_law(options, mu=3.0, sigma=2.0))


def other(choices, value):
    return choices[(choices.index(value) + 1) % len(choices)]


@pytest.mark.parametrize("wrong", ["empty", "draw", "duplicates", "groups", "mu"])
def test_the_law_test_notices_a_wrong_option(wrong):
    options = {
        "empty": "renormalize",
        "draw": "instance",
        "duplicates": "drop_patterns",
        "groups": None,
    }
    drawn, _ = drawn_and_law(options, mu=2.0, sigma=1.5)
    changed = dict(options)
    mu = 2.0
    if wrong == "mu":
        mu = 2.2
    elif wrong == "groups":
        changed["groups"] = GROUPS
    else:
        changed[wrong] = other({"empty": EMPTY, "draw": DRAW, "duplicates": DUPLICATES}[wrong], options[wrong])  # fmt: skip
    _, law = drawn_and_law(changed, mu=mu, sigma=1.5)
    with pytest.raises(AssertionError, match=r"p =|impossible"):
        assert_follows_law(drawn, law)


def test_neighbouring_seeds_draw_unrelated_batches():
    store = random_store(60, 10)
    drawn = {
        (seed, epoch, k): tuple(sampler.batch(k, epoch=epoch))
        for seed in (0, 1, 2)
        for sampler in [ManiNegBatchSampler(store, batch_size=8, mu=3.0, seed=seed)]
        for epoch in (0, 1, 2)
        for k in range(len(sampler))
    }
    assert len(set(drawn.values())) == len(drawn)
    # place by place, two seeds agree no more often than independent draws from 60 instances do
    first, second = (
        np.array([drawn[seed, e, k][1:] for e in range(3) for k in range(7)]) for seed in (0, 1)
    )
    assert (first == second).mean() < 0.1


def test_far_tails_leave_the_nearest_distance_only():
    """Every weight but the likeliest underflows, and again each time a distance is exhausted."""
    store = ManifestationStore.from_dense(np.tri(12, 12, -1, dtype=bool))  # distances |i - j|
    for sigma in (0.02, 1e-6):
        sampler = ManiNegBatchSampler(
            store, batch_size=12, mu=0.0, sigma=sigma, batches_per_epoch="anchors"
        )
        for batch in sampler:
            distances = [abs(i - batch[0]) for i in batch]
            assert distances == sorted(distances)


# Contracts of every batch.


@settings(max_examples=400)
@given(
    bits=bit_matrices(),
    batch_size=st.integers(1, 12),
    mu=st.sampled_from([-3.0, 0.0, 1.0, 4.5, 30.0, 200.0]),
    sigma=st.sampled_from([0.01, 0.5, 3.0, 50.0]),
    empty=st.sampled_from(EMPTY),
    draw=st.sampled_from(DRAW),
    duplicates=st.sampled_from(DUPLICATES),
    n_groups=st.sampled_from([0, 1, 3, 100]),
    seed=st.integers(0, 2**64 - 1),
)
def test_every_batch_keeps_its_contract(
    bits, batch_size, mu, sigma, empty, draw, duplicates, n_groups, seed
):
    store = ManifestationStore.from_dense(bits)
    groups = np.arange(len(bits)) % n_groups if n_groups else None
    options = {"mu": mu, "sigma": sigma, "empty": empty, "draw": draw, "duplicates": duplicates,
               "groups": groups, "seed": seed, "batch_size": batch_size}  # fmt: skip
    try:
        sampler = ManiNegBatchSampler(store, batches_per_epoch=5, **options)
    except ManiNegError as error:
        too_few_patterns = duplicates == "refill" and store.n_patterns < batch_size
        too_few_groups = n_groups and len(np.unique(groups)) < batch_size
        no_distance = empty == "nearest" and store.n_patterns == 1
        too_few_instances = duplicates == "keep" and len(bits) < batch_size
        assert too_few_patterns or too_few_groups or too_few_instances or no_distance, error
        return
    scanned = ManiNegBatchSampler(store, batches_per_epoch=5, memory_limit=0, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        batches = list(sampler)
        assert list(scanned) == batches
    assert len(batches) == len(sampler) == 5
    for batch in batches:
        assert all(type(i) is int and 0 <= i < len(bits) for i in batch)
        assert 1 <= len(batch) <= batch_size
        assert len(set(batch)) == len(batch)
        assert all(bits[i].tolist() != bits[batch[0]].tolist() for i in batch[1:])
        if duplicates in ("refill", "drop_patterns"):
            assert len({bits[i].tobytes() for i in batch}) == len(batch)
        if groups is not None:
            assert len(set(groups[batch])) == len(batch)
        elif duplicates == "refill":
            assert len(batch) == batch_size
        elif duplicates == "keep":
            own = int((bits == bits[batch[0]]).all(axis=1).sum())
            assert len(batch) == min(batch_size, len(bits) - own + 1)


def test_batches_are_full_at_every_mu_on_real_data(cbis):
    sampler = ManiNegBatchSampler(
        cbis, batch_size=64, mu=LinearAnnealing(14, -2, steps=500), batches_per_epoch=600
    )
    for batch in sampler:
        assert len(batch) == len(set(cbis.pattern_of[batch])) == 64


@pytest.mark.parametrize("mu", [0.0, 4.9, 11.0, 40.0])
@pytest.mark.parametrize("empty", EMPTY)
@pytest.mark.parametrize("draw", DRAW)
def test_distances_follow_the_law_on_real_data(cbis, mu, empty, draw):
    """The first negative of each batch, all of them with one anchor's pattern conditioned on."""
    sampler = ManiNegBatchSampler(
        cbis, batch_size=2, mu=mu, empty=empty, draw=draw, batches_per_epoch=20 * 3568
    )
    distances = pairwise_hamming(cbis)
    index = DistanceBucketIndex(cbis)
    pmf = TruncatedGaussian(mu, 3.0, high=13).pmf()
    law = np.zeros(14)
    for anchor in range(cbis.n_instances):
        has = index.counts(anchor)[:14] > 0
        has[0] = False
        for d in range(1, 14):
            if has[d]:
                law[d] += pmf[d] / (pmf[has].sum() if empty == "renormalize" else 1)
            elif empty == "nearest":
                law[min(np.flatnonzero(has), key=lambda e: (abs(e - d), e))] += pmf[d]
    drawn = [int(distances[a, b]) for a, b in sampler]
    assert_follows_law(drawn, dict(enumerate(law / cbis.n_instances)))


def test_groups_on_real_data(cbis, cbis_files):
    from maninegs_sampling.data.built_in_schemas import CBIS_DDSM

    patients = CBIS_DDSM.group_ids(cbis_files)
    sampler = ManiNegBatchSampler(cbis, batch_size=64, mu=0.0, groups=patients)
    for batch in sampler:
        assert len(batch) == len(set(patients[batch])) == 64


def test_one_giant_group_and_one_giant_pattern():
    bits = random_store(2000, 12, seed=4).to_dense()
    bits[:1500] = bits[0]
    store = ManifestationStore.from_dense(bits)
    for memory_limit in ("1GiB", 0):
        for draw in DRAW:
            sampler = ManiNegBatchSampler(store, batch_size=64, mu=3.0, draw=draw, memory_limit=memory_limit)  # fmt: skip
            for batch in sampler:
                assert len(batch) == len(set(store.pattern_of[batch])) == 64
    groups = np.where(np.arange(2000) < 1900, 0, np.arange(2000))
    sampler = ManiNegBatchSampler(store, batch_size=64, mu=3.0, groups=groups)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        for batch in sampler:
            assert len(set(groups[batch])) == len(batch) > 30


def test_a_batch_that_cannot_be_full_is_said_once():
    store = ManifestationStore.from_dense(np.tri(12, 12, -1, dtype=bool))
    sampler = ManiNegBatchSampler(store, batch_size=8, mu=1.0, high=2, batches_per_epoch=12)
    with pytest.warns(UserWarning, match="instead of 8 instances: anchor") as caught:
        batches = list(sampler) + list(sampler)
    assert len(caught) == 1
    assert {len(batch) for batch in batches} == {3, 4, 5}


def test_one_instance():
    store = ManifestationStore.from_dense([[1, 0, 1]])
    for duplicates in DUPLICATES:
        sampler = ManiNegBatchSampler(store, batch_size=1, mu=1.0, duplicates=duplicates)
        assert list(sampler) == [[0]]


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
    with pytest.warns(UserWarning, match="runs 2 ranks and every one of them"):
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


# Presets and description.


def test_the_paper_preset_is_algorithm_1(cbis):
    sampler = ManiNegBatchSampler.paper(cbis)
    assert len(sampler) == cbis.n_instances
    assert (sampler.mu(0), sampler.mu(150), sampler.sigma) == (11, 0, 3.0)
    batches = [sampler.batch(k) for k in range(0, 400, 8)]
    assert all(len(set(cbis.pattern_of[b])) == len(b) <= 64 for b in batches)
    assert min(map(len, batches)) < 64


def test_the_authors_preset_keeps_patterns_and_loses_instances(cbis):
    sampler = ManiNegBatchSampler.authors(cbis, mu=0.0, batches_per_epoch=500)
    batches = list(sampler)
    assert 45 < np.mean([len(b) for b in batches]) < 55
    assert 30 < np.mean([len(set(cbis.pattern_of[b])) for b in batches]) < 42
    default = ManiNegBatchSampler.authors(cbis)
    assert isinstance(default.mu, StepwiseAnnealing)
    assert len(default) == 30
    assert default.mu(29) == 11
    assert default.mu(4500) == 0


def test_presets_take_other_options(cbis):
    assert ManiNegBatchSampler.paper(cbis, batch_size=8, seed=5).batch_size == 8
    assert ManiNegBatchSampler.authors(cbis, draw="instance").draw == "instance"


def test_repr_shows_every_option():
    text = repr(ManiNegBatchSampler(random_store(20, 5), batch_size=2, mu=1.0, groups=range(20)))
    for name in ("batch_size=2", "mu=Constant(value=1.0)", "sigma=3.0", "low=1", "high=5",
                 "empty='renormalize'", "draw='instance'", "duplicates='refill'", "20 labels",
                 "seed=0", "batches_per_epoch=10", "num_replicas=1", "rank=0", "shard="):  # fmt: skip
        assert name in text


def test_a_ready_index_is_used_and_changes_nothing():
    store = random_store(64, 12)
    for draw in DRAW:
        index = DistanceBucketIndex(store, rows=f"{draw}s")
        options = {"batch_size": 4, "mu": 3.0, "draw": draw}
        sampler = ManiNegBatchSampler(store, index=index, **options)
        assert sampler.index is index
        assert list(sampler) == list(ManiNegBatchSampler(store, **options))
    part = store.subset(range(40))
    sampler = ManiNegBatchSampler(
        store, batch_size=4, mu=3.0, indices=range(40), index=DistanceBucketIndex(part)
    )
    assert list(sampler) == list(ManiNegBatchSampler(part, batch_size=4, mu=3.0))


def test_it_is_a_torch_batch_sampler():
    sampler = ManiNegBatchSampler(random_store(20, 5), batch_size=2, mu=1.0)
    assert isinstance(sampler, BatchSampler)
    assert (sampler.batch_size, sampler.drop_last, len(sampler.sampler)) == (2, True, 10)


# Errors.

STORE = random_store(20, 6)
NARROW = ManifestationStore.from_dense(np.eye(4, dtype=bool))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"store": [[0, 1]]}, "store must be a ManifestationStore; got list"),
        ({"store": RandomSampler(range(4))}, "not a sampler; got RandomSampler"),
        ({"batch_size": 0}, "batch_size must be at least 1; got 0"),
        ({"batch_size": 2.0}, "batch_size must be a whole number; got 2.0"),
        ({"batch_size": 17}, "16 distinct patterns, too few for batches of 17"),
        ({"batch_size": 21}, "there are 20 instances, too few for batches of 21; make batch_size"),
        ({"batch_size": 21, "duplicates": "keep"}, "there are 20 instances, too few"),
        ({"batch_size": 11, "num_replicas": 2, "rank": 0, "shard": "within"}, "batches of 22"),
        ({"mu": "hard"}, "mu must be a number or a callable"),
        ({"mu": float("nan")}, "mu must be finite"),
        ({"mu": lambda step: float("inf")}, "mu at step 0 must be finite"),
        ({"mu": lambda step: [1.0]}, r"mu at step 0 must be a number; got \[1.0\]"),
        ({"mu": lambda step: None}, "mu at step 0 must be a number; got None"),
        ({"mu": lambda step: "3"}, "mu at step 0 must be a number; got '3'"),
        ({"mu": lambda step: np.ones(2)}, "mu at step 0 must be a number"),
        ({"sigma": 0.0}, "sigma must be positive"),
        ({"low": 0}, "low must be at least 1"),
        ({"low": 3, "high": 2}, "low must not exceed high; got low=3, high=2"),
        ({"low": 7}, "low=7 exceeds the 6 bits of the store"),
        ({"low": 7, "high": 9, "empty": "nearest"}, "low=7 exceeds the 6 bits of the store"),
        (
            {"store": NARROW, "batch_size": 2, "low": 3, "empty": "nearest"},
            "low=3 exceeds the largest distance in the data, 2",
        ),
        ({"empty": "skip"}, "empty must be one of 'renormalize', 'nearest'; got 'skip'"),
        ({"draw": "any"}, "draw must be one of 'instance', 'pattern'"),
        (
            {"duplicates": "allow"},
            "duplicates must be one of 'refill', 'keep', 'drop_patterns', 'drop_instances'",
        ),
        ({"shard": "all"}, "shard must be one of 'batches', 'within'"),
        ({"groups": [1, 2]}, "one label for each of the 20 instances; got 2"),
        ({"groups": "patients"}, "groups must hold a label for each instance; got 'patients'"),
        ({"groups": np.zeros((20, 1))}, r"one label for each instance; groups\[0\] is \[0.0\]"),
        ({"groups": ["a"] * 19 + [float("nan")]}, r"groups\[19\] is missing"),
        ({"groups": [0.0] * 19 + [float("nan")]}, r"groups\[19\] is missing"),
        ({"groups": [None] * 20}, r"groups\[0\] is missing"),
        ({"groups": [0, 1] * 10}, "groups has 2 distinct labels, too few for batches of 4"),
        ({"indices": [0, 0, 1]}, "indices must not repeat an instance; 0 appears 2 times"),
        ({"indices": [20]}, r"indices must lie in \[0, 20\)"),
        ({"indices": [0, 1, 2]}, "there are 3 instances, too few for batches of 4"),
        ({"seed": -1}, "seed must be at least 0"),
        ({"batches_per_epoch": 0}, "batches_per_epoch must be at least 1"),
        ({"batches_per_epoch": "all"}, 'a number, "ceil" or "anchors"; got \'all\''),
        ({"num_replicas": 2}, "num_replicas and rank go together"),
        ({"num_replicas": 2, "rank": 2}, "rank must be below num_replicas=2; got 2"),
        ({"distributed": "yes"}, "distributed must be one of 'auto'"),
        ({"distributed": "auto", "rank": 0, "num_replicas": 1}, "give only one"),
        ({"memory_limit": "big"}, "memory_limit must be bytes or a size"),
        ({"index": 3}, "index must be a DistanceBucketIndex; got int"),
        (
            {"index": DistanceBucketIndex(NARROW)},
            "index must be of the instances that may be drawn",
        ),
        (
            {"index": DistanceBucketIndex(STORE, rows="patterns")},
            "rows='instances' .draw='instance'",
        ),
        (
            {"index": DistanceBucketIndex(STORE), "indices": range(9)},
            "index must be of the instances",
        ),
    ],
)
def test_errors(options, message):
    arguments = {"store": STORE, "batch_size": 4, "mu": 2.0, **options}
    with pytest.raises(ManiNegError, match=message):
        ManiNegBatchSampler(arguments.pop("store"), **arguments)


def test_a_rebuilding_trainer_is_told_what_to_change():
    with pytest.raises(TypeError, match="use_distributed_sampler=False"):
        ManiNegBatchSampler(SequentialSampler(range(4)), batch_size=4, drop_last=False)


def test_a_schedule_that_turns_bad_is_named_when_it_does():
    sampler = ManiNegBatchSampler(STORE, batch_size=4, mu=lambda step: 1.0 if step < 3 else np.nan)
    with pytest.raises(ManiNegError, match="mu at step 3 must be finite"):
        list(sampler)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s: s.batch(5), "an epoch has 5 batches; got k=5"),
        (lambda s: s.batch(-1), "k must be at least 0"),
        (lambda s: s.batch(0, epoch=-1), "epoch must be at least 0"),
        (lambda s: s.set_epoch(-1), "epoch must be at least 0"),
        (lambda s: s.set_epoch("1"), "epoch must be a whole number"),
        (lambda s: s.set_epoch(2**62), f"epoch must be below {2**62 // 5}; got {2**62}"),
        (lambda s: s.batch(0, epoch=2**62), "epoch must be below"),
        (lambda s: s.describe(2**62, 0), "epoch must be below"),
        (lambda s: s.load_state_dict({**s.state_dict(), "epoch": 2**62}), "epoch must be below"),
        (lambda s: s.load_state_dict({**s.state_dict(), "epoch": np.arange(2)}), "epoch must be a"),
        (lambda s: s.load_state_dict({**s.state_dict(), "version": np.ones(2)}), "has version"),
        (lambda s: s.load_state_dict({}), "a sampler state has the keys"),
        (lambda s: s.load_state_dict(None), "a sampler state has the keys"),
        (lambda s: s.load_state_dict({**s.state_dict(), "version": 9}), "the state has version 9"),
        (lambda s: s.load_state_dict({**s.state_dict(), "position": 6}), "lies beyond the 5"),
        (lambda s: s.load_state_dict({**s.state_dict(), "position": -1}), "position must be"),
        (
            lambda s: s.load_state_dict({**s.state_dict(), "fingerprint": 3}),
            "no fingerprint; got 3",
        ),
    ],
)
def test_errors_of_calls(call, message):
    with pytest.raises(ManiNegError, match=message):
        call(ManiNegBatchSampler(STORE, batch_size=4, mu=2.0))


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"seed": 1}, "seed=1; this sampler has seed=0"),
        ({"sigma": 2.0}, "sigma=2.0"),
        ({"mu": LinearAnnealing(4, 0, 3)}, "mu="),
        ({"mu": lambda step: 2.5}, "mu="),
        ({"batch_size": 5}, "batch_size=5"),
        ({"draw": "pattern"}, "draw='pattern'"),
        ({"duplicates": "keep"}, "duplicates='keep'"),
        ({"empty": "nearest"}, "empty='nearest'"),
        ({"groups": range(20)}, "groups="),
        ({"batches_per_epoch": 4}, "batches_per_epoch=4"),
        ({"num_replicas": 2, "rank": 0, "shard": "within"}, "batch_size=8"),
    ],
)
def test_a_state_of_other_options_is_refused_by_name(change, name):
    state = ManiNegBatchSampler(STORE, **{"batch_size": 4, "mu": 2.0, **change}).state_dict()
    with pytest.raises(ManiNegError, match=f"the state was made with .*{name}"):
        ManiNegBatchSampler(STORE, batch_size=4, mu=2.0).load_state_dict(state)


def test_a_state_of_other_data_is_refused():
    state = ManiNegBatchSampler(random_store(20, 6, seed=9), batch_size=4, mu=2.0).state_dict()
    with pytest.raises(ManiNegError, match="the state was made with store="):
        ManiNegBatchSampler(STORE, batch_size=4, mu=2.0).load_state_dict(state)
