import copy
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given

from maninegs_sampling import DistanceBucketIndex, ManifestationStore, ManiNegError, max_distance
from maninegs_sampling.distances.index import parse_size
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
    index, bits = DistanceBucketIndex(store), store.to_dense()
    assert store.n_patterns < n
    for u in (0, store.n_patterns // 2, store.n_patterns - 1):
        row = index.buckets.order[u]
        assert sorted(row.tolist()) == list(range(n))
        pattern = store.pattern_of[row]
        distance = (bits[row] != bits[store.pattern_of == u][0]).sum(1)
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
        (lambda s: DistanceBucketIndex(s, memory_limit=True), "got True"),
        (lambda s: DistanceBucketIndex(s, memory_limit=1e9), "got 1000000000.0"),
        (lambda s: DistanceBucketIndex(s, memory_limit=2**63), r"below 2\*\*63 bytes; got 9223"),
        (lambda s: DistanceBucketIndex(s, memory_limit="1e3GB"), "got '1e3GB'"),
        (lambda s: DistanceBucketIndex(s, memory_limit="-1GB"), "got '-1GB'"),
        (lambda s: DistanceBucketIndex(s, memory_limit="9999999999TB"), r"below 2\*\*63 bytes; got '9{10}TB'"),
        (lambda s: DistanceBucketIndex(s, memory_limit="9" * 5000 + "B"), r"below 2\*\*63 bytes"),
        (lambda s: DistanceBucketIndex(s).counts(1.5), "instance must be a whole number; got 1.5"),
        (lambda s: DistanceBucketIndex(s).counts("a"), "instance must be a whole number; got 'a'"),
        (lambda s: DistanceBucketIndex(s).counts(None), "instance must be a whole number; got None"),
        (lambda s: DistanceBucketIndex(s).counts(True), "instance must be a whole number; got True"),
        (lambda s: DistanceBucketIndex(s).counts(np.array([0, 1])), "instance must be a whole number"),
        (lambda s: DistanceBucketIndex(s).bucket(1.0, 1), "instance must be a whole number; got 1.0"),
        (lambda s: DistanceBucketIndex(s).bucket(0, 1.5), "distance must be a whole number; got 1.5"),
        (lambda s: DistanceBucketIndex(s).bucket(0, "1"), "distance must be a whole number; got '1'"),
        (lambda s: DistanceBucketIndex(s, rows="both"), "rows must be one of 'instances'"),
        (lambda s: DistanceBucketIndex([[0]]), "store must be a ManifestationStore; got list"),
        (lambda s: DistanceBucketIndex(s).counts(5), r"instance must be in \[0, 5\); got 5"),
        (lambda s: DistanceBucketIndex(s).counts(-1), r"instance must be in \[0, 5\); got -1"),
        (lambda s: DistanceBucketIndex(s).bucket(0, 5), r"distance must be in \[0, 4\]; got 5"),
        (lambda s: DistanceBucketIndex(s).bucket(0, -1), "distance must be at least 0; got -1"),
    ],
)  # fmt: skip
def test_errors(call, message):
    with pytest.raises(ManiNegError, match=message):
        call(random_store(5, 4))


@pytest.mark.parametrize("kind", [int, np.int64, np.uint8, np.array, torch.tensor])
def test_instances_and_distances_of_any_integer_kind(kind):
    index = DistanceBucketIndex(random_store(9, 4))
    assert index.counts(kind(2)).tolist() == index.counts(2).tolist()
    for distance in range(5):
        assert index.bucket(kind(2), kind(distance)).tolist() == index.bucket(2, distance).tolist()
    assert parse_size(kind(7)) == 7


@pytest.mark.parametrize("n_bits", [9, 70])
@pytest.mark.parametrize("rows", ["instances", "patterns"])
@pytest.mark.parametrize("memory_limit", ["1GiB", 0])
@pytest.mark.parametrize(
    "again", [lambda i: i, lambda i: pickle.loads(pickle.dumps(i)), copy.copy, copy.deepcopy]
)
def test_an_index_is_immutable_and_so_are_its_copies(again, memory_limit, rows, n_bits):
    index = DistanceBucketIndex(random_store(30, n_bits), memory_limit=memory_limit, rows=rows)
    twin = again(index)
    assert (twin.precomputed, twin.nbytes, twin.rows) == (index.precomputed, index.nbytes, rows)
    assert repr(twin) == repr(index)
    for mine, other in zip(index.buckets, twin.buckets, strict=True):
        assert (mine == other).all()
    assert (twin.members == index.members).all()
    assert (twin.starts == index.starts).all()
    for array in (*twin.buckets, twin.members, twin.starts, twin.store.words):
        assert not array.flags.writeable
    for array in (twin.counts(3), twin.bucket(3, 2)):  # the caller's own
        assert array.flags.writeable


@pytest.mark.parametrize("n_bits", [9, 70])
def test_a_pickled_index_holds_its_store_once_and_nothing_that_can_be_computed(n_bits):
    index = DistanceBucketIndex(random_store(5000, n_bits), memory_limit=0)
    assert len(index.members) > 0
    assert len(index.starts) > 0
    assert len(pickle.dumps(index)) < len(pickle.dumps(index.store)) + 1000
