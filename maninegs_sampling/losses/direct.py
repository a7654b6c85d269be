"""Cross-entropies of small batches from the whole matrix of logits, in few operations."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from maninegs_sampling.losses.negatives import differentiable_gradients
from maninegs_sampling.losses.products import products_between


def cross_entropy_within(views: Tensor) -> Tensor:
    """Return (2n,), the cross-entropy of each row's partner among all other rows.

    Args:
        views: (2n, D) scaled embeddings; rows i and n + i are partners.
    """
    if torch.compiler.is_compiling():  # the compiler fuses the operations by itself
        return _within(views)
    losses: Tensor = _Within.apply(views)  # type: ignore[no-untyped-call]
    return losses


def cross_entropy_between(x: Tensor, y: Tensor) -> Tensor:
    """Return (2, n), the cross-entropy of each row's partner among the rows of the other matrix.

    Args:
        x: (n, D) scaled embeddings.
        y: (n, D), in which row i is the partner of row i of `x`.
    """
    if torch.compiler.is_compiling():
        return _between(x, y)
    losses: Tensor = _Between.apply(x, y)  # type: ignore[no-untyped-call]
    return losses


class _Within(torch.autograd.Function):
    """`_within`. The gradient of its symmetric matrix takes one product, where autograd has two."""

    @staticmethod
    def forward(ctx: Any, views: Tensor) -> Tensor:
        n = len(views) // 2
        log_shares = products_between(views, views).fill_diagonal_(-math.inf).log_softmax(1)
        ctx.save_for_backward(views, log_shares)
        return torch.cat([log_shares.diagonal(n), log_shares.diagonal(-n)]).neg_()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor | None:
        views, log_shares = ctx.saved_tensors
        if torch.is_grad_enabled():
            return differentiable_gradients(ctx, lambda z: (_within(z),), (views,), (grad,))[0]
        n = len(views) // 2
        slopes = log_shares.exp().mul_(grad[:, None])
        slopes.diagonal(n).sub_(grad[:n])
        slopes.diagonal(-n).sub_(grad[n:])
        return products_between(slopes + slopes.T, views.T)


class _Between(torch.autograd.Function):
    """`_between`, whose gradient needs one matrix for both directions."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor) -> Tensor:
        logits = products_between(x, y)
        log_shares = logits.log_softmax(1), logits.log_softmax(0)
        ctx.save_for_backward(x, y, *log_shares)
        return torch.stack([shares.diagonal() for shares in log_shares]).neg_()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, y, of_x, of_y = ctx.saved_tensors
        if torch.is_grad_enabled():
            return tuple(
                differentiable_gradients(ctx, lambda x, y: (_between(x, y),), (x, y), (grad,))
            )
        slopes = of_x.exp().mul_(grad[0, :, None]).addcmul_(of_y.exp(), grad[1])
        slopes.diagonal().sub_(grad.sum(0))
        return products_between(slopes, y.T), products_between(slopes.T, x.T)


def _within(views: Tensor) -> Tensor:
    n = len(views) // 2
    logits = products_between(views, views)
    itself = torch.eye(2 * n, dtype=torch.bool, device=views.device)
    partner = torch.arange(2 * n, device=views.device).roll(n)
    return F.cross_entropy(logits.masked_fill(itself, -math.inf), partner, reduction="none")


def _between(x: Tensor, y: Tensor) -> Tensor:
    logits = products_between(x, y)
    partner = torch.arange(len(x), device=x.device)
    return torch.stack(
        [F.cross_entropy(side, partner, reduction="none") for side in (logits, logits.T)]
    )
