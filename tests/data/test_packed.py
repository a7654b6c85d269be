"""Stores of packed codes, in the orders of NumPy, faiss and sentence-transformers."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from maninegs_sampling import ManifestationStore
from maninegs_sampling.data import blocks, packed
from maninegs_sampling.errors import InvalidTypeError, InvalidValueError
from tests.conftest import bit_matrices, random_store


def _same(store, other):
    assert (store.digest, store.n_bits) == (other.digest, other.n_bits)
    assert store.pattern_of.dtype == other.pattern_of.dtype


@given(bits=bit_matrices(), bitorder=st.sampled_from(["big", "little"]), block=st.integers(1, 50))
def test_packed_codes_make_the_store_of_their_bits(bits, bitorder, block):
    codes = np.packbits(bits, axis=1, bitorder=bitorder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "BLOCK_WORDS", block)
        patch.setattr(packed, "BLOCK_WORDS", block)
        patch.setattr(packed, "_RANGE_BLOCK", 7)
        store = ManifestationStore.from_packed(codes, bits.shape[1], bitorder=bitorder)
    _same(store, ManifestationStore.from_dense(bits))
    assert (store.to_dense() == bits).all()


def test_the_default_order_is_that_of_packbits():
    bits = random_store(20, 24).to_dense()
    store = ManifestationStore.from_packed(np.packbits(bits, axis=1), 24)
    _same(store, ManifestationStore.from_dense(bits))


def test_codes_of_faiss():
    faiss = pytest.importorskip("faiss")
    z = np.random.default_rng(0).standard_normal((50, 72)).astype(np.float32)
    lsh = faiss.IndexLSH(72, 72, False, False)
    expected = ManifestationStore.from_dense(z > 0)
    _same(ManifestationStore.from_packed(lsh.sa_encode(z), 72, bitorder="little"), expected)
    binary = faiss.IndexBinaryFlat(72)
    binary.add(lsh.sa_encode(z))
    kept = faiss.vector_to_array(binary.xb).reshape(50, 9)
    _same(ManifestationStore.from_packed(kept, 72, bitorder="little"), expected)


def test_codes_of_usearch():
    usearch = pytest.importorskip("usearch.index")
    z = np.random.default_rng(0).standard_normal((50, 24))
    index = usearch.Index(ndim=24, metric="hamming", dtype="b1")
    index.add(np.arange(50), np.packbits(z > 0, axis=1))
    kept = np.asarray(index.get(np.arange(50)))
    _same(ManifestationStore.from_packed(kept, 24), ManifestationStore.from_dense(z > 0))


def test_codes_of_sentence_transformers():
    quantization = pytest.importorskip("sentence_transformers.util.quantization")
    z = np.random.default_rng(0).standard_normal((50, 20)).astype(np.float32)
    expected = ManifestationStore.from_dense(z > 0)
    codes = quantization.quantize_embeddings(z, precision="ubinary")
    _same(ManifestationStore.from_packed(codes, 20), expected)
    signed = quantization.quantize_embeddings(z, precision="binary")
    with pytest.raises(InvalidTypeError, match="128 too low"):
        ManifestationStore.from_packed(signed, 20)
    _same(ManifestationStore.from_packed((signed.astype(int) + 128).astype("uint8"), 20), expected)


@pytest.mark.parametrize(
    "convert",
    [
        torch.as_tensor,
        np.asfortranarray,
        lambda codes: codes.tolist() and np.repeat(codes, 2, axis=0)[::2],
        lambda codes: np.repeat(codes, 2, axis=1)[:, ::2],
    ],
)
def test_every_kind_of_codes(convert):
    bits = random_store(30, 70).to_dense()
    store = ManifestationStore.from_packed(convert(np.packbits(bits, axis=1)), 70)
    _same(store, ManifestationStore.from_dense(bits))


def test_a_memory_map_is_read_in_place(tmp_path):
    bits = random_store(30, 64).to_dense()
    np.packbits(bits, axis=1).tofile(tmp_path / "codes")
    codes = np.memmap(tmp_path / "codes", np.uint8, "r", shape=(30, 8))
    store = ManifestationStore.from_packed(codes, 64)
    assert type(store.words) is np.ndarray
    _same(store, ManifestationStore.from_dense(bits))


CODES = np.zeros((2, 2), np.uint8)


@pytest.mark.parametrize(
    ("codes", "n_bits", "options", "error", "message"),
    [
        (CODES, 17, {}, InvalidValueError, r"\(instances, 3\) for 17 bits; got shape \(2, 2\)"),
        (CODES, 8, {}, InvalidValueError, r"\(instances, 1\) for 8 bits"),
        (CODES[0], 16, {}, InvalidValueError, r"got shape \(2,\)"),
        (CODES[:0], 16, {}, InvalidValueError, "at least one instance"),
        (CODES, 0, {}, InvalidValueError, "n_bits must be at least 1; got 0"),
        (CODES, 16.5, {}, InvalidTypeError, "n_bits must be a whole number"),
        (CODES, 16, {"bitorder": "msb"}, InvalidValueError, "'big', 'little'; got 'msb'"),
        (CODES.astype(bool), 16, {}, InvalidTypeError, "uint8, eight bits in a byte; got bool"),
        (CODES.view(np.uint16), 16, {}, InvalidTypeError, "got uint16"),
        (CODES.tolist(), 16, {}, InvalidTypeError, "got int64"),
        (CODES.view(np.int8), 16, {}, InvalidTypeError, "got int8"),
        (CODES, 16, {"bit_names": ["a"]}, InvalidValueError, "1 bit_names were given for 16 bits"),
        (CODES + np.uint8(4), 13, {}, InvalidValueError, 'bitorder="big" must end in 3 zero bits; row 0 ends in byte 0x04'),
        (np.array([[0, 0], [0, 32]], np.uint8), 13, {"bitorder": "little"}, InvalidValueError, "row 1 ends in byte 0x20"),
    ],
)  # fmt: skip
def test_bad_codes(codes, n_bits, options, error, message):
    with pytest.raises(error, match=message):
        ManifestationStore.from_packed(codes, n_bits, **options)


MEASURE = """
import numpy as np
from maninegs_sampling import ManifestationStore

def status(field):
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))

codes = np.random.default_rng(0).integers(0, 256, (2_000_000, 32), np.uint8)
codes[::245] = 0  # the evenly spaced sample of 8,192 would see no others
ManifestationStore.from_packed(codes[:100_000], 256)
before = status("VmRSS")
store = ManifestationStore.from_packed(codes, 256)
print(status("VmHWM") - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/status")
def test_memory_is_at_most_twice_that_of_the_codes():
    kibibytes = int(subprocess.check_output([sys.executable, "-c", MEASURE]))
    # Nearly all codes are different, the worst case: 61 MiB. Dense they would be 488 MiB.
    assert kibibytes < 2 * 2_000_000 * 32 / 1024
