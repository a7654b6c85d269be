"""The losses of very large numbers, of inf and NaN, and of numbers that cancel."""

import math
from functools import partial

import pytest
import torch

import maninegs_sampling as mn
from tests.losses.cases import EVERY, PATHS, forced, random_pair

LENGTHS_KEPT = {
    name: partial(loss, normalize=False)
    for name, loss in EVERY.items()
    if "lengths kept" not in name
}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "loss", [mn.inter_modal_nt_xent, mn.multimodal_nt_xent], ids=lambda loss: loss.__name__
)
def test_large_rows_against_small_columns(loss, path):
    x = torch.tensor([[-100.0, 0.0], [-200.0, 0.0], [-300.0, 0.0], [-400.0, 0.0]])
    y = torch.tensor([[0.1, 0.0], [0.2, 0.0], [0.3, 0.0], [0.4, 0.0]])
    options = {"symmetric": False, "normalize": False, "temperature": 0.01, "reduction": "none"}
    expected = torch.tensor([0.0, 2000.0, 6000.0, 12000.0])
    expected[0] += math.exp(-1000)
    for ids in (None, range(4)):
        with forced(path):
            torch.testing.assert_close(loss(x, y, ids=ids, **options), expected)


@pytest.mark.parametrize("path", PATHS)
def test_large_rows_against_small_columns_under_hard_negatives(path):
    x, y = (z.detach() for z in random_pair(5, 3, dtype=torch.float32))
    options = {"symmetric": False, "normalize": False, "temperature": 0.01, "reduction": "none"}
    for scale in (1e3, 1e4):
        rows, columns = x * scale, y / 100
        exact = mn.hard_negative_inter_modal_nt_xent(rows.double(), columns.double(), **options)
        with forced(path):
            found = mn.hard_negative_inter_modal_nt_xent(rows, columns, **options)
        assert exact.isfinite().all()
        torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", EVERY | LENGTHS_KEPT)
def test_what_is_not_finite_is_not_hidden(name, path, bad):
    for loss in (EVERY[name], LENGTHS_KEPT.get(name, EVERY[name])):
        for n, place, side, others in [
            (5, 0, 0, None),
            (5, 3, 1, None),
            (5, 2, 0, "of one sign"),
            (1, 0, 0, None),
            (1, 0, 1, "of one sign"),
        ]:
            z = [row.detach() for row in random_pair(n, 3)]
            if others:
                z = [row.abs() for row in z]
                z[1 - side][torch.arange(n) != place] *= -1
            z[side][place, 1] = bad
            z = [row.requires_grad_() for row in z]
            for ids in (None, [7] * n, range(n)):
                with forced(path):
                    value = loss(*z, ids=ids)
                    gradients = torch.autograd.grad(value, z)
                assert not value.isfinite(), (n, place, side, others, ids)
                assert not all(g.isfinite().all() for g in gradients), (n, side, others, ids)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", [name for name in EVERY if "lengths kept" not in name])
def test_vectors_whose_length_overflows_do_not_count_as_zero(name, path):
    z = [row.detach() for row in random_pair(5, 3, dtype=torch.float32)]
    z[0][2] *= 1e25
    with forced(path):
        assert not EVERY[name](*z).isfinite()


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("smoothing", [0.1, 1.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_smoothing_without_negatives_is_exactly_0(path, smoothing, dtype):
    z = random_pair(9, 5, dtype=dtype)
    for loss in (mn.nt_xent, mn.inter_modal_nt_xent):
        for normalize in (True, False):
            options = {"label_smoothing": smoothing, "normalize": normalize, "temperature": 0.03}
            with forced(path):
                value = loss(*z, ids=[3] * 9, **options)
                gradients = torch.autograd.grad(value, z)
            assert float(value.detach()) == 0.0
            assert not any(g.any() for g in gradients)


def test_smoothing_with_few_negatives_loses_nothing_to_the_many_of_equal_id():
    # 3000 nearly equal vectors share an id; the two negatives are small beside their sum.
    x, y = (row.detach() for row in random_pair(3002, 4, dtype=torch.float32))
    x[2:], y[2:] = 1.0, 1.0 + y[2:] / 1e3
    ids = torch.zeros(3002, dtype=torch.int64)
    ids[:2] = torch.tensor([1, 2])
    options = {"ids": ids, "label_smoothing": 1.0, "temperature": 0.05, "reduction": "none"}
    for loss in (mn.nt_xent, mn.inter_modal_nt_xent):
        found = loss(x, y, **options).double()
        exact = loss(x.double(), y.double(), **options)
        assert (found - exact).abs().max() < 1e-5 * exact.abs().max()


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", [name for name in EVERY if "lengths kept" not in name])
def test_zero_vectors_have_finite_second_derivatives(name, path):
    z = [row.detach() for row in random_pair(5, 3)]
    z[0][2] = 0.0
    z[1][3] = 1e-13
    z = [row.requires_grad_() for row in z]
    with forced(path):
        first = torch.autograd.grad(EVERY[name](*z), z, create_graph=True)
        second = torch.autograd.grad(sum((g**2).sum() for g in first), z)
    assert all(g.isfinite().all() for g in second)
