"""The checked arguments that all terms of a loss share."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from maninegs_sampling.losses.embeddings import check_embeddings, reduced
from maninegs_sampling.losses.instance_ids import check_ids
from maninegs_sampling.losses.options import Reduction, check_flag
from maninegs_sampling.losses.ranks import Ranks, join_ranks


@dataclass(frozen=True)
class Batch:
    """The checked arguments that all terms of a loss share.

    Attributes:
        embeddings: One (n, D) tensor for each argument, in float32 or float64.
        ids: (n,) int64, or None if all instances differ.
        normalize: Whether to scale embeddings to unit length.
        ranks: The ranks to gather from, or None for one process.
    """

    embeddings: tuple[Tensor, ...]
    ids: Tensor | None
    normalize: bool
    ranks: Ranks | None

    @staticmethod
    def of(
        embeddings: dict[str, Tensor],
        *,
        ids: object,
        normalize: bool,
        gather: bool | dist.ProcessGroup,
        agree: Mapping[str, int] | None = None,
    ) -> "Batch":
        """Check and convert the arguments of a loss."""
        check_embeddings(embeddings)
        check_flag("normalize", normalize)
        first, *others = embeddings.values()
        dtype = torch.float32  # of the logits, regardless of the network and of autocast
        for z in (first, *others):
            dtype = torch.promote_types(dtype, z.dtype)
        checked_ids = check_ids(ids, len(first), first.device)
        converted = tuple(z.to(dtype) for z in embeddings.values())
        agree = {"ids": checked_ids is not None} | dict(agree or {})
        ranks = join_ranks(gather, converted[0], agree=agree)
        return Batch(converted, checked_ids, normalize, ranks)

    @property
    def n(self) -> int:
        """Number of instances on this rank."""
        return len(self.embeddings[0])

    @property
    def offset(self) -> int:
        """Index of this rank's first instance among those of all ranks."""
        return self.ranks.offset if self.ranks else 0

    def gather(self, z: Tensor) -> Tensor:
        """Return the rows of all ranks."""
        return self.ranks.gather(z) if self.ranks else z

    def explicit_ids(self) -> Tensor:
        """Return this rank's ids. Default: the index of each instance among those of all ranks."""
        if self.ids is not None:
            return self.ids
        return self.offset + torch.arange(self.n, device=self.embeddings[0].device)

    def reduce(self, losses: Tensor, reduction: Reduction) -> Tensor:
        """Reduce losses of any shape. The mean over ranks of "mean" equals that of one process."""
        result = reduced(losses, reduction)
        return result * self.ranks.share if self.ranks and reduction == "mean" else result
