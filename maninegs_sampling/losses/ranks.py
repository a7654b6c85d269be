"""Embeddings of all ranks, with gradients that find their way back."""

from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from maninegs_sampling.errors import InvalidTypeError, InvalidValueError


@dataclass(frozen=True)
class Ranks:
    """The processes whose batches together make one.

    Attributes:
        group: the process group, None for all processes.
        rank: this process's place in it.
        sizes: instances on each rank.
    """

    group: dist.ProcessGroup | None
    rank: int
    sizes: tuple[int, ...]

    @property
    def offset(self) -> int:
        """Instances on the ranks before this one."""
        return sum(self.sizes[: self.rank])

    @property
    def share(self) -> float:
        """What this rank's mean must be multiplied by for the mean over ranks to be the whole's."""
        return self.sizes[self.rank] * len(self.sizes) / sum(self.sizes)

    def gather(self, z: Tensor) -> Tensor:
        """Return the rows of all ranks in the order of ranks: (n, ...) -> (sum(sizes), ...)."""
        gathered: Tensor = _Gather.apply(z, self)  # type: ignore[no-untyped-call]
        return gathered


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


def join_ranks(gather: bool | dist.ProcessGroup, z: Tensor, *, has_ids: bool) -> Ranks | None:
    """Return the ranks that `gather` asks for, after comparing what they brought; None for one.

    Args:
        gather: True for all processes, or a process group; False stays alone. A program that
            never started torch.distributed is one process.
        z: this rank's embeddings, (n, D).
        has_ids: whether this rank was given ids.

    Raises:
        InvalidValueError: the ranks differ in D, in dtype or in having ids, or this process is not
            in the group. Where they differ, each rank raises it, so none is left waiting.
    """
    if dist.is_available() and gather is dist.GroupMember.NON_GROUP_MEMBER:
        raise InvalidValueError("gather is a process group that this process is not in")
    if not isinstance(gather, (bool, dist.ProcessGroup)):
        raise InvalidTypeError(f"gather must be True, False or a process group; got {gather!r}")
    if gather is False or not (dist.is_available() and dist.is_initialized()):
        return None
    group = None if gather is True else gather
    rank, world = dist.get_rank(group), dist.get_world_size(group)
    if world == 1:
        return None
    mine = torch.tensor([*z.shape, z.dtype == torch.float64, has_ids], device=z.device)
    parts = [torch.empty_like(mine) for _ in range(world)]
    dist.all_gather(parts, mine, group=group)
    sizes, *others = torch.stack(parts).T.tolist()
    for name, values in zip(("dimensions", "float64", "ids"), others, strict=True):
        if len(set(values)) > 1:
            raise InvalidValueError(
                f"ranks that gather must agree in {name}; by rank they have {values}"
            )
    return Ranks(group, rank, tuple(sizes))
