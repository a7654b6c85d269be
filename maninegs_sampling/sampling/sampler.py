"""ManiNegBatchSampler: hard-negative minibatches drawn by Hamming distance (Algorithm 1).

The file is long because it is one class: its options, their documentation, and what torch and the
trainers expect of a batch sampler. The work is done by the modules beside it.
"""

import warnings
from collections.abc import Iterator
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch.utils.data import BatchSampler, Sampler
from torch.utils.data.distributed import DistributedSampler

from maninegs_sampling import randomness
from maninegs_sampling.data.store import ManifestationStore, check_store
from maninegs_sampling.distances.index import DistanceBucketIndex
from maninegs_sampling.errors import (
    ImmutableError,
    InvalidTypeError,
    InvalidValueError,
    StateError,
    check_choice,
    check_count,
)
from maninegs_sampling.quoting import quoted
from maninegs_sampling.sampling import state, wrapping
from maninegs_sampling.sampling.description import BatchDescription, distances_from
from maninegs_sampling.sampling.distribution import LARGEST_MU, check_mean
from maninegs_sampling.sampling.drawer import BatchDrawer, Draw, Duplicates, Empty
from maninegs_sampling.sampling.epoch_length import BatchesPerEpoch, count_batches
from maninegs_sampling.sampling.groups import distinct_indices, numbers_of_drawn
from maninegs_sampling.sampling.presets import AUTHORS, PAPER
from maninegs_sampling.sampling.progress import Pass, PassIterator, Progress
from maninegs_sampling.sampling.replicas import Replicas, Shard
from maninegs_sampling.sampling.schedules import Schedule, as_schedule
from maninegs_sampling.sampling.wrapping import Loader

# Indices drawn in one call of the kernel while iterating: calls are amortized, and even the
# slowest precomputed batches come within milliseconds.
_INDICES_PER_CALL = 16384
# Probabilities evaluated for one call: with thousands of bits it draws fewer batches.
_PROBABILITIES_PER_CALL = 2**18

# Changing one of these would leave length, index and saved states out of date.
_FIXED = {
    "store", "batch_size", "mu", "sigma", "low", "high", "empty", "draw", "duplicates", "shard",
    "seed", "indices", "index", "replicas", "num_replicas", "rank", "drop_last", "sampler", "epoch",
}  # fmt: skip


class AnchorSampler(Sampler[int]):
    """The anchors of a batch sampler's current epoch, under the name frameworks look for.

    Lightning and Accelerate reach `set_epoch` only through `batch_sampler.sampler`.
    """

    def __init__(self, batch_sampler: "ManiNegBatchSampler") -> None:
        self._batch_sampler = batch_sampler

    def __iter__(self) -> Iterator[int]:
        batches = self._batch_sampler
        anchors = batches.anchors(batches.epoch, 0, len(batches))
        return iter(anchors.tolist())

    def __len__(self) -> int:
        return len(self._batch_sampler)

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the batch sampler's next pass."""
        self._batch_sampler.set_epoch(epoch)


