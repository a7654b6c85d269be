"""More than two views, weights of directions and terms, and the accuracy of the contrast."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import maninegs_sampling as mn
from maninegs_sampling.errors import InvalidTypeError, InvalidValueError
from tests import naive_losses
from tests.losses.cases import PATHS, forced, random_pair, with_gradients


@pytest.mark.parametrize("path", PATHS)
@given(
    n_views=st.sampled_from([2, 3, 5]),
    n=st.sampled_from([1, 2, 5]),
    ids=st.none() | st.lists(st.integers(0, 2), min_size=5, max_size=5),
    smoothing=st.sampled_from([0.0, 0.3]),
    seed=st.integers(0, 2**20),
)
def test_any_number_of_views_equals_its_twin(path, n_views, n, ids, smoothing, seed):
    views = [random_pair(n, 3, seed + k)[0] for k in range(n_views)]
    tau = torch.tensor(0.4, dtype=torch.float64, requires_grad=True)
    ids = ids and ids[:n]
    expected = naive_losses.nt_xent_of_views(views, tau, ids, smoothing)
    options = {"ids": ids, "label_smoothing": smoothing, "reduction": "none"}
    with forced(path):
        found = mn.nt_xent(*views, temperature=tau, **options)
        found = with_gradients(found, *views, tau)
    right = with_gradients(expected, *views, tau)
    torch.testing.assert_close(found, right, rtol=1e-8, atol=1e-10)


def test_views_are_checked():
    z = torch.ones(4, 3)
    with pytest.raises(InvalidValueError, match=r"z_i and view 2 must have the same shape"):
        mn.nt_xent(z, z, torch.ones(5, 3))
    with pytest.raises(InvalidTypeError, match="view 2 must be a torch tensor; got float"):
        mn.nt_xent(z, z, 0.5)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("share", [0.0, 0.25, 0.75, 1.0])
def test_directions_have_weights(path, share):
    x, y = random_pair(6, 4)
    with forced(path):
        found = mn.inter_modal_nt_xent(x, y, image_weight=share)
        rows = mn.inter_modal_nt_xent(x, y, image_weight=share, reduction="none")
        there, back = (mn.inter_modal_nt_xent(a, b, symmetric=False) for a, b in ((x, y), (y, x)))
    torch.testing.assert_close(found, share * there + (1 - share) * back)
    torch.testing.assert_close(rows.mean(), found)


def test_image_weight_is_checked():
    z = torch.ones(4, 3)
    with pytest.raises(InvalidValueError, match=r"image_weight must lie in \[0, 1\]; got 1.5"):
        mn.inter_modal_nt_xent(z, z, image_weight=1.5)
    with pytest.raises(InvalidValueError, match=r"both directions; got 0.75 with symmetric=False"):
        mn.inter_modal_nt_xent(z, z, image_weight=0.75, symmetric=False)
    with pytest.raises(InvalidTypeError, match="image_weight must be a number; got '1'"):
        mn.InterModalNTXentLoss(image_weight="1")


def test_terms_have_their_own_smoothing_and_modalities_their_own_term():
    cc, mlo = random_pair(6, 4)
    text, table = random_pair(6, 4, seed=1)
    smoothing = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]
    options = {"temperature": 0.4, "modality_weight": 0.3, "label_smoothing": smoothing}
    found = mn.multimodal_nt_xent(cc, mlo, [text, table], **options)

    def inter(a, b, share):
        return mn.inter_modal_nt_xent(a, b, temperature=0.4, label_smoothing=share)

    expected = (inter(cc, text, 0.0) + inter(mlo, text, 0.1)) / 2
    expected = expected + (inter(cc, table, 0.2) + inter(mlo, table, 0.3)) / 2
    expected = expected + mn.nt_xent(cc, mlo, temperature=0.4, label_smoothing=0.4)
    torch.testing.assert_close(found, expected + 0.3 * inter(text, table, 0.5))

    module = mn.MultimodalNTXentLoss(
        0.4, n_modalities=2, temperature_per_term=True, modality_weight=0.3,
        label_smoothing=smoothing,
    )  # fmt: skip
    loss, terms = module(cc, mlo, [text, table], return_terms=True)
    torch.testing.assert_close(loss, found, rtol=1e-5, atol=1e-6)
    assert "temperature/modality0-modality1" in terms


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"label_smoothing": [0.1]}, InvalidValueError, r"each of the 3 terms; got \[0.1\]"),
        ({"label_smoothing": [0.1, 2, 0]}, InvalidValueError, r"label_smoothing\[1\] must lie in"),
        ({"label_smoothing": ["a"] * 3}, InvalidTypeError, r"label_smoothing\[0\] must be a num"),
        ({"modality_weight": "1"}, InvalidTypeError, "modality_weight must be a number; got '1'"),
    ],
)
def test_terms_are_checked(options, error, message):
    z = torch.ones(4, 3)
    with pytest.raises(error, match=message):
        mn.multimodal_nt_xent(z, z, z, **options)


@pytest.mark.parametrize("path", PATHS)
@given(
    n=st.sampled_from([1, 2, 7]),
    ids=st.none() | st.lists(st.integers(0, 3), min_size=7, max_size=7),
    seed=st.integers(0, 2**20),
)
def test_accuracies_equal_their_twins(path, n, ids, seed):
    z = random_pair(n, 3, seed, dtype=torch.float32)
    ids = ids and ids[:n]
    for module, rows in (
        (mn.NTXentLoss(0.3), naive_losses.rows_within),
        (mn.InterModalNTXentLoss(0.3), naive_losses.rows_between),
        (mn.InterModalNTXentLoss(0.3, symmetric=False), naive_losses.rows_between),
    ):
        options = (False,) if "symmetric=False" in repr(module) else ()
        expected = naive_losses.accuracies(rows(z[0], z[1], ids, True, *options))
        with forced(path):
            loss, terms = module(*z, ids=ids, return_terms=True)
            torch.testing.assert_close(loss, module(*z, ids=ids))
        for top, share in expected.items():
            assert float(terms[top]) == pytest.approx(share), top
            assert not terms[top].requires_grad


@pytest.mark.parametrize("path", PATHS)
def test_accuracies_of_many_views(path):
    z = torch.eye(4, 6) + 0.1 * torch.ones(4, 6)
    with forced(path):
        _, terms = mn.NTXentLoss()(z, z, z + 0.01, return_terms=True)
        assert float(terms["top1"]) == 1.0
        # The third view is that of another instance: 4 of 6 pairs of views are wrong.
        _, terms = mn.NTXentLoss()(z, z, z.roll(1, 0), return_terms=True)
    assert float(terms["top1"]) == pytest.approx(0.0)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("value", [1.0, 0.0, float("nan")])
def test_a_collapsed_encoder_has_no_accuracy(path, value):
    z = torch.full((7, 3), value)
    z[:, 0] *= 0.3
    with forced(path):
        for module in (mn.NTXentLoss(0.07), mn.InterModalNTXentLoss(0.07)):
            _, terms = module(z, z, return_terms=True)
            assert float(terms["top1"]) == 0.0
            assert float(terms["top5"]) == 0.0
