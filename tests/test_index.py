import numpy as np
import pytest
from hypothesis import given

from maninegs_sampling import DistanceBucketIndex, ManifestationStore, ManiNegError, max_distance
from maninegs_sampling.index import parse_size
from tests import naive
from tests.conftest import bit_matrices, random_store


@pytest.mark.parametrize("memory_limit", ["1GiB", 0])
@pytest.mark.parametrize("rows", ["instances", "patterns"])
@given(bits=bit_matrices(max_rows=20))
def test_buckets_equal_naive(memory_limit, rows, bits):
    store = ManifestationStore.from_dense(bits)
    index = DistanceBucketIndex(store, memory_limit=memory_limit, rows=rows)
    assert index.precomputed == (memory_limit != 0)
    for instance in range(len(bits)):
        counts = index.counts(instance)
        assert counts.shape == (bits.shape[1] + 1,)
        for d in range(bits.shape[1] + 1):
            expected = naive.bucket(bits, instance, d) if counts[d] else []
            assert counts[d] == len(expected)
            assert index.bucket(instance, d).tolist() == expected
        assert counts.sum() == len(bits) - 1


@given(bits=bit_matrices())
def test_the_largest_distance(bits):
    store = ManifestationStore.from_dense(bits)
    for rows in ("instances", "patterns"):
        assert DistanceBucketIndex(store, rows=rows).largest_distance == max_distance(store)
    assert DistanceBucketIndex(store, memory_limit=0).largest_distance == bits.shape[1]


@pytest.mark.parametrize("n", [100, 3000])
def test_precomputed_rows_hold_everybody_once_by_distance(n):
    store = ManifestationStore.from_dense(random_store(n, 9).to_dense())
    index = DistanceBucketIndex(store)
    assert store.n_patterns < n
    for u in (0, store.n_patterns // 2, store.n_patterns - 1):
        row = index.buckets.order[u]
        assert sorted(row.tolist()) == list(range(n))
        pattern = store.pattern_of[row]
        distance = np.bitwise_count(store.words[pattern, 0] ^ store.words[u, 0])
        keys = list(zip(distance.tolist(), pattern.tolist(), row.tolist(), strict=True))
        assert keys == sorted(keys)


def test_it_is_precomputed_exactly_while_it_fits():
    store = random_store(200, 20)
    nbytes = DistanceBucketIndex(store).nbytes
    assert nbytes == store.n_patterns * (store.n_instances * 2 + 22 * 4)
    assert DistanceBucketIndex(store, memory_limit=nbytes).precomputed
    assert not DistanceBucketIndex(store, memory_limit=nbytes - 1).precomputed
    assert DistanceBucketIndex(store, memory_limit=nbytes - 1).nbytes == 0


@pytest.mark.parametrize(
    ("text", "size"),
    [("0B", 0), ("12 B", 12), ("1kB", 1000), ("1KiB", 1024), ("1.5MB", 1_500_000), ("2TiB", 2**41)],
)
def test_sizes(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s: DistanceBucketIndex(s, memory_limit="lots"), "got 'lots'"),
        (lambda s: DistanceBucketIndex(s, memory_limit="1iB"), "got '1iB'"),
        (lambda s: DistanceBucketIndex(s, memory_limit=-1), "must not be negative"),
        (lambda s: DistanceBucketIndex(s, memory_limit=None), "got None"),
        (lambda s: DistanceBucketIndex(s, rows="both"), "rows must be one of 'instances'"),
        (lambda s: DistanceBucketIndex([[0]]), "store must be a ManifestationStore; got list"),
        (lambda s: DistanceBucketIndex(s).counts(5), r"instance must be in \[0, 5\); got 5"),
        (lambda s: DistanceBucketIndex(s).counts(-1), r"instance must be in \[0, 5\); got -1"),
        (lambda s: DistanceBucketIndex(s).bucket(0, 5), r"distance must be in \[0, 4\]; got 5"),
        (lambda s: DistanceBucketIndex(s).bucket(0, -1), r"distance must be in \[0, 4\]; got -1"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ManiNegError, match=message):
        call(random_store(5, 4))
