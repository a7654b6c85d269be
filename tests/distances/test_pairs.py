import numpy as np
import pytest
from hypothesis import given

import maninegs_sampling as mn
from maninegs_sampling.distances import pairs
from maninegs_sampling.distances.pairs import (
    distance_limit,
    estimated_pair_distances,
    mean_distance,
    pair_distances,
    trait_counts,
)
from tests import naive
from tests.conftest import bit_matrices, random_store


def heavy_store(n_patterns=400, n_bits=20):
    """Patterns with 1 to 200 instances each, so that a quarter of the pairs has one pattern."""
    patterns = random_store(n_patterns, n_bits)
    repeats = np.where(np.arange(patterns.n_patterns) % 7 == 0, 200, 1)
    repeats[0] = 20_000
    pattern_of = np.repeat(np.arange(patterns.n_patterns), repeats)
    return mn.ManifestationStore(patterns.words, pattern_of, n_bits)


@given(bits=bit_matrices())
def test_counted_shares_moments_and_limit_equal_naive(bits):
    store = mn.ManifestationStore.from_dense(bits)
    counted = np.array(naive.distance_histogram(bits))
    found = pair_distances(store)
    assert found.n_drawn is None
    assert not found.errors.any()
    assert found.source == "all pairs"
    assert found.shares.tolist() == (counted / max(1, counted.sum())).tolist()
    assert found.largest == distance_limit(store) == max(np.flatnonzero(counted), default=0)
    assert trait_counts(store).tolist() == bits.sum(axis=0).tolist()
    if len(bits) == 1:
        assert np.isnan(mean_distance(store))
    else:
        distances = np.repeat(np.arange(len(counted)), counted)
        assert mean_distance(store) == pytest.approx(distances.mean(), rel=1e-12)
        assert found.standard_deviation == pytest.approx(distances.std(), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("store", [random_store(3000, 35), random_store(900, 312), heavy_store()])
def test_the_estimate_is_within_its_error_of_the_count(store):
    counted, found = pair_distances(store), estimated_pair_distances(store)
    assert found.n_drawn == pairs.DRAWN_PAIRS
    assert found.shares.sum() == pytest.approx(1)
    assert found.shares[0] == pytest.approx(counted.shares[0], rel=1e-9)
    assert found.errors[0] == 0
    assert (found.errors[1:] > 0).all()
    # Of 300 normal variables one lies beyond 4.5 standard errors in 1 of 500 stores.
    common = counted.shares * found.n_drawn > 30
    common[0] = False
    off = (found.shares - counted.shares)[common] / found.errors[common]
    assert np.abs(off).max() < 4.5
    assert 0.5 < np.sqrt((off**2).mean()) < 1.6
    rare = ~common
    assert (found.shares - counted.shares)[rare] == pytest.approx(0, abs=100 / found.n_drawn)


def test_pairs_are_drawn_by_the_instances_of_their_patterns():
    counts = np.array([1, 2, 7])
    left, right = pairs._random_pairs(counts)
    drawn = np.zeros((3, 3))
    np.add.at(drawn, (left, right), 1)
    expected = np.outer(counts, counts).astype(float)
    np.fill_diagonal(expected, 0)
    expected *= pairs.DRAWN_PAIRS / expected.sum()
    chosen = expected > 0
    assert not drawn[~chosen].any()
    # 6 cells, 5 degrees of freedom: beyond 20.5 once in 1,000.
    assert ((drawn - expected)[chosen] ** 2 / expected[chosen]).sum() < 20.5


def test_many_patterns_are_estimated_and_counted_on_request(monkeypatch):
    monkeypatch.setattr(pairs, "MOST_COUNTED_PATTERNS", 500)
    few, store = random_store(500, 30), random_store(501, 30)
    assert pair_distances(few).n_drawn is None
    found, again = pair_distances(store), pair_distances(random_store(501, 30))
    assert found.n_drawn == pairs.DRAWN_PAIRS
    assert found.source == "1,048,576 random pairs"
    assert found.shares.tolist() == again.shares.tolist()
    counted = pair_distances(store, exact=True)
    assert counted.n_drawn is None
    histogram = mn.distance_histogram(store)
    assert counted.shares.tolist() == (histogram / histogram.sum()).tolist()
    assert pair_distances(store).n_drawn is None, "counted once, known from then on"
    with pytest.raises(ValueError, match="read-only"):
        found.shares[0] = 1


def test_the_limit_of_many_patterns_is_the_number_of_traits_that_vary(monkeypatch):
    bits = np.random.default_rng(0).random((300, 30)) < 0.5
    bits[:, 3], bits[:, 9] = True, False
    store = mn.ManifestationStore.from_dense(bits)
    assert distance_limit(store) < 28
    monkeypatch.setattr(pairs, "MOST_COUNTED_PATTERNS", 100)
    assert distance_limit(store) == 28
