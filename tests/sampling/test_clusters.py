"""Batches of several clusters, near to an anchor or to themselves: their exact distribution."""

import itertools
import re
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maninegs_sampling import (
    LinearAnnealing,
    ManifestationStore,
    ManiNegBatchSampler,
    ManiNegError,
    max_distance,
)
from tests import naive
from tests.conftest import bit_matrices, random_store
from tests.laws import assert_follows_law
from tests.sampling.covering import covering

EMPTY = ("renormalize", "nearest")
DRAW = ("instance", "pattern")
DUPLICATES = ("refill", "drop_patterns", "keep", "drop_instances")
CENTER = ("anchor", "cluster")

# Six patterns, two of them twice. Distances from the rows 0 and 5 leave gaps.
ROWS = (
    (0, 0, 0, 0, 0, 0),
    (0, 0, 0, 0, 0, 1),
    (0, 0, 0, 0, 0, 1),
    (0, 0, 1, 1, 0, 0),
    (1, 0, 0, 1, 0, 1),
    (1, 1, 1, 1, 1, 1),
    (1, 1, 0, 1, 0, 1),
    (0, 0, 1, 1, 0, 0),
)
GROUPS = (0, 1, 2, 2, 3, 4, 5, 0)
ANCHORS = (0, 2, 5)
OPTIONS = {
    "anchors_per_batch": (1, 2, 4),
    "center": CENTER,
    "duplicates": DUPLICATES,
    "skip_nearest": (0, 1, 2),
    "empty": EMPTY,
    "draw": DRAW,
    "groups": (None, GROUPS),
}
COMBINATIONS = covering(OPTIONS, strength=4)
JACCARD_COMBINATIONS = covering(
    {name: values for name, values in OPTIONS.items() if name != "center"}, strength=2
)


def batch_size_of(anchors_per_batch):
    """Clusters of three where there are two of them, so that a cluster has a mean distance."""
    return 6 if anchors_per_batch == 2 else 4


def drawn(mu, sigma, n_per_anchor, options):
    """Batches that begin with one of ANCHORS."""
    given = {
        "batch_size": batch_size_of(options.get("anchors_per_batch", 1)), "mu": mu, "sigma": sigma,
        "batches_per_epoch": n_per_anchor * len(ROWS), "seed": 5, **options,
    }  # fmt: skip
    store = ManifestationStore.from_dense(ROWS)
    sampler = ManiNegBatchSampler(store, **given)
    scanned = ManiNegBatchSampler(store, memory_limit=0, **given)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        batches = list(sampler)
        assert [scanned.batch(k) for k in range(200)] == batches[:200]
    return [tuple(batch) for batch in batches if batch[0] in ANCHORS]


def exact_law(mu, sigma, options):
    options = dict(options)
    metric = options.get("metric", "hamming")
    low = options.pop("low", 1 if metric == "hamming" else 0.01)
    high = options.pop("high", max_distance(ManifestationStore.from_dense(ROWS), metric=metric))
    if metric == "jaccard":
        weights = naive.jaccard_law(mu, sigma, low, high)
    else:
        weights = naive.distance_law(mu, sigma, low, high, center=options.get("center", "anchor"))
    batch_size = batch_size_of(options.get("anchors_per_batch", 1))
    law = {}
    for anchor in ANCHORS:
        given = {"empty": "renormalize", "draw": "instance", "duplicates": "refill", **options}
        for batch, chance in naive.batch_law(ROWS, anchor, batch_size, weights, **given).items():
            law[batch] = law.get(batch, 0.0) + chance / len(ANCHORS)
    return law


def assert_batches_follow(batches, law):
    """Whole batches, and their first and their last places: these have cells of many batches."""
    assert_follows_law(batches, law)
    for part in (lambda batch: batch[:3], lambda batch: (batch[0], batch[3:])):
        of_part = {}
        for batch, chance in law.items():
            of_part[part(batch)] = of_part.get(part(batch), 0.0) + chance
        assert_follows_law(map(part, batches), of_part)


def check(mu=2.0, sigma=1.5, n_per_anchor=4000, **options):
    """Draw batches, by both indices, and compare them with their exact law."""
    batches = drawn(mu, sigma, n_per_anchor, options)
    assert len(batches) == n_per_anchor * len(ANCHORS)
    assert_batches_follow(batches, exact_law(mu, sigma, options))


def name_of(options):
    return "-".join(
        ("groups" if value else "") if name == "groups" else str(value)
        for name, value in options.items()
    )


def test_all_values_of_any_four_options_meet():
    for names in itertools.combinations(OPTIONS, 4):
        seen = {tuple(options[name] for name in names) for options in COMBINATIONS}
        assert len(seen) == np.prod([len(OPTIONS[name]) for name in names])


@pytest.mark.parametrize("options", COMBINATIONS, ids=name_of)
def test_batches_follow_the_exact_law(options):
    check(**options)


