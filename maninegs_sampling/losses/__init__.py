"""Contrastive losses, exact and in memory that grows with the batch and not with its square."""

from maninegs_sampling.losses.cross_entropy import inter_modal_nt_xent, nt_xent
from maninegs_sampling.losses.hard_negative import (
    hard_negative_inter_modal_nt_xent,
    hard_negative_nt_xent,
)
from maninegs_sampling.losses.mammo_clip import mammo_clip_loss
from maninegs_sampling.losses.modules import (
    HardNegativeInterModalNTXentLoss,
    HardNegativeNTXentLoss,
    InterModalNTXentLoss,
    MammoCLIPLoss,
    MultimodalNTXentLoss,
    NTXentLoss,
)
from maninegs_sampling.losses.multimodal import multimodal_nt_xent
from maninegs_sampling.losses.soft_label import (
    gaussian_mixture_soft_labels,
    soft_label_contrastive,
)

__all__ = [
    "HardNegativeInterModalNTXentLoss",
    "HardNegativeNTXentLoss",
    "InterModalNTXentLoss",
    "MammoCLIPLoss",
    "MultimodalNTXentLoss",
    "NTXentLoss",
    "gaussian_mixture_soft_labels",
    "hard_negative_inter_modal_nt_xent",
    "hard_negative_nt_xent",
    "inter_modal_nt_xent",
    "mammo_clip_loss",
    "multimodal_nt_xent",
    "nt_xent",
    "soft_label_contrastive",
]
