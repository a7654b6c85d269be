"""Sums of softplus over the negatives, in memory that grows with N and not with N^2.

The matrix of logits is computed one block at a time, and again in the backward pass.
"""

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import softplus

from maninegs_sampling.losses.negatives import differentiable_gradients, opaque
from maninegs_sampling.losses.pairs import Excluded
from maninegs_sampling.losses.products import blocks_of, products_between
from maninegs_sampling.losses.transforms import needs_plain_operations

# Above it softplus(x) is x, in float64 too.
THRESHOLD = 40.0


def softplus_sums(x: Tensor, y: Tensor, excluded: Excluded) -> Tensor:
    """Return, for each row of `x`, the sum of softplus of its products with the rows of `y`.

    Args:
        x: (R, D), float32 or float64.
        y: (C, D).
        excluded: Pairs of a row of `x` and a row of `y` to leave out.

    Returns:
        (R,). Where all pairs of a row are excluded, 0.
    """
    if needs_plain_operations(x) or needs_plain_operations(y):
        return _plain(x, y, excluded)[0]
    sums: Tensor = opaque(_SoftplusSums.apply)(x, y, excluded)
    return sums


class _SoftplusSums(torch.autograd.Function):
    """With s the products and g the gradient of the sums, ds_ab = g_a sigmoid(s_ab)."""

    @staticmethod
    def forward(ctx, x, y, excluded):  # type: ignore[no-untyped-def]
        ctx.excluded = excluded
        ctx.save_for_backward(x, y)
        sums = torch.zeros_like(x[:, 0])
        for row, _, block in _blocks(x, y, excluded):
            sums[row] += softplus(block, threshold=THRESHOLD).sum(1)
        return sums

    @staticmethod
    def backward(ctx, grad):  # type: ignore[no-untyped-def]
        x, y = ctx.saved_tensors
        if torch.is_grad_enabled():  # for a second derivative
            plain = partial(_plain, excluded=ctx.excluded)
            return *differentiable_gradients(ctx, plain, (x, y), (grad,)), None
        grad_x, grad_y = torch.zeros_like(x), torch.zeros_like(y)
        for row, column, block in _blocks(x, y, ctx.excluded):
            weights = block.sigmoid_().mul_(grad[row, None])
            grad_x[row].addmm_(weights, y[column])
            grad_y[column].addmm_(weights.T, x[row])
        return grad_x, grad_y, None


def _blocks(x: Tensor, y: Tensor, excluded: Excluded) -> Iterator[tuple[slice, slice, Tensor]]:
    """Yield the rows and the columns of each block of the products, and the block."""
    for row, column in blocks_of(len(x), len(y)):
        block = products_between(x[row], y[column])
        excluded.fill_(block, row, column)
        yield row, column, block


def _plain(x: Tensor, y: Tensor, excluded: Excluded) -> tuple[Tensor]:
    """Return the sums from the whole matrix, with autograd."""
    products = products_between(x, y)
    each = softplus(products, threshold=THRESHOLD)
    return (each.masked_fill(excluded.mask(products), 0.0).sum(1),)
