"""Contrasts of views and of modalities: the positives of a row belong to its instance."""

import math
from abc import abstractmethod
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from maninegs_sampling.errors import InvalidTypeError, InvalidValueError
from maninegs_sampling.losses import contrast
from maninegs_sampling.losses.batch import Batch
from maninegs_sampling.losses.contrast import Contrast, Side
from maninegs_sampling.losses.embeddings import scaled, with_offsets
from maninegs_sampling.losses.memory import CrossBatchMemory
from maninegs_sampling.losses.negatives import (
    Above,
    EqualIds,
    log_sum_exp_between,
    log_sum_exp_within,
    products_between,
)
from maninegs_sampling.losses.options import check_flag
from maninegs_sampling.losses.softplus_sums import softplus_sums
from maninegs_sampling.losses.transforms import needs_plain_operations
from maninegs_sampling.quoting import quoted


class PairContrast(Contrast):
    """Rows whose positives are the other embeddings of the instance, each against all negatives."""

    _above: list[Above] | list[None]  # for each set of rows that is summed
    _memory: CrossBatchMemory | None = None  # if there is something in it
    has_memory = False
    _log_q: Tensor | None = None  # (C,), of all ranks' instances

    def __init__(
        self,
        batch: Batch,
        temperature: float | Tensor,
        memory: CrossBatchMemory | None,
        log_q: Tensor | np.ndarray | None,
    ):
        super().__init__(batch, temperature)
        self._remember(memory)
        if log_q is not None:
            checked = check_log_q(log_q, batch.embeddings[0])
            if self.has_memory:
                raise InvalidValueError(
                    "log_q must be None with a memory, whose log_q is not known"
                )
            self._log_q = batch.gather(checked)

    def _is_of_one_batch(self) -> bool:
        """Return whether the logits are the plain products of this rank's own embeddings."""
        return not self.batch.ranks and self._memory is None and self._log_q is None

    def may_be_direct(self) -> bool:
        """Return whether logits are plain products, and few. See `Contrast.may_be_direct`."""
        return self._is_of_one_batch() and super().may_be_direct()

    @property
    def is_corrected(self) -> bool:
        """Whether logits of negatives are corrected for the sampling."""
        return self._log_q is not None

    def _largest_logit(self) -> float:
        """Return an upper bound of the absolute corrected logits."""
        largest = super()._largest_logit()
        if self._log_q is None or largest == math.inf:
            return largest
        return largest + float(self._log_q.detach().abs().max())

    def _corrected(self, sides: list[Side]) -> list[Side]:
        """Return sides whose products are the corrected logits."""
        if self._log_q is None:
            return sides
        return [
            Side(*with_offsets(rows, columns, -self._log_q.repeat(repeats)), repeats)
            for rows, columns, repeats in sides
        ]

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
        *,
        memory: CrossBatchMemory | None = None,
        log_q: Tensor | np.ndarray | None = None,
    ):
        super().__init__(batch, temperature, memory, log_q)
        k = len(views)
        rows = torch.cat([batch.embeddings[view] for view in views])
        rows = scaled(rows, self.inverse, normalize=batch.normalize)
        columns = torch.cat([batch.gather(z) for z in rows.chunk(k)]) if batch.ranks else rows
        if self._memory:
            columns = torch.cat([columns, self._remembered(self._memory, views)])
        self._sides = [Side(rows, columns, k)]
        self._above = [None] * (1 if self._is_of_one_batch() else k)

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
        ((rows, columns, k),), n, start = self._corrected(sides), self.batch.n, self.batch.offset
        if self._is_of_one_batch():
            offsets = tuple(n * shift for shift in range(1 - k, k))
            excluded = self._excluded(offsets, k, k)
            return (
                log_sum_exp_within(rows, excluded, largest, self._above[0], factor=self.factor),
            )
        if self._memory:
            excluded = self._with_memory(self._memory, k)
        else:
            offsets = tuple(start + len(columns) // k * view for view in range(k))
            excluded = self._excluded(offsets, 1, k)
        return tuple(
            log_sum_exp_between(z, columns, excluded, largest, above, factor=self.factor)[0]
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
        log_q: Tensor | np.ndarray | None = None,
    ):
        super().__init__(batch, temperature, memory, log_q)
        check_flag("symmetric", symmetric)
        x, y = (batch.embeddings[k] for k in pair)
        # In small batches the number of operations is what takes the time.
        if batch.n**2 <= contrast.DIRECT_LOGITS:
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
        offsets = (self.batch.offset,)
        memory = self._memory
        excluded = self._with_memory(memory, 1) if memory else self._excluded(offsets, 1, 1)
        if self._is_of_one_batch():
            side = sides[0]
            found = log_sum_exp_between(
                side.rows, side.columns, excluded, largest, *self._above, factor=self.factor
            )
            return found[: len(sides)]
        return tuple(
            log_sum_exp_between(
                side.rows, side.columns, excluded, largest, above, factor=self.factor
            )[0]
            for side, above in zip(self._corrected(sides), self._above, strict=True)
        )


def check_log_q(log_q: object, like: Tensor) -> Tensor:
    """Return `log_q` as (N,), on the device and of the dtype of `like`, (N, D), without gradient.

    Raises:
        InvalidTypeError: If it is no tensor or array of floating-point numbers.
        InvalidValueError: If there is not one number for each instance, or one is not finite. Under
            torch.func, where no value can be read, the loss is then not finite.
    """
    checked = torch.from_numpy(log_q) if isinstance(log_q, np.ndarray) else log_q
    if not isinstance(checked, Tensor) or not checked.is_floating_point():
        raise InvalidTypeError(
            f"log_q must be a tensor or an array of floating-point numbers; got {quoted(log_q)}"
        )
    if checked.shape != like.shape[:1]:
        raise InvalidValueError(
            f"log_q must have the shape ({len(like)},), one for each instance; got "
            f"{tuple(checked.shape)}"
        )
    if not needs_plain_operations(checked) and not bool(checked.isfinite().all()):
        raise InvalidValueError(
            f"log_q must be finite; got {checked[~checked.isfinite()][0].item()}"
        )
    return checked.detach().to(like.device, like.dtype)
