"""Values and gradients of the losses, on every path, against their slow twins."""

import math
from contextlib import contextmanager
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import maninegs_sampling as mn
from maninegs_sampling.losses import cross_entropy, negatives
from tests import naive_losses

NAIVE = {
    "nt_xent": naive_losses.nt_xent,
    "inter_modal_nt_xent": naive_losses.inter_modal_nt_xent,
    "hard_negative_nt_xent": naive_losses.hard_negative_nt_xent,
    "hard_negative_inter_modal_nt_xent": naive_losses.hard_negative_inter_modal_nt_xent,
}
HARD = {"beta": 1.0, "tau_plus": 0.1}
OPTIONS = {name: HARD if name.startswith("hard") else {} for name in NAIVE}
LOSSES = {name: partial(getattr(mn, name), **OPTIONS[name]) for name in NAIVE}

# Which way is taken: the whole matrix, blocks of 2 or 3 rows, or one block kept; with exponentials
# as they are or shifted by their sums.
PATHS = {
    "direct": {"DIRECT_LOGITS": 2**40},
    "one block": {"DIRECT_LOGITS": 0},
    "one block, shifted": {"DIRECT_LOGITS": 0, "SAFE_LOGIT": 0.0},
    "blocks of 2": {"DIRECT_LOGITS": 0, "BLOCK": 2},
    "blocks of 3, shifted": {"DIRECT_LOGITS": 0, "BLOCK": 3, "SAFE_LOGIT": 0.0},
}


@contextmanager
def forced(path):
    """Take one of PATHS."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in PATHS[path].items():
            if name == "SAFE_LOGIT":
                value = dict.fromkeys(negatives.SAFE_LOGIT, value)
            patch.setattr(cross_entropy if name == "DIRECT_LOGITS" else negatives, name, value)
        yield


def random_pair(n, d, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(n, d, generator=generator, dtype=dtype).requires_grad_() for _ in range(2)]


def with_gradients(losses, *inputs):
    """The losses and the gradients of a sum that weights each of them differently."""
    weights = torch.linspace(0.5, 1.5, len(losses), dtype=losses.dtype)
    found = torch.autograd.grad((losses * weights).sum(), inputs)
    return [losses.detach(), *found]


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


# Closed forms


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("tau", [0.01, 0.05, 0.7, 10.0])
def test_closed_forms(path, tau):
    n = 5
    equal = torch.ones(n, 3, dtype=torch.float64)
    orthogonal = torch.eye(n, 2 * n, dtype=torch.float64)
    with forced(path):
        # all views equal: 2N - 1 candidates, all alike
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
    # all weights are 1, and the own class takes its share: N' (1 - tau_plus) / (1 - tau_plus)
    z = torch.ones(4, 3, dtype=torch.float64)
    for tau_plus in (0.0, 0.1, 0.5):
        loss = mn.hard_negative_nt_xent(z, z, temperature=0.5, tau_plus=tau_plus)
        assert float(loss) == pytest.approx(math.log(7))


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

    found = mn.multimodal_nt_xent(cc, m, temperature=0.4)  # one view: nothing but the modality
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


def test_mammo_clip_is_its_six_terms():
    image, image_view = random_pair(6, 4)
    text, text_view = random_pair(6, 4, seed=1)
    found = mn.mammo_clip_loss(
        image, image_view, text, text_view, temperature=0.3, label_smoothing=0.1
    )
    logits = [
        (torch.nn.functional.normalize(a) @ torch.nn.functional.normalize(b).T / 0.3, smoothing)
        for a, b, smoothing in [
            *((a, b, 0.1) for a in (image, image_view) for b in (text, text_view)),
            (image, image_view, 0.0),
            (text, text_view, 0.0),
        ]
    ]
    target = torch.arange(6)
    values = [
        sum(
            torch.nn.functional.cross_entropy(side, target, label_smoothing=smoothing)
            for side in (s, s.T)
        )
        / 2
        for s, smoothing in logits
    ]
    torch.testing.assert_close(found, sum(values[:4]) / 4 + values[4] + 0.5 * values[5])


# What must not matter


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", LOSSES)
def test_scale_and_order_do_not_matter(name, path):
    x, y = random_pair(7, 3)
    with forced(path):
        rows = LOSSES[name](x, y, reduction="none").view(2, -1)
        for scale in (1e-4, 1e4):
            scaled = LOSSES[name](x * scale, y / scale, reduction="none").view(2, -1)
            torch.testing.assert_close(scaled, rows, rtol=1e-9, atol=1e-9)
        order = torch.randperm(7, generator=torch.Generator().manual_seed(0))
        moved = LOSSES[name](x[order], y[order], reduction="none").view(2, -1)
        torch.testing.assert_close(moved, rows[:, order])
        swapped = LOSSES[name](y, x, reduction="none").view(2, -1)
        torch.testing.assert_close(swapped, rows.flip(0))


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", LOSSES)
def test_memory_layout_does_not_matter(name, path):
    x, y = random_pair(6, 4, dtype=torch.float32)
    with forced(path):
        expected = with_gradients(LOSSES[name](x, y, reduction="none"), x, y)
        layouts = (
            lambda z: z.detach().T.contiguous().T,
            lambda z: torch.stack((z.detach(), z.detach()), 1)[:, 0],
        )
        for layout in layouts:
            odd = [layout(z).requires_grad_() for z in (x, y)]
            assert not odd[0].is_contiguous()
            found = with_gradients(LOSSES[name](*odd, reduction="none"), *odd)
            torch.testing.assert_close(found, expected)
        one_view_twice = LOSSES[name](x, x)
        torch.testing.assert_close(one_view_twice, LOSSES[name](x, x.clone()))


@pytest.mark.parametrize("name", LOSSES)
def test_reductions(name):
    z = random_pair(6, 4)
    rows = LOSSES[name](*z, reduction="none")
    assert rows.shape == (12,)
    torch.testing.assert_close(LOSSES[name](*z), rows.mean())
    torch.testing.assert_close(LOSSES[name](*z, reduction="sum"), rows.sum())


def test_reductions_of_weighted_sums():
    z = random_pair(6, 4) + random_pair(6, 4, seed=1)
    for loss, many in ((mn.multimodal_nt_xent, 3), (mn.mammo_clip_loss, 4)):
        rows = loss(*z[:many], reduction="none")
        assert rows.shape == (6,)
        torch.testing.assert_close(loss(*z[:many]), rows.mean())
        torch.testing.assert_close(loss(*z[:many], reduction="sum"), rows.sum())


# Numbers at their limits


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
        if path != "direct":  # autograd's own operations do not look back at the forward pass
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
