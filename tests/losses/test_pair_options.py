"""Weights of negatives and masks of pairs."""

from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import maninegs_sampling as mn
from maninegs_sampling.errors import InvalidTypeError, InvalidValueError
from tests import naive_losses
from tests.losses.cases import PATHS, forced, random_pair, with_gradients

LOSSES = ((mn.nt_xent, False), (mn.inter_modal_nt_xent, True))


def less_if_similar(similarity):
    return 1 - 0.5 * similarity


def much_more_if_far(similarity):
    return 1 + 40 * (1 - similarity) ** 2


def random_bits(n, width, seed):
    return np.random.default_rng(seed).random((n, width)) < 0.4


def random_masks(n, seed):
    """A mask of positives and one of pairs to ignore, neither symmetric, with no pair in both."""
    drawn = np.random.default_rng(seed).integers(0, 4, (n, n))
    return drawn == 0, drawn == 1


@pytest.mark.parametrize("path", PATHS)
@given(
    n=st.sampled_from([1, 2, 7]),
    ids=st.none() | st.lists(st.integers(0, 3), min_size=7, max_size=7),
    weight=st.sampled_from([less_if_similar, much_more_if_far]),
    kind=st.sampled_from(["jaccard", "hamming"]),
    seed=st.integers(0, 2**20),
)
def test_weighted_losses_equal_their_twins(path, n, ids, weight, kind, seed):
    z, bits = random_pair(n, 3, seed), random_bits(n, 5, seed)
    tau = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    ids = ids and ids[:n]
    for loss, between in LOSSES:
        twin = naive_losses.of_pairs(z, tau, ids, bits.tolist(), weight, kind, between=between)
        expected = with_gradients(twin, *z, tau)
        with forced(path):
            losses = loss(
                *z, temperature=tau, ids=ids, bits=bits, negative_weights=weight, similarity=kind,
                reduction="none",
            )  # fmt: skip
            found = with_gradients(losses, *z, tau)
        torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-9)


@given(
    n=st.sampled_from([1, 2, 6]),
    ids=st.none() | st.lists(st.integers(0, 3), min_size=6, max_size=6),
    masks=st.sampled_from(["positive", "ignore", "both"]),
    weighted=st.booleans(),
    seed=st.integers(0, 2**20),
)
def test_masked_losses_equal_their_twins(n, ids, masks, weighted, seed):
    z, bits = random_pair(n, 3, seed), random_bits(n, 5, seed)
    positive, ignored = random_masks(n, seed)
    positive = None if masks == "ignore" else positive
    ignored = None if masks == "positive" else ignored
    tau = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    ids = ids and ids[:n]
    weights = {"bits": bits, "negative_weights": less_if_similar} if weighted else {}
    for loss, between in LOSSES:
        twin = naive_losses.of_pairs(
            z, tau, ids, bits.tolist(), less_if_similar if weighted else None,
            positive=positive, ignore=ignored, between=between,
        )  # fmt: skip
        losses = loss(
            *z, temperature=tau, ids=ids, positive_mask=positive, ignore=ignored,
            reduction="none", **weights,
        )  # fmt: skip
        found, expected = (with_gradients(each, *z, tau) for each in (losses, twin))
        torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-9)


def test_more_views_take_weights_and_masks():
    views = [*random_pair(5, 3, 1), random_pair(5, 3, 2)[0]]
    bits, (positive, ignored) = random_bits(5, 6, 3), random_masks(5, 4)
    for masks in ((None, None), (positive, ignored)):
        losses = mn.nt_xent(
            *views, temperature=0.3, bits=bits, negative_weights=less_if_similar,
            positive_mask=masks[0], ignore=masks[1], reduction="none",
        )  # fmt: skip
        expected = naive_losses.of_pairs(
            views, 0.3, None, bits.tolist(), less_if_similar, positive=masks[0], ignore=masks[1]
        )
        torch.testing.assert_close(losses, expected, rtol=1e-8, atol=1e-9)


def test_weights_of_imolclr():
    # Wang et al. 2022: the logit of a negative is its cosine times 1 - lambda * Tanimoto.
    z_i, z_j = random_pair(6, 4)
    bits, share = random_bits(6, 9, 0), 0.5
    z = torch.nn.functional.normalize(torch.cat([z_i, z_j]), dim=1)
    on = torch.as_tensor(np.concatenate([bits, bits])).double()
    both = on @ on.T
    tanimoto = both / (on.sum(1)[:, None] + on.sum(1) - both)
    logits = z @ z.T / 0.1
    partner = torch.arange(12).roll(6)
    positive = logits[torch.arange(12), partner]
    negatives = logits * (1 - share * tanimoto)
    negatives[torch.arange(12), partner] = -torch.inf
    negatives.fill_diagonal_(-torch.inf)
    expected = (torch.logaddexp(positive, negatives.logsumexp(1)) - positive).mean()
    found = mn.nt_xent(
        z_i, z_j, temperature=0.1, bits=bits, negative_weights=lambda s: 1 - share * s
    )
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def test_masks_say_the_same_as_ids_and_labels():
    z, ids = random_pair(6, 4), torch.tensor([0, 0, 1, 2, 2, 2])
    same = ids[:, None] == ids
    for loss, _ in LOSSES:
        torch.testing.assert_close(loss(*z, ignore=same), loss(*z, ids=ids))


