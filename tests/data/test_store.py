import copy
import pickle
from itertools import pairwise

import numpy as np
import pandas
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import ConcatDataset, Subset, random_split

from maninegs_sampling import (
    ManifestationStore,
    ManiNegBatchSampler,
    concat_stores,
    distance_histogram,
    max_distance,
)
from maninegs_sampling.data import storage
from maninegs_sampling.errors import InvalidTypeError, InvalidValueError, StorageError
from tests.conftest import bit_matrices, random_store


@given(bits=bit_matrices())
def test_dense_round_trip_and_invariants(bits):
    store = ManifestationStore.from_dense(bits)
    assert (store.to_dense() == bits).all()
    assert store.to_dense().dtype == np.bool_
    assert store.words.shape == (store.n_patterns, -(-bits.shape[1] // 64))
    assert store.words.dtype == np.uint64
    assert store.n_patterns == len({row.tobytes() for row in bits})
    assert store.counts.sum() == store.n_instances == len(bits)
    same = store.pattern_of[:, None] == store.pattern_of
    assert (same == (bits[:, None] == bits).all(-1)).all()
    for i, row in enumerate(bits):
        for b, bit in enumerate(row):
            word = int(store.words[store.pattern_of[i], b // 64])
            assert (word >> (b % 64)) & 1 == bit
    if bits.shape[1] % 64:
        assert not (store.words[:, -1] >> np.uint64(bits.shape[1] % 64)).any()


def test_a_store_is_immutable():
    store = random_store(5, 5)
    for array in (store.words, store.pattern_of, store.counts):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_a_store_and_its_callers_arrays_go_separate_ways():
    words, pattern_of = np.arange(3, dtype=np.uint64)[:, None], np.array([0, 1, 2, 2], np.int32)
    store = ManifestationStore(words, pattern_of, 2)
    digest = store.to_dense().tolist()
    words[:], pattern_of[:] = 3, 0
    assert store.to_dense().tolist() == digest


@pytest.mark.parametrize("convert", [np.asarray, np.asfortranarray, torch.as_tensor])
def test_a_matrix_stays_its_callers(convert):
    bits = convert(random_store(9, 70).to_dense())
    store = ManifestationStore.from_dense(bits)
    expected = store.to_dense()
    bits[:] = False
    assert (store.to_dense() == expected).all()
    store.to_dense()[:] = False
    assert (store.to_dense() == expected).all()


def test_the_packages_own_arrays_are_not_copied(tmp_path, monkeypatch):
    """`from_dense`, `load`, `subset` and `concat_stores` hand over arrays that nobody else holds."""
    random_store(9, 70).save(tmp_path / "a")
    monkeypatch.setattr(ManifestationStore, "__init__", None)
    store = random_store(9, 70)
    mapped = ManifestationStore.load(tmp_path / "a", mmap=True)
    assert isinstance(mapped.words, np.memmap)
    assert concat_stores([store.subset([0, 1]), mapped]).n_instances == 11


def test_a_read_only_map_is_not_copied(tmp_path):
    np.save(tmp_path / "words.npy", np.arange(3, dtype=np.uint64)[:, None])
    for mode, shared in (("r", True), ("r+", False), ("c", False)):
        words = np.load(tmp_path / "words.npy", mmap_mode=mode)
        store = ManifestationStore(words, np.array([0, 1, 2]), 2)
        assert np.shares_memory(store.words, words) == shared, mode


@pytest.mark.parametrize("n_bits", [9, 70])
@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize(
    "again", [lambda s: pickle.loads(pickle.dumps(s)), copy.copy, copy.deepcopy]
)
def test_a_copied_store_is_immutable_too(tmp_path, again, mmap, n_bits):
    random_store(50, n_bits).save(tmp_path / "a")
    store = ManifestationStore.load(tmp_path / "a", mmap=mmap)
    assert store.counts.sum() == 50
    twin = again(store)
    assert (twin.digest, twin.bit_names) == (store.digest, store.bit_names)
    for array in (twin.words, twin.pattern_of, twin.counts):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


@pytest.mark.parametrize("mmap", [False, True])
def test_a_pickle_holds_each_array_once(tmp_path, mmap):
    random_store(5000, 70).save(tmp_path / "a")
    store = ManifestationStore.load(tmp_path / "a", mmap=mmap)
    assert store.counts.sum() == 5000  # and nothing that can be computed
    size = store.words.nbytes + store.pattern_of.nbytes
    assert len(pickle.dumps(store)) < size + 1000


def test_the_length_of_a_store_is_its_instances():
    assert len(random_store(7, 3)) == 7


WORDS = np.arange(3, dtype=np.uint64)[:, None]
PLACES = np.array([0, 1, 2, 2], np.int32)


@pytest.mark.parametrize(
    ("words", "pattern_of", "n_bits", "error", "message"),
    [
        (WORDS.astype(np.int64), PLACES, 2, InvalidTypeError, "words must be uint64; got int64"),
        (WORDS.tolist(), PLACES, 2, InvalidTypeError, "words must be uint64; got int64"),
        (None, PLACES, 2, InvalidTypeError, "words must be uint64; got object"),
        (WORDS[:, 0], PLACES, 2, InvalidValueError, r"words must have the shape .*got shape \(3,\)"),
        (np.hstack([WORDS, WORDS]), PLACES, 2, InvalidValueError, r"shape \(patterns, 1\) for 2 bits"),
        (WORDS[:0], PLACES[:0], 2, InvalidValueError, "at least one instance and one trait"),
        (WORDS, PLACES[:0], 2, InvalidValueError, "at least one instance"),
        (WORDS, PLACES.astype(float), 2, InvalidTypeError, "whole numbers; got float64"),
        (WORDS, PLACES > 0, 2, InvalidTypeError, "whole numbers; got bool"),
        (WORDS, PLACES[None], 2, InvalidValueError, r"pattern_of must be a vector; got shape \(1, 4\)"),
        (WORDS, [[0, 1], [2]], 2, InvalidValueError, "pattern_of must be a rectangular array"),
        (WORDS, PLACES - 1, 2, InvalidValueError, r"pattern_of\[0\] is -1, and .* \[0, 3\)"),
        (WORDS, PLACES + 1, 2, InvalidValueError, r"pattern_of\[2\] is 3, and .* \[0, 3\)"),
        (WORDS, [0, 1, 2, 2**62], 2, InvalidValueError, "is 4611686018427387904"),
        (WORDS, [0, 2, 2], 2, InvalidValueError, "pattern 1 has no instance"),
        (WORDS, PLACES, 1, InvalidValueError, "bits beyond the 1 of a pattern are set"),
        (WORDS[[0, 1, 1]], PLACES, 2, InvalidValueError, "patterns must be distinct; a pattern"),
        (WORDS, PLACES, 0, InvalidValueError, "n_bits must be at least 1; got 0"),
        (WORDS, PLACES, 2.0, InvalidTypeError, "n_bits must be a whole number; got 2.0"),
        (WORDS, PLACES, True, InvalidTypeError, "n_bits must be a whole number; got True"),
        (WORDS, PLACES, "2", InvalidTypeError, "n_bits must be a whole number; got '2'"),
    ],
)  # fmt: skip
def test_arrays_that_no_store_has(words, pattern_of, n_bits, error, message):
    with pytest.raises(error, match=message):
        ManifestationStore(words, pattern_of, n_bits)


def test_integers_of_any_width_and_byte_order():
    for dtype in (np.uint8, np.int64, ">i4", np.uint64):
        store = ManifestationStore(WORDS.astype(">u8"), PLACES.astype(dtype), np.int64(2))
        assert store.pattern_of.dtype == np.uint8
        assert store.words.dtype == np.uint64
        assert type(store.n_bits) is int
        assert store.to_dense().tolist() == [
            [False] * 2,
            [True, False],
            [False, True],
            [False, True],
        ]


def test_distances_must_fit_two_bytes(tmp_path):
    bits = np.zeros((2, 65_536), np.bool_)
    bits[1] = True
    widest = ManifestationStore.from_dense(bits[:, 1:])
    assert max_distance(widest) == 65_535
    with pytest.raises(InvalidValueError, match=r"at most 65535 bits .* got 65536"):
        ManifestationStore.from_dense(bits)
    words = np.packbits(bits, axis=1).view(np.uint64)
    with pytest.raises(InvalidValueError, match=r"at most 65535 bits .* got 65536"):
        ManifestationStore(words, np.array([0, 1]), 65_536)
    arrays = {"words": words, "pattern_of": np.array([0, 1], np.uint8)}
    storage.save(tmp_path / "a", {"n_bits": 65_536, "bit_names": None}, arrays)
    with pytest.raises(StorageError, match=r"at most 65535 bits .* got 65536"):
        ManifestationStore.load(tmp_path / "a")


@pytest.mark.parametrize(
    ("names", "error", "message"),
    [
        (["a", "b"], InvalidValueError, "2 bit_names were given for 3 bits"),
        ("abc", InvalidTypeError, "sequence of 3 texts; got 'abc'"),
        (b"abc", InvalidTypeError, "sequence of 3 texts; got b'abc'"),
        ({"a", "b", "c"}, InvalidTypeError, "sequence of 3 texts; got {"),
        (3, InvalidTypeError, "sequence of 3 texts; got 3"),
        (["a", "b", None], InvalidTypeError, r"bit_names\[2\] must be a text; got None"),
        (["a", "b", 1.0], InvalidTypeError, r"bit_names\[2\] must be a text; got 1.0"),
        (["a", True, "b"], InvalidTypeError, r"bit_names\[1\] must be a text; got True"),
        ([b"a", "b", "c"], InvalidTypeError, r"bit_names\[0\] must be a text; got b'a'"),
    ],
)
def test_names_that_do_not_fit(names, error, message):
    words, pattern_of = np.array([[2]], np.uint64), np.array([0])
    with pytest.raises(error, match=message):
        ManifestationStore.from_dense([[0, 1, 0]], bit_names=names)
    with pytest.raises(error, match=message):
        ManifestationStore(words, pattern_of, 3, names)


@pytest.mark.parametrize(
    "names",
    [
        ["≤2cm", "halo"],
        [1, 2],
        np.arange(2),
        np.array(["a", "b"]),
        pandas.DataFrame({"a": [0], "b": [1]}).columns,
        pandas.DataFrame([[0, 1]]).columns,
        ["\ud800", "\udfff lone"],
        ["\ud83d\ude00", "two that would join"],
    ],
)
def test_names_become_texts_and_are_saved(tmp_path, names):
    store = ManifestationStore.from_dense([[0, 1]], bit_names=names)
    assert store.bit_names == tuple(str(name) for name in names)
    assert {type(name) for name in store.bit_names} == {str}
    store.save(tmp_path / "a")
    assert ManifestationStore.load(tmp_path / "a").bit_names == store.bit_names


def test_the_digest_tells_stores_apart():
    bits = random_store(20, 9).to_dense()
    digest = ManifestationStore.from_dense(bits).digest
    assert digest == ManifestationStore.from_dense(bits.astype(int)).digest
    swapped = bits.copy()
    swapped[[0, 1]] = swapped[[1, 0]]
    wider = np.pad(bits, ((0, 0), (0, 1)))
    for other in (~bits, swapped, wider, bits[:-1]):
        assert ManifestationStore.from_dense(other).digest != digest


def test_a_real_table_of_some_size(real_data):
    labels = np.load(real_data / "coco-multihot" / "labels.npz")
    bits = np.unpackbits(labels["bits_packed"], axis=1, count=int(labels["n_bits"]))
    store = ManifestationStore.from_dense(bits)
    assert (store.n_instances, store.n_bits, store.n_patterns) == (122_218, 80, 25_499)
    assert (store.to_dense() == bits).all()
    histogram = distance_histogram(store)
    assert np.flatnonzero(histogram)[-1] == 28
    # Over ordered pairs, self-pairs included, trait by trait: 2 p (1 - p).
    frequency = bits.mean(axis=0)
    mean = 2 * (histogram @ np.arange(81)) / store.n_instances**2
    assert mean == pytest.approx(2 * (frequency * (1 - frequency)).sum(), rel=1e-12)
    sampler = ManiNegBatchSampler(store, batch_size=256, mu=2.0, batches_per_epoch=5)
    assert not sampler.index.precomputed
    for batch in sampler:
        assert len(set(store.pattern_of[batch])) == 256


@given(bits=bit_matrices(), data=st.data())
def test_a_subset_is_the_store_of_these_rows(bits, data):
    rows = data.draw(st.lists(st.integers(0, len(bits) - 1), min_size=1, max_size=50))
    names = [f"trait {b}" for b in range(bits.shape[1])]
    subset = ManifestationStore.from_dense(bits, names).subset(rows)
    expected = ManifestationStore.from_dense(bits[rows], names)
    assert subset.digest == expected.digest
    assert subset.bit_names == expected.bit_names
    np.testing.assert_array_equal(subset.to_dense(), bits[rows])


@given(bits=bit_matrices(), data=st.data())
def test_concatenated_stores_are_the_store_of_all_rows(bits, data):
    cuts = sorted(data.draw(st.sets(st.integers(1, len(bits)), max_size=3)) | {0, len(bits)})
    parts = [bits[a:b] for a, b in pairwise(cuts)]
    joined = concat_stores([ManifestationStore.from_dense(part) for part in parts])
    assert joined.digest == ManifestationStore.from_dense(bits).digest
    np.testing.assert_array_equal(joined.to_dense(), bits)


def test_stores_follow_torchs_own_wrappers():
    store = random_store(50, 12)
    first, second = random_split(range(50), [30, 20], torch.Generator().manual_seed(0))
    stores = [store.subset(part.indices) for part in (first, second)]
    both = ConcatDataset([first, second])
    np.testing.assert_array_equal(concat_stores(stores).to_dense(), store.to_dense()[list(both)])
    nested = Subset(first, [3, 1])
    np.testing.assert_array_equal(
        stores[0].subset(nested.indices).to_dense(), store.to_dense()[list(nested)]
    )
    assert store.subset(torch.tensor([4])).n_instances == 1


@pytest.mark.parametrize(
    ("indices", "error", "message"),
    [
        ([], InvalidValueError, "at least one instance"),
        ([[1, 2]], InvalidValueError, r"vector .* shape \(1, 2\)"),
        ([0, 9], InvalidValueError, r"in \[0, 9\); indices\[1\] is 9"),
        ([0, -1], InvalidValueError, r"indices\[1\] is -1"),
        ([0.0], InvalidTypeError, "whole numbers; got float64"),
        ([[0], [0, 1]], InvalidValueError, "indices must be a rectangular array"),
        (torch.zeros(2, dtype=torch.bfloat16), InvalidTypeError, "whole numbers; got float32"),
        (torch.zeros(2, device="meta"), InvalidTypeError, "meta device"),
        (np.ma.array([0, 1], mask=[0, 1]), InvalidValueError, r"row 1 is missing \(masked\)"),
        ([True] * 9, InvalidTypeError, "whole numbers; got bool"),
    ],
)
def test_indices_that_name_no_subset(indices, error, message):
    with pytest.raises(error, match=message):
        random_store(9, 70).subset(indices)


@pytest.mark.parametrize(
    ("stores", "error", "message"),
    [
        ([], InvalidValueError, "at least one store"),
        (None, InvalidTypeError, "stores must be a sequence of stores; got None"),
        (random_store(3, 4), InvalidTypeError, r"sequence of stores; got ManifestationStore\(3"),
        ([random_store(3, 4), random_store(3, 5)], InvalidValueError, r"stores\[1\] 5"),
        ([random_store(3, 4), [[1, 0]]], InvalidTypeError, r"stores\[1\] must be"),
        (
            [ManifestationStore.from_dense([[1, 0]], names) for names in (["a", "b"], ["a", "c"])],
            InvalidValueError,
            "name theirs differently",
        ),
    ],
)
def test_stores_that_do_not_go_together(stores, error, message):
    with pytest.raises(error, match=message):
        concat_stores(stores)


def test_concat_takes_names_from_whoever_has_them():
    named = ManifestationStore.from_dense([[1, 0]], ["a", "b"])
    assert concat_stores([named.subset([0]), random_store(3, 2)]).bit_names == ("a", "b")
