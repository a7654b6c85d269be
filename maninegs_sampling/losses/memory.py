"""A queue of past embeddings, as further negatives."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from maninegs_sampling.errors import InvalidValueError, check_count
from maninegs_sampling.losses.embeddings import check_embeddings
from maninegs_sampling.losses.instance_ids import Ids, check_ids
from maninegs_sampling.losses.ranks import join_ranks


class CrossBatchMemory(nn.Module):
    """A first-in-first-out queue of embeddings, which are further negatives of a batch.

    The queue of MoCo (He et al., CVPR 2020, arXiv 1911.05722) and of XBM (Wang et al., CVPR 2020,
    arXiv 1912.06798). Pass it to `nt_xent` or `inter_modal_nt_xent`, and add the batch's embeddings
    after the loss. Embeddings in the queue get no gradient. With `ids`, the same instance or
    pattern in the queue is no negative. `state_dict` holds the queue.

    Under DistributedDataParallel each rank has its own queue: keep the memory out of the wrapped
    module, whose buffers would be overwritten by those of rank 0, or let every rank add the
    embeddings of all with `gather=True`.

    Args:
        size: Largest number of instances to keep.
        dim: Number of dimensions of the embeddings, D.
        n_embeddings: Number of embeddings of each instance: views or modalities.

    Raises:
        InvalidValueError: If a number is less than 1.
        InvalidTypeError: If a number is no whole number.

    Example:
        >>> from maninegs_sampling import nt_xent
        >>> memory = CrossBatchMemory(size=1024, dim=8)
        >>> for step in range(3):
        ...     z_i, z_j = torch.randn(2, 16, 8, generator=torch.manual_seed(step))
        ...     loss = nt_xent(z_i, z_j, memory=memory)
        ...     memory.add(z_i, z_j)
        >>> len(memory)
        48
    """

    embeddings: Tensor
    ids: Tensor
    _added: int
    _has_ids: bool | None

    def __init__(self, size: int, dim: int, *, n_embeddings: int = 2) -> None:
        super().__init__()
        self.size = check_count("size", size, at_least=1)
        dim = check_count("dim", dim, at_least=1)
        many = check_count("n_embeddings", n_embeddings, at_least=1)
        self.register_buffer("embeddings", torch.zeros(many, self.size, dim))
        self.register_buffer("ids", torch.zeros(self.size, dtype=torch.int64))
        self.clear()

    def __len__(self) -> int:
        """Return the number of instances in the queue."""
        return min(self._added, self.size)

    @property
    def has_ids(self) -> bool | None:
        """Whether the instances have ids; None while the queue is empty."""
        return self._has_ids

    def clear(self) -> None:
        """Remove all instances."""
        self._added, self._has_ids = 0, None

    def add(
        self,
        *embeddings: Tensor,
        ids: Ids | None = None,
        gather: bool | dist.ProcessGroup = False,
    ) -> None:
        """Add instances; the oldest make room for them.

        Args:
            embeddings: One (N, D) tensor for each embedding of an instance, as the loss gets them.
            ids: (N,) integers, as the loss gets them.
            gather: Whether to add the instances of all ranks: True, or a process group.

        Raises:
            InvalidValueError: If shapes do not match, or only some instances have ids.
            InvalidTypeError: If embeddings are not floating-point tensors, or ids no integers.
        """
        many, _, dim = self.embeddings.shape
        if len(embeddings) != many:
            raise InvalidValueError(
                f"the memory holds {many} embeddings of each instance; got {len(embeddings)}"
            )
        check_embeddings({f"embedding {k}": z for k, z in enumerate(embeddings)})
        n, d = embeddings[0].shape
        if d != dim:
            raise InvalidValueError(f"the memory holds embeddings of {dim} dimensions; got {d}")
        checked = check_ids(ids, n, self.ids.device)
        if self._has_ids not in (None, checked is not None):
            raise InvalidValueError(
                "either all instances in the memory have ids or none; it "
                f"{'has' if self._has_ids else 'has no'} ids, and `add` got ids={ids!r:.40}"
            )
        z = torch.stack([each.detach() for each in embeddings], 1).to(self.embeddings)
        ranks = join_ranks(gather, embeddings[0], agree={"ids": checked is not None})
        if ranks:
            z = ranks.gather(z)
            checked = None if checked is None else ranks.gather(checked)
        n = len(z)
        places = (self._added + torch.arange(n, device=self.ids.device))[-self.size :] % self.size
        self.embeddings[:, places] = z[-self.size :].transpose(0, 1)
        if checked is not None:
            self.ids[places] = checked[-self.size :]
        self._added, self._has_ids = self._added + n, checked is not None

    def remembered(self, k: int) -> Tensor:
        """Return the k-th embedding of each instance in the queue, (len(self), D)."""
        return self.embeddings[k, : len(self)].clone()

    def remembered_ids(self) -> Tensor:
        """Return the ids, (len(self),); without ids, negative numbers, all different."""
        if self._has_ids:
            return self.ids[: len(self)].clone()
        return -1 - torch.arange(len(self), device=self.ids.device)

    def get_extra_state(self) -> dict[str, Any]:
        """Return what `state_dict` holds beside the buffers."""
        return {"added": self._added, "has_ids": self._has_ids}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Take over what `get_extra_state` returned."""
        self._added, self._has_ids = state["added"], state["has_ids"]

    def extra_repr(self) -> str:
        """Return the sizes, as the module's repr shows them."""
        many, size, dim = self.embeddings.shape
        return f"size={size}, dim={dim}, n_embeddings={many}"
