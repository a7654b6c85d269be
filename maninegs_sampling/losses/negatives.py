"""Log-sum-exp over the negatives, in memory that grows with N and not with N^2.

The matrix of logits is computed one block at a time; the backward pass computes it again. Only one
total for each row is kept. Within one set of vectors the matrix is symmetric, and each block serves
its rows and its columns.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from maninegs_sampling.losses.transforms import needs_plain_operations

# Rows and columns of a block. A matrix of a single block is kept for the backward pass. Measured on
# 2 cores: 512 is the fastest within 5% for 1,024 rows and more, where keeping the whole matrix is
# no faster than computing it again.
BLOCK = 512

# Largest logit that is exponentiated without a shift: exp(logit), its sum over a row, and the
# gradient divided by that sum all stay in the range of the type.
SAFE_LOGIT = {torch.float32: 50.0, torch.float64: 500.0}


@dataclass(frozen=True)
class Diagonals:
    """Exclude pairs (a, b) of a row and a column with b - a among `offsets`."""

    offsets: tuple[int, ...]

    def fill_(self, block: Tensor, row: int, column: int) -> None:
        """Write -inf to the excluded pairs of the block that starts at (row, column)."""
        for offset in self.offsets:
            block.diagonal(offset + row - column).fill_(-math.inf)

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

    def fill_(self, block: Tensor, row: int, column: int) -> None:
        """Write -inf to the excluded pairs of the block that starts at (row, column)."""
        rows = self.rows[row : row + block.shape[0], None]
        block.masked_fill_(rows == self.columns[column : column + block.shape[1]], -math.inf)

    def mask(self, products: Tensor) -> Tensor:
        """Return a boolean mask of the excluded pairs, (R, C), for all `products`, (R, C)."""
        return self.rows[:, None] == self.columns


Excluded = Diagonals | EqualIds


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

    def add(self, block: Tensor, start: int) -> None:
        """Count in a block, (r, c), whose rows start at `start`."""
        rows = slice(start, start + len(block))
        for thresholds, counts in zip(self._thresholds, self.counts, strict=True):
            # Of NaN nothing is below: such a positive is not found.
            counts[rows] += block.shape[1] - (block < thresholds[rows, None]).sum(1)


def products_between(x: Tensor, y: Tensor) -> Tensor:
    """Return the products of the rows of `x` and `y`, (R, C), without autocast."""
    device = x.device.type
    available = torch.amp.is_autocast_available(device)  # not on the meta device, for example
    if available and torch.is_autocast_enabled(device):
        with torch.autocast(device, enabled=False):
            return x @ y.T
    return x @ y.T


def log_sum_exp_within(
    z: Tensor,
    excluded: Excluded,
    largest: float,
    above: Above | None = None,
    *,
    factor: float | Tensor | None = None,
) -> Tensor:
    """Return, for each row of `z`, the log-sum-exp of its products with the other rows.

    Args:
        z: (M, D), float32 or float64.
        excluded: Pairs to leave out; must be symmetric.
        largest: Upper bound of the absolute products times the factor.
        above: Counts to fill for each row, or None.
        factor: Multiplies the products in the forward pass only: a product s becomes
            s + stop_gradient((factor - 1) s). None is 1.

    Returns:
        (M,). Where all pairs of a row are excluded, -inf, with a gradient of zero.
    """
    if needs_plain_operations(z):
        return _plain(z, z, excluded, factor, above)[0]
    rows: Tensor = opaque(_LogSumExp.apply)(z, None, excluded, largest, factor, above, None)
    return rows


def log_sum_exp_between(
    x: Tensor,
    y: Tensor,
    excluded: Excluded,
    largest: float,
    above: Above | None = None,
    above_columns: Above | None = None,
    *,
    factor: float | Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the log-sum-exp of the products of `x` and `y` by rows of `x` and by rows of `y`.

    Args:
        x: (R, D), float32 or float64.
        y: (C, D).
        excluded: Pairs of a row of `x` and a row of `y` to leave out.
        largest: Upper bound of the absolute products times the factor.
        above: Counts to fill for each row of `x`, or None.
        above_columns: Counts to fill for each row of `y`, or None.
        factor: See `log_sum_exp_within`.

    Returns:
        (R,), over the rows of `y`, and (C,), over the rows of `x`.
    """
    if needs_plain_operations(x) or needs_plain_operations(y):
        return _plain(x, y, excluded, factor, above, above_columns)
    rows, columns = opaque(_LogSumExp.apply)(x, y, excluded, largest, factor, above, above_columns)
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
    def weights(block: Tensor, row: "_Piece", column: "_Piece") -> Tensor:
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
    def weights(block: Tensor, row: "_Piece", column: "_Piece") -> Tensor:
        """Return g_a P_ab + g_b P_ba for a prepared block."""
        weights = (block - row.total[:, None]).exp_().mul_(row.factor[:, None])
        return weights.add_((block - column.total).exp_().mul_(column.factor))


