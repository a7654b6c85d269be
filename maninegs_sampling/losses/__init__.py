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
    SigLIPLoss,
)
from maninegs_sampling.losses.multimodal import multimodal_nt_xent
from maninegs_sampling.losses.sigmoid import siglip_loss

__all__ = [
    "HardNegativeInterModalNTXentLoss",
    "HardNegativeNTXentLoss",
    "InterModalNTXentLoss",
    "MultimodalNTXentLoss",
    "NTXentLoss",
    "SigLIPLoss",
    "hard_negative_inter_modal_nt_xent",
    "hard_negative_nt_xent",
    "inter_modal_nt_xent",
    "multimodal_nt_xent",
    "nt_xent",
    "siglip_loss",
]
