"""Objectives of single papers, to try the sampler with."""

from maninegs_sampling.losses.contrib.mammo_clip import MammoCLIPLoss, mammo_clip_loss
from maninegs_sampling.losses.contrib.soft_label import (
    gaussian_mixture_soft_labels,
    soft_label_contrastive,
)

__all__ = [
    "MammoCLIPLoss",
    "gaussian_mixture_soft_labels",
    "mammo_clip_loss",
    "soft_label_contrastive",
]
