"""Hard-negative minibatches for contrastive learning, drawn by Hamming distance (ManiNeg)."""

from maninegs_sampling.analysis.agreement import rank_agreement
from maninegs_sampling.analysis.bounds import distance_lower_bound
from maninegs_sampling.analysis.coverage import coverage
from maninegs_sampling.analysis.frequencies import frequency_shift
from maninegs_sampling.analysis.hardness import hardness
from maninegs_sampling.analysis.settings import suggest
from maninegs_sampling.analysis.suitability import suitability
from maninegs_sampling.data.built_in_schemas import CBIS_DDSM, MVKL
from maninegs_sampling.data.pattern_dataset import PatternDataset
from maninegs_sampling.data.schema import Schema
from maninegs_sampling.data.store import ManifestationStore, concat_stores
from maninegs_sampling.data.synthetic import synthetic_mvkl
from maninegs_sampling.data.table_files import read_table
from maninegs_sampling.data.traits import Trait
from maninegs_sampling.distances.histogram import distance_histogram, max_distance
from maninegs_sampling.distances.index import DistanceBucketIndex
from maninegs_sampling.distances.pairwise import pairwise_hamming, pairwise_jaccard
from maninegs_sampling.errors import ManiNegError
from maninegs_sampling.losses import (
    CachedContrast,
    CrossBatchMemory,
    HardNegativeInterModalNTXentLoss,
    HardNegativeNTXentLoss,
    HardnessWeightedInterModalNTXentLoss,
    HardnessWeightedNTXentLoss,
    InterModalNTXentLoss,
    MultiLabelSupConLoss,
    MultimodalNTXentLoss,
    NTXentLoss,
    SigLIPLoss,
    SupConLoss,
    hard_negative_inter_modal_nt_xent,
    hard_negative_nt_xent,
    hardness_weighted_inter_modal_nt_xent,
    hardness_weighted_nt_xent,
    inter_modal_nt_xent,
    multi_label_sup_con,
    multimodal_nt_xent,
    nt_xent,
    siglip_loss,
    sup_con,
)
from maninegs_sampling.losses.contrib import (
    MammoCLIPLoss,
    gaussian_mixture_soft_labels,
    mammo_clip_loss,
    soft_label_contrastive,
)
from maninegs_sampling.orders.order_file import BatchOrder, write_order
from maninegs_sampling.orders.rewriting import rewrite_shards
from maninegs_sampling.orders.shard_local import ShardLocalBatchSampler
from maninegs_sampling.sampling.distribution import TruncatedGaussian
from maninegs_sampling.sampling.peers.graph_blocks import GraphBlockBatchSampler
from maninegs_sampling.sampling.peers.neighbor_groups import NeighborGroupBatchSampler
from maninegs_sampling.sampling.peers.random_walk import RandomWalkBatchSampler
from maninegs_sampling.sampling.peers.uniform import UniformDistinctBatchSampler
from maninegs_sampling.sampling.sampler import ManiNegBatchSampler
from maninegs_sampling.sampling.schedules import (
    Constant,
    CosineAnnealing,
    ExponentialAnnealing,
    LinearAnnealing,
    StepwiseAnnealing,
)

__version__ = "0.1.0"

__all__ = [
    "CBIS_DDSM",
    "MVKL",
    "BatchOrder",
    "CachedContrast",
    "Constant",
    "CosineAnnealing",
    "CrossBatchMemory",
    "DistanceBucketIndex",
    "ExponentialAnnealing",
    "GraphBlockBatchSampler",
    "HardNegativeInterModalNTXentLoss",
    "HardNegativeNTXentLoss",
    "HardnessWeightedInterModalNTXentLoss",
    "HardnessWeightedNTXentLoss",
    "InterModalNTXentLoss",
    "LinearAnnealing",
    "MammoCLIPLoss",
    "ManiNegBatchSampler",
    "ManiNegError",
    "ManifestationStore",
    "MultiLabelSupConLoss",
    "MultimodalNTXentLoss",
    "NTXentLoss",
    "NeighborGroupBatchSampler",
    "PatternDataset",
    "RandomWalkBatchSampler",
    "Schema",
    "ShardLocalBatchSampler",
    "SigLIPLoss",
    "StepwiseAnnealing",
    "SupConLoss",
    "Trait",
    "TruncatedGaussian",
    "UniformDistinctBatchSampler",
    "concat_stores",
    "coverage",
    "distance_histogram",
    "distance_lower_bound",
    "frequency_shift",
    "gaussian_mixture_soft_labels",
    "hard_negative_inter_modal_nt_xent",
    "hard_negative_nt_xent",
    "hardness",
    "hardness_weighted_inter_modal_nt_xent",
    "hardness_weighted_nt_xent",
    "inter_modal_nt_xent",
    "mammo_clip_loss",
    "max_distance",
    "multi_label_sup_con",
    "multimodal_nt_xent",
    "nt_xent",
    "pairwise_hamming",
    "pairwise_jaccard",
    "rank_agreement",
    "read_table",
    "rewrite_shards",
    "siglip_loss",
    "soft_label_contrastive",
    "suggest",
    "suitability",
    "sup_con",
    "synthetic_mvkl",
    "write_order",
]
