import pickle
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings

from maninegs_sampling import (
    DistanceBucketIndex,
    ManifestationStore,
    ManiNegError,
    distance_histogram,
    max_distance,
    pairwise_jaccard,
)
from maninegs_sampling.data.patterns import frozen
from maninegs_sampling.distances import _kernels, _tiles, pairs
from maninegs_sampling.distances.metrics import METRICS, metric_of, pattern_steps, steps_of_pairs
from maninegs_sampling.distances.pairs import (
    distance_limit,
    estimated_pair_distances,
    pair_distances,
)
from maninegs_sampling.sampling.peers.neighbors import nearest_patterns
from tests import naive
from tests.conftest import bit_matrices, random_store


@settings(max_examples=30)
@given(bits=bit_matrices(max_rows=12))
def test_distances_and_steps_equal_exact_fractions(bits):
    bits = np.concatenate([bits, bits & ~bits[:1], np.zeros_like(bits[:1])])
    store = ManifestationStore.from_dense(bits)
    exact = [[naive.jaccard(a, b) for b in bits] for a in bits]
    distances = pairwise_jaccard(store)
    assert distances.dtype == np.float32
    assert (distances == np.array(exact, np.float64).astype(np.float32)).all()
    some = store.subset(range(2))
    assert (pairwise_jaccard(some, store) == distances[:2]).all()
    left, right = np.indices((len(bits), len(bits))).reshape(2, -1)
    of = store.pattern_of
    expected = [naive.jaccard_step(bits[i], bits[j]) for i, j in zip(left, right, strict=True)]
    assert steps_of_pairs(store.words, of[left], of[right], "jaccard").tolist() == expected
    assert pattern_steps(store, of[0], "jaccard")[of].tolist() == expected[: len(bits)]


def nested(n_bits, tops):
    """The first k bits, for each k: |a & b| and |a | b| are then the smaller and the larger k."""
    return ManifestationStore.from_dense(np.arange(n_bits) < np.array(tops)[:, None])


