"""The sampler in training code like that of other projects, on rendered lesions."""

import numpy as np
import torch
from torch import Tensor

from benchmarks.reference.rendering import Scanner, render
from maninegs_sampling import ManifestationStore
from maninegs_sampling.data.datasets import synthetic_mvkl


def lesions(n: int, size: int) -> tuple[Tensor, ManifestationStore]:
    """Return two views of synthetic lesions, (n, 2, 1, size, size) in [0, 1], and their store."""
    store, _ = synthetic_mvkl(n)
    views = [
        render(bits, np.random.default_rng(i), size, Scanner())
        for i, bits in enumerate(store.to_dense())
    ]
    return torch.from_numpy(np.stack(views)).unsqueeze(2) / 255, store


def small_encoder() -> torch.nn.Module:
    """Return a network from (n, 1, size, size) to (n, 64)."""
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, 16, 5, stride=2),
        torch.nn.ReLU(),
        torch.nn.Conv2d(16, 32, 3, stride=2),
        torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(2),
        torch.nn.Flatten(),
        torch.nn.Linear(128, 64),
    )
