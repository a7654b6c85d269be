"""Exact contrastive losses whose memory grows with the batch size, not with its square."""

from maninegs_sampling.losses.cross_entropy import inter_modal_nt_xent, nt_xent
from maninegs_sampling.losses.hard_negative import (
    hard_negative_inter_modal_nt_xent,
    hard_negative_nt_xent,
)
from maninegs_sampling.losses.modules import (
    HardNegativeInterModalNTXentLoss,
    HardNegativeNTXentLoss,
    InterModalNTXentLoss,
    MultimodalNTXentLoss,
    NTXentLoss,
)
from maninegs_sampling.losses.multimodal import multimodal_nt_xent

__all__ = [
    "HardNegativeInterModalNTXentLoss",
    "HardNegativeNTXentLoss",
    "InterModalNTXentLoss",
    "MultimodalNTXentLoss",
    "NTXentLoss",
    "hard_negative_inter_modal_nt_xent",
    "hard_negative_nt_xent",
    "inter_modal_nt_xent",
    "multimodal_nt_xent",
    "nt_xent",
]
