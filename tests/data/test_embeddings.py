"""Stores of embeddings."""

import sys

import numpy as np
import pytest
import torch

from maninegs_sampling import ManifestationStore, pairwise_hamming, rank_agreement
from maninegs_sampling.data import embeddings
from maninegs_sampling.errors import InvalidTypeError, InvalidValueError, MissingExtraError


def _rows(n=60, dimensions=10, seed=0):
    """Embeddings that mostly point the same way, as those of one model do."""
    return np.random.default_rng(seed).standard_normal((n, dimensions)) + 2


def _unit(z):
    return z / np.linalg.norm(z, axis=1, keepdims=True)


def test_signs_are_those_of_the_centered_directions():
    z = _rows()
    directions = _unit(z)
    store = ManifestationStore.from_embeddings(z)
    assert (store.to_dense() == (directions > directions.mean(axis=0))).all()
    plain = ManifestationStore.from_embeddings(z, center=False)
    assert (plain.to_dense() == (z > 0)).all()


@pytest.mark.parametrize("method", ["sign", "simhash", "itq"])
def test_only_directions_count_and_blocks_make_no_difference(monkeypatch, method):
    if method == "itq":
        pytest.importorskip("faiss")
    z = _rows(100)
    n_bits = 10 if method == "sign" else 8
    store = ManifestationStore.from_embeddings(z, n_bits, method=method)
    assert store.n_bits == n_bits
    lengths = np.random.default_rng(1).choice([1e-300, 1e-9, 1.0, 1e300], (100, 1))
    scaled = ManifestationStore.from_embeddings(z * lengths, n_bits, method=method)
    assert scaled.digest == store.digest
    monkeypatch.setattr(embeddings, "_BLOCK_ROWS", 7)
    assert ManifestationStore.from_embeddings(z, n_bits, method=method).digest == store.digest


@pytest.mark.parametrize("method", ["sign", "simhash", "itq"])
def test_every_kind_of_embeddings(method):
    if method == "itq":
        pytest.importorskip("faiss")
    z = _rows(50).astype(np.float16)
    expected = ManifestationStore.from_embeddings(z.astype(np.float64), method=method)
    for kind in (
        z,
        z.astype(np.float32),
        z.tolist(),
        torch.as_tensor(z),
        torch.as_tensor(z).float().requires_grad_(),
        np.asfortranarray(z),
    ):
        assert ManifestationStore.from_embeddings(kind, method=method).digest == expected.digest
    whole = np.random.default_rng(0).integers(-128, 128, (50, 10), np.int8)
    again = ManifestationStore.from_embeddings(whole.astype(float), method=method)
    assert ManifestationStore.from_embeddings(whole, method=method).digest == again.digest


def test_simhash_distance_is_the_angle():
    """Each bit of two vectors differs with probability angle / pi."""
    z = np.random.default_rng(0).standard_normal((30, 6))
    store = ManifestationStore.from_embeddings(z, 4000, method="simhash", center=False)
    angles = np.arccos(np.clip(_unit(z) @ _unit(z).T, -1, 1)) / np.pi
    # A share of 4,000 has a standard deviation of at most 0.008; 6 of them for 435 pairs.
    assert np.abs(pairwise_hamming(store) / 4000 - angles).max() < 0.048
    other = ManifestationStore.from_embeddings(z, 4000, method="simhash", center=False, seed=1)
    assert other.digest != store.digest


def test_itq_is_that_of_faiss():
    faiss = pytest.importorskip("faiss")
    z = _rows(300).astype(np.float32)
    transform = faiss.ITQTransform(10, 6, True)
    transform.train(_unit(z))
    expected = transform.apply(_unit(z)) > 0
    bits = ManifestationStore.from_embeddings(z, 6, method="itq").to_dense()
    # The mean is subtracted in float64 here and in float32 there.
    assert (bits == expected).mean() > 0.99


