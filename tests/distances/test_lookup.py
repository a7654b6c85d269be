"""Kernels for processors with AVX2 only: they give what the plain loops give."""

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from numba.core.registry import cpu_target

from maninegs_sampling import ManifestationStore, pairwise_hamming, pairwise_jaccard
from maninegs_sampling.data.patterns import frozen
from maninegs_sampling.distances import _lookup, _planes
from maninegs_sampling.distances.metrics import distance_dtype, transposed
from tests import naive
from tests.conftest import bit_matrices, random_store

needs_avx2 = pytest.mark.skipif(
    "+avx2" not in cpu_target.target_context.codegen().magic_tuple()[2],
    reason="this processor has no AVX2",
)


def by_planes(words, other, n_bits, begin, end):
    """All rows begin .. end - 1, in the middle of an array that must stay as it is elsewhere."""
    out = np.full((words.shape[1] + 2, other.shape[1]), 77, distance_dtype(n_bits))
    planes = _planes.new_planes(end - begin, n_bits)
    for scratch in planes:
        scratch[:] = 99
    _planes.pairwise_rows_by_lookup(words, other, begin, end, planes, out)
    assert (out[:begin] == 77).all()
    assert (out[end:] == 77).all()
    return out[begin:end]


@needs_avx2
@given(bits=bit_matrices(max_rows=140))
def test_planes_equal_naive(bits):
    others = np.concatenate([~bits, bits])
    words, other = (
        transposed(store.words[store.pattern_of])
        for store in (ManifestationStore.from_dense(bits), ManifestationStore.from_dense(others))
    )
    distances = by_planes(words, other, bits.shape[1], 0, len(bits))
    assert distances.tolist() == naive.pairwise_hamming(bits, others)


@needs_avx2
@pytest.mark.parametrize("n_bits", [1, 35, 64, 65, 255, 256, 312, 700, 4000])
@pytest.mark.parametrize("columns", [2, 63, 64, 65, 2047, 2049, 4161])
def test_planes_cross_tiles(n_bits, columns):
    bits = np.random.default_rng(columns).random((columns, n_bits)) < 0.5
    bits[0], bits[-1] = True, False  # all bits differ, and no sum may overflow
    packed = np.packbits(bits, axis=1, bitorder="little")
    words = np.pad(packed, ((0, 0), (0, -packed.shape[1] % 8))).view(np.uint64)
    expected = naive.count_ones(words[:11, None] ^ words).sum(-1)
    left, right = transposed(words[:11]), transposed(words)
    for begin, end in ((0, len(expected)), (1, 2)):
        assert (by_planes(left, right, n_bits, begin, end) == expected[begin:end]).all()


@needs_avx2
@pytest.mark.parametrize("n_words", [2, 3, 5, 31])
def test_tiles_equal_counts(n_words):
    words = np.random.default_rng(n_words).integers(0, 2**64, (n_words, 300), np.uint64)
    words[:, 4], words[:, 70] = 0, 2**64 - 1
    for dtype in (np.uint8, np.uint16) if n_words < 4 else (np.uint16,):
        for begin, end in ((0, 300), (5, 300), (7, 38), (7, 39), (7, 40), (64, 128)):
            out = np.full(end - begin + 1, 99, dtype)
            done = _lookup.tile_by_lookup(
                frozen(words.view()), frozen(words.view()), 4, begin, end, out
            )
            assert done == (end - begin) // _lookup.STEP * _lookup.STEP
            expected = naive.count_ones(words[:, begin : begin + done]).sum(0)
            assert (out[:done] == expected).all()
            assert (out[done:] == 99).all()


# Compiled for a processor without AVX-512: the distances, and whether the code counts by lookup.
SCRIPT = """
import sys
import numpy as np
from maninegs_sampling import ManifestationStore, pairwise_hamming, pairwise_jaccard
from maninegs_sampling.distances._planes import pairwise_rows_by_lookup
store = ManifestationStore.load(f"{sys.argv[1]}/store", verify=False)
np.save(f"{sys.argv[1]}/pairs", pairwise_hamming(store))
np.save(f"{sys.argv[1]}/jaccard", pairwise_jaccard(store))
(code,) = pairwise_rows_by_lookup.inspect_asm().values()
print("vpshufb" in code, "vpopcnt" in code)
"""


@needs_avx2
def test_a_processor_without_avx512_gets_the_same_distances(tmp_path):
    store = random_store(301, 312)
    store.save(tmp_path / "store")
    haswell = {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "+avx2"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path)],
        env={**os.environ, **haswell, "NUMBA_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "True False\n"
    assert (np.load(tmp_path / "pairs.npy") == pairwise_hamming(store)).all()
    assert (np.load(tmp_path / "jaccard.npy") == pairwise_jaccard(store)).all()
