"""Several proxies at once: the distance of combined stores is the weighted sum of theirs."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maninegs_sampling import ManifestationStore, combine_stores, pairwise_hamming
from maninegs_sampling.data import blocks
from maninegs_sampling.errors import InvalidTypeError, InvalidValueError
from tests import naive
from tests.conftest import random_store


@st.composite
def proxies(draw):
    n = draw(st.integers(1, 9))
    widths = draw(st.lists(st.sampled_from([1, 2, 5, 63, 64, 65, 130]), min_size=1, max_size=3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    return [rng.random((n, width)) < draw(st.sampled_from([0.5, 0.05])) for width in widths]


@given(rows=proxies(), data=st.data(), block=st.integers(1, 20))
def test_the_distance_is_the_weighted_sum(rows, data, block):
    weights = [data.draw(st.sampled_from([1, 2, 3, 7, 64])) for _ in rows]
    stores = [ManifestationStore.from_dense(bits) for bits in rows]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "BLOCK_WORDS", block)
        combined = combine_stores(stores, weights=weights)
    bits = [np.tile(bits, (1, weight)) for bits, weight in zip(rows, weights, strict=True)]
    assert combined.digest == ManifestationStore.from_dense(np.hstack(bits)).digest
    n = len(rows[0])
    expected = [[naive.weighted_sum(weights, rows, i, j) for j in range(n)] for i in range(n)]
    assert pairwise_hamming(combined).tolist() == expected


def test_stores_count_once_without_weights():
    first, second = random_store(20, 7), random_store(20, 70, seed=1)
    combined = combine_stores([first, second])
    assert (combined.to_dense() == np.hstack([first.to_dense(), second.to_dense()])).all()


def test_one_store_may_be_combined():
    store = random_store(20, 7)
    assert combine_stores([store]).digest == store.digest
    doubled = combine_stores((store,), weights=np.array([2]))
    assert (pairwise_hamming(doubled) == 2 * pairwise_hamming(store)).all()


def test_a_store_on_disk_may_be_combined(tmp_path):
    store = random_store(20, 70)
    store.save(tmp_path / "store")
    mapped = ManifestationStore.load(tmp_path / "store", mmap=True)
    combined = combine_stores([mapped, store], weights=[1, 2])
    assert combined.digest == combine_stores([store, store], weights=[1, 2]).digest


def test_names_tell_the_store_and_which_bits_are_repeated():
    traits = ManifestationStore.from_dense([[1, 0]], ["mass", "halo"])
    signs = ManifestationStore.from_dense([[1, 0]])
    assert combine_stores([traits, signs], weights=[2, 1]).bit_names == (
        "0: mass", "0: halo", "0: mass (2 of 2)", "0: halo (2 of 2)", "1: bit 0", "1: bit 1",
    )  # fmt: skip
    again = ManifestationStore.from_dense([[1, 1, 0]], ["mass", "mass (2 of 2)", "halo"])
    assert combine_stores([again], weights=[2]).bit_names == (
        "0: mass", "0: mass (2 of 4)", "0: halo",
        "0: mass (3 of 4)", "0: mass (4 of 4)", "0: halo (2 of 2)",
    )  # fmt: skip


STORES = [random_store(3, 4), random_store(3, 5)]


@pytest.mark.parametrize(
    ("stores", "weights", "error", "message"),
    [
        ([], None, InvalidValueError, "combine_stores needs at least one store"),
        (STORES[0], None, InvalidTypeError, r"must be a sequence of stores; got ManifestationSt"),
        (7, None, InvalidTypeError, "stores must be a sequence of stores; got 7"),
        ([STORES[0], [[1]]], None, InvalidTypeError, r"stores\[1\] must be a ManifestationStore"),
        (
            [STORES[0], random_store(4, 5)],
            None,
            InvalidValueError,
            r"the same instances; stores\[0\] has 3 and stores\[1\] 4; concat_stores",
        ),
        (STORES, [1], InvalidValueError, r"one weight for each of the 2 stores; got \[1\]"),
        (STORES, [1, 2, 3], InvalidValueError, r"each of the 2 stores; got \[1, 2, 3\]"),
        (STORES, 2, InvalidTypeError, r"weights must be a list of whole numbers; got 2"),
        (STORES, "12", InvalidTypeError, r"weights must be a list of whole numbers; got '12'"),
        (
            STORES,
            [0.7, 0.3],
            InvalidTypeError,
            r"weights\[0\] must be a whole number; got 0.7.*for 0.7 : 0.3 pass \[7, 3\]",
        ),
        (STORES, [1, True], InvalidTypeError, r"weights\[1\] must be a whole number; got True"),
        (STORES, [1, 0], InvalidValueError, r"weights\[1\] must be at least 1; got 0"),
        (STORES, [1, -2], InvalidValueError, r"weights\[1\] must be at least 1; got -2"),
        (
            [random_store(3, 300), STORES[0]],
            [255, 1],
            InvalidValueError,
            r"at most 65535 bits; got 76504: 255 x 300 \+ 1 x 4",
        ),
        (STORES, [10**30, 1], InvalidValueError, "at most 65535 bits"),
    ],
)
def test_what_cannot_be_combined(stores, weights, error, message):
    with pytest.raises(error, match=message):
        combine_stores(stores, weights=weights)


def test_memory_is_about_twice_that_of_the_result():
    random = np.random.default_rng(0).integers(0, 256, (2, 20_000, 32), dtype=np.uint8)
    stores = [ManifestationStore.from_packed(codes, 256) for codes in random]
    combine_stores(stores)  # compiles kernels
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "BLOCK_WORDS", 2**12)
        tracemalloc.start()
        combined = combine_stores(stores, weights=[3, 1])
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    # the dense bits alone would take eight times the result
    assert peak < 3 * combined.words.nbytes
