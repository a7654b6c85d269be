"""Weights of positives, and weighted sums of embeddings, in memory that grows with N."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from maninegs_sampling.losses import products
from maninegs_sampling.losses.negatives import opaque
from maninegs_sampling.losses.products import blocks_of, products_between
from maninegs_sampling.losses.similarities import Similarities
from maninegs_sampling.losses.transforms import needs_plain_operations

# Columns of the embeddings that are summed at a time, in float64.
WIDE_COLUMNS = 16


@dataclass(frozen=True)
class SameLabel:
    """Positives of weight 1: the other rows of equal label.

    Attributes:
        rows: (R,) int64, labels of this rank.
        columns: (C,), labels of all ranks.
        offset: Index of the first row's instance among the columns.
        dtype: Type of the weights.
    """

    rows: Tensor
    columns: Tensor
    offset: int
    dtype: torch.dtype

    def matrix(self) -> Tensor:
        """Return all weights, (R, C)."""
        weights = (self.rows[:, None] == self.columns).to(self.dtype)
        weights.diagonal(self.offset).fill_(0.0)
        return weights

    def weighted_sums(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return (R, D), each row's weighted sum of the rows of `z`, and (R,), its weights."""
        if needs_plain_operations(z) or needs_plain_operations(self.rows):
            weights = self.matrix()
            return products_between(weights, z.T), weights.sum(1)
        own = slice(self.offset, self.offset + len(self.rows))
        _, place, counts = torch.unique(self.columns, return_inverse=True, return_counts=True)
        sums = opaque(_SameLabelSums.apply)(z, place, len(counts))[own]
        return sums, (counts[place[own]] - 1).to(self.dtype)


class _SameLabelSums(torch.autograd.Function):
    """For each row the sum of the other rows of equal label. Its gradient is the same function."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, place: Tensor, n_labels: int) -> Tensor:
        ctx.save_for_backward(place)
        ctx.n_labels = n_labels
        others = torch.empty_like(z)
        for start in range(0, z.shape[1], WIDE_COLUMNS):
            part = z[:, start : start + WIDE_COLUMNS]
            # In float32 a sum of many equal numbers loses digits.
            wide = part if z.device.type == "mps" else part.double()
            sums = wide.new_zeros(n_labels, wide.shape[1]).index_add_(0, place, wide)
            others[:, start : start + WIDE_COLUMNS] = sums[place] - wide
        return others

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (place,) = ctx.saved_tensors
        found: Tensor = _SameLabelSums.apply(grad, place, ctx.n_labels)  # type: ignore[no-untyped-call]
        return found, None, None


@dataclass(frozen=True)
class SimilarPatterns:
    """Positives weighted by the similarity of patterns. No row is its own positive.

    Attributes:
        similarities: Those of all rows and columns.
        offset: Index of the first row's instance among the columns.
    """

    similarities: Similarities
    offset: int

    def matrix(self) -> Tensor:
        """Return all weights, (R, C)."""
        weights = self.similarities.block(slice(None), slice(None))
        weights.diagonal(self.offset).fill_(0.0)
        return weights

    def weighted_sums(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return (R, D), each row's weighted sum of the rows of `z`, and (R,), its weights."""
        z = torch.cat([z, torch.ones_like(z[:, :1])], 1)
        rows, columns = self.similarities.rows, self.similarities.columns
        one_block = max(len(rows), len(columns)) <= products.BLOCK  # kept for the backward pass
        if one_block or needs_plain_operations(z) or needs_plain_operations(rows):
            sums = products_between(self.matrix(), z.T)
        else:
            sums = opaque(_WeightedSums.apply)(z, self, False)
        return sums[:, :-1], sums[:, -1].detach()

    def blocks(self) -> Iterator[tuple[slice, slice, Tensor]]:
        """Yield the rows and the columns of each block of weights, and the block."""
        for row, column in blocks_of(len(self.similarities.rows), len(self.similarities.columns)):
            weights = self.similarities.block(row, column)
            weights.diagonal(self.offset + row.start - column.start).fill_(0.0)
            yield row, column, weights


class _WeightedSums(torch.autograd.Function):
    """W z, or W^T z if transposed. Linear: the gradient is the same function, transposed."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, positives: SimilarPatterns, transposed: bool) -> Tensor:
        ctx.positives, ctx.transposed = positives, transposed
        similarities = positives.similarities
        n = len(similarities.columns if transposed else similarities.rows)
        sums = z.new_zeros(n, z.shape[1])
        for row, column, weights in positives.blocks():
            if transposed:
                sums[column].addmm_(weights.T, z[row])
            else:
                sums[row].addmm_(weights, z[column])
        return sums

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        found: Tensor = _WeightedSums.apply(grad, ctx.positives, not ctx.transposed)  # type: ignore[no-untyped-call]
        return found, None, None
