"""Ids and numbers that the losses accept or refuse."""

from decimal import Decimal
from fractions import Fraction
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

import maninegs_sampling as mn
from maninegs_sampling.errors import InvalidTypeError, InvalidValueError, ManiNegError
from tests.losses.cases import ALL, LOSSES, PATHS, forced, random_pair


class NotANumber:
    def __repr__(self):
        return "<no number>"


@pytest.mark.parametrize("loss", ALL.values(), ids=ALL)
@pytest.mark.parametrize(
    ("ids", "error", "message"),
    [
        (list("abca"), InvalidTypeError, r"got <U1, the first .*'a'.*return_inverse=True\)\[1\]"),
        ("abca", InvalidTypeError, "ids must be integers"),
        (np.array(list("abca"), dtype=object), InvalidTypeError, "got object, the first 'a'"),
        ([1, None, 2, 3], InvalidTypeError, "ids must be integers.*got object"),
        ([None] * 4, InvalidTypeError, "ids must be integers.*got object, the first None"),
        (np.arange(4.0), InvalidTypeError, "ids must be integers.*got float64"),
        (torch.arange(4.0), InvalidTypeError, "ids must be integers.*got torch.float32"),
        (torch.arange(4) + 0j, InvalidTypeError, "got torch.complex64"),
        ({1, 2, 3, 4}, InvalidTypeError, "ids must be integers.*got object"),
        ([[1, 2], [3]], InvalidTypeError, r"ids must be integers.*\[\[1, 2\], \[3\]\]"),
        ([[1, 2], [3, 4]], InvalidValueError, r"shape \(4,\).*got \(2, 2\)"),
        ([[1], [2], [3], [4]], InvalidValueError, r"shape \(4,\).*got \(4, 1\)"),
        ([], InvalidValueError, r"shape \(4,\).*got \(0,\)"),
        (torch.tensor([]), InvalidValueError, r"shape \(4,\).*got \(0,\)"),
        (7, InvalidValueError, r"shape \(4,\).*got \(\)"),
    ],
)
def test_bad_ids_are_named(loss, ids, error, message):
    z = torch.ones(4, 3)
    with pytest.raises(error, match=message):
        loss(z, z, ids=ids)


