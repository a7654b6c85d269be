"""Hard-negative minibatches for contrastive learning, drawn by Hamming distance (ManiNeg)."""

from maninegs_sampling.distribution import TruncatedGaussian
from maninegs_sampling.errors import ManiNegError
from maninegs_sampling.hamming import distance_histogram, max_distance, pairwise_hamming
from maninegs_sampling.index import DistanceBucketIndex
from maninegs_sampling.sampler import ManiNegBatchSampler
from maninegs_sampling.schedules import (
    Constant,
    CosineAnnealing,
    ExponentialAnnealing,
    LinearAnnealing,
    StepwiseAnnealing,
)
from maninegs_sampling.schema import CBIS_DDSM, MVKL, Schema
from maninegs_sampling.store import ManifestationStore
from maninegs_sampling.traits import Trait

__version__ = "0.1.0"

__all__ = [
    "CBIS_DDSM",
    "MVKL",
    "Constant",
    "CosineAnnealing",
    "DistanceBucketIndex",
    "ExponentialAnnealing",
    "LinearAnnealing",
    "ManiNegBatchSampler",
    "ManiNegError",
    "ManifestationStore",
    "Schema",
    "StepwiseAnnealing",
    "Trait",
    "TruncatedGaussian",
    "distance_histogram",
    "max_distance",
    "pairwise_hamming",
]