@pytest.mark.parametrize("n_bits", [1, 63, 64, 65, 312, 2048])
def test_every_share_of_a_set_has_its_step(n_bits):
    tops = np.unique(np.linspace(0, n_bits, min(n_bits + 1, 313), dtype=int))
    store = nested(n_bits, tops)
    sizes = [int(row.sum()) for row in store.to_dense()[np.argsort(store.pattern_of)]]
    for p in range(0, len(sizes), 7):
        steps = pattern_steps(store, p, "jaccard").tolist()
        pairs_of_sizes = [sorted((sizes[p], size)) for size in sizes]
        assert steps == [-(-100 * (u - i) // max(u, 1)) for i, u in pairs_of_sizes]


def test_steps_are_exact_for_as_many_bits_as_a_store_may_have():
    # Of all numerators with this union: exactly a hundredth, and one bit to either side of it.
    for union in (65_535, 65_500, 65_521):
        both = np.unique([union * k // 100 + off for k in range(100) for off in (-1, 0, 1)])
        both = both[(both >= 0) & (both < union)]
        differing, ones = (union - both).astype(np.float32), (union + both).astype(np.float32)
        steps = [_tiles.jaccard_step(h, s) for h, s in zip(differing, ones, strict=True)]
        assert steps == [-(-100 * (union - i) // union) for i in both.tolist()]


def test_empty_sets():
    store = ManifestationStore.from_dense([[0, 0, 0], [0, 0, 0], [1, 0, 0], [1, 1, 1]])
    assert pairwise_jaccard(store)[0].tolist() == [0, 0, 1, 1]
    assert distance_histogram(store, metric="jaccard")[[0, 67, 100]].tolist() == [1, 1, 4]


@given(bits=bit_matrices(max_rows=25))
def test_histogram_limit_and_moments_equal_naive(bits):
    store = ManifestationStore.from_dense(bits)
    expected = np.array(naive.distance_histogram(bits, "jaccard"))
    histogram = distance_histogram(store, metric="jaccard")
    assert histogram.tolist() == expected.tolist()
    found = pair_distances(store, metric="jaccard")
    largest = max(np.flatnonzero(expected), default=0) / 100
    assert max_distance(store, metric="jaccard") == found.largest == largest
    assert distance_limit(store, metric="jaccard") == largest
    if len(bits) > 1:
        distances = np.repeat(np.arange(101) / 100, expected)
        assert found.standard_deviation == pytest.approx(distances.std(), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("n_bits", [64, 312])
@pytest.mark.parametrize("n", [2049, 4101])
def test_many_rows_cross_tiles_and_threads(n, n_bits):
    store = random_store(n, n_bits, density=0.2)
    bits = store.to_dense().astype(np.float32)
    both, ones = (bits @ bits.T).astype(int), bits.sum(1).astype(int)
    union = np.maximum(ones[:, None] + ones - both, 1)
    assert (pairwise_jaccard(store) == ((union - both) / union).astype(np.float32)).all()
    upper = -(-100 * (union - both) // union)[np.triu_indices(n, 1)]
    histogram = distance_histogram(store, metric="jaccard")
    assert histogram.tolist() == np.bincount(upper, minlength=101).tolist()


def test_the_estimate_is_within_its_error_of_the_count(monkeypatch):
    store = random_store(900, 80, density=0.2)
    counted = pair_distances(store, metric="jaccard", exact=True)
    found = estimated_pair_distances(store, metric="jaccard")
    assert found.metric == "jaccard"
    common = counted.shares * found.n_drawn > 30
    common[0] = False
    off = (found.shares - counted.shares)[common] / found.errors[common]
    assert np.abs(off).max() < 4.5  # of 100 normal variables, in 1 of 1,500 stores one is not
    monkeypatch.setattr(pairs, "MOST_COUNTED_PATTERNS", 100)
    assert pair_distances(store, metric="jaccard").n_drawn is None, "known from then on"
    assert pair_distances(random_store(900, 80), metric="jaccard").n_drawn == pairs.DRAWN_PAIRS
    assert distance_limit(store, metric="jaccard") == 1.0


@settings(max_examples=20)
@given(bits=bit_matrices(max_rows=15))
def test_buckets_equal_naive_listed_and_scanned(bits):
    store = ManifestationStore.from_dense(bits)
    for memory_limit in ("1GiB", 0):
        for rows in ("instances", "patterns"):
            index = DistanceBucketIndex(
                store, memory_limit=memory_limit, rows=rows, metric="jaccard"
            )
            index = pickle.loads(pickle.dumps(index))
            counts = index.counts(0)
            for step in {0, 1, 50, 99, 100, *np.flatnonzero(counts).tolist()}:
                expected = naive.bucket(bits, 0, step, "jaccard")
                assert index.bucket(0, step / 100).tolist() == expected
                assert counts[step] == len(expected)
    assert index.largest_distance == 1.0


@settings(max_examples=15)
@given(bits=bit_matrices(max_rows=15))
def test_nearest_patterns_equal_naive(bits):
    store = ManifestationStore.from_dense(np.unique(bits, axis=0))
    rows = store.to_dense()[np.argsort(store.pattern_of)]
    found = nearest_patterns(store, 5, metric="jaccard")
    for p, row in enumerate(rows):
        others = [q for q in range(len(rows)) if q != p]
        others.sort(key=lambda q: (naive.jaccard_step(row, rows[q]), q))
        assert found[p].tolist() == others[:5]


def test_an_index_knows_the_largest_distance_and_its_metric():
    store = ManifestationStore.from_dense([[1, 1, 0], [1, 0, 0]])
    index = DistanceBucketIndex(store, metric="jaccard")
    assert index.largest_distance == 0.5
    assert repr(index).startswith("DistanceBucketIndex(2 patterns, jaccard, precomputed")


def test_the_edges_of_the_steps():
    metric = METRICS["jaccard"]
    assert metric.edges(1, 3).tolist() == [0.0, 0.01, 0.02, 0.03]
    assert metric.edges(100, 100).tolist() == [0.99, 1.0]
    assert METRICS["hamming"].edges(1, 2).tolist() == [0.5, 1.5, 2.5]


def test_a_step_counts_what_is_above_the_one_before():
    # 1/3, 1/2 and 2/3, in hundredths rounded up.
    store = ManifestationStore.from_dense([[1, 1, 1], [1, 1, 0], [1, 0, 0]])
    assert np.flatnonzero(distance_histogram(store, metric="jaccard")).tolist() == [34, 50, 67]
    assert Fraction(1, 3) == naive.jaccard([1, 1, 1], [1, 1, 0])


def test_ones_are_counted():
    words = frozen(np.array([[0, 3, 2**64 - 1], [0, 1, 2**64 - 1]], np.uint64))
    ones = np.full(3, 9, np.float32)
    _kernels.count_ones(words, ones)
    assert ones.tolist() == [0, 3, 128]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s: distance_histogram(s, metric="cosine"), "'hamming', 'jaccard'; got 'cosine'"),
        (lambda s: max_distance(s, metric=None), "metric must be one of .*; got None"),
        (lambda s: pair_distances(s, metric=1), "metric must be one of .*; got 1"),
        (lambda s: DistanceBucketIndex(s, metric="Jaccard"), "metric must be one of .*'Jaccard'"),
        (lambda s: metric_of(["jaccard"]), "metric must be one of"),
        (lambda s: pairwise_jaccard(s, random_store(3, 6)), "store has 5, other 6"),
        (lambda s: pairwise_jaccard(s, None, np.empty((9, 9), np.float64)), "array of float32"),
        (lambda s: pairwise_jaccard(s, None, np.empty((9, 8), np.float32)), "of shape"),
        (lambda s: pairwise_jaccard([[0]]), "store must be a ManifestationStore; got list"),
        (
            lambda s: DistanceBucketIndex(s, metric="jaccard").bucket(0, 0.345),
            r"distance must be a multiple of 0\.01 from 0\.0 to 1 with metric=\"jaccard\"; got 0\.345",
        ),
        (lambda s: DistanceBucketIndex(s, metric="jaccard").bucket(0, 2), "multiple of 0.01"),
        (lambda s: DistanceBucketIndex(s, metric="jaccard").bucket(0, -0.01), "multiple of 0.01"),
        (lambda s: DistanceBucketIndex(s, metric="jaccard").bucket(0, "1"), "must be a number"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ManiNegError, match=message):
        call(random_store(9, 5))
