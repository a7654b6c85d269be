"""First and second derivatives of the losses."""

from functools import partial

import pytest
import torch

import maninegs_sampling as mn
from tests.losses.cases import LOSSES, PATHS, forced, random_pair


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", LOSSES)
def test_first_and_second_derivatives(name, path):
    z = random_pair(4, 3)
    tau = torch.tensor(0.6, dtype=torch.float64, requires_grad=True)
    for ids in (None, torch.tensor([0, 1, 1, 2])):

        def loss(z_i, z_j, temperature, ids=ids):
            return LOSSES[name](z_i, z_j, temperature=temperature, ids=ids, reduction="none")

        with forced(path):
            assert torch.autograd.gradcheck(loss, (*z, tau))
            assert torch.autograd.gradgradcheck(loss, (*z, tau))


def test_derivatives_of_one_side_alone():
    x, y = random_pair(5, 3)
    for fixed_first in (True, False):
        inputs = (x.detach(), y) if fixed_first else (x, y.detach())
        with forced("blocks of 2"):
            loss = partial(mn.inter_modal_nt_xent, temperature=0.5)
            assert torch.autograd.gradcheck(loss, inputs)
            assert torch.autograd.gradgradcheck(loss, inputs)


def test_backward_may_run_twice():
    z = random_pair(6, 3)
    with forced("one block"):
        loss = mn.nt_xent(*z)
        first = torch.autograd.grad(loss, z, retain_graph=True)
        assert torch.equal(torch.stack(first), torch.stack(torch.autograd.grad(loss, z)))
