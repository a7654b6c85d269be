"""Sorting, packing and merging patterns, compared with the slow twins."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maninegs_sampling import ManifestationStore, concat_stores
from maninegs_sampling.data import blocks, dense, merging
from maninegs_sampling.data.merging import merge_parts, new_part
from maninegs_sampling.data.patterns import deduplicate, id_dtype, pack
from maninegs_sampling.errors import InvalidValueError
from tests import naive
from tests.conftest import bit_matrices, random_store

# Few values, so that lists share patterns, and equal words at every place of a pattern.
word = st.sampled_from([0, 1, 2**8, 2**63, 2**64 - 1])


@st.composite
def row_lists(draw):
    width = draw(st.integers(1, 3))
    row = st.tuples(*[word] * width)
    return draw(st.lists(st.lists(row, min_size=1, max_size=30), min_size=1, max_size=7))


@given(lists=row_lists())
def test_merged_parts_are_those_of_all_rows(lists):
    expected, places = naive.merged_patterns(lists)
    parts = [new_part(*deduplicate(np.array(rows, np.uint64))) for rows in lists]
    words, pattern_of = merge_parts(parts)
    assert [tuple(row) for row in words.tolist()] == expected
    assert pattern_of.tolist() == [place for part in places for place in part]
    assert pattern_of.dtype == id_dtype(len(expected))


@given(bits=bit_matrices(), data=st.data())
def test_merging_is_associative(bits, data):
    stores = [ManifestationStore.from_dense(row[None]) for row in bits]
    cut = data.draw(st.integers(0, len(stores)))
    halves = [concat_stores(half) for half in (stores[:cut], stores[cut:]) if half]
    whole = concat_stores(halves)
    assert whole.digest == concat_stores(stores).digest
    assert whole.digest == ManifestationStore.from_dense(bits).digest
    assert whole.pattern_of.dtype == concat_stores(stores).pattern_of.dtype


@pytest.mark.parametrize("n_bits", [1, 20, 63, 64, 65, 130])
@pytest.mark.parametrize("distinct", [1, 200, 5000])
def test_blocks_and_pieces_make_no_difference(monkeypatch, n_bits, distinct):
    rng = np.random.default_rng(0)
    bits = (rng.random((distinct, n_bits)) < 0.5)[rng.integers(0, distinct, 5000)]
    expected = deduplicate(pack(bits))
    monkeypatch.setattr(blocks, "BLOCK_WORDS", 300)
    monkeypatch.setattr(merging, "_PIECE", 70)
    for got, array in zip(dense.dense_patterns(bits), expected, strict=True):
        np.testing.assert_array_equal(got, array)
        assert got.dtype == array.dtype


def test_numbers_widen_where_a_merge_has_more_patterns_than_they_hold():
    bits = np.unpackbits(np.arange(70_000, dtype="<u4").view(np.uint8).reshape(-1, 4), axis=1)
    edges = [0, 100, 200, 300, 30_000, 60_000, 70_000]
    stores = [ManifestationStore.from_dense(bits[a:b]) for a, b in pairwise(edges)]
    for end, dtype in ((2, np.uint8), (3, np.uint16), (5, np.uint16), (6, np.uint32)):
        joined = concat_stores(stores[:end])
        assert joined.pattern_of.dtype == dtype
        assert joined.digest == ManifestationStore.from_dense(bits[: edges[end]]).digest


def test_merging_leaves_the_stores_as_they_are():
    first, second = random_store(50, 9), random_store(60, 9, seed=1)
    digests = first.to_dense().tolist(), second.to_dense().tolist()
    concat_stores([first, second])
    assert (first.to_dense().tolist(), second.to_dense().tolist()) == digests


def test_bytes_that_are_neither_0_nor_1_are_set_bits_of_a_bool_matrix():
    """NumPy takes any byte but 0 for True."""
    bits = np.array([[0, 2, 255], [1, 0, 0]], np.uint8).view(np.bool_)
    assert ManifestationStore.from_dense(bits).to_dense().view(np.uint8).tolist() == [
        [0, 1, 1],
        [1, 0, 0],
    ]


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int64, np.float32])
def test_a_wrong_value_in_a_late_block_is_found(monkeypatch, dtype):
    monkeypatch.setattr(blocks, "BLOCK_WORDS", 10)
    bits = np.zeros((100, 3), dtype)
    bits[[57, 91], 2] = 3
    with pytest.raises(InvalidValueError, match=r"row 57, column 2 is 3.* \(2 such rows\)"):
        ManifestationStore.from_dense(bits)


@given(bits=bit_matrices(), seed=st.integers(0, 99))
def test_unsorted_patterns_are_sorted(bits, seed):
    store = ManifestationStore.from_dense(bits)
    order = np.random.default_rng(seed).permutation(store.n_patterns)
    place = np.argsort(order)
    again = ManifestationStore(store.words[order], place[store.pattern_of], store.n_bits)
    assert again.digest == store.digest