def test_gradients_are_those_of_finite_differences():
    z, bits = random_pair(4, 3), random_bits(4, 5, 1)
    positive, ignored = random_masks(4, 2)
    for loss, _ in LOSSES:
        for options in (
            {"bits": bits, "negative_weights": less_if_similar},
            {"positive_mask": positive, "ignore": ignored},
        ):
            assert torch.autograd.gradcheck(partial(loss, reduction="none", **options), z)
            assert torch.autograd.gradgradcheck(partial(loss, **options), z)


def test_second_derivatives_without_negatives_are_those_of_the_positives():
    z = random_pair(3, 3)
    nobody = torch.ones(3, 3, dtype=torch.bool)
    for loss, _ in LOSSES:
        for options in ({"ids": [1, 1, 1]}, {"ignore": nobody}):
            first = torch.autograd.grad(loss(*z, **options), z, create_graph=True)
            second = torch.autograd.grad(sum(each.sum() for each in first), z)
            for found in (*first, *second):
                torch.testing.assert_close(found, torch.zeros_like(found))


def test_modules_take_weights_and_masks():
    z, bits = [each.detach() for each in random_pair(5, 3)], random_bits(5, 6, 3)
    positive, ignored = random_masks(5, 4)
    for module, loss in (
        (mn.NTXentLoss, mn.nt_xent),
        (mn.InterModalNTXentLoss, mn.inter_modal_nt_xent),
    ):
        options = {"negative_weights": less_if_similar, "similarity": "hamming"}
        made = module(0.5, learnable=False, **options)
        of_call = {"bits": bits, "positive_mask": positive, "ignore": ignored}
        found, terms = made(*z, **of_call, return_terms=True)
        expected = loss(*z, temperature=0.5, **options, **of_call)
        torch.testing.assert_close(found, expected)
        assert 0 <= terms["top1"] <= terms["top5"] <= 1
        with pytest.raises(InvalidValueError, match="need each other; got only negative_weights"):
            made(*z)
        with pytest.raises(InvalidTypeError, match="must be a function"):
            module(negative_weights=0.5)


def test_accuracies_count_weighted_negatives():
    # Two instances; without weights the other instance is nearer than the partner.
    z_image, z_other = torch.eye(2), torch.tensor([[0.6, 0.8], [0.8, 0.6]])
    criterion = mn.InterModalNTXentLoss()
    assert criterion(z_image, z_other, return_terms=True)[1]["top1"] == 0
    weighted = mn.InterModalNTXentLoss(negative_weights=lambda s: 0.5 * s)
    bits = torch.ones(2, 3, dtype=torch.bool)
    assert weighted(z_image, z_other, bits=bits, return_terms=True)[1]["top1"] == 1


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"positive_mask": np.ones((3, 3), bool)}, InvalidValueError, r"positive_mask must have the shape \(4, 4\).*got \(3, 3\)"),
        ({"ignore": torch.zeros(4, 4)}, InvalidTypeError, "ignore must be a tensor or an array of booleans"),
        ({"ignore": [[True] * 4] * 4}, InvalidTypeError, "ignore must be a tensor or an array of booleans"),
        ({"ignore": torch.ones(4, 4).bool(), "positive_mask": torch.ones(4, 4).bool()}, InvalidValueError, r"both positive_mask and ignore; got the pair \(0, 1\)"),
        ({"bits": np.ones((4, 2), bool)}, InvalidValueError, "need each other; got only bits"),
        ({"negative_weights": less_if_similar}, InvalidValueError, "need each other; got only negative_weights"),
        ({"negative_weights": lambda s: s - 0.5, "bits": np.eye(4)}, InvalidValueError, "at least 0; got -0.5"),
        ({"negative_weights": lambda s: s / 0.0, "bits": np.eye(4)}, InvalidValueError, "finite numbers"),
        ({"negative_weights": lambda s: s / s.sum(), "bits": np.eye(4)}, InvalidValueError, "must be elementwise"),
        ({"negative_weights": lambda s: 0.5, "bits": np.eye(4)}, InvalidTypeError, "must return a tensor"),
        ({"negative_weights": less_if_similar, "bits": np.eye(3)}, InvalidValueError, r"bits must have the shape \(4, B\)"),
        ({"negative_weights": less_if_similar, "bits": np.eye(4), "similarity": "cosine"}, InvalidValueError, "similarity"),
        ({"positive_mask": torch.eye(4).bool(), "label_smoothing": 0.1}, InvalidValueError, "must be 0 with positive_mask"),
        ({"ignore": torch.eye(4).bool(), "memory": mn.CrossBatchMemory(4, 3)}, InvalidValueError, "ignore must be None with a memory"),
    ],
)  # fmt: skip
def test_options_are_checked(options, error, message):
    z = torch.ones(4, 3)
    for loss, _ in LOSSES:
        with pytest.raises(error, match=message):
            loss(z, z, **options)
