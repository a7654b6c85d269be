import json
import os
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import ConcatDataset, Subset, random_split

from maninegs_sampling import (
    ManifestationStore,
    ManiNegBatchSampler,
    ManiNegError,
    concat,
    distance_histogram,
    storage,
)
from maninegs_sampling.errors import InvalidTypeError, InvalidValueError, StorageError
from tests.conftest import bit_matrices, random_store, signed


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


@pytest.mark.parametrize(
    "convert",
    [
        np.asarray,
        lambda b: b.astype(np.int64),
        lambda b: b.astype(np.uint8),
        lambda b: b.astype(np.float32),
        lambda b: b.tolist(),
        torch.as_tensor,
        lambda b: torch.as_tensor(b).float(),
        lambda b: np.asfortranarray(b),
        lambda b: np.repeat(b, 2, axis=0)[::2],
    ],
)
def test_every_kind_of_matrix(convert):
    bits = random_store(30, 70).to_dense()
    store = ManifestationStore.from_dense(convert(bits))
    assert (store.to_dense() == bits).all()


@pytest.mark.parametrize(
    ("bits", "error", "message"),
    [
        ([0, 1], InvalidValueError, "1 dimensions"),
        ([[[0]]], InvalidValueError, "3 dimensions"),
        (np.zeros((0, 3)), InvalidValueError, "at least one instance and one trait"),
        (np.zeros((3, 0)), InvalidValueError, "at least one instance and one trait"),
        ([[0, 1], [1, 2]], InvalidValueError, "row 1, column 1 is 2"),
        ([[0, -1]], InvalidValueError, "row 0, column 1 is -1"),
        ([[0.0, 0.5]], InvalidValueError, "row 0, column 1 is 0.5"),
        ([[0.0], [np.nan]], InvalidValueError, r"row 1, column 0 is missing \(NaN\)"),
        ([["a"]], InvalidTypeError, "dtype"),
        ([[0, 1], [1]], InvalidValueError, "rectangular"),
    ],
)
def test_bad_matrices(bits, error, message):
    with pytest.raises(error, match=message):
        ManifestationStore.from_dense(bits)


def test_a_store_is_immutable():
    store = random_store(5, 5)
    for array in (store.words, store.pattern_of, store.counts):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_names_must_fit():
    with pytest.raises(ManiNegError, match="2 bit_names were given for 3 bits"):
        ManifestationStore.from_dense([[0, 1, 0]], bit_names=["a", "b"])


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


# Saving and loading.


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize("n_bits", [1, 63, 64, 65, 312])
@pytest.mark.parametrize("n", [1, 50])
def test_saved_stores_come_back(tmp_path, n, n_bits, mmap):
    store = random_store(n, n_bits)
    store.save(tmp_path / "a.store")
    loaded = ManifestationStore.load(tmp_path / "a.store", mmap=mmap)
    assert (loaded.to_dense() == store.to_dense()).all()
    assert loaded.digest == store.digest
    assert isinstance(loaded.words, np.memmap) == mmap
    with pytest.raises(ValueError, match="read-only"):
        loaded.words[0] = 0


def test_names_are_saved(tmp_path):
    store = ManifestationStore.from_dense([[0, 1]], bit_names=["≤2cm", "halo"])
    store.save(tmp_path / "a")
    assert ManifestationStore.load(tmp_path / "a").bit_names == ("≤2cm", "halo")


def test_every_truncation_is_refused(tmp_path):
    path = tmp_path / "a"
    random_store(9, 70).save(path)
    content = path.read_bytes()
    for size in range(len(content)):
        path.write_bytes(content[:size])
        for mmap in (False, True):
            with pytest.raises(StorageError):
                ManifestationStore.load(path, mmap=mmap)


def test_every_flipped_byte_is_refused(tmp_path):
    path = tmp_path / "a"
    random_store(9, 70).save(path)
    content = path.read_bytes()
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= 0x41
        path.write_bytes(changed)
        with pytest.raises(StorageError):
            ManifestationStore.load(path)