@pytest.mark.parametrize("options", JACCARD_COMBINATIONS, ids=name_of)
def test_batches_by_jaccard_follow_the_exact_law(options):
    check(0.6, 0.2, metric="jaccard", **options)


@pytest.mark.parametrize("empty", EMPTY)
@pytest.mark.parametrize(
    ("mu", "sigma", "low", "high"),
    [(0.0, 0.1, 0.01, 1), (2.0, 0.05, 0.01, 1), (0.9, 0.02, 0.01, 1), (0.6, 0.3, 0.5, 0.75),
     (0.5, 0.2, 0.67, 0.99)],
)  # fmt: skip
def test_the_law_of_jaccard_holds_with_mu_anywhere_and_between_low_and_high(
    mu, sigma, low, high, empty
):
    check(mu, sigma, metric="jaccard", low=low, high=high, empty=empty, n_per_anchor=2000)


def test_the_law_test_notices_the_wrong_metric():
    batches = drawn(0.6, 0.2, 2000, {"metric": "jaccard"})
    law = exact_law(2.0, 1.5, {"metric": "hamming"})
    with pytest.raises(AssertionError, match=r"p =|impossible"):
        assert_batches_follow(batches, law)


# center="cluster" where the steps that can be drawn are few, likely or unlikely.


@pytest.mark.parametrize("empty", EMPTY)
@pytest.mark.parametrize(
    ("mu", "sigma"), [(0.0, 1.0), (40.0, 3.0), (-20.0, 2.0), (2.6, 0.2), (0.0, 0.2)]
)
def test_the_law_of_clusters_holds_with_mu_anywhere(mu, sigma, empty):
    check(mu, sigma, center="cluster", empty=empty)


@pytest.mark.parametrize("empty", EMPTY)
@pytest.mark.parametrize(("low", "high"), [(2, 5), (1, 3), (3, 30), (6, 6), (2, 7)])
def test_the_law_of_clusters_holds_between_low_and_high(low, high, empty):
    check(3.0, 2.0, center="cluster", empty=empty, low=low, high=high)


@pytest.mark.parametrize("center", CENTER)
@pytest.mark.parametrize(("skip_nearest", "low"), [(1, 2), (2, 3), (2, 5)])
def test_what_is_skipped_counts_from_the_anchor_whatever_low_is(skip_nearest, low, center):
    check(2.0, 1.5, center=center, low=low, skip_nearest=skip_nearest)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("anchors_per_batch", 1), ("center", "anchor"), ("skip_nearest", 1), ("empty", "nearest"),
        ("draw", "pattern"), ("duplicates", "drop_instances"), ("groups", GROUPS),
    ],
)  # fmt: skip
def test_the_law_test_notices_a_wrong_option(name, wrong):
    options = {"anchors_per_batch": 2, "center": "cluster", "duplicates": "keep"}
    batches = drawn(2.0, 1.5, 4000, options)
    law = exact_law(2.0, 1.5, options | {name: wrong})
    with pytest.raises(AssertionError, match=r"p =|impossible"):
        assert_batches_follow(batches, law)


# Larger stores.


def nearest_steps(bits, members, mu):
    """The instances whose distance to a cluster is nearest to mu, in quarters; lower on a tie."""
    of_member = (bits[:, None, :] != bits[members][None]).sum(axis=2)
    steps = (8 * of_member.sum(axis=1) + len(members)) // (2 * len(members))  # floor(4 mean + 1/2)
    steps[members] = 2**30
    away = np.abs(steps - round(4 * mu))
    return np.flatnonzero((away == away.min()) & (steps == steps[away == away.min()].min()))


@pytest.mark.parametrize(
    ("n_bits", "batch_size"), [(1, 2), (63, 60), (64, 60), (65, 60), (255, 60), (256, 60), (312, 60),
                               (4096, 40), (5, 24)],
)  # fmt: skip
def test_means_are_rounded_exactly(n_bits, batch_size):
    """With a tiny sigma each draw has one step: that nearest to mu."""
    bits = np.unique(np.random.default_rng(1).random((120, n_bits)) < 0.5, axis=0)
    store = ManifestationStore.from_dense(bits)
    for mu in (0.0, n_bits / 2, n_bits / 2 + 0.25, float(n_bits)):
        sampler = ManiNegBatchSampler(
            store, batch_size=batch_size, mu=mu, sigma=1e-3, center="cluster", empty="nearest",
            batches_per_epoch=3,
        )  # fmt: skip
        for batch in sampler:
            assert len(batch) == batch_size
            for place in range(1, batch_size):
                assert batch[place] in nearest_steps(bits, batch[:place], mu)


