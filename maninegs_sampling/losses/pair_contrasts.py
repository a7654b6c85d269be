"""Contrasts of views and of modalities: the positives of a row belong to its instance."""

import math
from abc import abstractmethod
from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from maninegs_sampling.errors import InvalidTypeError, InvalidValueError
from maninegs_sampling.losses import contrast
from maninegs_sampling.losses.batch import Batch
from maninegs_sampling.losses.contrast import Contrast, Side
from maninegs_sampling.losses.direct import cross_entropy_between, cross_entropy_within
from maninegs_sampling.losses.embeddings import scaled, with_offsets
from maninegs_sampling.losses.masked import counts_above, masked_cross_entropy, slightly_below
from maninegs_sampling.losses.memory import CrossBatchMemory
from maninegs_sampling.losses.negative_weights import NegativeWeights
from maninegs_sampling.losses.negatives import Above, log_sum_exp_between, log_sum_exp_within
from maninegs_sampling.losses.options import check_flag
from maninegs_sampling.losses.pair_options import NO_OPTIONS, PairOptions
from maninegs_sampling.losses.pairs import EqualIds, Excluded, Masked, Pairs
from maninegs_sampling.losses.products import products_between
from maninegs_sampling.losses.similarities import Similarities
from maninegs_sampling.losses.softplus_sums import softplus_sums
from maninegs_sampling.quoting import quoted


