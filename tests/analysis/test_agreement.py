"""How well Hamming ranks agree with cosine ranks."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from maninegs_sampling import ManifestationStore, rank_agreement
from maninegs_sampling.analysis import agreement
from maninegs_sampling.errors import InvalidTypeError, InvalidValueError
from tests import naive
from tests.conftest import bit_matrices, random_store


@given(bits=bit_matrices(max_rows=12), seed=st.integers(0, 99), levels=st.sampled_from([2, 1000]))
def test_against_the_slow_twin(bits, seed, levels):
    n = len(bits)
    if n < 2:
        return
    rng = np.random.default_rng(seed)
    z = rng.integers(1, levels + 1, (n, 3))  # with two levels many cosines are equal
    nearest = int(rng.integers(1, n))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(agreement, "_BLOCK_SIMILARITIES", 3 * n)
        found = rank_agreement(ManifestationStore.from_dense(bits), z, nearest=nearest)
    expected = [naive.neighbors_found(bits, z.tolist(), i, nearest) for i in range(n)]
    assert found.recall == pytest.approx(np.mean(expected))
    assert found.lowest_tenth == pytest.approx(np.quantile(expected, 0.1, method="lower"))
    assert found.chance == nearest / (n - 1)
    assert (found.nearest, found.n_anchors) == (nearest, n)


def test_all_is_found_where_the_bits_are_the_embedding():
    bits = random_store(100, 40).to_dense()
    z = 2.0 * bits - 1  # the cosine is then 1 - 2 d / 40
    assert rank_agreement(ManifestationStore.from_dense(bits), z).recall == 1


def test_bits_without_information_reach_chance():
    z = np.random.default_rng(0).standard_normal((400, 5))
    found = rank_agreement(random_store(400, 30), z, nearest=40, n_anchors=400)
    assert found.chance == 40 / 399
    assert abs(found.recall - found.chance) < 0.02
    constant = ManifestationStore.from_dense(np.zeros((400, 1)))
    assert rank_agreement(constant, z, nearest=40).recall == pytest.approx(40 / 399)


def test_the_seed_draws_the_anchors():
    z = torch.randn(300, 16, generator=torch.Generator().manual_seed(0)).half()
    store = ManifestationStore.from_embeddings(z)
    recalls = [rank_agreement(store, z, n_anchors=9, seed=s).recall for s in (0, 0, 1)]
    assert recalls[0] == recalls[1] != recalls[2]
    assert str(rank_agreement(store, z)).startswith("Of the 64 nearest by cosine, ")


Z = np.ones((10, 2))


@pytest.mark.parametrize(
    ("z", "options", "error", "message"),
    [
        (Z[:9], {}, InvalidValueError, "each of the store's 10 instances; got 9"),
        (Z, {}, InvalidValueError, "nearest must be below the 10 instances; got 64"),
        (Z, {"nearest": 10}, InvalidValueError, "got 10"),
        (Z, {"nearest": 0}, InvalidValueError, "nearest must be at least 1"),
        (Z, {"nearest": 3, "n_anchors": 0}, InvalidValueError, "n_anchors must be at least 1"),
        (Z, {"nearest": 3, "seed": -1}, InvalidValueError, "seed"),
        (Z * np.nan, {"nearest": 3}, InvalidValueError, "row 0 holds NaN"),
        (Z * np.arange(10)[::-1, None], {"nearest": 3, "n_anchors": 1}, InvalidValueError, "row 9 is all zeros"),
    ],
)  # fmt: skip
def test_bad_arguments(z, options, error, message):
    with pytest.raises(error, match=message):
        rank_agreement(random_store(10, 5), z, **options)


def test_a_store_is_expected():
    with pytest.raises(InvalidTypeError, match="store must be a ManifestationStore; got ndarray"):
        rank_agreement(Z, Z)