class _LogSumExp(torch.autograd.Function):
    """Log-sum-exp of x y^T by rows and by columns, or of x x^T by rows where y is None.

    With s the products, P_ab = exp(s_ab - lse_a) and g the gradient of lse, ds_ab = g_a P_ab, so
    that dx_a = sum_b g_a P_ab y_b, and within one set dx_a = sum_b (g_a P_ab + g_b P_ba) x_b.
    """

    @staticmethod
    def forward(ctx, x, y, excluded, largest, factor, above, above_columns):  # type: ignore[no-untyped-def]
        ctx.excluded, ctx.factor = excluded, factor
        ctx.totals = _Sums if largest <= SAFE_LOGIT[x.dtype] else _Logs
        above_columns = above if y is None else above_columns
        for counts in {above, above_columns} - {None}:
            counts.prepare(ctx.totals)
        totals = [z.new_full((len(z),), ctx.totals.empty) for z in (x, y) if z is not None]
        row_totals, column_totals = _split(totals[0]), _split(totals[-1])
        for i, j, block in _blocks(ctx, x, y):
            ctx.totals.add_(row_totals[i], block, 1)
            if above:
                above.add(block, i * BLOCK)
            if y is not None or i != j:
                ctx.totals.add_(column_totals[j], block, 0)
                if above_columns:
                    above_columns.add(block.T, j * BLOCK)
        kept = block if len(row_totals) == len(column_totals) == 1 else None
        ctx.save_for_backward(x, y, kept, *totals)
        outputs = [ctx.totals.log(total) for total in totals]
        return outputs[0] if y is None else tuple(outputs)

    @staticmethod
    def backward(ctx, *grads):  # type: ignore[no-untyped-def]
        saved = ctx.saved_tensors  # read once: checkpointing refuses to unpack them again
        if not torch.is_grad_enabled():
            return *_gradients(ctx, saved, grads), *[None] * 5
        x, y, *_ = saved
        # For a second derivative autograd must see every operation.
        inputs = [z for z, needed in zip((x, y), ctx.needs_input_grad, strict=False) if needed]
        others = x if y is None else y
        outputs = _plain(x, others, ctx.excluded, ctx.factor)[: 1 if y is None else 2]
        found = iter(torch.autograd.grad(outputs, inputs, grads, create_graph=True))
        gradients = (next(found) if needed else None for needed in ctx.needs_input_grad[:2])
        return *gradients, *[None] * 5


def _blocks(ctx: Any, x: Tensor, y: Tensor | None) -> Iterator[tuple[int, int, Tensor]]:
    """Yield prepared blocks (i, j) of the products; within one set only the upper triangle."""
    rows = _split(x)
    columns = rows if y is None else _split(y)
    for i, row in enumerate(rows):
        for j in range(i if y is None else 0, len(columns)):
            block = products_between(row, columns[j])
            if ctx.factor is not None:
                block.mul_(ctx.factor)
            ctx.excluded.fill_(block, i * BLOCK, j * BLOCK)
            yield i, j, ctx.totals.prepare_(block)


def _split(z: Tensor) -> tuple[Tensor, ...]:
    return torch.functional.split(z, BLOCK)


class _Piece(NamedTuple):
    """A block of the rows of x or y, with their gradients, totals and factors."""

    z: Tensor
    grad: Tensor
    total: Tensor
    factor: Tensor


def _pieces(ctx: Any, z: Tensor, grad: Tensor, total: Tensor) -> tuple[Tensor, list[_Piece]]:
    total, factor = ctx.totals.row_factors(grad, total)
    grad_z = torch.zeros_like(z)
    return grad_z, list(map(_Piece, *map(_split, (z, grad_z, total, factor))))


def _gradients(
    ctx: Any, saved: tuple[Any, ...], grads: tuple[Tensor, ...]
) -> tuple[Tensor | None, ...]:
    x, y, kept, *totals = saved
    sides = [_pieces(ctx, *of) for of in zip((x, y), grads, totals, strict=False)]
    grad_x, rows = sides[0]
    grad_y, columns = sides[-1]
    for i, j, block in _blocks(ctx, x, y) if kept is None else [(0, 0, kept)]:
        row, column = rows[i], columns[j]
        weights = ctx.totals.weights(block, row, column)
        if ctx.needs_input_grad[0]:
            row.grad.addmm_(weights, column.z)
        if ctx.needs_input_grad[1] or (y is None and i != j):
            column.grad.addmm_(weights.T, row.z)
    return grad_x, None if y is None else grad_y


def _plain(
    x: Tensor,
    y: Tensor,
    excluded: Excluded,
    factor: float | Tensor | None,
    above: Above | None = None,
    above_columns: Above | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the log-sum-exp by rows and by columns, from the whole matrix, with autograd."""
    products = products_between(x, y)
    if factor is not None:
        products = products + (factor - 1.0) * products.detach()
    products = products.masked_fill(excluded.mask(products), -math.inf)
    for counts, rows in ((above, products), (above_columns, products.T)):
        if counts:
            counts.add(rows.detach(), 0)
    return products.logsumexp(1), products.logsumexp(0)
