"""Stores of scipy's sparse matrices."""

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st

from maninegs_sampling import ManifestationStore
from maninegs_sampling.data import blocks
from maninegs_sampling.errors import InvalidTypeError, InvalidValueError
from tests.conftest import bit_matrices, random_store

FORMATS = ["csr", "csc", "coo", "lil", "dok", "bsr", "dia"]


@given(bits=bit_matrices(), layout=st.sampled_from(["csr", "csc", "coo"]), block=st.integers(1, 50))
def test_a_sparse_matrix_makes_the_store_of_its_bits(bits, layout, block):
    matrix = scipy.sparse.coo_array(bits.astype(np.int8)).asformat(layout)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "BLOCK_WORDS", block)
        store = ManifestationStore.from_sparse(matrix)
    assert store.digest == ManifestationStore.from_dense(bits).digest


@pytest.mark.parametrize("layout", FORMATS)
@pytest.mark.parametrize("dtype", [np.bool_, np.int8, np.uint64, np.float32, np.float64])
def test_every_format_and_type(layout, dtype):
    bits = random_store(30, 70, density=0.1).to_dense()
    matrix = scipy.sparse.coo_matrix(bits.astype(dtype)).asformat(layout)
    names = [f"trait {b}" for b in range(70)]
    store = ManifestationStore.from_sparse(matrix, names)
    assert (store.to_dense() == bits).all()
    assert store.bit_names == tuple(names)


def test_stored_zeros_are_no_bits():
    matrix = scipy.sparse.csr_array(([1, 0, 0], [0, 1, 1], [0, 2, 3]), shape=(2, 2))
    assert ManifestationStore.from_sparse(matrix).to_dense().tolist() == [
        [True, False],
        [False] * 2,
    ]


def test_entries_stored_twice_add_up():
    places = ([1, 1], ([0, 0], [1, 1]))
    with pytest.raises(InvalidValueError, match=r"row 0, column 1 is 2 .*stored twice add up"):
        ManifestationStore.from_sparse(scipy.sparse.coo_array(places))
    cancelled = scipy.sparse.coo_array(([2, -1], ([0, 0], [1, 1])), shape=(1, 2))
    assert ManifestationStore.from_sparse(cancelled).to_dense().tolist() == [[False, True]]
    raw = scipy.sparse.csr_array(([2, -1], [1, 1], [0, 2]), shape=(1, 2))
    assert ManifestationStore.from_sparse(raw).to_dense().tolist() == [[False, True]]
    assert raw.data.tolist() == [2, -1]  # the caller's matrix stays as it is


@pytest.mark.parametrize("layout", [scipy.sparse.coo_array, scipy.sparse.csr_array])
def test_sums_do_not_wrap_around(layout):
    """In uint8, 257 entries of 1 add up to 1."""
    ones = np.ones(257, np.uint8)
    if layout is scipy.sparse.coo_array:
        matrix = layout((ones, (0 * ones, 0 * ones)), shape=(1, 2))
    else:
        matrix = layout((ones, 0 * ones, [0, 257]), shape=(1, 2))
    with pytest.raises(InvalidValueError, match="row 0, column 0 is 257"):
        ManifestationStore.from_sparse(matrix)


def test_bits_stored_twice_are_one_bit():
    matrix = scipy.sparse.csr_array(([True, True], [1, 1], [0, 2]), shape=(1, 2))
    assert ManifestationStore.from_sparse(matrix).to_dense().tolist() == [[False, True]]


def _with(value, dtype=None):
    return scipy.sparse.coo_array(([1, value], ([0, 2], [1, 1])), shape=(3, 2), dtype=dtype)


@pytest.mark.parametrize(
    ("matrix", "error", "message"),
    [
        (_with(-1), InvalidValueError, r"row 2, column 1 is -1 \(1 such entries\)"),
        (_with(7), InvalidValueError, r"row 2, column 1 is 7 .*\(matrix > 0\)"),
        (_with(0.5), InvalidValueError, "row 2, column 1 is 0.5"),
        (_with(np.nan), InvalidValueError, r"row 2, column 1 is missing \(NaN\)"),
        (_with(1j), InvalidTypeError, "got dtype complex128"),
        (scipy.sparse.coo_array((0, 3)), InvalidValueError, "at least one instance and one trait"),
        (scipy.sparse.csr_array((3, 0)), InvalidValueError, "at least one instance and one trait"),
        (scipy.sparse.csr_array((1, 65_536)), InvalidValueError, "at most 65535 bits"),
        (scipy.sparse.coo_array(np.ones(3)), InvalidValueError, r"got shape \(3,\)"),
        (np.eye(3), InvalidTypeError, "got 'ndarray'.*from_dense"),
        (None, InvalidTypeError, "got 'NoneType'"),
    ],
)
def test_bad_matrices(matrix, error, message):
    with pytest.raises(error, match=message):
        ManifestationStore.from_sparse(matrix)
