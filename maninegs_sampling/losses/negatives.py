"""Log-sum-exp over the negatives, in memory that grows with N and not with N^2.

The matrix of logits is made one block at a time and forgotten; the gradient makes it again. What
is kept is one number for each row. Within one set of vectors the matrix is symmetric, and each
block serves its rows and its columns.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from maninegs_sampling.losses.transforms import needs_plain_operations

# Rows and columns of a block. A matrix of one block is kept for the gradient instead of being made
# again. Measured on 2 cores: 512 is the fastest for 1,024 rows and more, within 5%, and from there
# on keeping the whole matrix is no faster than making it again.
BLOCK = 512

# Logits up to this size are exponentiated as they are: neither exp(logit), its sum over a row, nor
# the gradient divided by that sum leaves the range of the type. Above it each row is shifted.
SAFE_LOGIT = {torch.float32: 50.0, torch.float64: 500.0}


@dataclass(frozen=True)
class Diagonals:
    """Pairs (a, b) of a row and a column with b - a among `offsets` are no negatives."""

    offsets: tuple[int, ...]

    def fill_(self, block: Tensor, row: int, column: int) -> None:
        """Write -inf at those pairs in the block whose corner is (row, column)."""
        for offset in self.offsets:
            block.diagonal(offset + row - column).fill_(-math.inf)

    def mask(self, products: Tensor) -> Tensor:
        """Return (R, C), whether a pair is excluded, for all `products`, (R, C)."""
        rows, columns = (torch.arange(n, device=products.device) for n in products.shape)
        offset = columns - rows[:, None]
        return torch.stack([offset == excluded for excluded in self.offsets]).any(0)


@dataclass(frozen=True)
class EqualIds:
    """Pairs of a row and a column with equal ids are no negatives."""

    rows: Tensor
    columns: Tensor

    def fill_(self, block: Tensor, row: int, column: int) -> None:
        """Write -inf at those pairs in the block whose corner is (row, column)."""
        rows = self.rows[row : row + block.shape[0], None]
        block.masked_fill_(rows == self.columns[column : column + block.shape[1]], -math.inf)

    def mask(self, products: Tensor) -> Tensor:
        """Return (R, C), whether a pair is excluded, for all `products`, (R, C)."""
        return self.rows[:, None] == self.columns


Excluded = Diagonals | EqualIds


def products_between(x: Tensor, y: Tensor) -> Tensor:
    """Return the products of the rows of `x` and of `y`, (R, C), without autocast."""
    if not torch.amp.is_autocast_available(x.device.type):  # the meta device, for one
        return x @ y.T
    with torch.autocast(x.device.type, enabled=False):
        return x @ y.T


def log_sum_exp_within(z: Tensor, excluded: Excluded, largest: float) -> Tensor:
    """Return, for each row of `z`, the log-sum-exp of its products with the rows not excluded.

    Args:
        z: (M, D), float32 or float64.
        excluded: the pairs to leave out; must be symmetric.
        largest: a bound on the size of any product.

    Returns:
        (M,); -inf where everything is excluded. Its gradient there is zero.
    """
    if needs_plain_operations(z):
        return _plain(z, z, excluded)[0]
    rows: Tensor = _opaque(_LogSumExp.apply)(z, None, excluded, largest)
    return rows


def log_sum_exp_between(
    x: Tensor, y: Tensor, excluded: Excluded, largest: float
) -> tuple[Tensor, Tensor]:
    """Return the log-sum-exp of the products of `x` and `y`, for the rows of each.

    Args:
        x: (R, D), float32 or float64.
        y: (C, D).
        excluded: the pairs of a row of `x` and a row of `y` to leave out.
        largest: a bound on the size of any product.

    Returns:
        (R,) over the rows of `y`, and (C,) over the rows of `x`.
    """
    if needs_plain_operations(x) or needs_plain_operations(y):
        return _plain(x, y, excluded)
    rows, columns = _opaque(_LogSumExp.apply)(x, y, excluded, largest)
    return rows, columns


def _opaque(function: Any) -> Any:
    """Keep `function` out of torch.compile, which would unroll its loop over blocks.

    Asked for only while compiling: torch.compiler.disable loads the compiler, which takes longer
    than all the rest of this package.
    """
    if torch.compiler.is_compiling():
        return torch.compiler.disable(function)  # type: ignore[no-untyped-call]
    return function


class _LogSumExp(torch.autograd.Function):
    """Log-sum-exp of x y^T by rows and by columns, or of x x^T by rows where y is None.

    With s the products, P_ab = exp(s_ab - lse_a) and g the gradient of lse, ds_ab = g_a P_ab, so
    that dx_a = sum_b g_a P_ab y_b, and within one set dx_a = sum_b (g_a P_ab + g_b P_ba) x_b.
    """

    @staticmethod
    def forward(ctx, x, y, excluded, largest):  # type: ignore[no-untyped-def]
        ctx.excluded, ctx.safe = excluded, largest <= SAFE_LOGIT[x.dtype]
        # Kept for each row: the sum of its exponentials where that is safe, else its logarithm.
        empty = 0.0 if ctx.safe else -math.inf
        totals = [z.new_full((len(z),), empty) for z in (x, y) if z is not None]
        row_totals, column_totals = _split(totals[0]), _split(totals[-1])
        for i, j, block in _blocks(ctx, x, y):
            _add(ctx, row_totals[i], block, 1)
            if y is not None or i != j:
                _add(ctx, column_totals[j], block, 0)
        kept = block if len(row_totals) == len(column_totals) == 1 else None
        ctx.save_for_backward(x, y, kept, *totals)
        outputs = [total.log() for total in totals] if ctx.safe else totals
        return outputs[0] if y is None else tuple(outputs)

    @staticmethod
    def backward(ctx, *grads):  # type: ignore[no-untyped-def]
        saved = ctx.saved_tensors  # asked for once: checkpointing refuses to give them out again
        if not torch.is_grad_enabled():
            return *_gradients(ctx, saved, grads), None, None
        x, y, *_ = saved
        # A second derivative is wanted: let autograd see every step.
        inputs = [z for z, needed in zip((x, y), ctx.needs_input_grad, strict=False) if needed]
        outputs = _plain(x, x, ctx.excluded)[0] if y is None else _plain(x, y, ctx.excluded)
        found = iter(torch.autograd.grad(outputs, inputs, grads, create_graph=True))
        return *(next(found) if needed else None for needed in ctx.needs_input_grad[:2]), None, None


def _blocks(ctx: Any, x: Tensor, y: Tensor | None) -> Iterator[tuple[int, int, Tensor]]:
    """Yield blocks (i, j) of the products, the upper ones alone within one set.

    They are exponentiated where that is safe, and those excluded come to nothing.
    """
    rows = _split(x)
    columns = rows if y is None else _split(y)
    for i, row in enumerate(rows):
        for j in range(i if y is None else 0, len(columns)):
            block = products_between(row, columns[j])
            ctx.excluded.fill_(block, i * BLOCK, j * BLOCK)
            yield i, j, block.exp_() if ctx.safe else block


def _split(z: Tensor) -> tuple[Tensor, ...]:
    return torch.functional.split(z, BLOCK)


def _add(ctx: Any, total: Tensor, block: Tensor, dim: int) -> None:
    if ctx.safe:
        total += block.sum(dim)
    else:
        total.copy_(torch.logaddexp(total, block.logsumexp(dim)))


def _gradients(
    ctx: Any, saved: tuple[Any, ...], grads: tuple[Tensor, ...]
) -> tuple[Tensor | None, ...]:
    x, y, kept, *totals = saved
    sides = [_pieces(ctx, *of) for of in zip((x, y), grads, totals, strict=False)]
    grad_x, rows = sides[0]
    grad_y, columns = sides[-1]
    for i, j, block in _blocks(ctx, x, y) if kept is None else [(0, 0, kept)]:
        row, column = rows[i], columns[j]
        if ctx.safe:
            weights = (row.factor[:, None] + column.factor).mul_(block)
        else:
            weights = (block - row.total[:, None]).exp_().mul_(row.factor[:, None])
            weights += (block - column.total).exp_().mul_(column.factor)
        if ctx.needs_input_grad[0]:
            row.grad.addmm_(weights, column.z)
        if ctx.needs_input_grad[1] or (y is None and i != j):
            column.grad.addmm_(weights.T, row.z)
    return grad_x, None if y is None else grad_y


class _Piece(NamedTuple):
    """A block of the rows of x or y, and what belongs to it."""

    z: Tensor
    grad: Tensor
    total: Tensor
    factor: Tensor


def _pieces(ctx: Any, z: Tensor, grad: Tensor, total: Tensor) -> tuple[Tensor, list[_Piece]]:
    # A row without negatives has nothing but zeros to divide: any finite total will do.
    limits = torch.finfo(z.dtype)
    total = total.clamp(min=limits.tiny if ctx.safe else limits.min)
    factor = grad / total if ctx.safe else grad
    grad_z = torch.zeros_like(z)
    return grad_z, list(map(_Piece, *map(_split, (z, grad_z, total, factor))))


def _plain(x: Tensor, y: Tensor, excluded: Excluded) -> tuple[Tensor, Tensor]:
    """Return the log-sum-exp by rows and by columns from one matrix, by autograd's operations."""
    products = products_between(x, y)
    products = products.masked_fill(excluded.mask(products), -math.inf)
    return products.logsumexp(1), products.logsumexp(0)
