"""Gathering of embeddings from all ranks, with gradients."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from maninegs_sampling.errors import InvalidValueError
from maninegs_sampling.losses.options import check_gather


@dataclass(frozen=True)
class Ranks:
    """The processes whose batches form one.

    Attributes:
        group: Process group, or None for all processes.
        rank: Rank of this process in the group.
        sizes: Number of instances on each rank.
    """

    group: dist.ProcessGroup | None
    rank: int
    sizes: tuple[int, ...]

    @property
    def offset(self) -> int:
        """Number of instances on the ranks before this one."""
        return sum(self.sizes[: self.rank])

    @property
    def share(self) -> float:
        """Factor of this rank's mean that makes the mean over ranks the mean over all instances."""
        return self.sizes[self.rank] * len(self.sizes) / sum(self.sizes)

    def gather(self, z: Tensor) -> Tensor:
        """Return the rows of all ranks, in the order of ranks: (n, ...) -> (sum(sizes), ...)."""
        gathered: Tensor = _Gather.apply(z, self)  # type: ignore[no-untyped-call]
        return gathered

    def total(self, count: Tensor) -> Tensor:
        """Return the sum of `count` over the ranks, without gradient."""
        total = count.detach().clone()
        dist.all_reduce(total, group=self.group)
        return total


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(z: Tensor, ranks: Ranks) -> Tensor:
        longest = max(ranks.sizes)
        padded = z.new_zeros((longest, *z.shape[1:]))
        padded[: len(z)] = z
        parts = [torch.empty_like(padded) for _ in ranks.sizes]
        dist.all_gather(parts, padded, group=ranks.group)
        return torch.cat([part[:size] for part, size in zip(parts, ranks.sizes, strict=True)])

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Ranks], output: Tensor) -> None:
        ctx.ranks = inputs[1]

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        ranks = ctx.ranks
        grad = grad.contiguous().clone()
        dist.all_reduce(grad, group=ranks.group)
        return grad[ranks.offset : ranks.offset + ranks.sizes[ranks.rank]], None


def join_ranks(
    gather: bool | dist.ProcessGroup, z: Tensor, *, agree: Mapping[str, int]
) -> Ranks | None:
    """Return the ranks to gather from, or None for one process.

    Args:
        gather: True for all processes, or a process group. False does not gather. Where
            torch.distributed is not initialized, there is one process.
        z: This rank's embeddings, (n, D).
        agree: By name, numbers that must be the same on all ranks, such as whether there are ids.

    Raises:
        InvalidValueError: If ranks differ in D, in dtype or in a number of `agree`, or if this
            process is not in the group. Where ranks differ, all of them raise, so that none
            waits forever.
        InvalidTypeError: If `gather` is neither a boolean nor a process group.
    """
    check_gather("gather", gather)
    if gather is False or not (dist.is_available() and dist.is_initialized()):
        return None
    group = None if gather is True else gather
    rank, world = dist.get_rank(group), dist.get_world_size(group)
    if world == 1:
        return None
    mine = torch.tensor([*z.shape, z.dtype == torch.float64, *agree.values()], device=z.device)
    parts = [torch.empty_like(mine) for _ in range(world)]
    dist.all_gather(parts, mine, group=group)
    sizes, *others = torch.stack(parts).T.tolist()
    for name, values in zip(("dimensions", "float64", *agree), others, strict=True):
        if len(set(values)) > 1:
            raise InvalidValueError(
                f"ranks that gather must agree in {name}; by rank they have {values}"
            )
    return Ranks(group, rank, tuple(sizes))
