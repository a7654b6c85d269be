"""Pairs of a row and a column: which are left out, and how logits follow from products."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from maninegs_sampling.losses.negative_weights import NegativeWeights


@dataclass(frozen=True)
class Diagonals:
    """Exclude pairs (a, b) of a row and a column with b - a among `offsets`."""

    offsets: tuple[int, ...]

    def fill_(self, block: Tensor, row: slice, column: slice) -> None:
        """Write -inf to the excluded pairs of the block of some rows and some columns."""
        for offset in self.offsets:
            block.diagonal(offset + row.start - column.start).fill_(-math.inf)

    def mask(self, products: Tensor) -> Tensor:
        """Return a boolean mask of the excluded pairs, (R, C), for all `products`, (R, C)."""
        rows, columns = (torch.arange(n, device=products.device) for n in products.shape)
        offset = columns - rows[:, None]
        return torch.stack([offset == excluded for excluded in self.offsets]).any(0)


@dataclass(frozen=True)
class EqualIds:
    """Exclude pairs of a row and a column with equal ids."""

    rows: Tensor
    columns: Tensor

    def fill_(self, block: Tensor, row: slice, column: slice) -> None:
        """Write -inf to the excluded pairs of the block of some rows and some columns."""
        block.masked_fill_(self.rows[row, None] == self.columns[column], -math.inf)

    def mask(self, products: Tensor) -> Tensor:
        """Return a boolean mask of the excluded pairs, (R, C), for all `products`, (R, C)."""
        return self.rows[:, None] == self.columns


@dataclass(frozen=True)
class Masked:
    """Exclude the pairs that a mask, (R, C), says."""

    pairs: Tensor

    def fill_(self, block: Tensor, row: slice, column: slice) -> None:
        """Write -inf to the excluded pairs of the block of some rows and some columns."""
        block.masked_fill_(self.pairs[row, column], -math.inf)

    def mask(self, products: Tensor) -> Tensor:
        """Return a boolean mask of the excluded pairs, (R, C), for all `products`, (R, C)."""
        return self.pairs


Excluded = Diagonals | EqualIds | Masked


@dataclass(frozen=True)
class Pairs:
    """How the logits of negatives follow from the products of scaled embeddings.

    Attributes:
        excluded: Pairs to leave out.
        factor: Multiplies the products in the forward pass only: a product s becomes
            s + stop_gradient((factor - 1) s). None is 1.
        weights: Weights of the pairs, which multiply the products, or None.
        log_q: (C,), subtracted from the weighted products, or None.
    """

    excluded: Excluded
    factor: float | Tensor | None = None
    weights: NegativeWeights | None = None
    log_q: Tensor | None = None

    def weights_of(self, row: slice, column: slice) -> Tensor | None:
        """Return the weights of the block of some rows and some columns."""
        return None if self.weights is None else self.weights.block(row, column)

    def as_logits_(
        self, products: Tensor, row: slice, column: slice, weights: Tensor | None
    ) -> Tensor:
        """Turn the products of a block into logits, in place. Those of excluded pairs are -inf."""
        if self.factor is not None:
            products.mul_(self.factor)
        if weights is not None:
            products.mul_(weights)
        if self.log_q is not None:
            products.sub_(self.log_q[column])
        self.excluded.fill_(products, row, column)
        return products

    def logits(self, products: Tensor) -> Tensor:
        """Return the logits of all pairs, (R, C), with autograd."""
        if self.factor is not None:
            products = products + (self.factor - 1.0) * products.detach()
        weights = self.weights_of(slice(None), slice(None))
        if weights is not None:
            products = products * weights
        if self.log_q is not None:
            products = products - self.log_q
        return products.masked_fill(self.excluded.mask(products), -math.inf)


def log_sum_exp(logits: Tensor, dim: int) -> Tensor:
    """Return the log-sum-exp over `dim`: -inf, with derivatives of zero, where all logits are -inf.

    The second derivatives of torch.logsumexp are NaN there.
    """
    nothing = (logits == -math.inf).all(dim, keepdim=True)
    return (
        logits.masked_fill(nothing, 0.0).logsumexp(dim).masked_fill(nothing.squeeze(dim), -math.inf)
    )