class PairContrast(Contrast):
    """Rows whose positives are the other embeddings of the instance, each against all negatives."""

    options: PairOptions
    _above: list[Above] | list[None]  # for each set of rows that is summed
    _memory: CrossBatchMemory | None = None  # if there is something in it
    _log_q: Tensor | None = None  # (C,), of all ranks' instances
    _counts: list[Tensor]  # of the negatives above each positive, if they are to be counted

    def __init__(self, batch: Batch, temperature: float | Tensor, options: PairOptions):
        super().__init__(batch, temperature)
        self.options = options
        self._remember(options.memory)
        if options.is_masked and batch.ranks:
            raise InvalidValueError(
                "positive_mask and ignore must be None with `gather`: they say nothing about the "
                "instances of other ranks; use ids"
            )
        if options.log_q is not None:
            self._log_q = batch.gather(options.log_q.to(batch.embeddings[0].dtype))

    def _is_of_one_batch(self) -> bool:
        """Return whether negatives are of this rank's batch, and equal for all rows but weights."""
        return not self.batch.ranks and self._memory is None and self._log_q is None

    def may_be_direct(self) -> bool:
        """Return whether logits are plain products, and few. See `Contrast.may_be_direct`."""
        plain = self._is_of_one_batch() and self.options.weight_of is None
        return plain and super().may_be_direct()

    def _largest_logit(self) -> float:
        """Return an upper bound of the absolute weighted and corrected logits."""
        if self.options.weight_of is not None:
            return math.inf
        largest = super()._largest_logit()
        if self._log_q is None or largest == math.inf:
            return largest
        return largest + float(self._log_q.abs().max())

    def _pairs(self, excluded: Excluded, rows: int, columns: int) -> Pairs:
        """Return how logits follow from products, with instances repeated in rows and columns."""
        weights = None
        bits, weight_of = self.options.bits, self.options.weight_of
        if bits is not None and weight_of is not None:
            similarities = Similarities(
                bits.repeat(rows, 1),
                self.batch.gather(bits).repeat(columns, 1),
                self.options.similarity,
                self.batch.embeddings[0].dtype,
            )
            weights = NegativeWeights(similarities, weight_of)
        log_q = None if self._log_q is None else self._log_q.repeat(columns)
        return Pairs(excluded, self.factor, weights, log_q)

    def _remember(self, memory: CrossBatchMemory | None) -> None:
        """Check the memory, and use its embeddings as further negatives."""
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

        Weights and corrections of the negatives are applied. Equal similarities differ by rounding:
        a negative that is less similar by a few roundings counts too, so that no collapsed encoder
        seems accurate.
        """
        positive = self.positive().detach()
        k = sum(len(side.rows) for side in self._sides) // self.batch.n
        thresholds = slightly_below(positive).expand(
            -1 if positive.ndim == 3 else 1, k, self.batch.n
        )
        parts = thresholds.flatten(1).chunk(len(self._above), dim=1)
        self._above = [Above(part) for part in parts]
        self._counts = [above.counts for above in self._above]  # filled later

    def accuracies(self) -> dict[str, Tensor]:
        """Return the shares of positives with fewer than 1 and 5 negatives above, once counted."""
        counts = torch.cat([each.flatten() for each in self._counts])
        dtype = self._sides[0].rows.dtype
        return {f"top{most}": (counts < most).to(dtype).mean() for most in (1, 5)}

    def masked_cross_entropy(self, *, count: bool) -> Tensor:
        """Return (k, n), the mean cross-entropy of each row's positives, for options with masks.

        The whole matrix of logits is computed. If `count`, negatives are counted for `accuracies`.
        """
        n, ids = self.batch.n, self.batch.ids
        same = torch.eye(n, dtype=torch.bool, device=self._sides[0].rows.device)
        positive = same if self.options.positive is None else same | self.options.positive
        excluded = positive if self.options.ignored is None else positive | self.options.ignored
        if ids is not None:
            excluded = excluded | (ids[:, None] == ids)
        self._counts, losses = [], []
        for rows, columns, repeats in self._sides:
            times = len(rows) // n, repeats
            logits = products_between(rows, columns)
            negatives = self._pairs(Masked(excluded.repeat(times)), *times).logits(logits)
            positives = self._without_rows_themselves(positive.repeat(times))
            losses.append(masked_cross_entropy(logits, negatives, positives))
            if count:
                self._counts.append(counts_above(logits.detach(), negatives.detach(), positives))
        return torch.cat(losses).view(-1, n)

    def _without_rows_themselves(self, positives: Tensor) -> Tensor:
        """Return the mask of positives, (R, C), without pairs of a row and itself."""
        return positives

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
        options: PairOptions = NO_OPTIONS,
    ):
        super().__init__(batch, temperature, options)
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

    def _without_rows_themselves(self, positives: Tensor) -> Tensor:
        """Return the mask of positives, (R, R), without its diagonal."""
        return positives & ~torch.eye(len(positives), dtype=torch.bool, device=positives.device)

    def may_be_direct(self) -> bool:
        """Return whether there are two views and few logits. See `Contrast.may_be_direct`."""
        return self._sides[0].repeats == 2 and super().may_be_direct()

    def direct_cross_entropy(self) -> Tensor:
        """Return (2, n) cross-entropies from the whole matrix of logits. See `may_be_direct`."""
        return cross_entropy_within(self._sides[0].rows).view(2, self.batch.n)

    def _log_sum_exp(self, sides: list[Side], largest: float) -> tuple[Tensor, ...]:
        ((rows, columns, k),), n, start = sides, self.batch.n, self.batch.offset
        if self._is_of_one_batch():
            offsets = tuple(n * shift for shift in range(1 - k, k))
            pairs = self._pairs(self._excluded(offsets, k, k), k, k)
            return (log_sum_exp_within(rows, pairs, largest, self._above[0]),)
        excluded: Excluded
        if self._memory:
            excluded = self._with_memory(self._memory, k)
        else:
            offsets = tuple(start + len(columns) // k * view for view in range(k))
            excluded = self._excluded(offsets, 1, k)
        pairs = self._pairs(excluded, 1, k)
        return tuple(
            log_sum_exp_between(z, columns, pairs, largest, above)[0]
            for z, above in zip(rows.chunk(k), self._above, strict=True)
        )


class ModalityContrast(PairContrast):
    """Each vector against the other modality's, as in Eq. (6): k = 2 if symmetric, else 1."""

    def __init__(
        self,
        batch: Batch,
        pair: tuple[int, int],
        temperature: float | Tensor,
        options: PairOptions = NO_OPTIONS,
        *,
        symmetric: bool,
    ):
        super().__init__(batch, temperature, options)
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
        if len(self._sides) == 2:
            return cross_entropy_between(*self._pair)
        logits = self.logits()
        partner = torch.arange(self.batch.n, device=logits.device)
        return F.cross_entropy(logits, partner, reduction="none")[None]

    def _log_sum_exp(self, sides: list[Side], largest: float) -> tuple[Tensor, ...]:
        offsets = (self.batch.offset,)
        memory = self._memory
        excluded = self._with_memory(memory, 1) if memory else self._excluded(offsets, 1, 1)
        pairs = self._pairs(excluded, 1, 1)
        if self._is_of_one_batch():
            side = sides[0]
            found = log_sum_exp_between(side.rows, side.columns, pairs, largest, *self._above)
            return found[: len(sides)]
        return tuple(
            log_sum_exp_between(side.rows, side.columns, pairs, largest, above)[0]
            for side, above in zip(sides, self._above, strict=True)
        )
