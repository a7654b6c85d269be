"""PlannedBatchSampler: batch samplers that plan an epoch as a whole, each instance in one batch."""

from abc import abstractmethod
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from maninegs_sampling.errors import InvalidValueError
from maninegs_sampling.sampling.base import ReproducibleBatchSampler
from maninegs_sampling.sampling.epoch_length import count_covering_batches

# Plans kept: workers of one epoch may still draw when those of the next begin.
_KEPT = 2


class PlannedBatchSampler(ReproducibleBatchSampler):
    """Base class: an epoch is a partition of the instances into batches.

    A subclass implements `_plan`, from which batches are sliced. With `batches_per_epoch=None` an
    epoch has whole batches only, and up to W * batch_size - 1 instances are left out of it, for W
    ranks. With "ceil" these make a last, smaller step; only if there are fewer than W of them, they
    are left out, too. With shard="within" all shares of that step are equally long, and up to W - 1
    instances are left out.
    """

    # The latest plans and their edges, by epoch and number of ranks.
    _plans: Mapping[tuple[int, int], tuple[NDArray[np.int64], NDArray[np.int64]]] = (
        MappingProxyType({})
    )

    @abstractmethod
    def _plan(self, epoch: int) -> NDArray[np.int64]:
        """Return (n,) the instances in the order of an epoch's batches, numbered as in `_drawn`.

        Step k is the k-th piece of W * batch_size, of which each rank takes its part.
        """

    @property
    def covers(self) -> bool:
        """Whether each instance is in exactly one batch of an epoch."""
        return True

    @property
    def drop_last(self) -> bool:  # type: ignore[override]
        """Whether every epoch holds whole batches only."""
        return not (self.covers and self._batches_option == "ceil")

    def _check_supply(self) -> None:
        needed = self.num_replicas * (1 if self._batches_option == "ceil" else self.batch_size)
        if self.covers and self._drawn.n_instances < needed:
            wanted = f"batches of {self.batch_size}"
            if self.num_replicas > 1:
                wanted = f"a batch of {self.batch_size} on each of {self.num_replicas} ranks"
            raise InvalidValueError(
                f"there are {self._drawn.n_instances} instances, too few for {wanted}; make "
                "batch_size smaller"
            )

    def _count_batches(self) -> int:
        if not self.covers:
            return super()._count_batches()
        return count_covering_batches(
            self._batches_option,
            n_instances=self._drawn.n_instances,
            batch_size=self.batch_size,
            n_replicas=self.num_replicas,
        )

    def _draw_batches(
        self, epoch: int, first: int, count: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        order, edges = self._kept_plan(epoch)
        mine = np.arange(first, first + count) * self._n_parts + self._part
        begins, lengths = edges[mine], np.diff(edges)[mine]
        places = begins[:, None] + np.arange(self._global_batch_size)
        # What lies beyond a batch's length is cut off by the caller.
        return order[np.minimum(places, len(order) - 1)], lengths

    def _edges(self) -> NDArray[np.int64]:
        """Return the first place of each batch of an epoch, all ranks', and the end of the last."""
        per_step = self.batch_size * self.num_replicas
        n = min(self._drawn.n_instances, self._batches_per_epoch * per_step)
        begins = np.arange(self._batches_per_epoch)[:, None] * per_step
        sizes = np.minimum(n - begins, per_step)
        return np.append(begins + np.arange(self._n_parts) * sizes // self._n_parts, n)

    def _batches_per_call(self) -> int:
        return self._batches_per_epoch  # slices of a plan that is there already

    def _kept_plan(self, epoch: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the plan of an epoch and its edges, made if they are not among those kept."""
        key = (epoch, self.num_replicas)
        kept = self._plans
        if key not in kept:
            made = self._plan(epoch), self._edges()
            # A new mapping, so that another thread never sees one that changes.
            kept = self._plans = dict([*list(kept.items())[-(_KEPT - 1) :], (key, made)])
        return kept[key]
