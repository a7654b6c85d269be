"""Contrasts: rows with positives and negatives."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from maninegs_sampling.losses.embeddings import (
    check_embeddings,
    inverse_temperature,
    reduced,
    scaled,
    with_offsets,
)
from maninegs_sampling.losses.instance_ids import check_ids
from maninegs_sampling.losses.negatives import (
    Above,
    Diagonals,
    EqualIds,
    Excluded,
    log_sum_exp_between,
    log_sum_exp_within,
    products_between,
)
from maninegs_sampling.losses.options import Reduction, check_flag
from maninegs_sampling.losses.ranks import Ranks, join_ranks
from maninegs_sampling.losses.softplus_sums import softplus_sums
from maninegs_sampling.losses.transforms import needs_plain_operations

# Up to this number of logits the whole matrix is faster than blocks. Measured forward and backward
# on 2 cores: at 2^16 (128 pairs of views, 256 of two modalities) both take the same time within
# 10%; at a quarter of that the whole matrix takes 0.8 of the blocks' time, at four times 1.3.
DIRECT_LOGITS = 2**16


@dataclass(frozen=True)
class Batch:
    """The checked arguments that all terms of a loss share.

    Attributes:
        embeddings: One (n, D) tensor for each argument, in float32 or float64.
        ids: (n,) int64, or None if all instances differ.
        normalize: Whether to scale embeddings to unit length.
        ranks: The ranks to gather from, or None for one process.
    """

    embeddings: tuple[Tensor, ...]
    ids: Tensor | None
    normalize: bool
    ranks: Ranks | None

    @staticmethod
    def of(
        embeddings: dict[str, Tensor],
        *,
        ids: object,
        normalize: bool,
        gather: bool | dist.ProcessGroup,
        n_bits: int = 0,
    ) -> "Batch":
        """Check and convert the arguments of a loss."""
        check_embeddings(embeddings)
        check_flag("normalize", normalize)
        first, *others = embeddings.values()
        dtype = torch.float32  # of the logits, regardless of the network and of autocast
        for z in (first, *others):
            dtype = torch.promote_types(dtype, z.dtype)
        checked_ids = check_ids(ids, len(first), first.device)
        converted = tuple(z.to(dtype) for z in embeddings.values())
        ranks = join_ranks(gather, converted[0], has_ids=checked_ids is not None, n_bits=n_bits)
        return Batch(converted, checked_ids, normalize, ranks)

    @property
    def n(self) -> int:
        """Number of instances on this rank."""
        return len(self.embeddings[0])

    @property
    def offset(self) -> int:
        """Index of this rank's first instance among those of all ranks."""
        return self.ranks.offset if self.ranks else 0

    def gather(self, z: Tensor) -> Tensor:
        """Return the rows of all ranks."""
        return self.ranks.gather(z) if self.ranks else z

    def explicit_ids(self) -> Tensor:
        """Return this rank's ids. Default: the index of each instance among those of all ranks."""
        if self.ids is not None:
            return self.ids
        return self.offset + torch.arange(self.n, device=self.embeddings[0].device)

    def reduce(self, losses: Tensor, reduction: Reduction) -> Tensor:
        """Reduce losses of any shape. The mean over ranks of "mean" equals that of one process."""
        result = reduced(losses, reduction)
        return result * self.ranks.share if self.ranks and reduction == "mean" else result


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
    """

    _sides: list[Side]  # concatenated, they have the k n rows

    def __init__(self, batch: Batch, temperature: float | Tensor):
        self.batch = batch
        self.inverse = inverse_temperature(temperature, batch.embeddings[0])

    def log_sum_exp(self, power: float = 1.0) -> Tensor:
        """Return (k, n), the log of the sum of exp(power * logit) over each row's negatives."""
        largest = self._largest_logit() * power
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


class PairContrast(Contrast):
    """Rows whose positives are the other embeddings of the instance, each against all negatives."""

    _above: list[Above] | list[None]  # for each set of rows that is summed

    @abstractmethod
    def positive(self) -> Tensor:
        """Return each row's logits with its p positives: (p, k, n), or (n,) if p = 1."""

    def count_above(self) -> None:
        """Let `log_sum_exp` count each row's negatives that are at least as similar as a positive.

        Equal similarities differ by rounding: a negative that is less similar by a few roundings
        counts too, so that no collapsed encoder seems accurate.
        """
        positive = self.positive().detach()
        margin = 16 * torch.finfo(positive.dtype).eps * (1.0 + positive.abs())
        k = sum(len(side.rows) for side in self._sides) // self.batch.n
        thresholds = (positive - margin).expand(-1 if positive.ndim == 3 else 1, k, self.batch.n)
        parts = thresholds.flatten(1).chunk(len(self._above), dim=1)
        self._above = [Above(part) for part in parts]

    def accuracies(self) -> dict[str, Tensor]:
        """Return the shares of positives with fewer than 1 and 5 negatives above, once counted."""
        counts = torch.cat([above.counts for above in self._above if above], 1)
        dtype = self._sides[0].rows.dtype
        return {f"top{most}": (counts < most).to(dtype).mean() for most in (1, 5)}

    @abstractmethod
    def direct_cross_entropy(self) -> Tensor:
        """Return (k, n) cross-entropies from the whole matrix of logits. See `may_be_direct`."""


