"""ManiNegBatchSampler: hard-negative minibatches drawn by Hamming distance (Algorithm 1)."""

import hashlib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch.utils.data import BatchSampler, Sampler
from torch.utils.data.distributed import DistributedSampler

from maninegs_sampling import randomness
from maninegs_sampling.data.store import ManifestationStore, check_store
from maninegs_sampling.distances.hamming import max_distance
from maninegs_sampling.distances.index import DistanceBucketIndex
from maninegs_sampling.errors import (
    ImmutableError,
    InvalidTypeError,
    InvalidValueError,
    StateError,
    check_choice,
    check_count,
)
from maninegs_sampling.sampling import state, wrapping
from maninegs_sampling.sampling._draw import Population, Rules, Scratch, draw_batches, new_scratch
from maninegs_sampling.sampling.distribution import check_mean, check_sigma, log_masses
from maninegs_sampling.sampling.groups import group_numbers
from maninegs_sampling.sampling.progress import Pass, Progress
from maninegs_sampling.sampling.replicas import Replicas
from maninegs_sampling.sampling.schedules import (
    LinearAnnealing,
    Schedule,
    StepwiseAnnealing,
    as_schedule,
)
from maninegs_sampling.sampling.wrapping import Loader

# Indices drawn in one call of the kernel while iterating: calls are amortised, and even the
# slowest precomputed batches come within milliseconds.
_CHUNK = 16384
# Probabilities evaluated for one call: with thousands of bits a chunk is cut shorter.
_CHUNK_PROBABILITIES = 2**18

_EMPTY = ("renormalize", "nearest")
_DRAW = ("instance", "pattern")
_DUPLICATES = ("refill", "drop", "keep", "shrink")
_SHARD = ("batches", "within")

# A sampler that changed would leave its length, its index and its states behind.
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


@dataclass(frozen=True)
class BatchDescription:
    """What a batch was meant to be, and is.

    Attributes:
        step: the global step, epoch * batches per epoch + batch number.
        mu: mean of the law at that step, before truncation.
        law: (D + 1,) float64, the probability of each distance from 0 on, before it is conditioned
            on the distances that the anchor has. D is the smaller of `high` and the number of bits.
        distances: (n,) int64, of the batch's instances, or this rank's share, from the anchor.
    """

    step: int
    mu: float
    law: NDArray[np.float64]
    distances: NDArray[np.int64]

    @property
    def mean_distance(self) -> float:
        """Mean of the realised distances; nan if there are none."""
        return float(self.distances.mean()) if len(self.distances) else float("nan")


