"""The multimodal loss is the sum of its terms."""

from functools import partial

import pytest
import torch

import maninegs_sampling as mn
from maninegs_sampling.errors import InvalidTypeError, InvalidValueError
from tests.losses.cases import random_pair


def test_multimodal_is_equation_6():
    cc, mlo = random_pair(6, 4)
    m, report = random_pair(6, 4, seed=1)
    inter = partial(mn.inter_modal_nt_xent, temperature=0.4)
    views = partial(mn.nt_xent, temperature=0.4)
    expected = (inter(cc, m) + inter(mlo, m)) / 2 + views(cc, mlo)
    torch.testing.assert_close(mn.multimodal_nt_xent(cc, mlo, m, temperature=0.4), expected)

    found = mn.multimodal_nt_xent(cc, mlo, [m, report], temperature=0.4, weights=[2.0, 0.5])
    expected = inter(cc, m) + inter(mlo, m) + (inter(cc, report) + inter(mlo, report)) / 4
    torch.testing.assert_close(found, expected + views(cc, mlo))

    found = mn.multimodal_nt_xent(cc, m, temperature=0.4)  # one view has no pairs of views
    torch.testing.assert_close(found, inter(cc, m))

    third = report
    found = mn.multimodal_nt_xent(cc, mlo, third, m, temperature=0.4)
    pairs = (views(cc, mlo) + views(cc, third) + views(mlo, third)) / 3
    expected = (inter(cc, m) + inter(mlo, m) + inter(third, m)) / 3 + pairs
    torch.testing.assert_close(found, expected)


def test_multimodal_takes_a_temperature_for_each_term():
    cc, mlo = random_pair(6, 4)
    m = random_pair(6, 4, seed=1)[0]
    taus = torch.tensor([0.2, 0.3, 0.4], dtype=torch.float64, requires_grad=True)
    found = mn.multimodal_nt_xent(cc, mlo, m, temperature=taus)
    inter = mn.inter_modal_nt_xent
    expected = inter(cc, m, temperature=0.2) / 2 + inter(mlo, m, temperature=0.3) / 2
    torch.testing.assert_close(found, expected + mn.nt_xent(cc, mlo, temperature=0.4))
    (gradient,) = torch.autograd.grad(found, taus)
    assert gradient.abs().min() > 0


def test_multimodal_arguments():
    z = torch.ones(4, 3)
    with pytest.raises(InvalidValueError, match="got 1 arguments"):
        mn.multimodal_nt_xent(z)
    with pytest.raises(InvalidValueError, match="got 0 weights and 0 modalities"):
        mn.multimodal_nt_xent(z, [])
    with pytest.raises(InvalidValueError, match="got 1 weights and 2 modalities"):
        mn.multimodal_nt_xent(z, z, [z, z], weights=[1.0])
    with pytest.raises(InvalidValueError, match=r"each of the 3 terms.*\(2,\)"):
        mn.multimodal_nt_xent(z, z, z, temperature=torch.ones(2))
    with pytest.raises(InvalidTypeError, match="modality 0 must be a torch tensor; got int"):
        mn.multimodal_nt_xent(z, z, 3)
