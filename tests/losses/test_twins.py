"""Values and gradients of the losses, on every path, against their slow twins."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import maninegs_sampling as mn
from tests.losses.cases import LOSSES, NAIVE, OPTIONS, PATHS, forced, random_pair, with_gradients


@st.composite
def batches(draw):
    n, d = draw(st.sampled_from([1, 2, 3, 7])), draw(st.sampled_from([1, 2, 5]))
    ids = draw(st.none() | st.lists(st.integers(-2, 2), min_size=n, max_size=n))
    return random_pair(n, d, draw(st.integers(0, 2**20))), ids


@pytest.mark.parametrize("path", PATHS)
@given(
    batch=batches(),
    temperature=st.sampled_from([0.05, 0.7, 10.0]),
    label_smoothing=st.sampled_from([0.0, 0.1, 1.0]),
    normalize=st.booleans(),
)
def test_cross_entropies_equal_their_twins(path, batch, temperature, label_smoothing, normalize):
    z, ids = batch
    tau = torch.tensor(temperature, dtype=torch.float64, requires_grad=True)
    options = {"label_smoothing": label_smoothing, "normalize": normalize}
    for name in ("nt_xent", "inter_modal_nt_xent"):
        expected = with_gradients(NAIVE[name](*z, tau, ids, **options), *z, tau)
        with forced(path):
            ours = getattr(mn, name)(*z, temperature=tau, ids=ids, reduction="none", **options)
            found = with_gradients(ours, *z, tau)
        torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("path", list(PATHS)[1:])
@given(
    batch=batches(),
    temperature=st.sampled_from([0.05, 0.7, 10.0]),
    beta=st.sampled_from([0.0, 0.5, 1.0, 3.0]),
    tau_plus=st.sampled_from([0.0, 0.1, 0.6]),
)
def test_hard_negatives_equal_their_twins(path, batch, temperature, beta, tau_plus):
    z, ids = batch
    tau = torch.tensor(temperature, dtype=torch.float64, requires_grad=True)
    for name in ("hard_negative_nt_xent", "hard_negative_inter_modal_nt_xent"):
        expected = with_gradients(NAIVE[name](*z, tau, beta, tau_plus, ids), *z, tau)
        options = {"beta": beta, "tau_plus": tau_plus, "ids": ids, "reduction": "none"}
        with forced(path):
            found = with_gradients(LOSSES[name](*z, temperature=tau, **options), *z, tau)
        torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("name", ["inter_modal_nt_xent", "hard_negative_inter_modal_nt_xent"])
@pytest.mark.parametrize("path", PATHS)
def test_one_direction(name, path):
    z = random_pair(7, 4)
    with forced(path):
        found = LOSSES[name](*z, temperature=0.3, symmetric=False, reduction="none")
    expected = NAIVE[name](*z, 0.3, symmetric=False, **OPTIONS[name])
    torch.testing.assert_close(with_gradients(found, *z), with_gradients(expected, *z))


@pytest.mark.parametrize("name", LOSSES)
def test_many_blocks_of_the_real_size(name):
    z = random_pair(700, 8, dtype=torch.float32)
    ids = torch.arange(700) // 3
    for options in ({}, {"ids": ids}):
        exact_z = [row.detach().double().requires_grad_() for row in z]
        exact = LOSSES[name](*exact_z, temperature=0.2, **options)
        found = LOSSES[name](*z, temperature=0.2, **options)
        torch.testing.assert_close(found.double(), exact, rtol=1e-6, atol=1e-6)
        ours = torch.autograd.grad(found, z)
        right = torch.autograd.grad(exact, exact_z)
        for a, b in zip(ours, right, strict=True):
            assert (a.double() - b).norm() <= 1e-5 * b.norm()
