"""Losses with a penalty on similar negatives, against their twin and sentence-transformers."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import normalize

import maninegs_sampling as mn
from tests import naive_losses
from tests.losses.cases import PATHS, forced, random_pair, with_gradients


@pytest.mark.parametrize("path", PATHS)
@given(
    n=st.sampled_from([1, 2, 7]),
    ids=st.none() | st.lists(st.integers(0, 3), min_size=7, max_size=7),
    temperature=st.sampled_from([0.05, 0.7, 10.0]),
    alpha=st.sampled_from([0.0, 0.5, 9.0]),
    lengths=st.booleans(),
    seed=st.integers(0, 2**20),
)
def test_hardness_weighted_losses_equal_their_twins(
    path, n, ids, temperature, alpha, lengths, seed
):
    z = random_pair(n, 3, seed)
    tau = torch.tensor(temperature, dtype=torch.float64, requires_grad=True)
    ids = ids and ids[:n]
    options = {"alpha": alpha, "ids": ids, "normalize": lengths, "reduction": "none"}
    for loss, rows in (
        (mn.hardness_weighted_nt_xent, naive_losses.rows_within),
        (mn.hardness_weighted_inter_modal_nt_xent, naive_losses.rows_between),
    ):
        expected = naive_losses.hardness_weighted(rows(z[0], z[1], ids, lengths), tau, alpha)
        with forced(path):
            found = with_gradients(loss(*z, temperature=tau, **options), *z, tau)
        torch.testing.assert_close(found, with_gradients(expected, *z, tau), rtol=1e-8, atol=1e-9)


def test_without_a_penalty_it_is_nt_xent():
    z = random_pair(6, 4)
    found = mn.hardness_weighted_nt_xent(*z, alpha=0)
    torch.testing.assert_close(found, mn.nt_xent(*z))


@pytest.mark.parametrize("path", PATHS)
def test_hardness_weighting_is_that_of_sentence_transformers(path):
    losses = pytest.importorskip("sentence_transformers.sentence_transformer.losses")
    z = [normalize(row) for row in random_pair(6, 4, dtype=torch.float32)]
    peer = losses.MultipleNegativesRankingLoss(
        torch.nn.Identity(), scale=20.0, hardness_mode="in_batch_negatives", hardness_strength=9.0
    )
    expected = peer.compute_loss_from_embeddings(z, None)
    options = {"temperature": 0.05, "symmetric": False}
    with forced(path):
        found = mn.hardness_weighted_inter_modal_nt_xent(*z, **options)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    ours, right = (torch.autograd.grad(each, z, retain_graph=True) for each in (found, expected))
    torch.testing.assert_close(ours, right, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "loss", [mn.hardness_weighted_nt_xent, mn.hardness_weighted_inter_modal_nt_xent]
)
def test_second_derivatives_are_those_of_the_definition(path, loss):
    rows = naive_losses.rows_within if "inter" not in loss.__name__ else naive_losses.rows_between
    z = random_pair(4, 3)
    tau = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    inputs = [*z, tau]

    def second(value):
        first = torch.autograd.grad(value, inputs, create_graph=True)
        return torch.autograd.grad(sum((g**2).sum() for g in first), inputs)

    twin = naive_losses.hardness_weighted(rows(z[0], z[1], None, True), tau, 9.0).mean()
    with forced(path):
        torch.testing.assert_close(second(loss(*z, temperature=tau)), second(twin))