class ManiNegBatchSampler(BatchSampler):
    """Batches of one anchor and negatives whose Hamming distance from it follows a set law.

    Batch k of epoch e is a pure function of (store, options, seed, e, k): it can be drawn again on
    its own with `batch`, early by prefetching workers, or after a restart, and is always the same.
    A batch is a list of instance numbers, the anchor first.

    A pass over the sampler is one epoch. Each pass belongs to the epoch after that of the pass
    begun last, finished or not, unless `set_epoch` or `load_state_dict` says otherwise.

    Args:
        store: one manifestation for each item of the dataset, in the same order.
        batch_size: instances a batch, of each rank.
        mu: mean of the law before truncation: a number, or a schedule from the global step
            (epoch * batches per epoch + k) to a number, `LinearAnnealing(11, 0, steps=4500)` say.
            The smaller, the harder the negatives. A function of your own is called only for steps
            whose batches are drawn, and must return the same number whenever it is called.
        sigma: standard deviation of the law; 3 in the paper.
        low, high: smallest and largest distance of a negative. `low` is at least 1; `high=None`
            means the largest distance in the data.
        empty: what happens to distances at which the anchor has nobody. "renormalize": the law is
            conditioned on those that it has. "nearest": the draw moves to the nearest distance
            that it has, the lower one on a tie, as in the authors' code.
        draw: uniform among the "instance"s at the drawn distance, as in the paper, or among the
            "pattern"s and then among the pattern's instances, as in the authors' code.
        duplicates: "refill": drawn without replacement over patterns until the batch is full.
            "drop": Algorithm 1, batch_size - 1 draws with replacement of which each pattern is kept
            once; the batch may be shorter. "keep": patterns may repeat, instances do not, and the
            batch is filled. "shrink": the authors' code, batch_size - 1 draws with replacement of
            which each instance is kept once; the batch may be shorter.
        groups: N labels, such as a patient id; no two instances of a batch share one. None may be
            missing.
        indices: (n,) the instances that may be drawn, as anchors and as negatives; all of them by
            default. The training part of a dataset that is split by a sampler, say.
        seed: in [0, 2**64). It is the sampler's own: a script's or a trainer's seed does not reach
            it.
        batches_per_epoch: by default n // (ranks that draw their own batches * batch_size), with n
            the instances that may be drawn, so that learning-rate schedules written for uniform
            batches keep their meaning; "ceil": the same rounded up, as a DataLoader that keeps its
            last, smaller batch has; "anchors": every instance is an anchor once an epoch, as in
            Algorithm 1.
        num_replicas, rank: the ranks and this one's number; not sharded by default, because
            Accelerate, and the trainers built on it, shard whatever batch sampler they are given.
        distributed: "auto" takes both from torch.distributed, or from torchrun's environment; where
            neither runs yet, when batches are first drawn.
        shard: "batches": each rank draws its own. "within": one batch of num_replicas * batch_size
            is split over the ranks, for losses that gather negatives across them.
        memory_limit: for the index, see `DistanceBucketIndex`.
        index: an index of `store` to draw from, shared with other samplers. If None, one is built.
        sampler: the DistributedSampler that Lightning gives a batch sampler that it rebuilds; its
            ranks are taken where nothing else is said about them.

    Options cannot be changed afterwards.

    Raises:
        InvalidTypeError, InvalidValueError: an option that cannot be used; too few patterns,
            instances or groups for a full batch.

    Warns:
        UserWarning: several ranks run and nothing was said about them; or, once, when an anchor
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
        empty: str = "renormalize",
        draw: str = "instance",
        duplicates: str = "refill",
        groups: ArrayLike | None = None,
        indices: ArrayLike | torch.Tensor | None = None,
        seed: int = 0,
        batches_per_epoch: int | str | None = None,
        num_replicas: int | None = None,
        rank: int | None = None,
        distributed: str | None = None,
        shard: str = "batches",
        memory_limit: int | str = "1GiB",
        index: DistanceBucketIndex | None = None,
        sampler: Sampler[Any] | None = None,
    ) -> None:
        check_store("store", store)
        check_choice("empty", empty, _EMPTY)
        check_choice("draw", draw, _DRAW)
        check_choice("duplicates", duplicates, _DUPLICATES)
        check_choice("shard", shard, _SHARD)
        self.store = store
        self.batch_size = check_count("batch_size", batch_size, at_least=1)
        self.mu = as_schedule(mu)
        self._mu_at(0)
        self.sigma = check_sigma(sigma)
        self.low = check_count("low", low, at_least=1)
        self.empty, self.draw, self.duplicates, self.shard = empty, draw, duplicates, shard
        self.seed = randomness.check_seed(seed)
        self._replicas = Replicas.from_options(num_replicas, rank, distributed, sampler)
        # The instances that may be drawn. Everything below numbers them from 0.
        self._drawn = store if indices is None else store.subset(indices)
        self.indices = None if indices is None else _distinct(indices)
        self._groups = np.empty(0, np.int32)
        if groups is not None:
            numbers = group_numbers(groups, store.n_instances)
            chosen = numbers if self.indices is None else numbers[self.indices]
            self._groups = np.unique(chosen, return_inverse=True)[1].astype(np.int32)
        self._n_groups = int(self._groups.max()) + 1 if len(self._groups) else 0
        self._check_supply()
        self.high = self._find_high(high)
        self._batches_option = batches_per_epoch
        self._batches_per_epoch = self._count_batches()

        if index is None:
            index = DistanceBucketIndex(self._drawn, memory_limit=memory_limit, rows=f"{draw}s")
        elif index.store is not self._drawn or index.rows != f"{draw}s":
            raise InvalidValueError(
                f"index must be of the store that is drawn from, with rows={draw + 's'!r}; "
                f"got {index!r} with rows={index.rows!r}"
            )
        self.index = index
        # Nobody lies beyond the largest distance: there the distribution need not be evaluated.
        self._law_end = min(self.high, self._drawn.n_bits)
        if empty == "renormalize":
            self._law_end = max(self.low, min(self.high, self.index.largest_distance))
        self._group_of_member = self._groups[self.index.members] if self._n_groups else self._groups
        anchor_stream = randomness.generator_at(self.seed, randomness.ANCHOR_ORDER)
        self._anchor_order = anchor_stream.permutation(self._drawn.n_instances)
        self._progress = Progress()
        self._followed: DistributedSampler[Any] | None = None
        self._followed_epoch = 0
        self._warned = False
        self._settle_replicas()

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _FIXED and (name in self.__dict__ or hasattr(type(self), name)):
            raise ImmutableError(
                f"{name} of a ManiNegBatchSampler cannot be changed; make another sampler"
            )
        super().__setattr__(name, value)

    def _settle_replicas(self) -> None:
        """Find out about ranks as soon as they run: trainers start them after the sampler is made.

        Called before whatever depends on them.
        """
        settled = self._replicas.settled()
        if settled is self._replicas:
            return
        changed = (settled.count, settled.rank) != (self._replicas.count, self._replicas.rank)
        before, self._replicas = self._replicas, settled
        if changed:
            try:
                self._check_supply()
            except InvalidValueError:
                self._replicas = before  # to be refused each time, not once
                raise
            self._batches_per_epoch = self._count_batches()

    # What torch and the frameworks built on it read.
    drop_last = True  # every epoch holds whole batches only

    @property
    def replicas(self) -> Replicas:
        """The ranks, this one's number, and where both come from."""
        return self._replicas

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

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the next pass. A position just loaded for that epoch is kept.

        Raises:
            InvalidTypeError, InvalidValueError: not a whole number of at least 0, or too large.
        """
        self._note_followed()
        self._progress.set_epoch(self._check_epoch(epoch))

    def follow_epochs(self, sampler: "DistributedSampler[Any]") -> None:
        """Take over the epoch whenever somebody calls `set_epoch` of `sampler`.

        For a loop that holds the DistributedSampler which this batch sampler replaces; `wrap` does
        it by itself.
        """
        self._followed = sampler
        self.set_epoch(sampler.epoch)

    def _note_followed(self) -> None:
        if self._followed is not None:
            self._followed_epoch = self._followed.epoch

    def _catch_up(self) -> None:
        if self._followed is not None and self._followed.epoch != self._followed_epoch:
            self.set_epoch(self._followed.epoch)

    def __iter__(self) -> Iterator[list[int]]:
        """Return an iterator over the rest of the next epoch's batches."""
        self._settle_replicas()
        self._catch_up()
        return self._pass(self._progress.new_pass())

    def _pass(self, this: Pass) -> Iterator[list[int]]:
        length, chunk = self._batches_per_epoch, self._chunk()
        for first in range(this.start, length, chunk):
            batches = self._draw(this.epoch, first, min(chunk, length - first))
            if first == this.start:
                self._progress.begin(this)
            for k, batch in enumerate(batches, first + 1):
                self._progress.hand_out(this, k, length)
                yield batch

    def _chunk(self) -> int:
        """Return how many batches to draw in one call while iterating."""
        if not self.index.precomputed or not state.is_built_in(self.mu):
            return 1
        distances = self._law_end - self.low + 1
        return max(1, min(_CHUNK // self._global_batch, _CHUNK_PROBABILITIES // distances))

    def batch(self, k: int, epoch: int = 0) -> list[int]:
        """Return batch `k` of `epoch`, whatever was drawn before.

        Raises:
            InvalidValueError: k outside [0, len(self)), or a negative epoch.
        """
        epoch = self._check_epoch(epoch)
        k = check_count("k", k, at_least=0)
        if k >= len(self):
            raise InvalidValueError(f"an epoch has {len(self)} batches; got k={k}")
        return self._draw(epoch, k, 1)[0]

    def describe(self, epoch: int, k: int) -> BatchDescription:
        """Return mu, the distribution and the realised distances of batch `k`, for logging.

        Cheap enough for every step; whatever was drawn before does not change it.

        Raises:
            InvalidValueError: k outside [0, len(self)), or a negative epoch.

        Example:
            >>> store = ManifestationStore.from_dense(np.eye(8, dtype=bool))
            >>> mu = LinearAnnealing(4, 0, steps=4)
            >>> sampler = ManiNegBatchSampler(store, batch_size=4, mu=mu)
            >>> seen = sampler.describe(epoch=1, k=0)
            >>> seen.step, seen.mu, seen.distances.tolist(), seen.mean_distance
            (2, 2.0, [2, 2, 2], 2.0)
        """
        batch = np.asarray(self.batch(k, epoch))
        step = epoch * len(self) + k
        mu = self._mu_at(step)
        (anchor,) = self.anchors(epoch, k, 1)
        words, pattern_of = self.store.words, self.store.pattern_of
        differ = words[pattern_of[batch[batch != anchor]]] ^ words[pattern_of[anchor]]
        bits = np.unpackbits(np.ascontiguousarray(differ).view(np.uint8), axis=1)
        end = min(self.high, self.store.n_bits)
        masses = log_masses(mu, self.sigma, self._edges(end))
        law = np.zeros(end + 1)
        law[self.low :] = np.exp(masses - masses.max())
        law /= law.sum()
        return BatchDescription(step, mu, law, bits.sum(axis=1, dtype=np.int64))

    def anchors(self, epoch: int, first: int, count: int) -> NDArray[np.int64]:
        """Return (count,) the anchors of batches `first`, `first` + 1, ... of `epoch`."""
        anchors = self._anchors(self._check_epoch(epoch), first, count)
        return anchors if self.indices is None else self.indices[anchors]

    def _anchors(self, epoch: int, first: int, count: int) -> NDArray[np.int64]:
        before = epoch * self._batches_per_epoch + first
        batch_number = before + np.arange(count, dtype=np.int64)
        if self.shard == "batches":
            batch_number = batch_number * self.num_replicas + self.rank
        return self._anchor_order[batch_number % self._drawn.n_instances]

    def _mu_at(self, step: int) -> float:
        """Return mu at a step, or raise if the schedule returns no number that can be used."""
        return check_mean(f"mu at step {step}", self.mu(step))

    def _edges(self, end: int) -> NDArray[np.float64]:
        """Return the edges between the distances `low` to `end`, the last up to `high` included.

        Nobody lies beyond `end`. With empty="nearest" what would be drawn there moves to it; the
        other distribution is conditioned on the distances that the anchor has anyway.
        """
        edges = np.arange(self.low - 0.5, end + 1.0)
        if self.empty == "nearest":
            edges[-1] = self.high + 0.5
        return edges

    def _draw(self, epoch: int, first: int, count: int) -> list[list[int]]:
        """Draw `count` consecutive batches; nothing of `self` but a warning's flag changes."""
        before = epoch * self._batches_per_epoch + first
        mus = np.array([self._mu_at(step) for step in range(before, before + count)])
        distinct, which = np.unique(mus, return_inverse=True)
        law = log_masses(distinct, self.sigma, self._edges(self._law_end))[which]
        batches = np.empty((count, self._global_batch), np.int64)
        lengths = np.empty(count, np.int64)
        stream_rank = self.rank if self.shard == "batches" else 0
        draw_batches(
            self.index.buckets,
            Population(
                pattern_of=self._drawn.pattern_of,
                members=self.index.members,
                starts=self.index.starts,
                counts=self._drawn.counts,
                group_of=self._groups,
                group_of_member=self._group_of_member,
            ),
            Rules(
                low=self.low,
                nearest=self.empty == "nearest",
                per_instance=self.draw == "instance",
                distinct_patterns=self.duplicates in ("refill", "drop"),
                replacement=self.duplicates in ("drop", "shrink"),
            ),
            self._new_scratch(),
            self._anchors(epoch, first, count),
            law,
            np.uint64(self.seed),
            np.uint64(randomness.BATCHES),
            np.array([first, epoch, stream_rank], np.uint64),
            batches,
            lengths,
        )
        full = lengths.min() == self._global_batch
        if not full:
            self._warn_if_short(batches, lengths)
        if self.indices is not None:
            batches = self.indices[batches] if full else self._mapped(batches, lengths)
        rows: list[list[int]] = batches.tolist()
        if not full:
            rows = [row[:length] for row, length in zip(rows, lengths.tolist(), strict=True)]
        if self.shard == "within":
            return [self._share(row) for row in rows]
        return rows

    def _mapped(self, batches: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return short batches as instances of the store; what lies beyond a length is 0."""
        assert self.indices is not None
        inside = np.arange(batches.shape[1]) < lengths[:, None]
        return np.where(inside, self.indices[np.where(inside, batches, 0)], 0)

    def _new_scratch(self) -> Scratch:
        drawn = self._drawn
        distinct_patterns = self.duplicates in ("refill", "drop")
        return new_scratch(
            n_patterns=drawn.n_patterns,
            n_bits=drawn.n_bits,
            n_distances=self._law_end - self.low + 1,
            n_keys=drawn.n_patterns if distinct_patterns else drawn.n_instances,
            n_groups=self._n_groups,
            scanned=not self.index.precomputed,
        )

    def _share(self, batch: list[int]) -> list[int]:
        """This rank's part of a global batch; parts are equally long, so a rest is left out."""
        size = len(batch) // self.num_replicas
        if size == 0:
            raise InvalidValueError(
                f'shard="within" cannot split a batch of {len(batch)} over '
                f"{self.num_replicas} ranks"
            )
        return batch[self.rank * size : (self.rank + 1) * size]

    def _warn_if_short(self, batches: NDArray[np.int64], lengths: NDArray[np.int64]) -> None:
        if self.duplicates in ("drop", "shrink") or self._warned:
            return
        self._warned = True
        shortest = int(lengths.argmin())
        anchor = (
            batches[shortest, 0] if self.indices is None else self.indices[batches[shortest, 0]]
        )
        warnings.warn(
            f"a batch holds {lengths[shortest]} instead of {self._global_batch} instances: anchor "
            f"{anchor} reaches no more at distances {self.low} to {self.high}"
            + (", one of each group" if self._n_groups else "")
            + ". Shown once.",
            stacklevel=2,
        )

    @property
    def _global_batch(self) -> int:
        return self.batch_size * (self.num_replicas if self.shard == "within" else 1)

    def _check_supply(self) -> None:
        """Raise if no batch can be full."""
        size, drawn = self._global_batch, self._drawn
        if self.duplicates in ("refill", "keep") and drawn.n_instances < size:
            raise InvalidValueError(
                f"there are {drawn.n_instances} instances, too few for batches of {size}; make "
                "batch_size smaller"
            )
        if self.duplicates == "refill" and drawn.n_patterns < size:
            raise InvalidValueError(
                f"the instances have {drawn.n_patterns} distinct patterns, too few for batches of "
                f'{size} without duplicates; make batch_size smaller, or duplicates="keep" to let '
                "patterns repeat"
            )
        if self.duplicates in ("refill", "keep") and 0 < self._n_groups < size:
            raise InvalidValueError(
                f"groups has {self._n_groups} distinct labels, too few for batches of {size} with "
                "one instance of each"
            )

    def _find_high(self, high: int | None) -> int:
        n_bits = self._drawn.n_bits
        if self.low > n_bits:
            raise InvalidValueError(f"low={self.low} exceeds the {n_bits} bits of the store")
        if high is not None:
            largest = check_count("high", high, at_least=1)
            if largest < self.low:
                raise InvalidValueError(
                    f"low must not exceed high; got low={self.low}, high={largest}"
                )
            return largest
        if self.empty == "renormalize":
            # The distribution is conditioned on the distances that an anchor has, so that every
            # bound from the largest distance on gives the same; this one needs no pass over all
            # pairs.
            return n_bits
        largest = max_distance(self._drawn)
        if largest < self.low:
            raise InvalidValueError(
                f"low={self.low} exceeds the largest distance in the data, {largest}"
            )
        return largest

    def _count_batches(self) -> int:
        batches_per_epoch = self._batches_option
        drawing = self.num_replicas if self.shard == "batches" else 1
        n = self._drawn.n_instances
        if batches_per_epoch == "anchors":
            return -(-n // drawing)
        if batches_per_epoch == "ceil":
            return -(-n // (self.num_replicas * self.batch_size))
        if isinstance(batches_per_epoch, str):
            raise InvalidValueError(
                'batches_per_epoch must be a number, "ceil" or "anchors"; got '
                f"{batches_per_epoch!r}"
            )
        if batches_per_epoch is not None:
            return check_count("batches_per_epoch", batches_per_epoch, at_least=1)
        return max(1, n // (self.num_replicas * self.batch_size))

    def _check_epoch(self, epoch: object) -> int:
        """Return `epoch` as an int, or raise unless all its batches can be numbered with int64."""
        number = check_count("epoch", epoch, at_least=0)
        limit = 2**62 // (len(self) * self.num_replicas)
        if number >= limit:
            raise InvalidValueError(f"epoch must be below {limit}; got {number}")
        return number

    # Stopping and resuming.

    def state_dict(self) -> dict[str, Any]:
        """Return where the latest pass stands, and what it was made from, as plain values.

        The position counts batches handed out. A DataLoader with workers takes them ahead of the
        training step, so a loop with workers saves where it stands itself, after batch k of an
        epoch `sampler.state_dict() | {"epoch": epoch, "position": k + 1}`. (torchdata's
        StatefulDataLoader does its own counting.) After a pass that was left early the state lies
        within its epoch; a loop that does not want the rest of it saves
        `sampler.state_dict() | {"epoch": sampler.epoch, "position": 0}`.
        """
        self._catch_up()
        where = self._progress
        return state.make_state(where.epoch, where.position, self._fingerprint())

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Let the next pass begin where `state_dict` stands.

        The number of ranks may have changed. With `shard="within"` the batches stay the same if
        num_replicas * batch_size does; with `shard="batches"`, whose ranks draw their own, the next
        pass begins at the same part of the epoch.

        Raises:
            StateError: not a state, of another version, or made with other data or options; the
                message names the first difference.

        Warns:
            UserWarning: the ranks changed and with them the batches.
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
                f"{self.num_replicas} have {len(self)}: their batches are others, and mu is that "
                "of the new step. The next pass begins at the same part of the epoch.",
                stacklevel=2,
            )
            position = position * len(self) // length
        if position == len(self):
            epoch, position = epoch + 1, 0
        epoch = self._check_epoch(epoch)
        self._note_followed()
        self._progress.move_to(epoch, position)

    def _fingerprint(self) -> dict[str, Any]:
        """What must agree for two samplers to draw the same batches."""
        self._settle_replicas()
        where = self._progress
        return {
            "store": self.store.digest,
            "indices": None if self.indices is None else _digest(self.indices),
            "groups": _digest(self._groups),
            "mu": state.schedule_fingerprint(
                self.mu, self._mu_at, where.epoch * len(self) + where.position
            ),
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
        groups = f"{self._n_groups} labels" if self._n_groups else None
        indices = None if self.indices is None else f"{len(self.indices)} instances"
        return (
            f"ManiNegBatchSampler({self.store!r}, batch_size={self.batch_size}, mu={self.mu!r}, "
            f"sigma={self.sigma}, low={self.low}, high={self.high}, empty={self.empty!r}, "
            f"draw={self.draw!r}, duplicates={self.duplicates!r}, groups={groups}, "
            f"indices={indices}, seed={self.seed}, batches_per_epoch={len(self)}, "
            f"num_replicas={self.num_replicas}, rank={self.rank}, shard={self.shard!r})"
        )

    # Ready-made readings of the paper, and the drop-in.

    @classmethod
    def paper(cls, store: ManifestationStore, **options: Any) -> "ManiNegBatchSampler":
        """Return the paper to the letter: Algorithm 1 with Table III's settings.

        Every instance is an anchor once an epoch; 63 distances are drawn with replacement; of equal
        manifestations one is kept, so batches are shorter than 64. mu falls from 11 to 0 by step
        150, as Table III says; with the 9,000 steps of the same table the authors' code reaches 0
        at its 150th epoch of 30 batches, step 4,500: `mu=LinearAnnealing(11, 0, steps=4500)`.

        Args:
            store: the manifestations.
            options: replace any of these settings, or set any other option of the sampler.

        Example:
            >>> store = ManifestationStore.from_dense(np.eye(8, dtype=bool))
            >>> sampler = ManiNegBatchSampler.paper(store, seed=1)
            >>> sampler.duplicates, len(sampler)
            ('drop', 8)
        """
        settings: dict[str, Any] = {
            "batch_size": 64,
            "mu": LinearAnnealing(11, 0, steps=150),
            "sigma": 3.0,
            "duplicates": "drop",
            "batches_per_epoch": "anchors",
        }
        return cls(store, **(settings | options))

    @classmethod
    def authors(cls, store: ManifestationStore, **options: Any) -> "ManiNegBatchSampler":
        """Return the authors' way of drawing, with the numbers of the paper's Table III.

        From the published code come the rules: a distance moves to the nearest one that the anchor
        has, a pattern is drawn before an instance, only repeated instances are left out, and mu
        changes once an epoch. From Table III come the batch size of 64, sigma 3, and mu from 11 to
        0; its 9,000 steps in 300 epochs make 30 batches an epoch, and its "150th step" is read as
        the 150th epoch, step 4,500. The only public commit has other numbers: 100 for the length of
        its sampler, 3 for the epoch of the smallest mu, and 18 for the largest distance:
        `batches_per_epoch=100`, `mu=StepwiseAnnealing(LinearAnnealing(11, 0, steps=300),
        every=100)` and `high=18`. Here the largest distance is that of the data.

        Args:
            store: the manifestations.
            options: replace any of these settings, or set any other option of the sampler.

        Example:
            >>> store = ManifestationStore.from_dense(np.eye(8, dtype=bool))
            >>> ManiNegBatchSampler.authors(store).empty
            'nearest'
        """
        settings: dict[str, Any] = {
            "batch_size": 64,
            "mu": StepwiseAnnealing(LinearAnnealing(11, 0, steps=4500), every=30),
            "sigma": 3.0,
            "empty": "nearest",
            "draw": "pattern",
            "duplicates": "shrink",
            "batches_per_epoch": 30,
        }
        return cls(store, **(settings | options))

    @classmethod
    def wrap(cls, loader: Loader, store: ManifestationStore, **options: Any) -> Loader:
        """Return a loader like `loader` that draws its batches by ManiNeg.

        The dataset, batch size, batches per epoch, workers, collate_fn and every other setting of
        `loader` are kept, those of a subclass too. So is the choice of items: of a
        SubsetRandomSampler only its indices are drawn. Of a DistributedSampler the ranks are kept,
        and its `set_epoch` goes on to set the epoch.

        Args:
            loader: over a map-style dataset with as many items as the store has instances.
            store: one manifestation for each item of the dataset, in the same order.
            options: `mu` and any other option of the sampler. With `indices=` the sampler of
                `loader` may be of any kind, since they replace its choice.

        Raises:
            InvalidTypeError: not a DataLoader; one over an iterable dataset; one whose sampler
                makes a choice that cannot be kept (weights, a class of your own); one of a
                subclass whose settings cannot be read back.
            InvalidValueError: automatic batching is off, or the dataset and the store differ in
                length.

        Example:
            >>> from torch.utils.data import DataLoader
            >>> store = ManifestationStore.from_dense(np.eye(8, dtype=bool))
            >>> uniform = DataLoader(range(8), batch_size=4, shuffle=True)
            >>> hard = ManiNegBatchSampler.wrap(uniform, store, mu=2.0)
            >>> [len(batch) for batch in hard]
            [4, 4]
        """
        return wrapping.wrap(cls, loader, store, options)


def _digest(numbers: NDArray[Any]) -> str:
    content = numbers.astype("<i8").tobytes()
    return hashlib.blake2b(content, digest_size=8).hexdigest()


def _distinct(indices: ArrayLike | torch.Tensor) -> NDArray[np.int64]:
    """Return `indices` as int64, or raise if one appears twice."""
    chosen = np.asarray(indices).astype(np.int64)
    values, counts = np.unique(chosen, return_counts=True)
    if len(values) < chosen.size:
        raise InvalidValueError(
            f"indices must not repeat an instance; {values[counts.argmax()]} appears "
            f"{counts.max()} times"
        )
    return chosen
