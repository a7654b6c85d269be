import gc
import itertools
import weakref

import numpy as np
import pytest
from hypothesis import given

from maninegs_sampling import (
    ManifestationStore,
    ManiNegError,
    distance_histogram,
    max_distance,
    pairwise_hamming,
)
from maninegs_sampling.distances import _kernels, _tiles, histogram
from maninegs_sampling.threads import run_on_threads
from tests import naive
from tests.conftest import bit_matrices, random_store


@given(bits=bit_matrices())
def test_pairwise_equals_naive(bits):
    store = ManifestationStore.from_dense(bits)
    distances = pairwise_hamming(store)
    assert distances.dtype == (np.uint8 if bits.shape[1] < 256 else np.uint16)
    assert distances.tolist() == naive.pairwise_hamming(bits, bits)


@given(bits=bit_matrices())
def test_pairwise_with_another_store_equals_naive(bits):
    others = ~bits[: max(1, len(bits) // 2)]
    store, other = ManifestationStore.from_dense(bits), ManifestationStore.from_dense(others)
    assert pairwise_hamming(store, other).tolist() == naive.pairwise_hamming(bits, others)


@given(bits=bit_matrices())
def test_histogram_and_max_equal_naive(bits):
    store = ManifestationStore.from_dense(bits)
    histogram = distance_histogram(store)
    expected = naive.distance_histogram(bits)
    assert histogram.tolist() == expected
    assert max_distance(store) == max([d for d, n in enumerate(expected) if n], default=0)


@pytest.mark.parametrize("n_bits", [35, 64, 255, 256, 312])
@pytest.mark.parametrize("n", [2047, 2048, 2049, 2051, 4100])
def test_many_rows_cross_tiles_and_threads(n, n_bits):
    store = random_store(n, n_bits)
    distances = pairwise_hamming(store)
    signs = 1 - 2 * store.to_dense().astype(np.float32)
    expected = (n_bits - signs @ signs[::7].T) / 2
    assert (distances[:, ::7] == expected).all()
    upper = distances[np.triu_indices(n, 1)]
    assert (distance_histogram(store) == np.bincount(upper, minlength=n_bits + 1)).all()


@pytest.mark.parametrize("n_bits", [1, 20, 70, 255, 256])
@pytest.mark.parametrize("n", [2, 3, 2047, 2049, 4101])
def test_the_histogram_counts_instances_of_patterns_with_many_counts(n, n_bits):
    store = random_store(n, n_bits)
    rng = np.random.default_rng(n)
    repeats = rng.choice([1, 1, 1, 2, 2, 3, 50, 1000], store.n_patterns) + rng.integers(0, 3)
    pattern_of = np.repeat(np.arange(store.n_patterns), repeats)
    heavy = ManifestationStore(store.words, pattern_of, n_bits)
    expected = np.zeros(n_bits + 1, np.int64)
    for p, row in enumerate(store.words):
        distances = naive.count_ones(row ^ store.words[p + 1 :]).sum(-1)
        np.add.at(expected, distances, repeats[p] * repeats[p + 1 :])
    expected[0] += (repeats * (repeats - 1) // 2).sum()
    assert (distance_histogram(heavy) == expected).all()


def test_the_table_of_equal_counts_is_read_before_a_cell_overflows():
    # 8 patterns, all 2 bits apart, of 2**29 instances: over all rows one cell adds up to 2**32.
    words = np.array([[1 << p for p in range(8)]], np.uint64)
    histogram, table = np.zeros(9, np.int64), np.zeros((2, 65536), np.uint32)
    scratch = np.empty(_tiles.TILE, np.uint8)
    _kernels.equal_counts_histogram_rows(
        words,
        np.full(8, 2**29),
        np.array([0, 8]),
        0,
        8,
        scratch,
        table,
        np.zeros_like(histogram),
        histogram,
    )
    assert histogram.tolist() == [0, 0, 28 * 2**58, 0, 0, 0, 0, 0, 0]
    assert not table.any()


@pytest.mark.parametrize("least", [1, 3, 100])
def test_patterns_are_ordered_by_count(least):
    counts = np.random.default_rng(0).choice([1, 1, 1, 1, 2, 2, 5, 9, 70, 71], 300)
    order, edges, n_paired = histogram._by_count(counts, least)
    assert sorted(order) == list(range(300))
    ordered = counts[order]
    for begin, end in itertools.pairwise(edges):
        assert end - begin >= least
        assert len(set(ordered[begin:end])) == 1
    assert (np.diff(ordered[: edges[-1]]) >= 0).all()
    paired, alone = np.split(ordered[edges[-1] :], [n_paired])
    assert (paired[::2] == paired[1::2]).all()
    assert len(set(alone)) == len(alone)


def test_the_table_of_weighted_pairs_is_read_before_a_cell_overflows():
    # 8 patterns, all 2 bits apart, of 2**29 instances: over all rows one cell adds up to 2**32.
    words = np.array([[1 << p for p in range(8)]], np.uint64)
    counts = np.full(8, 2**29)

    def counted(rows_between):
        histogram, table = np.zeros(9, np.int64), np.zeros((2, 65536), np.uint32)
        scratch = np.empty(_tiles.TILE, np.uint8)
        _kernels.paired_histogram_rows(
            words, counts, np.full(4, 2**29, np.uint32), 0, rows_between, 0, 8, scratch, table,
            np.zeros_like(histogram), histogram,
        )  # fmt: skip
        assert not table.any()
        return histogram

    expected = np.zeros(9, np.int64)
    expected[2] = 28 * 2**58
    assert (counted(1) == expected).all()
    assert (counted(2) == expected).all()
    assert (counted(8) != expected).any(), "the test reaches no overflow"


def test_out_is_filled_and_returned():
    store = random_store(10, 5)
    out = np.full((10, 10), 99, np.uint8)
    assert pairwise_hamming(store, out=out) is out
    assert (out == pairwise_hamming(store)).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (lambda s: (s, random_store(3, 6)), "store has 5, other 6"),
        (lambda s: (s, None, np.empty((9, 10), np.uint8)), "shape"),
        (lambda s: (s, None, np.empty((10, 10), np.uint8, order="F")), "C-contiguous"),
        (lambda s: (s, None, np.empty((10, 10), np.int64)), "uint8"),
        (lambda s: (s, None, [[0]]), "out must be an array of uint8"),
        (lambda s: ([[0, 1]],), "store must be a ManifestationStore; got list"),
    ],
)
def test_errors(arguments, message):
    with pytest.raises(ManiNegError, match=message):
        pairwise_hamming(*arguments(random_store(10, 5)))


def test_an_error_in_a_thread_is_raised():
    def work(begin, end):
        raise ValueError(f"slab {begin}")

    with pytest.raises(ValueError, match="slab 0"):
        run_on_threads(work, [0, 1, 2])


def test_real_table(cbis):
    histogram = distance_histogram(cbis)
    assert histogram.sum() == 3568 * 3567 // 2
    assert max_distance(cbis) == 13


def test_all_pairs_of_a_store_are_counted_once(monkeypatch):
    counted = []
    count_pairs = histogram.count_pairs
    monkeypatch.setattr(
        histogram,
        "count_pairs",
        lambda s, metric, progress: counted.append(s) or count_pairs(s, metric=metric),
    )
    store, other = random_store(50, 12), random_store(50, 12)
    found = distance_histogram(store)
    assert distance_histogram(store) is found
    max_distance(store)
    with pytest.raises(ValueError, match="read-only"):
        found[0] = 1
    assert counted == [store]
    assert (distance_histogram(other) == found).all()
    assert counted == [store, other]


def test_a_remembered_histogram_does_not_keep_its_store():
    store = random_store(50, 12)
    distance_histogram(store)
    gone = weakref.ref(store)
    del store
    gc.collect()
    assert gone() is None
