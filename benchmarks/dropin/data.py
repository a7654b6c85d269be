"""What the scripts train on: two noisy views of 256 instances, whose manifestations are known."""

import torch
from torch.utils.data import TensorDataset

torch.manual_seed(0)
bits = (torch.rand(256, 35) < 0.3).numpy()  # one row of traits for each item of the dataset
views = [torch.from_numpy(bits) + 0.3 * torch.randn(256, 35) for _ in range(2)]
dataset = TensorDataset(*views)
texts = [" ".join(f"t{t}" for t in row.nonzero()[0]) for row in bits]


def new_encoder() -> torch.nn.Module:
    """Return a small network from a view to an embedding."""
    return torch.nn.Sequential(torch.nn.Linear(35, 64), torch.nn.ReLU(), torch.nn.Linear(64, 16))


def contrast(z_i: torch.Tensor, z_j: torch.Tensor) -> torch.Tensor:
    """Return NT-Xent in three lines, in place of the loss that a training has."""
    z = torch.nn.functional.normalize(torch.cat([z_i, z_j]), dim=1)
    logits = (z @ z.T / 0.5).fill_diagonal_(-torch.inf)
    return torch.nn.functional.cross_entropy(logits, torch.arange(len(z)).roll(len(z_i)))
