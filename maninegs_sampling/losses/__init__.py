"""Exact contrastive losses whose memory grows with the batch size, not with its square."""

from maninegs_sampling.losses.cached import CachedContrast
from maninegs_sampling.losses.cross_entropy import inter_modal_nt_xent, nt_xent
from maninegs_sampling.losses.hard_negative import (
    hard_negative_inter_modal_nt_xent,
    hard_negative_nt_xent,
)
from maninegs_sampling.losses.hardness_weighted import (
    hardness_weighted_inter_modal_nt_xent,
    hardness_weighted_nt_xent,
)
from maninegs_sampling.losses.memory import CrossBatchMemory
from maninegs_sampling.losses.modules import (
    HardNegativeInterModalNTXentLoss,
    HardNegativeNTXentLoss,
    HardnessWeightedInterModalNTXentLoss,
    HardnessWeightedNTXentLoss,
    InterModalNTXentLoss,
    NTXentLoss,
)
from maninegs_sampling.losses.multimodal import MultimodalNTXentLoss, multimodal_nt_xent
from maninegs_sampling.losses.sigmoid import SigLIPLoss, siglip_loss
from maninegs_sampling.losses.supervised import (
    MultiLabelSupConLoss,
    SupConLoss,
    multi_label_sup_con,
    sup_con,
)

__all__ = [
    "CachedContrast",
    "CrossBatchMemory",
    "HardNegativeInterModalNTXentLoss",
    "HardNegativeNTXentLoss",
    "HardnessWeightedInterModalNTXentLoss",
    "HardnessWeightedNTXentLoss",
    "InterModalNTXentLoss",
    "MultiLabelSupConLoss",
    "MultimodalNTXentLoss",
    "NTXentLoss",
    "SigLIPLoss",
    "SupConLoss",
    "hard_negative_inter_modal_nt_xent",
    "hard_negative_nt_xent",
    "hardness_weighted_inter_modal_nt_xent",
    "hardness_weighted_nt_xent",
    "inter_modal_nt_xent",
    "multi_label_sup_con",
    "multimodal_nt_xent",
    "nt_xent",
    "siglip_loss",
    "sup_con",
]