INTEGERS = ["bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("kind", INTEGERS)
def test_ids_of_every_integer_type(kind, path):
    z = random_pair(5, 3)
    same = [[0, 1, 1, 0, 0], [1, 0, 0, 1, 1], np.array([0, 1, 1, 0, 0])[::-1][::-1]]
    kinds = [torch.tensor([0, 1, 1, 0, 0]).to(getattr(torch, kind))]
    kinds += [np.array(each, dtype=kind) for each in same]
    kinds += [np.array(same[0], dtype=kind).astype(np.dtype(kind).newbyteorder())]
    kinds += [[torch.tensor(i).to(getattr(torch, kind)) for i in same[0]]]  # type: ignore[attr-defined]
    kinds[1].flags.writeable = False  # type: ignore[attr-defined]
    smoothed = {
        name: partial(getattr(mn, name), label_smoothing=0.3)
        for name in ("nt_xent", "inter_modal_nt_xent", "multimodal_nt_xent")
    }
    with forced(path):
        for loss in [*ALL.values(), *smoothed.values()]:
            expected = loss(*z, ids=torch.tensor([5, -3, -3, 5, 5]))
            for ids in kinds:
                torch.testing.assert_close(loss(*z, ids=ids), expected)


@pytest.mark.parametrize("make", [np.array, torch.tensor, lambda ids, dtype: ids])
def test_large_unsigned_ids_do_not_collide(make):
    z = random_pair(5, 3)
    dtype = torch.uint64 if make is torch.tensor else np.uint64
    ids = make([2**63, 0, 2**64 - 1, 2**63, 2**63 + 1], dtype=dtype)
    for name in ("nt_xent", "hard_negative_nt_xent"):
        expected = LOSSES[name](*z, ids=[0, 1, 2, 0, 3])
        torch.testing.assert_close(LOSSES[name](*z, ids=ids), expected)
    for beyond in ([2**64, 0, 1, 2, 3], [2**63, -1, 0, 1, 2]):
        with pytest.raises(InvalidTypeError, match="ids must be integers"):
            mn.nt_xent(*z, ids=beyond)


NUMBERS = {  # by option: the losses that take it, and a valid value
    "temperature": [(name, 0.5) for name in ALL],
    "label_smoothing": [
        (name, 0.25)
        for name in ("nt_xent", "inter_modal_nt_xent", "multimodal_nt_xent", "mammo_clip_loss")
    ],
    "beta": [("hard_negative_nt_xent", 2.0), ("hard_negative_inter_modal_nt_xent", 2.0)],
    "tau_plus": [("hard_negative_nt_xent", 0.25), ("hard_negative_inter_modal_nt_xent", 0.25)],
    "image_weight": [("mammo_clip_loss", 2.0)],
    "text_weight": [("mammo_clip_loss", 2.0)],
    "margin": [("soft_label_contrastive", 2.0)],
}
EVERY_NUMBER = [(option, *each) for option, many in NUMBERS.items() for each in many]
SOFT = {
    "soft_label_contrastive": lambda a, b, **options: mn.soft_label_contrastive(
        a, b, torch.ones(len(a)) / 2, **options
    )
}


@pytest.mark.parametrize(("option", "name", "value"), EVERY_NUMBER)
def test_every_real_number_is_a_number(option, name, value):
    z = random_pair(4, 3)
    loss = (ALL | SOFT)[name]
    expected = loss(*z, **{option: value})
    kinds = [np.float16, np.float32, np.float64, np.longdouble, np.array, Fraction]
    if value == int(value):
        kinds += [int, np.int64, np.uint8]
    for kind in kinds:
        found = loss(*z, **{option: kind(value)})
        assert found.dtype == torch.float64
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(("option", "name", "value"), EVERY_NUMBER)
@pytest.mark.parametrize(
    "bad", ["0.5", None, True, np.True_, [0.5], np.array([0.5]), 0.5j, NotANumber(), Decimal("0.5")]
)
def test_what_is_no_number_is_refused(option, name, value, bad):
    if (option, name) == ("label_smoothing", "multimodal_nt_xent") and isinstance(
        bad, list | np.ndarray
    ):
        pytest.skip("one number for each term, of which there is one here")
    z = torch.ones(4, 3)
    with pytest.raises(InvalidTypeError, match=f"{option} must be a number.*; got ") as caught:
        (ALL | SOFT)[name](z, z, **{option: bad})
    assert repr(bad) in str(caught.value)


@pytest.mark.parametrize(("option", "name", "value"), EVERY_NUMBER)
def test_numbers_that_are_not_finite_are_refused(option, name, value):
    z = torch.ones(4, 3)
    for bad in (float("nan"), float("inf"), np.float32("inf"), 10**400):
        with pytest.raises(InvalidValueError, match=f"^{option} "):
            (ALL | SOFT)[name](z, z, **{option: bad})


def test_a_tensor_among_the_numbers_does_not_lose_its_gradient():
    z = torch.ones(4, 3)
    with pytest.raises(InvalidTypeError, match="image_weight must be a number; got Parameter"):
        mn.mammo_clip_loss(z, z, z, z, image_weight=nn.Parameter(torch.tensor(1.0)))


def test_weights_are_numbers():
    z = random_pair(4, 3)
    loss = partial(mn.multimodal_nt_xent, *z, [z[0], z[1]])
    expected = loss(weights=[2.0, 0.5])
    for weights in (np.array([2, 0.5]), (np.float32(2), 0.5), [Fraction(2), np.float16(0.5)]):
        torch.testing.assert_close(loss(weights=weights), expected)
    for bad, message in [
        ([1.0, None], r"weights\[1\] must be a number; got None"),
        (["1", 1.0], r"weights\[0\] must be a number; got '1'"),
        ([True, 1.0], r"weights\[0\] must be a number; got True"),
        (1.0, "weights must be a sequence of numbers; got 1.0"),
        ("12", "weights must be a sequence of numbers; got '12'"),
        ({"a": 1.0, "b": 2.0}, "weights must be a sequence of numbers; got {'a'"),
    ]:
        with pytest.raises(InvalidTypeError, match=message):
            loss(weights=bad)
    with pytest.raises(InvalidValueError, match=r"weights\[0\] must be finite; got nan"):
        loss(weights=[float("nan"), 1.0])


def test_modules_take_numpy_numbers_for_their_temperature():
    module = mn.NTXentLoss(np.float32(0.5), min_temperature=np.float64(0.1))
    torch.testing.assert_close(module.temperature.detach(), torch.tensor(0.5))
    for bad in ("0.5", None, True, torch.tensor(0.5)):
        with pytest.raises(InvalidTypeError, match=r"^temperature must be a number; got"):
            mn.NTXentLoss(bad)
        with pytest.raises(InvalidTypeError, match="min_temperature must be a number; got"):
            mn.NTXentLoss(0.5, min_temperature=bad)


def test_the_logit_scale_of_clip_gets_its_gradient():
    z = random_pair(6, 4)
    scale = torch.tensor(14.3, dtype=torch.float64, requires_grad=True)
    x, y = (nn.functional.normalize(row) for row in z)
    logits, target = scale * x @ y.T, torch.arange(6)
    expected = sum(nn.functional.cross_entropy(side, target) for side in (logits, logits.T)) / 2
    found = mn.inter_modal_nt_xent(*z, temperature=1 / scale)
    torch.testing.assert_close(found, expected)
    right = torch.autograd.grad(expected, [scale, *z], retain_graph=True)
    torch.testing.assert_close(torch.autograd.grad(found, [scale, *z]), right)


@pytest.mark.parametrize(
    "options",
    [
        {"ids": ["a" * 10_000] * 4},
        {"ids": [[1] * 5_000, [2]]},
        {"temperature": "a" * 10_000},
        {"temperature": 10**4000},
        {"normalize": "a" * 10_000},
        {"gather": "a" * 10_000},
        {"weights": "a" * 10_000},
        {"label_smoothing": [0.5] * 5_000},
    ],
    ids=lambda options: next(iter(options)),
)
def test_messages_cut_long_values(options):
    z = torch.ones(4, 3)
    with pytest.raises(ManiNegError) as caught:
        mn.multimodal_nt_xent(z, z, **options)
    assert len(str(caught.value)) < 300


def test_messages_of_soft_labels_cut_long_values():
    with pytest.raises(
        InvalidTypeError, match="distances must be a floating-point tensor"
    ) as caught:
        mn.gaussian_mixture_soft_labels(list(range(10_000)))
    assert len(str(caught.value)) < 300
