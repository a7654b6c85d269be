"""The drawing itself: its exact distribution, and its contracts on every batch."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maninegs_sampling import (
    DistanceBucketIndex,
    LinearAnnealing,
    ManifestationStore,
    ManiNegBatchSampler,
    ManiNegError,
    TruncatedGaussian,
    max_distance,
    pairwise_hamming,
)
from tests import naive
from tests.conftest import bit_matrices, random_store
from tests.laws import assert_follows_law

EMPTY = ("renormalize", "nearest")
DRAW = ("instance", "pattern")
DUPLICATES = ("refill", "drop_patterns", "keep", "drop_instances")


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