class ManiNegBatchSampler(BatchSampler):
    """Draw batches of one anchor and negatives at chosen Hamming distances (ManiNeg, Algorithm 1).

    The distances follow a truncated Gaussian. A batch is a list of instance numbers, the anchor
    first. Batch k of epoch e is a pure function of (store, options, seed, e, k): it can be drawn
    again with `batch`, early by prefetching workers, or after a restart, and is always the same.

    A pass over the sampler is one epoch. Each pass belongs to the epoch after that of the last
    pass that began, finished or not, unless `set_epoch` or `load_state_dict` says otherwise.
    Options cannot be changed after construction.

    Args:
        store: one manifestation for each item of the dataset, in the same order.
        batch_size: instances in a batch of each rank.
        mu: mean of the distance distribution before truncation. A number, or a function from the
            global step (epoch * batches per epoch + k) to a number, such as
            `LinearAnnealing(11, 0, steps=4500)`. The smaller, the harder the negatives. A function
            of your own is called only for steps whose batches are drawn. It must return the same
            number whenever it is called with the same step.
        sigma: standard deviation before truncation. Default: the paper's 3.
        low: smallest distance of a negative, at least 1.
        high: largest distance of a negative. Default: the largest distance in the data.
        empty: what happens to distances at which the anchor has no instance. "renormalize": the
            distribution is conditioned on the distances that the anchor has. "nearest": the draw
            moves to the nearest distance that the anchor has, the lower one on a tie, as in the
            authors' code.
        draw: "instance": all instances at the drawn distance are equally likely, as in the paper.
            "pattern": a pattern at that distance is drawn, then one of its instances, as in the
            authors' code.
        duplicates: "refill": no pattern appears twice, and drawing goes on until the batch is full.
            "keep": patterns may repeat, instances may not, and the batch is filled.
            "drop_patterns": batch_size - 1 draws with replacement, of which each pattern is kept
            once, as in Algorithm 1; the batch may be shorter. "drop_instances": the same, but each
            instance is kept once, as in the authors' code.
        groups: (N,) labels, such as patient ids. No two instances of a batch share one. No label
            may be missing.
        indices: (n,) the instances that may be drawn, as anchors and as negatives, such as the
            training part of the dataset. Default: all.
        seed: in [0, 2**64). It is the sampler's own: `torch.manual_seed` and a trainer's seed do
            not reach it.
        batches_per_epoch: a number, "ceil" or "anchors". Default: n // (W * batch_size) for n
            instances that may be drawn and W ranks, so that learning-rate schedules written for
            uniform batches keep their meaning. "ceil": the same rounded up, as in a DataLoader
            that keeps its last, smaller batch. "anchors": every instance is an anchor once an
            epoch, as in Algorithm 1.
        num_replicas: the number of ranks. Default: 1, because Accelerate and the trainers built on
            it shard any batch sampler themselves.
        rank: the number of this rank.
        distributed: "auto" takes both from torch.distributed or from torchrun's environment, when
            batches are first drawn if neither runs before.
        shard: "batches": each rank draws its own batches. "within": one batch of
            num_replicas * batch_size is split over the ranks, for losses that gather negatives.
        memory_limit: for the index, see `DistanceBucketIndex`.
        index: a ready `DistanceBucketIndex` of the instances that may be drawn, with
            `rows=f"{draw}s"`. Default: one is made.
        sampler: the DistributedSampler that Lightning passes to a batch sampler that it rebuilds.
            Its ranks are taken if nothing else is said about ranks.

    Raises:
        InvalidTypeError, InvalidValueError: If an option cannot be used, or if there are too few
            instances, patterns or groups for a full batch.

    Warns:
        UserWarning: If several ranks run and nothing was said about them. Once, if an anchor
            reaches too few patterns between `low` and `high` to fill its batch.

    Example:
        >>> store = ManifestationStore.from_dense(np.eye(8, dtype=bool))
        >>> sampler = ManiNegBatchSampler(store, batch_size=4, mu=2.0, sigma=1.0)
        >>> len(sampler), [len(batch) for batch in sampler]
        (2, [4, 4])
        >>> sampler.batch(1, epoch=7) == sampler.batch(1, epoch=7)
        True
    """

    def __new__(cls, store: object = None, *args: Any, **options: Any) -> "ManiNegBatchSampler":
        """Refuse a sampler in place of the store, with the reason."""
        # Checked before __init__'s signature is: Lightning rebuilds batch samplers as
        # cls(sampler, batch_size=..., drop_last=...), and "missing argument: mu" would not help.
        if isinstance(store, Sampler):
            raise InvalidTypeError(
                f"ManiNegBatchSampler takes a ManifestationStore, not a sampler; got "
                f"{type(store).__name__}. If a trainer rebuilt this sampler to distribute it, tell "
                "it not to (Lightning: use_distributed_sampler=False) and give the sampler "
                'distributed="auto".'
            )
        return super().__new__(cls)

    def __init__(
        self,
        store: ManifestationStore,
        *,
        batch_size: int,
        mu: float | Schedule,
        sigma: float = 3.0,
        low: int = 1,
        high: int | None = None,
        empty: Empty = "renormalize",
        draw: Draw = "instance",
        duplicates: Duplicates = "refill",
        groups: ArrayLike | None = None,
        indices: ArrayLike | torch.Tensor | None = None,
        seed: int = 0,
        batches_per_epoch: BatchesPerEpoch = None,
        num_replicas: int | None = None,
        rank: int | None = None,
        distributed: Literal["auto"] | None = None,
        shard: Shard = "batches",
        memory_limit: int | str = "1GiB",
        index: DistanceBucketIndex | None = None,
        sampler: Sampler[Any] | None = None,
    ) -> None:
        check_store("store", store)
        self.store = store
        self.batch_size = check_count("batch_size", batch_size, at_least=1, at_most=2**31)
        self.mu = as_schedule(mu)
        self._mu_at(0)
        self.shard: Shard = check_choice("shard", shard, get_args(Shard))
        self.seed = randomness.check_seed(seed)
        self._replicas = Replicas.from_options(num_replicas, rank, distributed, sampler)
        # The instances that may be drawn. The drawer and the anchors number them from 0.
        drawn = store if indices is None else store.subset(indices)
        self.indices = None if indices is None else distinct_indices(indices)
        self._groups = numbers_of_drawn(groups, store.n_instances, self.indices)
        self._drawer = BatchDrawer(
            drawn, sigma=sigma, low=low, high=high, empty=empty, draw=draw, duplicates=duplicates,
            groups=self._groups, memory_limit=memory_limit, index=index,
        )  # fmt: skip
        self.index = self._drawer.index
        self.sigma, self.low, self.high = self._drawer.sigma, self._drawer.low, self._drawer.high
        self.empty, self.duplicates = self._drawer.empty, self._drawer.duplicates
        self.draw = self._drawer.instances_or_patterns
        self._drawer.check_supply(self._global_batch)
        anchor_stream = randomness.generator_at(self.seed, randomness.ANCHOR_ORDER)
        self._anchor_order = anchor_stream.permutation(drawn.n_instances)
        self._batches_option = batches_per_epoch
        self._batches_per_epoch = self._count_batches()
        self._progress = Progress()
        self._drawn_steps = state.DrawnSteps()
        self._warned = False
        self._settle_replicas()

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _FIXED and (name in self.__dict__ or hasattr(type(self), name)):
            raise ImmutableError(
                f"{name} of a ManiNegBatchSampler cannot be changed; make another sampler"
            )
        super().__setattr__(name, value)

    def _settle_replicas(self) -> None:
        """Read the ranks as soon as they run: trainers may start them after making the sampler.

        Called before anything that depends on the ranks.
        """
        settled = self._replicas.settled()
        if settled is self._replicas:
            return
        changed = (settled.count, settled.rank) != (self._replicas.count, self._replicas.rank)
        before, self._replicas = self._replicas, settled
        if changed:
            try:
                self._drawer.check_supply(self._global_batch)
            except InvalidValueError:
                self._replicas = before  # so that the next call raises again
                raise
            self._batches_per_epoch = self._count_batches()

    # What torch and the frameworks built on it read.
    drop_last = True  # every epoch holds whole batches only

    @property
    def replicas(self) -> Replicas:
        """The ranks, this one's number, and where both come from."""
        return self._replicas

    @property
    def followed(self) -> "DistributedSampler[Any] | None":
        """The sampler whose `set_epoch` sets the epoch here too, if there is one."""
        return self._progress.followed

    @property
    def loader_options(self) -> dict[str, Any]:
        """The options that `wrap` keeps when a loader of this sampler is wrapped again."""
        return {
            "batch_size": self.batch_size,
            "batches_per_epoch": self._batches_option,
            "indices": self.indices,
            **self._replicas.as_options(),
        }

    @property
    def num_replicas(self) -> int:
        """The number of ranks."""
        return self._replicas.count

    @property
    def rank(self) -> int:
        """The number of this rank."""
        return self._replicas.rank

    @property
    def sampler(self) -> AnchorSampler:  # type: ignore[override]
        """The anchors, for frameworks that call `batch_sampler.sampler.set_epoch`."""
        return AnchorSampler(self)

    def __len__(self) -> int:
        """Return the number of batches an epoch, the same on every rank."""
        self._settle_replicas()
        return self._batches_per_epoch

    @property
    def epoch(self) -> int:
        """The epoch that the next pass belongs to; it advances with the first batch of a pass."""
        self._catch_up()
        return self._progress.next_epoch

    @property
    def position(self) -> int:
        """The first batch of the next pass: 0, or what `load_state_dict` has set."""
        self._catch_up()
        return self._progress.next_start

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the next pass. A position just loaded for that epoch is kept.

        Raises:
            InvalidTypeError, InvalidValueError: If `epoch` is not a whole number of at least 0, or
                is too large.
        """
        self._progress.set_epoch(self._check_epoch(epoch))

    def follow_epochs(self, sampler: "DistributedSampler[Any]") -> None:
        """Set the epoch whenever `sampler.set_epoch` is called.

        Use this if your loop calls `set_epoch` of the DistributedSampler that this batch sampler
        replaces. `wrap` does it for you. A call that does not change `sampler.epoch` has no effect.

        Raises:
            InvalidTypeError: If `sampler` is not a DistributedSampler.
        """
        if not isinstance(sampler, DistributedSampler):
            raise InvalidTypeError(f"sampler must be a DistributedSampler; got {quoted(sampler)}")
        self._progress.followed = sampler
        self.set_epoch(sampler.epoch)

    def _catch_up(self) -> None:
        """Take over an epoch that was set at a followed sampler."""
        if self.followed is not None and self._progress.followed_changed:
            self.set_epoch(self.followed.epoch)

    def __iter__(self) -> Iterator[list[int]]:
        """Return an iterator over the rest of the next epoch's batches."""
        self._settle_replicas()
        self._catch_up()
        this = self._progress.new_pass()
        return PassIterator(this, self._pass(this), self._batches_per_epoch - this.start)

    def _pass(self, this: Pass) -> Iterator[list[int]]:
        length, chunk = self._batches_per_epoch, self._chunk()
        hand_out, note_step = self._progress.hand_out, self._drawn_steps.note
        for first in range(this.start, length, chunk):
            batches = self._draw(this.epoch, first, min(chunk, length - first))
            if first == this.start:
                self._progress.begin(this)
            for k, batch in enumerate(batches, first + 1):
                hand_out(this, k, length)
                note_step(this.epoch * length + k - 1)
                yield batch

    def _chunk(self) -> int:
        """Return how many batches to draw in one call while iterating."""
        if not self.index.precomputed or not state.is_built_in(self.mu):
            return 1
        by_size = _INDICES_PER_CALL // self._global_batch
        return max(1, min(by_size, _PROBABILITIES_PER_CALL // self._drawer.n_distances))

    def batch(self, k: int, epoch: int = 0) -> list[int]:
        """Return batch `k` of `epoch`. What was drawn before does not change the result.

        Raises:
            InvalidValueError: If `k` is outside [0, len(self)) or `epoch` is negative.
        """
        epoch = self._check_epoch(epoch)
        k = check_count("k", k, at_least=0)
        if k >= len(self):
            raise InvalidValueError(f"an epoch has {len(self)} batches; got k={k}")
        return self._draw(epoch, k, 1)[0]

    def describe(self, epoch: int, k: int) -> BatchDescription:
        """Return mu, the distribution and the drawn distances of batch `k`, for logging.

        Cheap enough to call at every step. What was drawn before does not change the result.

        Raises:
            InvalidValueError: If `k` is outside [0, len(self)) or `epoch` is negative.

        Example:
            >>> from maninegs_sampling import LinearAnnealing
            >>> store = ManifestationStore.from_dense(np.eye(8, dtype=bool))
            >>> mu = LinearAnnealing(4, 0, steps=4)
            >>> sampler = ManiNegBatchSampler(store, batch_size=4, mu=mu)
            >>> seen = sampler.describe(epoch=1, k=0)
            >>> seen.step, seen.mu, seen.distances.tolist(), seen.mean_distance
            (2, 2.0, [2, 2, 2], 2.0)
        """
        batch = np.asarray(self.batch(k, epoch))
        (anchor,) = self.anchors(epoch, k, 1)
        step = epoch * len(self) + k
        mu = self._mu_at(step)
        distances = distances_from(self.store, anchor, batch[batch != anchor])
        return BatchDescription(step, mu, self._drawer.distribution(mu), distances)

    def anchors(self, epoch: int, first: int, count: int) -> NDArray[np.int64]:
        """Return (count,) the anchors of batches `first`, `first` + 1, ... of `epoch`."""
        first = check_count("first", first, at_least=0, at_most=2**31)
        count = check_count("count", count, at_least=0, at_most=2**31)
        anchors = self._anchors(self._check_epoch(epoch), first, count)
        return anchors if self.indices is None else self.indices[anchors]

    def _anchors(self, epoch: int, first: int, count: int) -> NDArray[np.int64]:
        before = epoch * self._batches_per_epoch + first
        batch_number = before + np.arange(count, dtype=np.int64)
        if self.shard == "batches":
            batch_number = batch_number * self.num_replicas + self.rank
        return self._anchor_order[batch_number % len(self._anchor_order)]

    def _mu_at(self, step: int) -> float:
        """Return mu at a step, or raise if the schedule returns no number that can be used."""
        mu = self.mu(step)
        if type(mu) is float and abs(mu) <= LARGEST_MU:  # nan is not
            return mu
        return check_mean(f"mu at step {step}", mu)

    def _draw(self, epoch: int, first: int, count: int) -> list[list[int]]:
        """Draw `count` consecutive batches. Only the flag of a warning may change in `self`."""
        before = epoch * self._batches_per_epoch + first
        batches, lengths = self._drawer.draw(
            self._anchors(epoch, first, count),
            np.array([self._mu_at(step) for step in range(before, before + count)]),
            batch_size=self._global_batch,
            seed=self.seed,
            position=(first, epoch, self.rank if self.shard == "batches" else 0),
        )
        if self.indices is not None:
            batches = self.indices[batches]  # what lies beyond a batch's length is cut off below
        rows: list[list[int]] = batches.tolist()
        if lengths.min() < self._global_batch:
            self._warn_if_short(batches, lengths)
            rows = [row[:length] for row, length in zip(rows, lengths.tolist(), strict=True)]
        if self.shard == "within":
            return [self._share(row) for row in rows]
        return rows

    def _share(self, batch: list[int]) -> list[int]:
        """Return this rank's part of a global batch. All parts are equally long."""
        size = len(batch) // self.num_replicas
        if size == 0:
            raise InvalidValueError(
                f'shard="within" cannot split a batch of {len(batch)} over '
                f"{self.num_replicas} ranks"
            )
        return batch[self.rank * size : (self.rank + 1) * size]

    def _warn_if_short(self, batches: NDArray[np.int64], lengths: NDArray[np.int64]) -> None:
        if not self._drawer.fills_batches or self._warned:
            return
        self._warned = True
        shortest = int(lengths.argmin())
        warnings.warn(
            f"a batch holds {lengths[shortest]} instead of {self._global_batch} instances: anchor "
            f"{batches[shortest, 0]} reaches no more at distances {self.low} to {self.high}"
            + (", one of each group" if len(self._groups) else "")
            + ". Shown once.",
            stacklevel=2,
        )

    @property
    def _global_batch(self) -> int:
        return self.batch_size * (self.num_replicas if self.shard == "within" else 1)

    def _count_batches(self) -> int:
        return count_batches(
            self._batches_option,
            n_instances=len(self._anchor_order),
            batch_size=self.batch_size,
            replicas=self._replicas,
            shard=self.shard,
        )

    def _check_epoch(self, epoch: object) -> int:
        """Return `epoch` as an int, or raise unless all its batches can be numbered with int64."""
        number = check_count("epoch", epoch, at_least=0)
        limit = 2**62 // (len(self) * self.num_replicas)
        if number >= limit:
            raise InvalidValueError(f"epoch must be below {limit}; got {number}")
        return number

    # Stopping and resuming.

    def state_dict(self) -> dict[str, Any]:
        """Return how far the latest pass came and what it was made from, as plain values.

        The position is the number of batches handed out. A DataLoader with workers takes batches
        ahead of the training step: after step k save
        `sampler.state_dict() | {"epoch": epoch, "position": k + 1}` there. torchdata's
        StatefulDataLoader counts by itself. If a pass was left early, the state lies within its
        epoch. To skip the rest of that epoch, save
        `sampler.state_dict() | {"epoch": sampler.epoch, "position": 0}`.
        """
        self._catch_up()
        where = self._progress
        return state.make_state(where.epoch, where.position, self._fingerprint())

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Set the next pass to continue from `state_dict`.

        The number of ranks may have changed. With `shard="within"` the batches stay the same if
        num_replicas * batch_size does. With `shard="batches"` each rank draws its own batches, so
        they differ; the next pass begins at the same part of the epoch.

        Raises:
            StateError: If it is not a state, has another version, or was made with other data or
                options. The message names the first difference.

        Warns:
            UserWarning: If the number of ranks changed, and with it the batches.
        """
        epoch, position, theirs = state.read_state(state_dict)
        mine = self._fingerprint()
        # What follows from the number of ranks may differ with it.
        resharded = self.shard == "batches" and theirs.get("num_replicas") != mine["num_replicas"]
        may_differ = ("num_replicas", "batches_per_epoch") if resharded else ()
        state.check_fingerprint(mine, theirs, may_differ=may_differ)
        state.check_schedule(theirs["mu"], self.mu, self._mu_at)
        length = check_count("batches_per_epoch", theirs["batches_per_epoch"], at_least=1)
        if position > length:
            raise StateError(f"position {position} lies beyond the {length} batches of an epoch")
        if resharded:
            ranks = check_count("num_replicas", theirs["num_replicas"], at_least=1)
            warnings.warn(
                f"the state is of {ranks} ranks with {length} batches an epoch, and now "
                f"{self.num_replicas} have {len(self)}: they draw other batches, and mu is that of "
                "the new step. The next pass begins at the same part of the epoch.",
                stacklevel=2,
            )
            position = position * len(self) // length
        if position == len(self):
            epoch, position = epoch + 1, 0
        epoch = self._check_epoch(epoch)
        self._drawn_steps.add(theirs["mu"]["steps"])
        self._progress.move_to(epoch, position)

    def _fingerprint(self) -> dict[str, Any]:
        """Return what must be equal for two samplers to draw the same batches."""
        self._settle_replicas()
        return {
            "store": self.store.digest,
            "indices": None if self.indices is None else state.digest_of(self.indices),
            "groups": state.digest_of(self._groups),
            "mu": state.schedule_fingerprint(self.mu, self._mu_at, self._drawn_steps),
            # How a batch is split over the ranks does not change it.
            "batch_size": self._global_batch,
            "num_replicas": self.num_replicas if self.shard == "batches" else None,
            **{
                name: getattr(self, name)
                for name in ("seed", "sigma", "low", "high", "empty", "draw", "duplicates", "shard")
            },
            "batches_per_epoch": len(self),
        }

    def __repr__(self) -> str:
        groups = f"{self._drawer.n_groups} labels" if len(self._groups) else None
        indices = None if self.indices is None else f"{len(self.indices)} instances"
        return (
            f"ManiNegBatchSampler({self.store!r}, batch_size={self.batch_size}, mu={self.mu!r}, "
            f"sigma={self.sigma}, low={self.low}, high={self.high}, empty={self.empty!r}, "
            f"draw={self.draw!r}, duplicates={self.duplicates!r}, groups={groups}, "
            f"indices={indices}, seed={self.seed}, batches_per_epoch={len(self)}, "
            f"num_replicas={self.num_replicas}, rank={self.rank}, shard={self.shard!r})"
        )

    # Settings of the paper, and the drop-in.

    @classmethod
    def paper(cls, store: ManifestationStore, **options: Any) -> "ManiNegBatchSampler":
        """Return a sampler that follows the paper to the letter: Algorithm 1 and Table III.

        Every instance is an anchor once an epoch. Of batch_size - 1 = 63 distances drawn with
        replacement each pattern is kept once, so batches are shorter than 64. mu falls from 11 to
        0 by step 150; see `maninegs_sampling.sampling.presets` for the other reading.

        Args:
            store: the manifestations.
            options: replace any of these settings, or set any other option of the sampler.

        Example:
            >>> store = ManifestationStore.from_dense(np.eye(8, dtype=bool))
            >>> sampler = ManiNegBatchSampler.paper(store, seed=1)
            >>> sampler.duplicates, len(sampler)
            ('drop_patterns', 8)
        """
        return cls(store, **(PAPER | options))

    @classmethod
    def authors(cls, store: ManifestationStore, **options: Any) -> "ManiNegBatchSampler":
        """Return a sampler that draws as the authors' code does, with the numbers of Table III.

        A distance moves to the nearest one that the anchor has, a pattern is drawn before an
        instance, only repeated instances are dropped, and mu changes once an epoch.
        `maninegs_sampling.sampling.presets` names the source of each number.

        Args:
            store: the manifestations.
            options: replace any of these settings, or set any other option of the sampler.

        Example:
            >>> store = ManifestationStore.from_dense(np.eye(8, dtype=bool))
            >>> ManiNegBatchSampler.authors(store).empty
            'nearest'
        """
        return cls(store, **(AUTHORS | options))

    @classmethod
    def wrap(cls, loader: Loader, store: ManifestationStore, **options: Any) -> Loader:
        """Return a loader like `loader` whose batches this class draws.

        The dataset, batch size, batches per epoch, workers, collate_fn and every other setting of
        `loader` are kept, including those of a subclass. Only the items of a SubsetRandomSampler
        are drawn. The ranks of a DistributedSampler are kept, and its `set_epoch` still works.
        `docs/loaders.md` has the whole list.

        Args:
            loader: a DataLoader over a map-style dataset with as many items as the store has
                instances. It is not changed.
            store: one manifestation for each item of the dataset, in the same order.
            options: `mu` and any other option of the sampler. With `indices=` the sampler of
                `loader` may be of any kind, since they replace its choice.

        Raises:
            InvalidTypeError: If `loader` is not a DataLoader, is over an iterable dataset, has a
                sampler whose choice would be lost (weights, a class of your own), or is of a
                subclass whose settings cannot be read back.
            InvalidValueError: If automatic batching is off, or if the dataset and the store differ
                in length.

        Example:
            >>> from torch.utils.data import DataLoader
            >>> store = ManifestationStore.from_dense(np.eye(8, dtype=bool))
            >>> uniform = DataLoader(range(8), batch_size=4, shuffle=True)
            >>> hard = ManiNegBatchSampler.wrap(uniform, store, mu=2.0)
            >>> [len(batch) for batch in hard]
            [4, 4]
        """
        return wrapping.wrap(cls, loader, store, options)