@pytest.mark.parametrize("method", ["sign", "simhash", "itq"])
def test_degenerate_embeddings(method):
    if method == "itq":
        pytest.importorskip("faiss")
    line = ManifestationStore.from_embeddings([[3.0], [-2.0], [0.1]], method=method)
    assert line.n_patterns == 2
    assert line.pattern_of[0] == line.pattern_of[2] != line.pattern_of[1]
    same = ManifestationStore.from_embeddings(np.ones((5, 4)), method=method)
    assert same.n_patterns == 1
    one = ManifestationStore.from_embeddings(np.ones((1, 1)), method=method)
    assert one.n_instances == 1


def test_the_numbers_of_bits():
    z = _rows(400, 300)
    assert ManifestationStore.from_embeddings(z).n_bits == 300
    assert ManifestationStore.from_embeddings(z, method="simhash").n_bits == 256
    assert ManifestationStore.from_embeddings(z[:, :4], 9, method="simhash").n_bits == 9


def test_itq_has_as_many_bits_as_it_can(monkeypatch):
    pytest.importorskip("faiss")
    monkeypatch.setattr(embeddings, "_USUAL_BITS", 32)
    assert ManifestationStore.from_embeddings(_rows(100, 60), method="itq").n_bits == 32
    assert ManifestationStore.from_embeddings(_rows(40, 30), method="itq").n_bits == 30


def _with(value):
    z = _rows(5000, 3)
    z[4500] = value
    return z


@pytest.mark.parametrize(
    ("z", "options", "error", "message"),
    [
        (_with([0, 0, 0]), {}, InvalidValueError, "row 4500 is all zeros"),
        (_with([1, np.nan, 0]), {}, InvalidValueError, "row 4500 holds NaN or infinity"),
        (_with([0, np.nan, 0]), {"center": False}, InvalidValueError, "row 4500 holds NaN"),
        (_with([1, -np.inf, 0]), {"method": "simhash"}, InvalidValueError, "row 4500 holds NaN"),
        (np.ones(3), {}, InvalidValueError, r"\(instances, dimensions\).* got shape \(3,\)"),
        (np.ones((0, 3)), {}, InvalidValueError, r"got shape \(0, 3\)"),
        (np.ones((3, 0)), {}, InvalidValueError, r"got shape \(3, 0\)"),
        (np.ones((3, 2), bool), {}, InvalidTypeError, "got dtype bool"),
        (np.ones((3, 2), complex), {}, InvalidTypeError, "got dtype complex128"),
        (np.ones((3, 2), np.uint8), {}, InvalidTypeError, "got dtype uint8.*from_packed"),
        (torch.ones((3, 2), dtype=torch.uint8), {}, InvalidTypeError, "got dtype uint8"),
        ([["a"]], {}, InvalidTypeError, "got dtype <U1"),
        ([None], {}, InvalidValueError, r"got shape \(1,\)"),
        (_rows(), {"n_bits": 256}, InvalidValueError, '"sign" makes one bit of each of the 10'),
        (_rows(), {"n_bits": 11, "method": "itq"}, InvalidValueError, "got n_bits=11"),
        (_rows(5), {"n_bits": 6, "method": "itq"}, InvalidValueError, r"shape \(5, 10\)"),
        (_rows(), {"n_bits": 0, "method": "simhash"}, InvalidValueError, "at least 1; got 0"),
        (_rows(), {"method": "pq"}, InvalidValueError, "'sign', 'simhash', 'itq'; got 'pq'"),
        (_rows(), {"method": "itq", "center": False}, InvalidValueError, "center=False"),
        (_rows(), {"center": 1}, InvalidTypeError, "center must be True or False; got 1"),
        (_rows(), {"seed": -1, "method": "simhash"}, InvalidValueError, "seed"),
    ],
)  # fmt: skip
def test_bad_embeddings(z, options, error, message):
    with pytest.raises(error, match=message):
        ManifestationStore.from_embeddings(z, **options)


def test_itq_without_faiss_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(MissingExtraError, match=r"needs faiss-cpu: .*maninegs-sampling\[itq\]"):
        ManifestationStore.from_embeddings(_rows(), method="itq")


def test_centering_is_worth_it():
    z = _rows(500, 64)
    with_mean, without = (
        rank_agreement(ManifestationStore.from_embeddings(z, center=center), z).recall
        for center in (False, True)
    )
    assert without > with_mean
