"""PlannedBatchSampler: batch samplers that plan an epoch as a whole, each instance in one batch."""

from abc import abstractmethod

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

    @abstractmethod
    def _plan(self, epoch: int) -> NDArray[np.int64]:
        """Return (n,) the instances in the order of an epoch's batches, numbered as in `_drawn`.

        Step k is the k-th piece of W * batch_size, of which each rank takes its part.
        """

    @property
    def covers(self) -> bool:
        """Whether each instance stands in exactly one batch of an epoch."""
        return True

    @property
    def drop_last(self) -> bool:  # type: ignore[override]
        """Whether every epoch holds whole batches only."""
        return not (self.covers and self._batches_option == "ceil")

    def _check_supply(self) -> None:
        needed = self.num_replicas * (1 if self._batches_option == "ceil" else self.batch_size)
        if self.covers and self._drawn.n_instances < needed:
            raise InvalidValueError(
                f"there are {self._drawn.n_instances} instances, too few for a batch of "
                f"{self.batch_size} on each of {self.num_replicas} ranks; make batch_size smaller"
                if self.num_replicas > 1
                else f"there are {self._drawn.n_instances} instances, too few for batches of "
                f"{self.batch_size}; make batch_size smaller"
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
        order = self._kept_plan(epoch)
        parts = self._parts
        mine = np.arange(first, first + count) * len(parts) + parts.index(True)
        edges = self._edges()
        begins, lengths = edges[mine], np.diff(edges)[mine]
        places = begins[:, None] + np.arange(self._global_batch_size)
        # What lies beyond a batch's length is cut off by the caller.
        return order[np.minimum(places, len(order) - 1)], lengths

    @property
    def _parts(self) -> list[bool]:
        """The batches of a step, and which of them is this rank's."""
        if self.shard == "within":
            return [True]
        return [rank == self.rank for rank in range(self.num_replicas)]

    def _edges(self) -> NDArray[np.int64]:
        """Return the first place of each batch of an epoch, all ranks', and the end of the last."""
        per_step = self.batch_size * self.num_replicas
        n = min(self._drawn.n_instances, self._batches_per_epoch * per_step)
        begins = np.arange(self._batches_per_epoch)[:, None] * per_step
        sizes = np.minimum(n - begins, per_step)
        parts = np.arange(len(self._parts))
        return np.append(begins + parts * sizes // len(parts), n)

    def _batches_per_call(self) -> int:
        return self._batches_per_epoch  # slices of a plan that is there already

    def _kept_plan(self, epoch: int) -> NDArray[np.int64]:
        """Return the plan of an epoch, made if it is not among those kept."""
        key = (epoch, self.num_replicas)
        kept: dict[tuple[int, int], NDArray[np.int64]] = self.__dict__.get("_plans", {})
        order = kept.get(key)
        if order is None:
            order = self._plan(epoch)
            # A new dict, so that another thread never sees one that changes.
            latest = list(kept.items())[-(_KEPT - 1) :]
            self._plans = dict([*latest, (key, order)])
        return order
