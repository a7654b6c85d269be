"""What `from_dense` makes a store of, and what it refuses."""

import warnings

import numpy as np
import pandas
import polars
import pyarrow
import pytest
import scipy.sparse
import torch

from maninegs_sampling import ManifestationStore
from maninegs_sampling.errors import InvalidTypeError, InvalidValueError
from tests.conftest import random_store


def _sparse(bits, layout, dtype=torch.float32):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse")  # torch calls its own support a beta
        return getattr(torch.as_tensor(bits).to(dtype), layout)()


def _as_matrix(bits):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "the matrix subclass")
        return np.asmatrix(bits)


def _masked(bits):
    return np.ma.array(bits, mask=np.zeros_like(bits))


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
        lambda b: torch.as_tensor(b).to(torch.bfloat16),
        lambda b: torch.as_tensor(b).half(),
        lambda b: torch.as_tensor(b).float().to(torch.float8_e4m3fn),
        lambda b: torch.as_tensor(b).float().to(torch.float8_e5m2),
        lambda b: torch.as_tensor(b).float().requires_grad_(),
        lambda b: torch.as_tensor(b).float().requires_grad_() * 1,
        lambda b: torch.as_tensor(-1.0 * b).to(torch.complex64).imag.add(torch.as_tensor(1.0 * b)),
        lambda b: (torch.as_tensor(b) * -1j).conj().imag,
        lambda b: _sparse(b, "to_sparse_coo"),
        lambda b: _sparse(b, "to_sparse_coo", torch.bfloat16),
        lambda b: _sparse(b, "to_sparse_coo", torch.bool),
        lambda b: _sparse(b, "to_sparse_csr"),
        lambda b: _sparse(b, "to_sparse_csc", torch.uint8),
        lambda b: list(torch.as_tensor(b)),
        scipy.sparse.coo_array,
        lambda b: scipy.sparse.csr_matrix(b.astype(np.float32)),
        lambda b: scipy.sparse.lil_array(b.astype(np.int8)),
        _as_matrix,
        _masked,
        lambda b: b.astype(object),
        lambda b: b.astype(np.float64).astype(object),
        lambda b: b.astype(np.float16),
        lambda b: b.astype(np.longdouble),
        lambda b: b.astype(">i4"),
        pandas.DataFrame,
        lambda b: pandas.DataFrame(b.astype(np.int8)),
        lambda b: pandas.DataFrame(b).astype({0: "int64", 1: "float32"}),
        lambda b: pandas.DataFrame(b).astype({0: "boolean", 1: "Int64"}),
        lambda b: polars.DataFrame(b.astype(np.int8)),
        lambda b: polars.DataFrame(b),
        lambda b: pyarrow.table({f"{i}": b[:, i] for i in range(b.shape[1])}),
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
        ([["a"]], InvalidTypeError, "dtype <U1"),
        ("01", InvalidValueError, "0 dimensions"),
        (np.array([["0", "1"]]), InvalidTypeError, "dtype <U1"),
        (np.array([[b"0"]]), InvalidTypeError, r"dtype \|S1"),
        ([[0j, 1j]], InvalidTypeError, "dtype complex128"),
        (torch.zeros(2, 2, dtype=torch.complex64), InvalidTypeError, "dtype complex64"),
        (np.zeros((2, 2), "datetime64[s]"), InvalidTypeError, "dtype datetime64"),
        (np.zeros((2, 2), [("a", "i4")]), InvalidTypeError, "dtype .*'a'"),
        (None, InvalidValueError, "0 dimensions"),
        (3, InvalidValueError, "0 dimensions"),
        ({0: [1]}, InvalidValueError, "0 dimensions"),
        (iter([[0, 1]]), InvalidValueError, "0 dimensions"),
        (torch.zeros(3), InvalidValueError, "1 dimensions"),
        (torch.zeros(0, 3), InvalidValueError, "at least one instance and one trait"),
        (scipy.sparse.csr_array((0, 3)), InvalidValueError, "at least one instance and one trait"),
        (scipy.sparse.csr_array((3, 0)), InvalidValueError, "at least one instance and one trait"),
        (pandas.DataFrame(), InvalidValueError, "at least one instance and one trait"),
        (pandas.DataFrame({"a": []}), InvalidValueError, "at least one instance and one trait"),
        (scipy.sparse.coo_array(([1, 1], ([1, 1], [0, 0]))), InvalidValueError, "row 1, column 0 is 2"),
        (torch.tensor([[0, 0.5]]).bfloat16(), InvalidValueError, "row 0, column 1 is 0.5"),
        (torch.tensor([[0, torch.nan]]).to(torch.float8_e5m2), InvalidValueError, "missing"),
        (torch.zeros(2, 2, device="meta"), InvalidTypeError, "on the meta device, which holds no values"),
        (_sparse([[0, 2]], "to_sparse_csr"), InvalidValueError, "row 0, column 1 is 2"),
        ([[torch.zeros(1, requires_grad=True)]], InvalidTypeError, "torch.stack"),
        (list(torch.zeros(2, 2, dtype=torch.bfloat16)), InvalidTypeError, "torch.stack"),
        (np.ma.array([[0, 1], [1, 0]], mask=[[0, 0], [0, 1]]), InvalidValueError, r"row 1, column 1 is missing \(masked\)"),
        ([[1, 1], np.ma.array([0, 1], mask=[0, 1])], InvalidValueError, r"row 1, column 1 is missing \(masked\)"),
        (np.array([[0, None]]), InvalidValueError, r"row 0, column 1 is missing \(None\)"),
        (np.array([[0, "1"]], object), InvalidTypeError, "row 0, column 1 is '1'"),
        (np.array([[0, 1j]], object), InvalidTypeError, "row 0, column 1 is 1j"),
        (np.array([[0, 10**400]], object), InvalidValueError, "row 0, column 1 is 1000"),
        (np.array([[0, np.nan]], object), InvalidValueError, r"row 0, column 1 is missing \(NaN\)"),
        (pandas.DataFrame({"a": [1], "b": ["x"]}), InvalidTypeError, "column 1 is 'x'"),
        (pandas.DataFrame({"a": [True, None]}, dtype="boolean"), InvalidValueError, r"row 1, column 0 is missing \(<NA>\)"),
        (polars.DataFrame({"a": [True, None]}), InvalidValueError, "row 1, column 0 is missing"),
        (polars.DataFrame({"a": [1, None]}), InvalidValueError, "row 1, column 0 is missing"),
        ([[0, 1], [1]], InvalidValueError, "rectangular"),
    ],
)  # fmt: skip
def test_bad_matrices(bits, error, message):
    with pytest.raises(error, match=message):
        ManifestationStore.from_dense(bits)