class ViewContrast(PairContrast):
    """Each view against all other views, as in Eq. (1): k views, the first views first."""

    def __init__(self, batch: Batch, views: tuple[int, ...], temperature: float | Tensor):
        super().__init__(batch, temperature)
        k = len(views)
        rows = torch.cat([batch.embeddings[view] for view in views])
        rows = scaled(rows, self.inverse, normalize=batch.normalize)
        columns = torch.cat([batch.gather(z) for z in rows.chunk(k)]) if batch.ranks else rows
        self._sides = [Side(rows, columns, k)]
        self._above = [None] * (k if batch.ranks else 1)

    def positive(self) -> Tensor:
        """Return each row's logits with its k - 1 positives: (k - 1, k, n), or (n,) if k = 2."""
        views = self._sides[0].rows.view(-1, self.batch.n, self._sides[0].rows.shape[1])
        if len(views) == 2:
            return (views[0] * views[1]).sum(1)
        others = [(views * views.roll(shift, 0)).sum(2) for shift in range(1, len(views))]
        return torch.stack(others)

    def may_be_direct(self) -> bool:
        """Return whether there are two views and few logits. See `Contrast.may_be_direct`."""
        return self._sides[0].repeats == 2 and super().may_be_direct()

    def direct_cross_entropy(self) -> Tensor:
        """Return (2, n) cross-entropies from the whole matrix of logits. See `may_be_direct`."""
        both, n = self._sides[0].rows, self.batch.n
        logits = products_between(both, both)
        with torch.no_grad():  # the excluded logits have probability 0 and no gradient
            logits.fill_diagonal_(-math.inf)
        partner = torch.arange(2 * n, device=both.device).roll(n)
        return F.cross_entropy(logits, partner, reduction="none").view(2, n)

    def _log_sum_exp(self, sides: list[Side], largest: float) -> tuple[Tensor, ...]:
        ((rows, columns, k),), n, start = sides, self.batch.n, self.batch.offset
        if not self.batch.ranks:
            offsets = tuple(n * shift for shift in range(1 - k, k))
            excluded = self._excluded(offsets, k, k)
            return (log_sum_exp_within(rows, excluded, largest, self._above[0]),)
        offsets = tuple(start + len(columns) // k * view for view in range(k))
        excluded = self._excluded(offsets, 1, k)
        return tuple(
            log_sum_exp_between(z, columns, excluded, largest, above)[0]
            for z, above in zip(rows.chunk(k), self._above, strict=True)
        )


class ModalityContrast(PairContrast):
    """Each vector against the other modality's, as in Eq. (6): k = 2 if symmetric, else 1."""

    def __init__(
        self,
        batch: Batch,
        pair: tuple[int, int],
        temperature: float | Tensor,
        *,
        symmetric: bool,
    ):
        super().__init__(batch, temperature)
        check_flag("symmetric", symmetric)
        x, y = (batch.embeddings[k] for k in pair)
        if batch.n**2 <= DIRECT_LOGITS:  # where the number of operations is what takes the time
            both = torch.cat([x, y])
            x, y = scaled(both, self.inverse, normalize=batch.normalize).chunk(2)
        else:
            x, y = (scaled(z, self.inverse, normalize=batch.normalize) for z in (x, y))
        self._pair = x, y
        self._sides = [Side(x, batch.gather(y), 1)]
        if symmetric:
            self._sides.append(Side(y, batch.gather(x), 1))
        self._above = [None] * len(self._sides)

    def positive(self) -> Tensor:
        """Return (n,), each row's logit with its positive."""
        x, y = self._pair
        return (x * y).sum(1)

    def logits(self) -> Tensor:
        """Return the whole matrix, (n, n). See `may_be_direct`."""
        return products_between(*self._pair)

    def softplus_sum(self, bias: float | Tensor) -> Tensor:
        """Return (n,), for each vector of the first modality the sum of softplus(logit + bias)."""
        rows, columns, _ = self._sides[0]
        bias = torch.as_tensor(bias, dtype=columns.dtype, device=columns.device)
        rows, columns = with_offsets(rows, columns, bias.expand(len(columns)))
        return softplus_sums(rows, columns, self._excluded((self.batch.offset,), 1, 1))

    def direct_cross_entropy(self) -> Tensor:
        """Return (k, n) cross-entropies from the whole matrix of logits. See `may_be_direct`."""
        logits = self.logits()
        partner = torch.arange(self.batch.n, device=logits.device)
        sides = (logits, logits.T)[: len(self._sides)]
        losses = [F.cross_entropy(side, partner, reduction="none") for side in sides]
        return torch.stack(losses)

    def _log_sum_exp(self, sides: list[Side], largest: float) -> tuple[Tensor, ...]:
        excluded = self._excluded((self.batch.offset,), 1, 1)
        if not self.batch.ranks:
            side = sides[0]
            found = log_sum_exp_between(side.rows, side.columns, excluded, largest, *self._above)
            return found[: len(sides)]
        return tuple(
            log_sum_exp_between(side.rows, side.columns, excluded, largest, above)[0]
            for side, above in zip(sides, self._above, strict=True)
        )
