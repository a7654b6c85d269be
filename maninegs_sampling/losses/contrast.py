"""Contrasts: rows with positives and negatives."""

import math
from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor

from maninegs_sampling.losses.batch import Batch
from maninegs_sampling.losses.embeddings import inverse_temperature
from maninegs_sampling.losses.pairs import Diagonals, EqualIds, Excluded
from maninegs_sampling.losses.products import products_between
from maninegs_sampling.losses.transforms import needs_plain_operations

# Up to this number of logits the whole matrix is faster than blocks. Measured forward and backward
# on 2 cores, with autograd's gradient of the whole matrix: at 2^16 (128 pairs of views, 256 of two
# modalities) both take the same time within 10%; at a quarter of that the whole matrix takes 0.8 of
# the blocks' time, at four times 1.3.
DIRECT_LOGITS = 2**16


class Side(NamedTuple):
    """Rows that are compared with the same columns.

    Attributes:
        rows: (R, D), this rank's scaled embeddings; R is a multiple of n.
        columns: (C, D), scaled embeddings of all ranks.
        repeats: How often the ids are repeated to match the rows and the columns.
    """

    rows: Tensor
    columns: Tensor
    repeats: int


class Contrast(ABC):
    """Rows with positives and negatives; logits are products of scaled embeddings.

    Each of the batch's n instances has k rows. Methods return values by row, (k, n), or (n,) where
    the k rows of an instance share them.

    Attributes:
        batch: The arguments that the terms of the loss share.
        inverse: 1 / temperature.
        factor: Multiplies the logits of negatives, without a part in the gradient. None is 1.
    """

    factor: float | Tensor | None = None
    _sides: list[Side]  # concatenated, they have the k n rows

    def __init__(self, batch: Batch, temperature: float | Tensor):
        self.batch = batch
        self.inverse = inverse_temperature(temperature, batch.embeddings[0])

    def log_sum_exp(self, power: float = 1.0) -> Tensor:
        """Return (k, n), the log of the sum of exp(power * logit) over each row's negatives."""
        largest = self._largest_logit() * power
        # Where the largest logit is not known, no value may be read.
        if self.factor is not None and largest < math.inf:
            largest *= float(self.factor)
        sides = self._sides
        if power != 1.0:
            root = math.sqrt(power)
            sides = [Side(side.rows * root, side.columns * root, side.repeats) for side in sides]
        return torch.cat(self._log_sum_exp(sides, largest)).view(-1, self.batch.n)

    def _largest_logit(self) -> float:
        """Return an upper bound of the absolute logits, or inf or NaN if there is none."""
        if needs_plain_operations(self._sides[0].rows):
            return math.inf
        if self.batch.normalize:
            return float(torch.as_tensor(self.inverse).detach())
        bounds = []
        for rows, columns, _ in self._sides:
            longest = [torch.linalg.vector_norm(z.detach(), dim=1).max() for z in (rows, columns)]
            bounds.append(float(longest[0]) * float(longest[1]))
        return max(bounds)

    def may_be_direct(self) -> bool:
        """Return whether the whole matrix of at most DIRECT_LOGITS logits can be used.

        This requires one process without ids. The logits are written to in place, so transforms
        cannot use it.
        """
        rows, columns, _ = self._sides[0]
        if self.batch.ids is not None or self.batch.ranks:
            return False
        if len(rows) * len(columns) > DIRECT_LOGITS:
            return False
        return not (needs_plain_operations(rows) or needs_plain_operations(columns))

    @abstractmethod
    def _log_sum_exp(self, sides: list[Side], largest: float) -> tuple[Tensor, ...]:
        """Return the log-sum-exp of the rows of `sides`, as tensors to concatenate."""

    def sum_of_negatives(self) -> Tensor:
        """Return (k, n), the sum of each row's logits over its negatives."""
        sums = [
            (rows * self._sum_of_other_ids(columns, repeats)).sum(1)
            for rows, columns, repeats in self._sides
        ]
        return torch.cat(sums).view(-1, self.batch.n)

    def n_negatives(self) -> Tensor:
        """Return (n,), the number of each row's negatives, in the embeddings' dtype."""
        rows, _, repeats = self._sides[0]
        ids = self.batch.explicit_ids()
        all_ids = self.batch.gather(ids)
        if needs_plain_operations(rows):
            n = (ids[:, None] != all_ids).sum(1)
        else:  # counted in integers: float32 cannot represent odd numbers above 2^24
            present, counts = torch.unique(all_ids, return_counts=True)
            n = len(all_ids) - counts[torch.searchsorted(present, ids)]
        return (n * repeats).to(rows.dtype)

    def _sum_of_other_ids(self, columns: Tensor, repeats: int) -> Tensor:
        """Return, for each row of a side, the sum of the `columns` with other ids."""
        ids = self.batch.explicit_ids()
        all_ids = self.batch.gather(ids).repeat(repeats)
        if needs_plain_operations(columns):
            others = ids.repeat(repeats)[:, None] != all_ids
            return products_between(others.to(columns.dtype), columns.T)
        present, place = torch.unique(all_ids, return_inverse=True)
        # In float32 a sum of many equal numbers loses digits.
        wide = columns if columns.device.type == "mps" else columns.double()
        sums = wide.new_zeros(len(present), wide.shape[1]).index_add(0, place, wide)
        # Sum the ids before and after the own. The total minus the own would keep the rounding of
        # the total, which is not zero where there are no other ids.
        before, after = sums.cumsum(0), sums.flip(0).cumsum(0).flip(0)
        zero = sums.new_zeros(1, sums.shape[1])
        others = torch.cat([zero, before[:-1]]) + torch.cat([after[1:], zero])
        return others.to(columns.dtype)[torch.searchsorted(present, ids.repeat(repeats))]

    def _excluded(self, offsets: tuple[int, ...], rows: int, columns: int) -> Excluded:
        """Return the pairs to exclude: those of equal ids, or `offsets` if there are no ids."""
        ids = self.batch.ids
        if ids is None:
            return Diagonals(offsets)
        return EqualIds(ids.repeat(rows), self.batch.gather(ids).repeat(columns))
