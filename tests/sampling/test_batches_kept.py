"""Batches that a seed gave before patterns were stored in smaller types: they stay the same."""

import hashlib
from itertools import islice

import numpy as np
import pytest

from maninegs_sampling import ManifestationStore, ManiNegBatchSampler

# Computed when pattern numbers were int32 and patterns were sorted with numpy.lexsort.
DIGESTS = {
    np.uint8: "d35989cc946835f33b0f41f466922b15",
    np.uint16: "22fa2b77a710a5b25d06ab9f03d1e0cf",
    np.uint32: "832f3cd7d4681b5ddf2381a170814b9d",
}
OPTIONS = {
    "default": {},
    "pattern": {"draw": "pattern"},
    "keep": {"duplicates": "keep"},
    "scanned": {"memory_limit": 0},
    "two anchors": {"anchors_per_batch": 2},
    "cluster": {"center": "cluster"},
    "skip": {"skip_nearest": 2},
    "epoch": {"coverage": "epoch", "duplicates": "keep"},
}
BATCHES = {
    (np.uint8, "default"): "c8bf1af8387b9fd9",
    (np.uint8, "pattern"): "78f4cf19a187f98e",
    (np.uint8, "keep"): "a406738bc0fc0fb6",
    (np.uint8, "scanned"): "c8bf1af8387b9fd9",
    (np.uint8, "two anchors"): "5b776b30580ec896",
    (np.uint8, "cluster"): "67a953de6db04155",
    (np.uint8, "skip"): "ec06f02c8580fc8f",
    (np.uint8, "epoch"): "046aa45b0d68c66c",
    (np.uint16, "default"): "74511ef7899ac846",
    (np.uint16, "pattern"): "f4b3b6f054739522",
    (np.uint16, "keep"): "cfb37e214506b966",
    (np.uint16, "scanned"): "74511ef7899ac846",
    (np.uint16, "two anchors"): "3da420d01f28039d",
    (np.uint16, "cluster"): "8ecdfc9cf008a05f",
    (np.uint16, "skip"): "09b495174767bc0f",
    (np.uint16, "epoch"): "6a4d6c6c856176a6",
    (np.uint32, "default"): "33a19c7bdd131fdf",
    (np.uint32, "keep"): "cae17db6b4d4f981",
    (np.uint32, "cluster"): "a3930c6bde1325e8",
}


@pytest.fixture(scope="module")
def stores():
    def few(n, n_bits, distinct):
        rng = np.random.default_rng(0)
        bits = rng.random((n, n_bits)) < 0.4
        return ManifestationStore.from_dense(bits[rng.integers(0, distinct, n)])

    rng = np.random.default_rng(1)
    rng.random((70_000, 20))  # the digests were computed after this draw
    numbers = np.arange(70_000, dtype="<u4").view(np.uint8).reshape(-1, 4)
    bits = np.unpackbits(numbers, axis=1, bitorder="little")
    many = ManifestationStore.from_dense(bits[rng.integers(0, 70_000, 350_000)][:, :20])
    return {np.uint8: few(600, 12, 150), np.uint16: few(900, 70, 500), np.uint32: many}


@pytest.mark.parametrize("dtype", DIGESTS)
def test_digests_are_kept(stores, dtype):
    assert stores[dtype].pattern_of.dtype == dtype
    assert stores[dtype].digest == DIGESTS[dtype]


@pytest.mark.parametrize(("dtype", "option"), BATCHES)
def test_batches_are_kept(stores, dtype, option):
    sampler = ManiNegBatchSampler(
        stores[dtype], batch_size=16, mu=3.0, sigma=2.0, seed=5, **OPTIONS[option]
    )
    state = hashlib.blake2b(digest_size=8)
    for batch in islice(sampler, 8):
        state.update(np.array(batch, "<i8").tobytes())
    assert state.hexdigest() == BATCHES[dtype, option]
