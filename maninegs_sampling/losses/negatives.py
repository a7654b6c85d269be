"""Log-sum-exp over the negatives, in memory that grows with N and not with N^2.

The matrix of logits is computed one block at a time; the backward pass computes it again. Only one
total for each row is kept. Within one set of vectors the matrix is symmetric, and each block serves
its rows and its columns.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from maninegs_sampling.losses.pairs import Pairs, log_sum_exp
from maninegs_sampling.losses.products import blocks_of, products_between
from maninegs_sampling.losses.transforms import needs_plain_operations

# Largest logit that is exponentiated without a shift: exp(logit), its sum over a row, and the
# gradient divided by that sum all stay in the range of the type.
SAFE_LOGIT = {torch.float32: 50.0, torch.float64: 500.0}


class Above:
    """Counts of the products that are at least as large as each of a row's thresholds.

    Attributes:
        counts: (P, R) int64, for P thresholds of each of R rows; filled while products are summed.
    """

    def __init__(self, thresholds: Tensor):
        """Count for `thresholds`, (P, R)."""
        self._thresholds = thresholds.detach()
        self.counts = torch.zeros_like(self._thresholds, dtype=torch.int64)

    def prepare(self, totals: "type[_Sums] | type[_Logs]") -> None:
        """Convert the thresholds as blocks are before `add`."""
        self._thresholds = totals.prepare_(self._thresholds.clone())

    def add(self, block: Tensor, rows: slice) -> None:
        """Count in a block, (r, c), of some rows."""
        for thresholds, counts in zip(self._thresholds, self.counts, strict=True):
            # Of NaN nothing is below: such a positive is not found.
            counts[rows] += block.shape[1] - (block < thresholds[rows, None]).sum(1)


def log_sum_exp_within(
    z: Tensor, pairs: Pairs, largest: float, above: Above | None = None
) -> Tensor:
    """Return, for each row of `z`, the log-sum-exp of its logits with the other rows.

    Args:
        z: (M, D), float32 or float64.
        pairs: Pairs to leave out and their logits; must be symmetric.
        largest: Upper bound of the absolute logits.
        above: Counts to fill for each row, or None.

    Returns:
        (M,). Where all pairs of a row are excluded, -inf, with a gradient of zero.
    """
    if needs_plain_operations(z):
        return _plain(z, z, pairs, above)[0]
    rows: Tensor = opaque(_LogSumExp.apply)(z, None, pairs, largest, above, None)
    return rows


def log_sum_exp_between(
    x: Tensor,
    y: Tensor,
    pairs: Pairs,
    largest: float,
    above: Above | None = None,
    above_columns: Above | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the log-sum-exp of the logits of `x` and `y` by rows of `x` and by rows of `y`.

    Args:
        x: (R, D), float32 or float64.
        y: (C, D).
        pairs: Pairs of a row of `x` and a row of `y` to leave out, and their logits.
        largest: Upper bound of the absolute logits.
        above: Counts to fill for each row of `x`, or None.
        above_columns: Counts to fill for each row of `y`, or None.

    Returns:
        (R,), over the rows of `y`, and (C,), over the rows of `x`.
    """
    if needs_plain_operations(x) or needs_plain_operations(y):
        return _plain(x, y, pairs, above, above_columns)
    rows, columns = opaque(_LogSumExp.apply)(x, y, pairs, largest, above, above_columns)
    return rows, columns


def opaque(function: Any) -> Any:
    """Keep `function` out of torch.compile, which would unroll its loop over blocks.

    torch.compiler.disable is called only while compiling: it imports the compiler, which takes
    longer than importing the rest of this package.
    """
    if torch.compiler.is_compiling():
        return torch.compiler.disable(function)  # type: ignore[no-untyped-call]
    return function