def test_far_tails_leave_the_nearest_step_only():
    """Every weight but the likeliest underflows, at each draw anew."""
    bits = np.unique(np.random.default_rng(2).random((80, 30)) < 0.5, axis=0)
    for sigma in (0.02, 1e-6):
        sampler = ManiNegBatchSampler(
            ManifestationStore.from_dense(bits), batch_size=20, mu=0.0, sigma=sigma,
            center="cluster",
        )  # fmt: skip
        for batch in sampler:
            for place in range(1, len(batch)):
                assert batch[place] in nearest_steps(bits, batch[:place], 0.0)


@pytest.mark.parametrize("center", CENTER)
@pytest.mark.parametrize("draw", DRAW)
@pytest.mark.parametrize("duplicates", DUPLICATES)
def test_both_indices_draw_the_same_from_thousands_of_patterns(duplicates, draw, center):
    bits = np.repeat(random_store(3000, 35).to_dense(), 3, axis=0)
    store = ManifestationStore.from_dense(np.random.default_rng(1).permutation(bits)[:6000])
    options = {
        "batch_size": 64, "draw": draw, "duplicates": duplicates, "center": center,
        "mu": LinearAnnealing(17, 0, steps=12), "batches_per_epoch": 12, "anchors_per_batch": 8,
        "skip_nearest": 70, "groups": np.arange(6000) // 2,
    }  # fmt: skip
    precomputed = ManiNegBatchSampler(store, **options)
    scanned = ManiNegBatchSampler(store, memory_limit=0, **options)
    assert precomputed.index.precomputed
    assert not scanned.index.precomputed
    assert list(precomputed) == list(scanned)


@pytest.mark.parametrize("duplicates", DUPLICATES)
@pytest.mark.parametrize("n_bits", [12, 64, 65, 312])
def test_the_defaults_are_one_cluster_around_its_anchor(n_bits, duplicates):
    options = {"batch_size": 16, "mu": LinearAnnealing(n_bits / 2, 0, 12), "duplicates": duplicates}
    store = random_store(200, n_bits)
    said = ManiNegBatchSampler(
        store, anchors_per_batch=1, center="anchor", skip_nearest=0, coverage="free", **options
    )
    assert list(said) == list(ManiNegBatchSampler(store, **options))


def test_batches_of_the_defaults_are_those_of_before():
    """Written down before there were clusters: a saved run draws what it drew."""
    sampler = ManiNegBatchSampler(random_store(60, 12), batch_size=6, mu=4.0, seed=1)
    assert [sampler.batch(0), sampler.batch(9, epoch=3)] == [
        [8, 10, 7, 22, 31, 27],
        [6, 9, 11, 8, 21, 4],
    ]


@settings(max_examples=200)
@given(
    bits=bit_matrices(),
    size=st.integers(1, 5),
    anchors_per_batch=st.sampled_from([1, 2, 3]),
    center=st.sampled_from(CENTER),
    skip_nearest=st.sampled_from([0, 1, 4]),
    mu=st.sampled_from([-3.0, 0.0, 1.0, 4.5, 200.0]),
    sigma=st.sampled_from([0.01, 0.5, 3.0]),
    empty=st.sampled_from(EMPTY),
    draw=st.sampled_from(DRAW),
    duplicates=st.sampled_from(DUPLICATES),
    n_groups=st.sampled_from([0, 3, 100]),
    seed=st.integers(0, 2**64 - 1),
)
def test_every_batch_keeps_its_contract(
    bits, size, anchors_per_batch, center, skip_nearest, n_groups, duplicates, **options
):
    store = ManifestationStore.from_dense(bits)
    groups = np.arange(len(bits)) % n_groups if n_groups else None
    options |= {
        "batch_size": size * anchors_per_batch, "anchors_per_batch": anchors_per_batch,
        "center": center, "skip_nearest": skip_nearest, "groups": groups, "duplicates": duplicates,
        "batches_per_epoch": 4,
    }  # fmt: skip
    try:
        sampler = ManiNegBatchSampler(store, **options)
    except ManiNegError as error:
        assert re.search("too few|leaves .* of .* patterns|exceeds the largest", str(error))
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        batches = list(sampler)
        assert list(ManiNegBatchSampler(store, memory_limit=0, **options)) == batches
    pattern_of, left = store.pattern_of, store.n_patterns - skip_nearest
    for batch in batches:
        assert all(type(i) is int and 0 <= i < len(bits) for i in batch)
        assert 1 <= len(batch) <= size * anchors_per_batch
        assert len(set(batch)) == len(batch)
        if duplicates in ("refill", "drop_patterns"):
            assert len(set(pattern_of[batch])) == len(batch)
        if groups is not None:
            assert len(set(groups[batch])) == len(batch)
        if anchors_per_batch == 1:
            assert pattern_of[batch[0]] not in pattern_of[batch[1:]]
            if duplicates == "refill" and groups is None:
                assert len(batch) == min(size, left)
