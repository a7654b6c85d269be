"""Products of the rows of two matrices, one block at a time."""

from collections.abc import Iterator

import torch
from torch import Tensor

# Rows and columns of a block. A matrix of a single block is kept for the backward pass. Measured on
# 2 cores: 512 is the fastest within 5% for 1,024 rows and more, where keeping the whole matrix is
# no faster than computing it again.
BLOCK = 512


def products_between(x: Tensor, y: Tensor) -> Tensor:
    """Return the products of the rows of `x` and `y`, (R, C), without autocast."""
    device = x.device.type
    available = torch.amp.is_autocast_available(device)  # not on the meta device, for example
    if available and torch.is_autocast_enabled(device):
        with torch.autocast(device, enabled=False):
            return x @ y.T
    return x @ y.T


def blocks_of(n_rows: int, n_columns: int, *, upper: bool = False) -> Iterator[tuple[slice, slice]]:
    """Yield the rows and the columns of each block; if `upper`, only of the upper triangle."""
    for i in range(0, n_rows, BLOCK):
        for j in range(i if upper else 0, n_columns, BLOCK):
            yield slice(i, min(i + BLOCK, n_rows)), slice(j, min(j + BLOCK, n_columns))