class _Sums:
    """Totals are sums of exponentials. For logits of at most SAFE_LOGIT."""

    empty = 0.0

    @staticmethod
    def prepare_(products: Tensor) -> Tensor:
        """Return, in place, what a block of products adds to its totals."""
        return products.exp_()

    @staticmethod
    def add_(total: Tensor, block: Tensor, dim: int) -> None:
        """Add a prepared block to the totals of its rows (dim 1) or its columns (dim 0)."""
        total += block.sum(dim)

    @staticmethod
    def log(total: Tensor) -> Tensor:
        """Return the log-sum-exp."""
        return total.log()

    @staticmethod
    def row_factors(grad: Tensor, total: Tensor) -> tuple[Tensor, Tensor]:
        """Return for each row what `weights` needs: its total and g_a / total_a."""
        # A row without negatives has only zeros to divide: any positive total will do.
        total = total.clamp(min=torch.finfo(total.dtype).tiny)
        return total, grad / total

    @staticmethod
    def weights(block: Tensor, row: "_Side", column: "_Side") -> Tensor:
        """Return g_a P_ab + g_b P_ba for a prepared block."""
        return (row.factor[:, None] + column.factor).mul_(block)


class _Logs:
    """Totals are logarithms of sums of exponentials, each shifted by its largest logit."""

    empty = -math.inf

    @staticmethod
    def prepare_(products: Tensor) -> Tensor:
        """Return, in place, what a block of products adds to its totals."""
        return products

    @staticmethod
    def add_(total: Tensor, block: Tensor, dim: int) -> None:
        """Add a prepared block to the totals of its rows (dim 1) or its columns (dim 0)."""
        total.copy_(torch.logaddexp(total, block.logsumexp(dim)))

    @staticmethod
    def log(total: Tensor) -> Tensor:
        """Return the log-sum-exp."""
        return total

    @staticmethod
    def row_factors(grad: Tensor, total: Tensor) -> tuple[Tensor, Tensor]:
        """Return for each row what `weights` needs: its total and g_a."""
        # A row without negatives has only products of -inf: any finite total will do.
        return total.clamp(min=torch.finfo(total.dtype).min), grad

    @staticmethod
    def weights(block: Tensor, row: "_Side", column: "_Side") -> Tensor:
        """Return g_a P_ab + g_b P_ba for a prepared block."""
        weights = (block - row.total[:, None]).exp_().mul_(row.factor[:, None])
        return weights.add_((block - column.total).exp_().mul_(column.factor))


class _LogSumExp(torch.autograd.Function):
    """Log-sum-exp of the logits of x and y by rows and by columns, or of x by rows if y is None.

    With s the products, w the weights of the pairs, P_ab = exp(logit_ab - lse_a) and g the gradient
    of lse, ds_ab = g_a w_ab P_ab, so that dx_a = sum_b g_a w_ab P_ab y_b, and within one set
    dx_a = sum_b w_ab (g_a P_ab + g_b P_ba) x_b.
    """

    @staticmethod
    def forward(ctx, x, y, pairs, largest, above, above_columns):  # type: ignore[no-untyped-def]
        ctx.pairs = pairs
        ctx.totals = _Sums if largest <= SAFE_LOGIT[x.dtype] else _Logs
        above_columns = above if y is None else above_columns
        for counts in {above, above_columns} - {None}:
            counts.prepare(ctx.totals)
        totals = [z.new_full((len(z),), ctx.totals.empty) for z in (x, y) if z is not None]
        for row, column, block, pair_weights in _blocks(ctx, x, y):  # noqa: B007
            ctx.totals.add_(totals[0][row], block, 1)
            if above:
                above.add(block, row)
            if y is not None or row != column:
                ctx.totals.add_(totals[-1][column], block, 0)
                if above_columns:
                    above_columns.add(block.T, column)
        whole = block.shape == (len(totals[0]), len(totals[-1]))  # a matrix of a single block
        ctx.save_for_backward(x, y, *((block, pair_weights) if whole else (None, None)), *totals)
        outputs = [ctx.totals.log(total) for total in totals]
        return outputs[0] if y is None else tuple(outputs)

    @staticmethod
    def backward(ctx, *grads):  # type: ignore[no-untyped-def]
        saved = ctx.saved_tensors  # read once: checkpointing refuses to unpack them again
        if not torch.is_grad_enabled():
            return *_gradients(ctx, saved, grads), *[None] * 4
        x, y, *_ = saved

        def plain(x: Tensor, y: Tensor | None = None) -> tuple[Tensor, ...]:
            return _plain(x, x, ctx.pairs)[:1] if y is None else _plain(x, y, ctx.pairs)

        if y is None:
            return *differentiable_gradients(ctx, plain, (x,), grads), *[None] * 5
        return *differentiable_gradients(ctx, plain, (x, y), grads), *[None] * 4


