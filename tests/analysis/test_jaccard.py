"""Diagnostics by Jaccard distance, against the slow twin."""

import numpy as np
import pytest

import maninegs_sampling as mn
from maninegs_sampling.analysis.baselines import nearest_only
from maninegs_sampling.analysis.batch_hardness import histogram_mean, measure_hardness
from maninegs_sampling.analysis.bounds import data_distance_lower_bound
from maninegs_sampling.analysis.hardness import hardness, hardness_at, uniform_distinct_hardness
from maninegs_sampling.analysis.neighborhood import neighborhood
from maninegs_sampling.analysis.reasons import NearPatterns, OneDistance
from maninegs_sampling.analysis.settings import only_distance, suggest
from maninegs_sampling.analysis.suitability import suitability
from maninegs_sampling.distances import pairs
from maninegs_sampling.distances.pairs import mean_distance
from maninegs_sampling.errors import InvalidValueError
from tests import naive
from tests.conftest import random_store


def sets(n=300, n_bits=60, n_topics=6, seed=0):
    """Sets of tags, most of them of one of a few topics."""
    rng = np.random.default_rng(seed)
    topics = rng.random((n_topics, n_bits)) < 0.2
    of = rng.integers(n_topics, size=n)
    return (topics[of] & (rng.random((n, n_bits)) < 0.7)) | (rng.random((n, n_bits)) < 0.03)


STORE = mn.ManifestationStore.from_dense(sets())


def exact(bits, pairs_of):
    return np.array([naive.jaccard_step(bits[i], bits[j]) for i, j in pairs_of]) / 100


def test_hardness_equals_naive():
    bits = sets(40)
    store = mn.ManifestationStore.from_dense(bits)
    batches = [[0, 5, 9, 30], [7, 8, 1, 2, 3, 4, 5, 6, 11, 12], [3]]
    found = measure_hardness(store, [batches], metric="jaccard")
    of_anchors = exact(bits, [(b[0], i) for b in batches for i in b[1:]])
    assert found.anchor_mean == pytest.approx(of_anchors.mean())
    assert found.anchor_histogram.tolist() == np.bincount(
        (100 * of_anchors).round().astype(int), minlength=101
    ).tolist()  # fmt: skip
    all_pairs = [(b[i], b[j]) for b in batches for i in range(len(b)) for j in range(i)]
    assert found.pair_mean == pytest.approx(exact(bits, all_pairs).mean())
    nearest = [
        np.sort(exact(bits, [(i, j) for j in b if j != i]))[:7].mean()
        for b in batches if len(b) > 1 for i in b
    ]  # fmt: skip
    assert found.nearest_mean == pytest.approx(np.mean(nearest))
    assert found.share_within(0.8) == (of_anchors <= 0.8).mean()
    assert found.metric == "jaccard"
    with pytest.raises(InvalidValueError, match="must be a multiple of"):
        found.share_within(2)


def test_hardness_is_measured_by_the_metric_of_the_sampler_unless_another_is_asked_for():
    sampler = mn.ManiNegBatchSampler(STORE, batch_size=8, mu=0.5, metric="jaccard")
    found = hardness(sampler, batches=20)
    assert found.metric == "jaccard"
    assert 0 < found.pair_mean < 1
    by_hamming = hardness(sampler, batches=20, metric="hamming")
    assert by_hamming.metric == "hamming"
    assert by_hamming.pair_mean > 1
    uniform = mn.UniformDistinctBatchSampler(STORE, batch_size=8)
    assert hardness(uniform, batches=20).metric == "hamming"
    assert hardness(uniform, batches=20, metric="jaccard").pair_mean < 1


def test_a_lower_mu_is_harder():
    far, near = hardness_at(
        STORE, [0.9, 0.2], sigma=0.1, batch_size=8, batches=50, metric="jaccard"
    )
    assert near.anchor_mean < far.anchor_mean < 1
    baseline = uniform_distinct_hardness(STORE, batch_size=8, batches=50, metric="jaccard")
    assert near.pair_mean < baseline.pair_mean < 1
    with pytest.raises(InvalidValueError, match=r"mus\[0\] must be finite and within \+-2"):
        hardness_at(STORE, [11], sigma=0.1, metric="jaccard")


