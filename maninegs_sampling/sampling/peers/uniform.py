"""UniformDistinctBatchSampler: uniform batches of distinct patterns, the yardstick for hardness."""

from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch.utils.data import Sampler

from maninegs_sampling import randomness
from maninegs_sampling.data.patterns import as_int32
from maninegs_sampling.data.store import ManifestationStore
from maninegs_sampling.errors import InvalidValueError
from maninegs_sampling.sampling import state
from maninegs_sampling.sampling._stream import STREAM_WORDS
from maninegs_sampling.sampling.base import ReproducibleBatchSampler
from maninegs_sampling.sampling.epoch_length import BatchesPerEpoch
from maninegs_sampling.sampling.groups import (
    check_number_of_groups,
    group_numbers,
    numbers_of_drawn,
)
from maninegs_sampling.sampling.peers._kernels import UniformScratch, draw_uniform
from maninegs_sampling.sampling.replicas import Shard

# Refused draws after which what can be taken is listed, as a share of the instances: listing an
# instance costs less than a refused draw, by about this factor.
_PATIENCE = 1 / 16


class UniformDistinctBatchSampler(ReproducibleBatchSampler):
    """Draw uniform batches in which no pattern appears twice.

    Instances are drawn one after the other, uniformly among those whose pattern, and group, is not
    in the batch yet. Leaving duplicates out raises the mean distance of a batch by itself, so this,
    and not a plain uniform batch, is what hard batches of distinct patterns are to be compared
    with. Batches are independent: an epoch does not show every instance.

    Args:
        store: one manifestation for each item of the dataset, in the same order.
        batch_size: instances in a batch of each rank.
        groups: (N,) labels, such as patient ids. No two instances of a batch share one. No label
            may be missing.
        indices, seed, batches_per_epoch, num_replicas, rank, distributed, shard, sampler: as in
            `ManiNegBatchSampler`.

    Raises:
        InvalidTypeError, InvalidValueError: If an option cannot be used, or if there are too few
            patterns or groups for a full batch.

    Warns:
        UserWarning: If several ranks run and nothing was said about them. Once, if groups leave too
            few instances to fill a batch.

    Example:
        >>> store = ManifestationStore.from_dense([[0, 0], [0, 0], [0, 0], [0, 1], [1, 0], [1, 1]])
        >>> sampler = UniformDistinctBatchSampler(store, batch_size=3)
        >>> [len(set(store.pattern_of[batch])) for batch in sampler]
        [3, 3]
    """

    def __init__(
        self,
        store: ManifestationStore,
        *,
        batch_size: int,
        groups: ArrayLike | None = None,
        indices: ArrayLike | torch.Tensor | None = None,
        seed: int = 0,
        batches_per_epoch: BatchesPerEpoch = None,
        num_replicas: int | None = None,
        rank: int | None = None,
        distributed: Literal["auto"] | None = None,
        shard: Shard = "batches",
        sampler: Sampler[Any] | None = None,
    ) -> None:
        super().__init__(
            store, batch_size=batch_size, indices=indices, seed=seed,
            batches_per_epoch=batches_per_epoch, num_replicas=num_replicas, rank=rank,
            distributed=distributed, shard=shard, sampler=sampler,
        )  # fmt: skip
        numbers = None if groups is None else group_numbers(groups, store.n_instances)
        self._groups = numbers_of_drawn(numbers, self.indices)
        self._remember("groups", numbers)
        self._n_groups = int(self._groups.max()) + 1 if len(self._groups) else 0
        self._pattern_of = as_int32(self._drawn.pattern_of)
        self._check_supply()
        self._settle_replicas()

    def _check_supply(self) -> None:
        size, n_patterns = self._global_batch_size, self._drawn.n_patterns
        if n_patterns < size:
            raise InvalidValueError(
                f"the instances have {n_patterns} distinct patterns, too few for batches of "
                f"{size} without duplicates; make batch_size smaller"
            )
        check_number_of_groups(self._n_groups, size)

    def _draw_batches(
        self, epoch: int, first: int, count: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        n_instances = self._drawn.n_instances
        batches = np.zeros((count, self._global_batch_size), np.int64)
        lengths = np.empty(count, np.int64)
        scratch = UniformScratch(
            stream=np.empty(STREAM_WORDS, np.uint64),
            patterns=np.zeros(self._drawn.n_patterns, np.int32),
            groups=np.zeros(self._n_groups, np.int32),
            listed=np.empty(n_instances, np.int32),
        )
        draw_uniform(
            self._pattern_of,
            self._groups,
            int(n_instances * _PATIENCE),
            scratch,
            np.uint64(self.seed),
            np.uint64(randomness.UNIFORM_DISTINCT),
            self._stream_position(epoch, first),
            batches,
            lengths,
        )
        if lengths.min() < self._global_batch_size:
            self._warn_once(
                f"a batch holds {lengths.min()} instead of {self._global_batch_size} instances: no "
                "other pattern has an instance of another group."
            )
        return batches, lengths

    def _fingerprint(self) -> dict[str, Any]:
        return {**super()._fingerprint(), "groups": state.digest_of(self._groups)}

    def __repr__(self) -> str:
        groups = f"{self._n_groups} labels" if self._n_groups else None
        return f"{type(self).__name__}({self.store!r}, groups={groups}, {self._options_text()})"
