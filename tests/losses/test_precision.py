"""Floating-point types, extreme logits, zero vectors and NaN."""

import math

import pytest
import torch

from tests.losses.cases import LOSSES, NAIVE, OPTIONS, PATHS, forced, random_pair, with_gradients


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("tau", [0.01, 0.02, 0.1, 1.0, 10.0])
@pytest.mark.parametrize("size", [1e-4, 1.0, 1e4])
def test_float32_stays_near_float64(name, path, tau, size):
    z = random_pair(40, 8, dtype=torch.float32)
    z = [(row.detach() * size).requires_grad_() for row in z]
    exact_z = [row.detach().double().requires_grad_() for row in z]
    exact = with_gradients(LOSSES[name](*exact_z, temperature=tau, reduction="none"), *exact_z)
    with forced(path):
        found = with_gradients(LOSSES[name](*z, temperature=tau, reduction="none"), *z)
    # Logits are as large as 1 / tau and carry a few roundings.
    rounding = 8 * torch.finfo(torch.float32).eps
    torch.testing.assert_close(
        found[0].double(), exact[0], rtol=rounding, atol=rounding * (1 + 1 / tau)
    )
    for ours, right in zip(found[1:], exact[1:], strict=True):
        assert (ours.double() - right).norm() <= 20 * rounding * (1 + 1 / tau) * right.norm()


@pytest.mark.parametrize("name", LOSSES)
def test_logits_beyond_any_exponential(name):
    z = [row.detach() * 1e4 for row in random_pair(12, 6, dtype=torch.float32)]
    z = [row.requires_grad_() for row in z]
    with forced("blocks of 3, shifted"):
        forced_value = LOSSES[name](*z, temperature=0.1, normalize=False)
    value = LOSSES[name](*z, temperature=0.1, normalize=False)
    gradients = torch.autograd.grad(value, z)
    assert value.isfinite()
    assert value > 1e6
    assert all(grad.isfinite().all() for grad in gradients)
    torch.testing.assert_close(value, forced_value)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_and_autocast(name, path, dtype):
    z = [row.detach().to(dtype).requires_grad_() for row in random_pair(20, 8)]
    exact = LOSSES[name](*[row.detach().float() for row in z], temperature=0.02)
    with forced(path):
        loss = LOSSES[name](*z, temperature=0.02)
        assert loss.dtype == torch.float32
        torch.testing.assert_close(loss.detach(), exact)
        gradients = torch.autograd.grad(loss * 1024, z)
        assert all(grad.dtype == dtype and grad.isfinite().all() for grad in gradients)
        assert gradients[0].abs().sum() > 0
        wide = [row.detach().float().requires_grad_() for row in z]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = LOSSES[name](*wide, temperature=0.02)
            inside = torch.autograd.grad(loss, wide, retain_graph=True)
        torch.testing.assert_close(loss.detach(), exact)
        if path != "direct":  # there autograd runs under the autocast state of the backward pass
            outside = torch.autograd.grad(loss, wide)
            torch.testing.assert_close(inside, outside, rtol=0, atol=0)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", LOSSES)
def test_zero_vectors_have_similarity_0_and_no_gradient(name, path):
    z = [row.detach() for row in random_pair(5, 3)]
    z[0][2] = 0.0
    z[1][3] = 1e-13
    z = [row.requires_grad_() for row in z]
    with forced(path):
        losses = LOSSES[name](*z, reduction="none")
        gradients = torch.autograd.grad(losses.sum(), z)
    expected = NAIVE[name](*z, 0.7, **OPTIONS[name])
    torch.testing.assert_close(losses, expected)
    assert not gradients[0][2].any()
    assert not gradients[1][3].any()
    assert all(grad.isfinite().all() for grad in gradients)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", LOSSES)
def test_all_ids_equal_leave_no_negatives(name, path):
    z = random_pair(5, 3)
    with forced(path):
        loss = LOSSES[name](*z, ids=torch.full((5,), 7))
        gradients = torch.autograd.grad(loss, z)
    assert float(loss.detach()) == 0.0
    assert not any(grad.any() for grad in gradients)


@pytest.mark.parametrize("name", LOSSES)
def test_nan_is_not_hidden(name):
    z = [row.detach() for row in random_pair(5, 3)]
    z[0][0, 0] = math.nan
    for path in PATHS:
        with forced(path):
            assert LOSSES[name](*z).isnan()
