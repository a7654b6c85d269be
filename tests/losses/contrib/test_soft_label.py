"""The soft-label loss and its labels."""

import math
import sys
from functools import partial

import pytest
import torch

import maninegs_sampling as mn
from maninegs_sampling.errors import InvalidTypeError, InvalidValueError, MissingExtraError
from tests import naive_losses
from tests.losses.cases import random_pair

# raised by torch on the first use of forward-mode differentiation
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")


def test_soft_labels_by_the_formula():
    first, second = (z.detach() for z in random_pair(20, 4))
    labels = torch.rand(20, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for margin in (0.5, 3.0):
        loss = partial(mn.soft_label_contrastive, margin=margin)
        rows = naive_losses.soft_label_contrastive(first, second, labels, margin)
        torch.testing.assert_close(loss(first, second, labels, reduction="none"), rows)
        torch.testing.assert_close(loss(first, second, labels), rows.mean())
        torch.testing.assert_close(loss(first, second, labels, reduction="sum"), rows.sum())
        z = [first.clone().requires_grad_(), second.clone().requires_grad_()]
        assert torch.autograd.gradcheck(partial(loss, soft_labels=labels), z)
        assert torch.autograd.gradgradcheck(partial(loss, soft_labels=labels), z)


def test_soft_labels_of_equal_vectors_have_finite_gradients():
    z = torch.ones(3, 4, requires_grad=True)
    loss = mn.soft_label_contrastive(z, torch.ones(3, 4), torch.tensor([0.0, 0.5, 1.0]))
    (gradient,) = torch.autograd.grad(loss, z)
    assert not gradient.any()


@pytest.mark.parametrize(
    ("labels", "options", "error", "message"),
    [
        ([0.5], {}, InvalidTypeError, "soft_labels must be a torch tensor; got list"),
        (torch.ones(3), {}, InvalidValueError, r"shape \(2,\)"),
        (torch.tensor([0.5, 1.5]), {}, InvalidValueError, r"lie in \[0, 1\]; got 1.5"),
        (torch.tensor([0.5, float("nan")]), {}, InvalidValueError, r"lie in \[0, 1\]; got nan"),
        (torch.ones(2), {"margin": 0.0}, InvalidValueError, "margin must be positive"),
        (torch.ones(2), {"reduction": "max"}, InvalidValueError, "got 'max'"),
    ],
)
def test_soft_label_arguments(labels, options, error, message):
    with pytest.raises(error, match=message):
        mn.soft_label_contrastive(torch.ones(2, 3), torch.ones(2, 3), labels, **options)


def test_mixture_labels_follow_two_groups():
    generator = torch.Generator().manual_seed(0)
    near = 1.0 + 0.1 * torch.randn(300, generator=generator)
    far = 3.0 + 0.1 * torch.randn(200, generator=generator)
    for scale in (1e-6, 1.0, 1e6):  # the unit of the distances does not matter
        labels = mn.gaussian_mixture_soft_labels(torch.cat((near, far)) * scale)
        assert labels.dtype == torch.float32
        assert labels[:300].min() > 0.99
        assert labels[300:].max() < 0.01
    # two overlapping groups of one width: the posterior is known
    x = torch.cat((torch.randn(4000, generator=generator), torch.randn(4000, generator=generator)))
    x[4000:] += 3.0
    labels = mn.gaussian_mixture_soft_labels(x.double())
    exact = torch.sigmoid(4.5 - 3.0 * x.double())
    assert (labels - exact).abs().mean() < 0.02


def test_mixture_labels_at_their_limits(monkeypatch):
    assert mn.gaussian_mixture_soft_labels(torch.ones(4)).tolist() == [0.5] * 4
    with pytest.raises(InvalidValueError, match="N at least 2"):
        mn.gaussian_mixture_soft_labels(torch.ones(1))
    with pytest.raises(InvalidValueError, match="finite; got inf"):
        mn.gaussian_mixture_soft_labels(torch.tensor([1.0, float("inf")]))
    with pytest.raises(InvalidTypeError, match="floating-point"):
        mn.gaussian_mixture_soft_labels(torch.ones(3, dtype=torch.int64))
    monkeypatch.setitem(sys.modules, "sklearn.mixture", None)
    with pytest.raises(MissingExtraError, match="soft-labels"):
        mn.gaussian_mixture_soft_labels(torch.tensor([1.0, 2.0]))


def test_soft_labels_under_transforms_and_without_numbers():
    first, second = (row.detach() for row in random_pair(5, 3))
    labels = torch.linspace(0, 1, 5, dtype=torch.float64)
    loss = mn.soft_label_contrastive
    z = first.clone().requires_grad_()
    (expected,) = torch.autograd.grad(loss(z, second, labels), z)
    torch.testing.assert_close(torch.func.grad(loss)(first, second, labels), expected)
    torch.testing.assert_close(torch.func.jacfwd(loss)(first, second, labels), expected)
    many = torch.stack([labels, labels.flip(0)])
    found = torch.vmap(loss, in_dims=(None, None, 0))(first, second, many)
    torch.testing.assert_close(found, torch.stack([loss(first, second, w) for w in many]))
    empty = torch.empty(5, 3, device="meta")
    assert loss(empty, empty, torch.empty(5, device="meta")).is_meta
    assert torch.func.grad(loss)(first, second, labels + 1).isnan().any()


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_soft_labels_do_not_hide_what_is_not_finite(bad):
    for w in (0.0, 0.5, 1.0):
        for sides in ((0,), (1,), (0, 1)):
            z = [torch.ones(3, 4), torch.zeros(3, 4)]
            for side in sides:
                z[side][1, 2] = bad
            assert not mn.soft_label_contrastive(*z, torch.full((3,), w)).isfinite()
