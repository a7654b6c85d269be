"""What a sampler does to its batches, counted again the slow way."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import maninegs_sampling as mn
from maninegs_sampling.analysis.batch_hardness import measure_hardness
from maninegs_sampling.analysis.bounds import data_distance_lower_bound
from maninegs_sampling.analysis.coverage import gini, measure_coverage
from maninegs_sampling.errors import InvalidValueError
from tests import naive
from tests.conftest import bit_matrices, random_store


def sampler_of(store, **options):
    options = {"batch_size": 4, "mu": mn.LinearAnnealing(8, 1, steps=30)} | options
    return mn.ManiNegBatchSampler(store, **options)


def test_hardness_is_that_of_the_batches_drawn():
    store = random_store(60, 12)
    sampler = sampler_of(store)
    found = mn.hardness(sampler, batches=37, epoch=2)
    batches = [sampler.batch(k % 15, 2 + k // 15) for k in range(37)]
    anchors, pairs = naive.hardness(store.to_dense(), batches)
    assert found.n_batches == 37
    assert found.anchor_histogram.tolist() == anchors.tolist()
    assert found.pair_histogram.tolist() == pairs.tolist()
    assert next(iter(sampler)) == sampler.batch(0, 0)  # the sampler stands where it stood


def test_bands_hold_the_share_19_times_of_20():
    store = random_store(400, 10)
    sampler = sampler_of(store, mu=4.0, batch_size=8)
    whole = mn.hardness(sampler, batches=4000)
    for kind in ("anchor", "pair"):
        truth = getattr(whole, f"{kind}_histogram") / getattr(whole, f"{kind}_histogram").sum()
        distance = int(truth.argmax())
        inside = 0
        for part in range(60):
            low, high = getattr(
                mn.hardness(sampler, batches=60, epoch=100 + 2 * part), f"{kind}_band"
            )
            inside += low[distance] <= truth[distance] <= high[distance]
        # 60 intervals of 95%: fewer than 51 inside has a chance of 0.04%, and 60 of them of 5%
        assert stats.binom(60, 0.95).cdf(50) < 0.001
        assert inside > 50
    wide = mn.hardness(sampler, batches=10).pair_band
    narrow = mn.hardness(sampler, batches=1000).pair_band
    assert (narrow[1] - narrow[0]).max() < 0.3 * (wide[1] - wide[0]).max()


def test_one_batch_has_no_band():
    found = mn.hardness(sampler_of(random_store(20, 8)), batches=1)
    assert np.isnan(found.pair_band).all()
    assert found.pair_band.shape == (2, 9)


def test_coverage_counts_what_is_drawn():
    store = mn.ManifestationStore.from_dense(np.repeat(random_store(30, 8).to_dense(), 2, axis=0))
    sampler = sampler_of(store)
    found = mn.coverage(sampler, epochs=2, epoch=1)
    counts = Counter(i for e in (1, 2) for k in range(len(sampler)) for i in sampler.batch(k, e))
    assert found.n_batches == 2 * len(sampler)
    assert found.instance_counts.tolist() == [counts[i] for i in range(60)]
    by_pattern = Counter()
    for i, times in counts.items():
        by_pattern[int(store.pattern_of[i])] += times
    assert found.pattern_counts.tolist() == [by_pattern[p] for p in range(store.n_patterns)]
    assert found.unseen_share == sum(counts[i] == 0 for i in range(60)) / 60
    assert found.unseen_pattern_share == pytest.approx(
        sum(by_pattern[p] == 0 for p in range(store.n_patterns)) / store.n_patterns
    )
    assert found.gini == gini(found.instance_counts)
    seen = [{i for k in range(len(sampler)) for i in sampler.batch(k, e)} for e in (1, 2)]
    assert found.seen_share == pytest.approx(np.mean([len(of_epoch) / 60 for of_epoch in seen]))
    assert len(seen[0] | seen[1]) == 60 * (1 - found.unseen_share) > 60 * found.seen_share


class WithoutStore:
    """Four batches of five, of other instances in each epoch."""

    def __len__(self):
        return 4

    def batch(self, k, epoch=0):
        return [(5 * k + i + 3 * epoch) % 20 for i in range(5)]


class Blocks(WithoutStore):
    def __init__(self, store):
        self.store = store


def test_any_sampler_that_draws_a_batch_by_its_number_is_measured():
    store = random_store(20, 8)
    sampler = Blocks(store)
    epochs = [[sampler.batch(k, epoch) for k in range(4)] for epoch in (2, 3)]
    found = mn.hardness(sampler, batches=7, epoch=2)
    expected = measure_hardness(store, [epochs[0], epochs[1][:3]])
    assert found.n_batches == 7
    assert found.pair_histogram.tolist() == expected.pair_histogram.tolist()
    assert found.nearest_mean == expected.nearest_mean
    seen = mn.coverage(sampler, epochs=2, epoch=2)
    assert (seen.seen_share, seen.gini) == (1.0, 0.0)
    assert seen.instance_counts.tolist() == [2] * 20


@given(counts=st.lists(st.integers(0, 50), min_size=1, max_size=20))
def test_gini_is_half_the_mean_difference_over_the_mean(counts):
    if sum(counts) == 0:
        assert math.isnan(gini(counts))
        return
    n = len(counts)
    differences = sum(abs(a - b) for a in counts for b in counts) / n**2
    assert gini(counts) == pytest.approx(differences / 2 / (sum(counts) / n), abs=1e-12)


def test_lower_bound_is_figure_4():
    for n in (10, 35, 50):
        assert mn.distance_lower_bound(n) == pytest.approx(n / 2 - 3 * math.sqrt(n / 4))
    p = np.array([0.1, 0.5, 0.9])
    q = 2 * p * (1 - p)
    expected = q.sum() - 3 * math.sqrt((q * (1 - q)).sum())
    assert mn.distance_lower_bound(3, p) == pytest.approx(expected)
    # for independent traits it lies where 0.13% of the pairs are, as Figure 4 says
    store = random_store(3000, 200)
    assert abs(data_distance_lower_bound(store) - mn.distance_lower_bound(200)) <= 1


@given(bits=bit_matrices())
def test_data_lower_bound_by_counting(bits):
    store = mn.ManifestationStore.from_dense(bits)
    if len(bits) == 1:
        with pytest.raises(InvalidValueError, match="no pairs"):
            data_distance_lower_bound(store)
        return
    distances = sorted(naive.hamming(a, b) for i, a in enumerate(bits) for b in bits[:i])
    bound = data_distance_lower_bound(store)
    within = sum(d <= bound for d in distances)
    below = sum(d < bound for d in distances)
    assert within >= 0.0013 * len(distances)
    assert bound == 0 or below < 0.0013 * len(distances)


@pytest.mark.parametrize("p", [1.5, [0.5, 0.5], [-0.1, 0.5, 0.5], [float("nan")] * 3])
def test_lower_bound_arguments(p):
    with pytest.raises(InvalidValueError, match=r"one frequency in \[0, 1\] or 3 of them"):
        mn.distance_lower_bound(3, p)


def test_descriptions_are_those_of_the_batches():
    store = random_store(80, 70)
    rows = store.to_dense()
    sampler = sampler_of(store, mu=mn.LinearAnnealing(40, 25, steps=30), sigma=4.0, batch_size=6)
    for epoch, k in ((0, 0), (1, 4), (2, 12)):
        seen = sampler.describe(epoch, k)
        step = epoch * len(sampler) + k
        anchor, *others = sampler.batch(k, epoch)
        assert (seen.step, seen.mu) == (step, sampler.mu(step))
        assert seen.distances.tolist() == [naive.hamming(rows[anchor], rows[i]) for i in others]
        assert seen.mean_distance == pytest.approx(np.mean(seen.distances))
        law = mn.TruncatedGaussian(seen.mu, 4.0, low=1, high=sampler.high).pmf()
        np.testing.assert_array_equal(seen.distribution, law)
    with pytest.raises(InvalidValueError, match="an epoch has 13 batches"):
        sampler.describe(0, 13)


def test_descriptions_of_a_shared_batch_are_from_its_one_anchor():
    store = random_store(80, 20)
    rows = store.to_dense()
    whole = sampler_of(store, batch_size=8)
    for rank in range(2):
        part = sampler_of(store, batch_size=4, num_replicas=2, rank=rank, shard="within")
        anchor = whole.batch(3)[0]
        expected = [naive.hamming(rows[anchor], rows[i]) for i in part.batch(3) if i != anchor]
        assert part.describe(0, 3).distances.tolist() == expected
        assert len(expected) == 4 - (rank == 0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mn.distance_lower_bound("a"), "n_bits must be a whole number; got 'a'"),
        (lambda: mn.distance_lower_bound(3, "a"), "p must be numbers; got 'a'"),
        (lambda: mn.distance_lower_bound(3, [[0.5], [0.5, 0.5]]), "p must be numbers"),
        (lambda: mn.distance_lower_bound(3, None), "p must be numbers; got None"),
        (lambda: gini([]), "counts must be a vector of at least one number"),
        (lambda: gini([[1, 2]]), "counts must be a vector of at least one number"),
        (lambda: gini([-1]), "counts must be finite and not negative"),
        (lambda: gini([1, float("nan")]), "counts must be finite and not negative"),
        (lambda: gini(["a"]), "counts must be numbers"),
        (lambda: mn.hardness([[0, 1]]), r"sampler must have batch\(k, epoch\), .*; got list"),
        (lambda: mn.coverage(None), r"sampler must have batch\(k, epoch\), .*; got NoneType"),
        (lambda: mn.coverage(mn.ManiNegBatchSampler), "sampler must have .*; got type"),
        (lambda: mn.hardness(WithoutStore()), "sampler must have .*; got WithoutStore"),
        (lambda: mn.hardness(Blocks("a")), "store must be a ManifestationStore; got str"),
        (lambda: mn.coverage(Blocks("a")), "store must be a ManifestationStore; got str"),
        (lambda: measure_coverage(SMALL.store, []), "at least one batch"),
        (lambda: measure_coverage(SMALL.store, [[[0, 20]]]), "a batch holds 20"),
        (lambda: mn.hardness(SMALL, epoch="a"), "epoch must be a whole number"),
        (lambda: mn.hardness(SMALL, batches=0), "batches must be at least 1"),
        (lambda: mn.coverage(SMALL, epoch=-1), "epoch must be at least 0"),
        (lambda: mn.hardness(SMALL, batches=1).share_within(-2), "distance must be at least 0"),
    ],
)
def test_arguments_that_cannot_be_used(call, message):
    with pytest.raises(mn.ManiNegError, match=message):
        call()


SMALL = sampler_of(random_store(20, 8))
