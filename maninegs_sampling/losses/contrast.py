"""Contrasts: rows with positives and negatives."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from maninegs_sampling.errors import InvalidTypeError, InvalidValueError
from maninegs_sampling.losses.batch import Batch
from maninegs_sampling.losses.embeddings import (
    inverse_temperature,
    scaled,
    with_offsets,
)
from maninegs_sampling.losses.memory import CrossBatchMemory
from maninegs_sampling.losses.negatives import (
    Above,
    Diagonals,
    EqualIds,
    Excluded,
    log_sum_exp_between,
    log_sum_exp_within,
    products_between,
)
from maninegs_sampling.losses.options import check_flag
from maninegs_sampling.losses.softplus_sums import softplus_sums
from maninegs_sampling.losses.transforms import needs_plain_operations
from maninegs_sampling.quoting import quoted

# Up to this number of logits the whole matrix is faster than blocks. Measured forward and backward
# on 2 cores: at 2^16 (128 pairs of views, 256 of two modalities) both take the same time within
# 10%; at a quarter of that the whole matrix takes 0.8 of the blocks' time, at four times 1.3.
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
    _memory: CrossBatchMemory | None = None  # if there is something in it
    has_memory = False

    def may_be_direct(self) -> bool:
        """Return whether there is no memory, and few logits. See `Contrast.may_be_direct`."""
        return self._memory is None and super().may_be_direct()

    def _remember(self, memory: CrossBatchMemory | None) -> None:
        """Check the memory, and use its embeddings as further negatives."""
        self.has_memory = memory is not None  # it may still be empty
        if memory is None:
            return
        if not isinstance(memory, CrossBatchMemory):
            raise InvalidTypeError(f"memory must be a CrossBatchMemory; got {quoted(memory)}")
        many, _, dim = memory.embeddings.shape
        found = len(self.batch.embeddings), self.batch.embeddings[0].shape[1]
        if found != (many, dim):
            raise InvalidValueError(
                f"the memory holds {many} embeddings of {dim} dimensions; the loss got {found[0]} "
                f"of {found[1]}"
            )
        if memory.has_ids not in (None, self.batch.ids is not None):
            raise InvalidValueError(
                "the loss and the memory must both have ids or neither; the memory "
                f"{'has' if memory.has_ids else 'has none'}"
            )
        if len(memory):
            self._memory = memory

    def _remembered(self, memory: CrossBatchMemory, embeddings: Iterable[int]) -> Tensor:
        """Return scaled embeddings of the memory, to be appended to columns."""
        columns = [memory.remembered(k).to(self.batch.embeddings[0]) for k in embeddings]
        return scaled(torch.cat(columns), self.inverse, normalize=self.batch.normalize)

    def _with_memory(self, memory: CrossBatchMemory, repeats: int) -> EqualIds:
        """Return the pairs to exclude of a rank's instances with all columns and the memory."""
        ids = self.batch.explicit_ids()
        columns = [self.batch.gather(ids), memory.remembered_ids()]
        return EqualIds(ids, torch.cat([each.repeat(repeats) for each in columns]))

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

    def __init__(
        self,
        batch: Batch,
        views: tuple[int, ...],
        temperature: float | Tensor,
        memory: CrossBatchMemory | None = None,
    ):
        super().__init__(batch, temperature)
        self._remember(memory)
        k = len(views)
        rows = torch.cat([batch.embeddings[view] for view in views])
        rows = scaled(rows, self.inverse, normalize=batch.normalize)
        columns = torch.cat([batch.gather(z) for z in rows.chunk(k)]) if batch.ranks else rows
        if self._memory:
            columns = torch.cat([columns, self._remembered(self._memory, views)])
        self._sides = [Side(rows, columns, k)]
        self._above = [None] * (k if batch.ranks or self._memory else 1)

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
        if not self.batch.ranks and not self._memory:
            offsets = tuple(n * shift for shift in range(1 - k, k))
            excluded = self._excluded(offsets, k, k)
            return (log_sum_exp_within(rows, excluded, largest, self._above[0]),)
        if self._memory:
            excluded = self._with_memory(self._memory, k)
        else:
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
        memory: CrossBatchMemory | None = None,
    ):
        super().__init__(batch, temperature)
        self._remember(memory)
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
        if self._memory:
            self._sides = [
                side._replace(
                    columns=torch.cat([side.columns, self._remembered(self._memory, [k])])
                )
                for side, k in zip(self._sides, reversed(pair), strict=False)
            ]
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
        if self._memory:
            excluded = self._with_memory(self._memory, 1)
        elif not self.batch.ranks:
            side = sides[0]
            found = log_sum_exp_between(side.rows, side.columns, excluded, largest, *self._above)
            return found[: len(sides)]
        return tuple(
            log_sum_exp_between(side.rows, side.columns, excluded, largest, above)[0]
            for side, above in zip(sides, self._above, strict=True)
        )