def differentiable_gradients(
    ctx: Any,
    plain: Callable[..., tuple[Tensor, ...]],
    inputs: tuple[Tensor, ...],
    grads: tuple[Tensor, ...],
) -> list[Tensor | None]:
    """Return the gradients of a function's first inputs, to be differentiated again.

    Args:
        ctx: Context of the autograd function, whose first inputs these are.
        plain: The same function in operations of autograd, which must see each of them.
        inputs: Tensors to differentiate by, where `ctx` says that it is needed.
        grads: Gradients of the outputs.
    """
    needed = ctx.needs_input_grad[: len(inputs)]
    # Views, because an input may be a part of another: its gradient is not the other's.
    inputs = tuple(z.view_as(z) for z in inputs)
    wanted = [z for z, is_needed in zip(inputs, needed, strict=True) if is_needed]
    found = iter(torch.autograd.grad(plain(*inputs), wanted, grads, create_graph=True))
    return [next(found) if is_needed else None for is_needed in needed]


def _blocks(
    ctx: Any, x: Tensor, y: Tensor | None
) -> Iterator[tuple[slice, slice, Tensor, Tensor | None]]:
    """Yield rows, columns, prepared block and weights; within one set only the upper triangle."""
    columns = x if y is None else y
    for row, column in blocks_of(len(x), len(columns), upper=y is None):
        weights = ctx.pairs.weights_of(row, column)
        products = products_between(x[row], columns[column])
        block = ctx.pairs.as_logits_(products, row, column, weights)
        yield row, column, ctx.totals.prepare_(block), weights


class _Side(NamedTuple):
    """The rows of x or y, or some of them, with their gradients, totals and factors."""

    z: Tensor
    grad: Tensor
    total: Tensor
    factor: Tensor

    def part(self, rows: slice) -> "_Side":
        """Return some of the rows."""
        return _Side(*(each[rows] for each in self))


def _gradients(
    ctx: Any, saved: tuple[Any, ...], grads: tuple[Tensor, ...]
) -> tuple[Tensor | None, ...]:
    x, y, kept, kept_weights, *totals = saved
    sides = [
        _Side(z, torch.zeros_like(z), *ctx.totals.row_factors(grad, total))
        for z, grad, total in zip((x, y), grads, totals, strict=False)
    ]
    whole = slice(0, len(x)), slice(0, len(sides[-1].z))
    for rows, columns, block, pair_weights in (
        _blocks(ctx, x, y) if kept is None else [(*whole, kept, kept_weights)]
    ):
        row, column = sides[0].part(rows), sides[-1].part(columns)
        weights = ctx.totals.weights(block, row, column)
        if pair_weights is not None:
            weights.mul_(pair_weights)
        if ctx.needs_input_grad[0]:
            row.grad.addmm_(weights, column.z)
        if ctx.needs_input_grad[1] or (y is None and rows != columns):
            column.grad.addmm_(weights.T, row.z)
    return sides[0].grad, None if y is None else sides[-1].grad


def _plain(
    x: Tensor,
    y: Tensor,
    pairs: Pairs,
    above: Above | None = None,
    above_columns: Above | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the log-sum-exp by rows and by columns, from the whole matrix, with autograd."""
    logits = pairs.logits(products_between(x, y))
    for counts, rows in ((above, logits), (above_columns, logits.T)):
        if counts:
            counts.add(rows.detach(), slice(0, len(rows)))
    return log_sum_exp(logits, 1), log_sum_exp(logits, 0)
