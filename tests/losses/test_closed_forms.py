"""The losses where their value is known in closed form."""

import math

import pytest
import torch

import maninegs_sampling as mn
from tests.losses.cases import LOSSES, PATHS, forced, random_pair


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("tau", [0.01, 0.05, 0.7, 10.0])
def test_closed_forms(path, tau):
    n = 5
    equal = torch.ones(n, 3, dtype=torch.float64)
    orthogonal = torch.eye(n, 2 * n, dtype=torch.float64)
    with forced(path):
        # all views are equal: 2N - 1 equal candidates
        assert float(mn.nt_xent(equal, equal, temperature=tau)) == pytest.approx(
            math.log(2 * n - 1)
        )
        inter = mn.inter_modal_nt_xent(equal, equal, temperature=tau)
        assert float(inter) == pytest.approx(math.log(n))
        # orthogonal instances with equal views
        off = math.exp(-1 / tau)
        found = float(mn.nt_xent(orthogonal, orthogonal, temperature=tau))
        assert found == pytest.approx(math.log1p((2 * n - 2) * off), rel=1e-9)
        found = float(mn.inter_modal_nt_xent(orthogonal, orthogonal, temperature=tau))
        assert found == pytest.approx(math.log1p((n - 1) * off), rel=1e-9, abs=1e-14)
        # one pair has no negatives
        for loss in LOSSES.values():
            z = random_pair(1, 4)
            value = loss(*z, temperature=tau)
            assert float(value.detach()) == 0.0
            assert all(not grad.any() for grad in torch.autograd.grad(value, z))


def test_equal_views_under_hard_negatives():
    # all weights are 1, so that Ng / pos is N' (1 - tau_plus) / (1 - tau_plus)
    z = torch.ones(4, 3, dtype=torch.float64)
    for tau_plus in (0.0, 0.1, 0.5):
        loss = mn.hard_negative_nt_xent(z, z, temperature=0.5, tau_plus=tau_plus)
        assert float(loss) == pytest.approx(math.log(7))
