"""SigLIP's loss against its twin, open_clip's formulation and closed forms."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import logsigmoid, normalize

import maninegs_sampling as mn
from maninegs_sampling.errors import InvalidTypeError, InvalidValueError
from tests import naive_losses
from tests.losses.cases import PATHS, forced, random_pair, with_gradients


@pytest.mark.parametrize("path", PATHS)
@given(
    n=st.sampled_from([1, 2, 3, 7]),
    ids=st.none() | st.lists(st.integers(-2, 2), min_size=7, max_size=7),
    temperature=st.sampled_from([0.02, 0.1, 10.0]),
    bias=st.sampled_from([-10.0, 0.0, 60.0]),
    lengths=st.booleans(),
    seed=st.integers(0, 2**20),
)
def test_siglip_equals_its_twin(path, n, ids, temperature, bias, lengths, seed):
    z = random_pair(n, 4, seed)
    tau = torch.tensor(temperature, dtype=torch.float64, requires_grad=True)
    b = torch.tensor(bias, dtype=torch.float64, requires_grad=True)
    ids = ids and ids[:n]
    expected = naive_losses.siglip_loss(z[0], z[1], tau, b, ids, lengths)
    options = {"ids": ids, "normalize": lengths, "reduction": "none"}
    with forced(path):
        found = mn.siglip_loss(*z, temperature=tau, bias=b, **options)
        found = with_gradients(found, *z, tau, b)
    torch.testing.assert_close(found, with_gradients(expected, *z, tau, b), rtol=1e-8, atol=1e-9)


def open_clip_loss(image, text, scale, bias, rank=0, world=1):
    """SigLipLoss of one rank: its images with its texts, then with the texts of the others."""
    images, texts = image.chunk(world), text.chunk(world)
    n = len(images[rank])
    total = 0.0
    for other in range(world):
        logits = scale * images[rank] @ texts[other].T + bias
        labels = -torch.ones_like(logits)
        if other == rank:
            labels = 2 * torch.eye(n, dtype=logits.dtype) + labels
        total = total - logsigmoid(labels * logits).sum() / n
    return total


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("world", [1, 3])
def test_siglip_equals_open_clips_formulation(path, world):
    image, text = (normalize(z) for z in random_pair(9, 5))
    each = [open_clip_loss(image, text, 10.0, -10.0, rank, world) for rank in range(world)]
    with forced(path):
        found = mn.siglip_loss(image, text)
    torch.testing.assert_close(found, sum(each) / world, rtol=0, atol=1e-6)


@pytest.mark.parametrize("path", PATHS)
def test_first_and_second_derivatives(path):
    z = random_pair(4, 3)
    scalars = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (0.6, -1.0)]
    for ids in (None, [0, 1, 1, 2]):

        def loss(x, y, tau, bias, ids=ids):
            return mn.siglip_loss(
                x, y, temperature=tau, bias=bias, ids=ids, reduction="none", normalize=True
            )

        with forced(path):
            assert torch.autograd.gradcheck(loss, (*z, *scalars))
            assert torch.autograd.gradgradcheck(loss, (*z, *scalars))


@pytest.mark.parametrize("path", PATHS)
def test_closed_forms(path):
    n = 5
    equal = torch.ones(n, 3, dtype=torch.float64)
    with forced(path):
        # All logits are 1 / 0.1 - 10 = 0: each of the N pairs of a row has the loss log 2.
        assert float(mn.siglip_loss(equal, equal)) == pytest.approx(n * math.log(2))
        alone = mn.siglip_loss(equal, equal, ids=[3] * n, bias=-8.0)
        assert float(alone) == pytest.approx(math.log1p(math.exp(-2.0)))
        total = mn.siglip_loss(equal, equal, reduction="sum")
        assert float(total) == pytest.approx(n * n * math.log(2))


def test_many_blocks_of_the_real_size():
    z = random_pair(1100, 8, dtype=torch.float32)
    exact_z = [row.detach().double().requires_grad_() for row in z]
    exact, found = (mn.siglip_loss(*rows, bias=-5.0) for rows in (exact_z, z))
    torch.testing.assert_close(found.double(), exact, rtol=1e-6, atol=1e-6)
    right = torch.autograd.grad(exact, exact_z)
    for a, b in zip(torch.autograd.grad(found, z), right, strict=True):
        assert (a.double() - b).norm() <= 1e-5 * b.norm()


@pytest.mark.parametrize(
    ("bias", "error", "message"),
    [
        ("low", InvalidTypeError, "bias must be a number or a tensor; got 'low'"),
        (None, InvalidTypeError, "bias must be a number or a tensor; got None"),
        (math.inf, InvalidValueError, "bias must be finite; got inf"),
        (torch.tensor(math.nan), InvalidValueError, "bias must be finite; got nan"),
        (torch.zeros(2), InvalidTypeError, r"bias must be one floating-point.*shape \(2,\)"),
        (torch.tensor(-10), InvalidTypeError, "torch.int64"),
    ],
)
def test_the_bias_is_checked(bias, error, message):
    z = torch.ones(4, 3)
    with pytest.raises(error, match=message):
        mn.siglip_loss(z, z, bias=bias)
    with pytest.raises((InvalidTypeError, InvalidValueError), match="bias must be"):
        mn.SigLIPLoss(bias=bias)


def test_the_module_learns_its_bias():
    z = random_pair(6, 4, dtype=torch.float32)
    module = mn.SigLIPLoss(bias=-3.0)
    loss, terms = module(*z, return_terms=True)
    torch.testing.assert_close(terms["bias"], torch.tensor(-3.0))
    loss.backward()
    bias = torch.tensor(-3.0, requires_grad=True)
    (expected,) = torch.autograd.grad(mn.siglip_loss(*z, bias=bias), bias)
    torch.testing.assert_close(module.bias.grad, expected)
    assert repr(module).startswith("SigLIPLoss(bias=-3, temperature=0.1, learnable=True")