def test_the_neighborhood_equals_naive():
    bits = sets(40)
    store = mn.ManifestationStore.from_dense(bits)
    found = neighborhood(store, batch_size=4, metric="jaccard")
    distances = np.array([[naive.jaccard_step(a, b) for b in bits] for a in bits])
    patterns = distances[:, np.unique(store.pattern_of, return_index=True)[1]]
    within = [(patterns <= d).sum(1).mean() - 1 for d in (10, 20, 30)]
    assert found.within == pytest.approx(within)
    nearest = np.sort(patterns, axis=1)[:, 1:4].mean() / 100
    assert found.nearest == pytest.approx(nearest)


def test_mean_bound_and_nearest():
    bits = sets(40)
    store = mn.ManifestationStore.from_dense(bits)
    distances = exact(bits, [(i, j) for i in range(40) for j in range(i)])
    assert mean_distance(store, metric="jaccard") == pytest.approx(distances.mean())
    assert data_distance_lower_bound(store, metric="jaccard") == np.sort(distances)[1]  # 0.13%
    (first, *_) = nearest_only(store, 5, 0, "jaccard")(0)
    far = exact(bits, [(first[0], j) for j in range(40) if not (bits[j] == bits[first[0]]).all()])
    of_patterns = np.unique(far).tolist()
    assert exact(bits, [(first[0], first[1])])[0] == of_patterns[0]


def test_suggested_settings_are_in_the_unit_of_jaccard():
    settings = suggest(STORE, steps=100, batch_size=8, metric="jaccard")
    assert settings["metric"] == "jaccard"
    assert settings["low"] == 0.01
    assert settings["high"] == mn.max_distance(STORE, metric="jaccard")
    assert 0.02 <= settings["sigma"] < 0.5
    assert 0 <= settings["mu"].end < settings["mu"].start <= 1
    sampler = mn.ManiNegBatchSampler(STORE, batch_size=8, **settings)
    assert hardness(sampler, batches=10).metric == "jaccard"
    text = " ".join(map(str, settings.reasons.values()))
    assert "bits" not in text
    assert 'metric="jaccard"' in settings.call()


def test_a_center_that_jaccard_has_not_is_refused_before_anything_is_measured():
    with pytest.raises(InvalidValueError, match='center="cluster" needs metric="hamming"'):
        suggest(STORE, steps=100, batch_size=8, metric="jaccard", center="cluster")


def test_suitability_in_the_unit_of_jaccard():
    found = suitability(STORE, batch_size=8, batches=20, metric="jaccard")
    assert found.uniform_mean == mean_distance(STORE, metric="jaccard")
    assert {h.metric for h in (*found.measured, found.uniform_distinct)} == {"jaccard"}
    assert found.settings["metric"] == "jaccard"
    assert max(found.pair_means) < 1
    text = str(found)
    assert "other patterns within 0.1, 0.2 and 0.3; its nearest 7 are 0." in text
    assert "bits" not in text


def test_one_distance_alone():
    disjoint = mn.ManifestationStore.from_dense(np.eye(6, dtype=bool))
    assert only_distance(disjoint, "jaccard") == OneDistance(1.0, "jaccard")
    assert str(OneDistance(1.0, "jaccard")).startswith("all patterns are 1.0 apart:")
    assert str(OneDistance(2)).startswith("all patterns are 2 bits apart:")
    assert "within 1, 2 and 3 bits; its nearest 7 are 4.2 bits away" in str(
        NearPatterns((0, 1, 2), 4.2, 8)
    )
    assert only_distance(STORE, "jaccard") is None


def test_one_distance_is_not_claimed_from_random_pairs(monkeypatch):
    store = mn.ManifestationStore.from_dense(np.eye(30, dtype=bool))
    monkeypatch.setattr(pairs, "MOST_COUNTED_PATTERNS", 20)
    assert only_distance(store, "jaccard") is None
    settings = suggest(random_store(60, 40, density=0.2), steps=9, batch_size=4, metric="jaccard")
    assert settings["high"] == 1.0
    assert "number of traits" not in str(settings.reasons["high"])


def test_histogram_mean():
    histogram = np.zeros(101, int)
    histogram[[30, 60]] = 1
    assert histogram_mean(histogram, "jaccard") == pytest.approx(0.45)
