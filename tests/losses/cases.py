"""The losses, their slow twins, and the paths that a batch can take."""

from contextlib import contextmanager
from functools import partial

import pytest
import torch

import maninegs_sampling as mn
from maninegs_sampling.losses import contrast, negatives, products
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
ALL = LOSSES | {
    "multimodal_nt_xent": mn.multimodal_nt_xent,
    "mammo_clip_loss": lambda a, b, **options: mn.mammo_clip_loss(a, b, a, b, **options),
    "siglip_loss": mn.siglip_loss,
}


def sup_con_of_views(a, b, ids=None, **options):
    """sup_con of two views, whose labels are the ids."""
    labels = torch.arange(len(a)) if ids is None else torch.as_tensor(ids)
    return mn.sup_con(torch.cat([a, b]), labels.repeat(2), **options)


def lowest_bits(numbers):
    """The five lowest bits of each number."""
    return numbers[:, None] // 2 ** torch.arange(5) % 2


def multi_label_of_views(a, b, ids=None, **options):
    """multi_label_sup_con of two views, with the lowest bits of ids + 1."""
    labels = torch.arange(len(a)) if ids is None else torch.as_tensor(ids)
    bits = lowest_bits(labels + 1)
    return mn.multi_label_sup_con(torch.cat([a, b]), bits.repeat(2, 1), **options)


def weighted(loss):
    """The loss with negatives that weigh less where the lowest bits of their numbers are similar."""

    def with_weights(a, b, **options):
        bits = lowest_bits(torch.arange(len(a)))
        return loss(a, b, bits=bits, negative_weights=lambda s: 1 - 0.5 * s, **options)

    return with_weights


# Each takes two embeddings; the more general ones get one of them twice.
EVERY = {
    "nt_xent": mn.nt_xent,
    "nt_xent, smoothed": partial(mn.nt_xent, label_smoothing=0.2),
    "nt_xent, four views": lambda a, b, **options: mn.nt_xent(a, b, a + b, a - b, **options),
    "nt_xent, lengths kept": partial(mn.nt_xent, normalize=False),
    "inter_modal_nt_xent": mn.inter_modal_nt_xent,
    "inter_modal_nt_xent, one direction, smoothed": partial(
        mn.inter_modal_nt_xent, symmetric=False, label_smoothing=0.2
    ),
    "hard_negative_nt_xent": partial(mn.hard_negative_nt_xent, **HARD),
    "hard_negative_inter_modal_nt_xent, lengths kept": partial(
        mn.hard_negative_inter_modal_nt_xent, normalize=False, **HARD
    ),
    "multimodal_nt_xent": lambda a, b, **options: mn.multimodal_nt_xent(a, b, a + b, **options),
    "mammo_clip_loss": lambda a, b, **options: mn.mammo_clip_loss(a, b, a + b, b, **options),
    "nt_xent, log_q": lambda a, b, **options: mn.nt_xent(
        a, b, log_q=torch.linspace(-1, 1, len(a), device=a.device), **options
    ),
    "nt_xent, weighted": weighted(mn.nt_xent),
    "inter_modal_nt_xent, weighted": weighted(mn.inter_modal_nt_xent),
    "siglip_loss": mn.siglip_loss,
    "hardness_weighted_nt_xent": mn.hardness_weighted_nt_xent,
    "hardness_weighted_inter_modal_nt_xent": mn.hardness_weighted_inter_modal_nt_xent,
    "siglip_loss, large bias": partial(mn.siglip_loss, bias=3.0),
    "sup_con": sup_con_of_views,
    "multi_label_sup_con": multi_label_of_views,
    "multi_label_sup_con, hamming": partial(multi_label_of_views, similarity="hamming"),
}


# The number of embeddings that each takes.
MODULES = {
    "NTXentLoss": 2,
    "InterModalNTXentLoss": 2,
    "HardNegativeNTXentLoss": 2,
    "HardNegativeInterModalNTXentLoss": 2,
    "MultimodalNTXentLoss": 3,
    "MammoCLIPLoss": 4,
    "SigLIPLoss": 2,
    "HardnessWeightedNTXentLoss": 2,
    "HardnessWeightedInterModalNTXentLoss": 2,
}
FUNCTIONS = {
    "NTXentLoss": mn.nt_xent,
    "InterModalNTXentLoss": mn.inter_modal_nt_xent,
    "HardNegativeNTXentLoss": mn.hard_negative_nt_xent,
    "HardNegativeInterModalNTXentLoss": mn.hard_negative_inter_modal_nt_xent,
    "MultimodalNTXentLoss": mn.multimodal_nt_xent,
    "MammoCLIPLoss": mn.mammo_clip_loss,
    "SigLIPLoss": mn.siglip_loss,
    "HardnessWeightedNTXentLoss": mn.hardness_weighted_nt_xent,
    "HardnessWeightedInterModalNTXentLoss": mn.hardness_weighted_inter_modal_nt_xent,
}


# The whole matrix, blocks of 2 or 3 rows, or one block that is kept; with sums of exponentials or
# with shifted logarithms.
PATHS = {
    "direct": {"DIRECT_LOGITS": 2**40},
    "one block": {"DIRECT_LOGITS": 0},
    "one block, shifted": {"DIRECT_LOGITS": 0, "SAFE_LOGIT": 0.0},
    "blocks of 2": {"DIRECT_LOGITS": 0, "BLOCK": 2},
    "blocks of 3, shifted": {"DIRECT_LOGITS": 0, "BLOCK": 3, "SAFE_LOGIT": 0.0},
}


MODULE_OF = {"DIRECT_LOGITS": contrast, "BLOCK": products, "SAFE_LOGIT": negatives}


@contextmanager
def forced(path):
    """Force the losses onto one of PATHS."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in PATHS[path].items():  # type: ignore[attr-defined]
            if name == "SAFE_LOGIT":
                value = dict.fromkeys(negatives.SAFE_LOGIT, value)
            patch.setattr(MODULE_OF[name], name, value)
        yield


def random_pair(n, d, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(n, d, generator=generator, dtype=dtype).requires_grad_() for _ in range(2)]


def with_gradients(losses, *inputs):
    """The losses and the gradients of a sum that weights each of them differently."""
    weights = torch.linspace(0.5, 1.5, len(losses), dtype=losses.dtype)
    found = torch.autograd.grad((losses * weights).sum(), inputs)
    return [losses.detach(), *found]