def test_appended_bytes_are_refused(tmp_path):
    path = tmp_path / "a"
    random_store(9, 70).save(path)
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(StorageError, match="checksum"):
        ManifestationStore.load(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda h, a: h.update(n_bits=71 + 64), "do not fit words"),
        (lambda h, a: h.update(n_bits="70"), "do not fit words"),
        (lambda h, a: h.update(n_bits=65), "bits beyond the 65"),
        (lambda h, a: h.update(bit_names=["x"]), "bit_names are not 70 names"),
        (lambda h, a: a.update(pattern_of=a["pattern_of"] + 1), "does not cover"),
        (lambda h, a: a.update(pattern_of=a["pattern_of"] - 1), "does not cover"),
        (lambda h, a: a.update(pattern_of=a["pattern_of"] * 0), "does not cover"),
        (lambda h, a: a.update(words=np.repeat(a["words"][:1], 9, 0)), "appears twice"),
        (lambda h, a: a.update(words=a["words"].astype(np.int64)), "instead of words"),
        (lambda h, a: a.update(words=a["words"].ravel()), "instead of words"),
        (lambda h, a: a.update(more=a["words"]), "lists 3 arrays"),
        (lambda h, a: a.pop("words"), "lists 1 arrays"),
        (
            lambda h, a: a.update(words=a["words"][:0], pattern_of=a["pattern_of"][:0]),
            "the store is empty",
        ),
    ],
)
def test_content_that_no_store_has_is_refused_in_spite_of_its_checksum(tmp_path, change, message):
    store = random_store(9, 70)
    header = {"n_bits": 70, "bit_names": None}
    arrays = {"words": store.words, "pattern_of": store.pattern_of}
    change(header, arrays)
    storage.save(tmp_path / "a", header, arrays)
    with pytest.raises(StorageError, match=message):
        ManifestationStore.load(tmp_path / "a")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is empty"),
        (b"PK\x03\x04" + bytes(100), "is not a saved store"),
        (signed(b"{}", version=2), "has format version 2; this release reads 1"),
        (signed(b"{}"), "lists no arrays"),
        (signed(b"[1]"), "lists no arrays"),
        (signed(b"nonsense"), "is not JSON"),
        (signed(b"[" * 100_000), "is not JSON"),
        (signed(b"\xff\xfe"), "is not JSON"),
        (signed(b"{}", header_size=2**32 - 1), "should end at byte"),
        (signed(b'{"arrays": [1, 2]}'), "instead of words"),
    ],
)
def test_crafted_files_are_refused(tmp_path, content, message):
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(StorageError, match=message):
        ManifestationStore.load(tmp_path / "a")


def test_a_header_cannot_ask_for_more_memory_than_the_file_has(tmp_path):
    listing = [
        {"name": "words", "dtype": "uint64", "shape": [2**50, 2**20]},
        {"name": "pattern_of", "dtype": "int32", "shape": [2**50]},
    ]
    header = json.dumps({"n_bits": 64, "arrays": listing}).encode()
    (tmp_path / "a").write_bytes(signed(header))
    with pytest.raises(StorageError, match="does not fit"):
        ManifestationStore.load(tmp_path / "a")


def test_a_failed_save_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "a"
    old = random_store(9, 70)
    old.save(path)

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        random_store(9, 70, seed=1).save(path)
    assert os.listdir(tmp_path) == ["a"]
    assert ManifestationStore.load(path).digest == old.digest


def test_a_killed_save_leaves_the_old_file(tmp_path):
    path = tmp_path / "a"
    old = random_store(9, 70)
    old.save(path)
    program = (
        "import os, signal, sys\n"
        "from maninegs_sampling import ManifestationStore\n"
        "os.replace = lambda *a: os.kill(os.getpid(), signal.SIGKILL)\n"
        "ManifestationStore.from_dense([[0, 1]]).save(sys.argv[1])\n"
    )
    killed = subprocess.run([sys.executable, "-c", program, str(path)], check=False)
    assert killed.returncode == -9
    assert ManifestationStore.load(path).digest == old.digest


def test_a_missing_file_says_so(tmp_path):
    with pytest.raises(FileNotFoundError):
        ManifestationStore.load(tmp_path / "none")


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
    joined = concat([ManifestationStore.from_dense(part) for part in parts])
    assert joined.digest == ManifestationStore.from_dense(bits).digest
    np.testing.assert_array_equal(joined.to_dense(), bits)


def test_stores_follow_torchs_own_wrappers():
    store = random_store(50, 12)
    first, second = random_split(range(50), [30, 20], torch.Generator().manual_seed(0))
    stores = [store.subset(part.indices) for part in (first, second)]
    both = ConcatDataset([first, second])
    np.testing.assert_array_equal(concat(stores).to_dense(), store.to_dense()[list(both)])
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
        ([random_store(3, 4), random_store(3, 5)], InvalidValueError, r"stores\[1\] 5"),
        ([random_store(3, 4), [[1, 0]]], InvalidTypeError, r"stores\[1\] must be"),
        (
            [ManifestationStore.from_dense([[1, 0]], names) for names in ("ab", "ac")],
            InvalidValueError,
            "name theirs differently",
        ),
    ],
)
def test_stores_that_do_not_go_together(stores, error, message):
    with pytest.raises(error, match=message):
        concat(stores)


def test_concat_takes_names_from_whoever_has_them():
    named = ManifestationStore.from_dense([[1, 0]], "ab")
    assert concat([named.subset([0]), random_store(3, 2)]).bit_names == ("a", "b")
