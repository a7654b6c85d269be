"""ManiNegBatchSampler: hard-negative minibatches drawn by Hamming distance (Algorithm 1)."""

import hashlib
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch.distributed
from numpy.typing import ArrayLike, NDArray
from torch.utils.data import BatchSampler, DataLoader, IterableDataset, Sampler
from torch.utils.data.distributed import DistributedSampler

from maninegs_sampling import randomness
from maninegs_sampling._draw import LANES, Population, Rules, Scratch, draw_batches
from maninegs_sampling._kernels import TILE
from maninegs_sampling.distribution import TruncatedGaussian, check_mu, check_sigma, log_weights
from maninegs_sampling.errors import (
    InvalidTypeError,
    InvalidValueError,
    StateError,
    check_choice,
    check_count,
)
from maninegs_sampling.hamming import distance_dtype, max_distance
from maninegs_sampling.index import DistanceBucketIndex
from maninegs_sampling.schedules import (
    LinearAnnealing,
    Schedule,
    StepwiseAnnealing,
    as_schedule,
)
from maninegs_sampling.store import ManifestationStore, check_store

STATE_VERSION = 1

# Indices drawn in one call of the kernel while iterating: calls are amortised, and even the
# slowest precomputed batches come within milliseconds.
_CHUNK = 16384

_EMPTY = ("renormalize", "nearest")
_DRAW = ("instance", "pattern")
_DUPLICATES = ("refill", "drop", "keep", "shrink")
_SHARD = ("batches", "within")

# What `wrap` keeps of a loader, where its class and release have it; the last is of torchdata's
# StatefulDataLoader.
_LOADER_SETTINGS = (
    "num_workers", "collate_fn", "pin_memory", "timeout", "worker_init_fn",
    "multiprocessing_context", "generator", "prefetch_factor", "persistent_workers",
    "pin_memory_device", "in_order", "snapshot_every_n_steps",
)  # fmt: skip

Loader = TypeVar("Loader", bound="DataLoader[Any]")


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
        """Let the batch sampler's next pass be over `epoch`."""
        self._batch_sampler.set_epoch(epoch)


@dataclass(frozen=True)
class BatchDescription:
    """What a batch was meant to be, and is.

    Attributes:
        step: the global step, epoch * batches per epoch + batch number.
        mu: mean of the law at that step, before truncation.
        law: (high + 1,) float64, the probability of each distance from 0 on, before it is
            conditioned on the distances that the anchor has.
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


def _group_codes(groups: ArrayLike, n_instances: int) -> NDArray[np.int32]:
    """Number the distinct groups from 0, in order of appearance."""
    labels = np.asarray(groups)
    if labels.shape != (n_instances,):
        raise InvalidValueError(
            f"groups must hold one label for each of the {n_instances} instances; "
            f"got shape {labels.shape}"
        )
    codes: dict[Any, int] = {}
    numbered = np.empty(n_instances, dtype=np.int32)
    for i, label in enumerate(labels.tolist()):
        if label is None or label != label:
            raise InvalidValueError(
                f"groups[{i}] is missing; give an instance without a group a label of its own"
            )
        numbered[i] = codes.setdefault(label, len(codes))
    return numbered


def _running_ranks() -> tuple[int, int] | None:
    """Return (ranks, this one's number) if several processes train together, as far as is known.

    torchrun says so in the environment before torch.distributed is initialised.
    """
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_world_size(), torch.distributed.get_rank()
    if {"WORLD_SIZE", "RANK"} <= os.environ.keys():
        return int(os.environ["WORLD_SIZE"]), int(os.environ["RANK"])
    return None


def _given_ranks(
    num_replicas: int | None,
    rank: int | None,
    distributed: str | None,
    injected: Sampler[Any] | None,
) -> tuple[int, int] | None:
    """Return (num_replicas, rank) if the options say, after checking them."""
    if injected is not None and not isinstance(injected, DistributedSampler):
        raise InvalidTypeError(
            "sampler is for the DistributedSampler that a trainer gives; got "
            f"{type(injected).__name__}"
        )
    if distributed is not None:
        check_choice("distributed", distributed, ("auto",))
        if num_replicas is not None or rank is not None:
            raise InvalidValueError('distributed="auto" sets num_replicas and rank; give only one')
    if (num_replicas is None) != (rank is None):
        raise InvalidValueError(
            f"num_replicas and rank go together; got num_replicas={num_replicas!r}, rank={rank!r}"
        )
    if num_replicas is None or rank is None:
        return None if injected is None else (injected.num_replicas, injected.rank)
    replicas = check_count("num_replicas", num_replicas, at_least=1)
    if check_count("rank", rank, at_least=0) >= replicas:
        raise InvalidValueError(f"rank must be below num_replicas={replicas}; got {rank}")
    return replicas, int(rank)


class ManiNegBatchSampler(BatchSampler):
    """Batches of one anchor and negatives whose Hamming distance from it follows a set law.

    Batch k of epoch e is a pure function of (store, options, seed, e, k): it can be drawn again on
    its own with `batch`, early by prefetching workers, or after a restart, and is always the same.
    A batch is a list of instance numbers, the anchor first.

    Parameters:
        store: one manifestation for each item of the dataset, in the same order.
        batch_size: instances a batch, of each rank.
        mu: mean of the law before truncation: a number, or a schedule from the global step
            (epoch * batches per epoch + k) to a number, `LinearAnnealing(11, 0, steps=4500)` say.
            The smaller, the harder the negatives.
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
        groups: N labels, such as a patient id; no two instances of a batch share one.
        seed: in [0, 2**64).
        batches_per_epoch: by default N // (ranks that draw their own batches * batch_size), so that
            learning-rate schedules written for uniform batches keep their meaning; "ceil": the same
            rounded up, as a DataLoader that keeps its last, smaller batch has; "anchors": every
            instance is an anchor once an epoch, as in Algorithm 1.
        num_replicas, rank: the ranks and this one's number; not sharded by default, because
            Accelerate, and the trainers built on it, shard whatever batch sampler they are given.
        distributed: "auto" takes both from torch.distributed, or from torchrun's environment; where
            neither runs yet, when batches are first drawn.
        shard: "batches": each rank draws its own. "within": one batch of num_replicas * batch_size
            is split over the ranks, for losses that gather negatives across them.
        memory_limit: for the index, see `DistanceBucketIndex`.
        sampler: the DistributedSampler that Lightning gives a batch sampler that it rebuilds; its
            ranks are taken where nothing else is said about them.

    Raises:
        InvalidTypeError, InvalidValueError: an option that cannot be used; too few patterns (or
            groups) for a batch without duplicates.

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
        seed: int = 0,
        batches_per_epoch: int | str | None = None,
        num_replicas: int | None = None,
        rank: int | None = None,
        distributed: str | None = None,
        shard: str = "batches",
        memory_limit: int | str = "1GiB",
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
        check_mu(self.mu(0))
        self.sigma = check_sigma(sigma)
        self.low = check_count("low", low, at_least=1)
        self.empty, self.draw, self.duplicates, self.shard = empty, draw, duplicates, shard
        self.seed = randomness.check_seed(seed)
        given = _given_ranks(num_replicas, rank, distributed, sampler)
        self.num_replicas, self.rank = given or (1, 0)
        self._follows_ranks = given is None and distributed == "auto"
        self._ranks_known = given is not None
        self._groups = (
            np.empty(0, np.int32) if groups is None else _group_codes(groups, store.n_instances)
        )
        self._n_groups = int(self._groups.max()) + 1 if len(self._groups) else 0
        self._check_supply()
        self.high = self._find_high(high)
        self._batches_option = batches_per_epoch
        self._batches_per_epoch = self._count_batches()

        self.index = DistanceBucketIndex(store, memory_limit=memory_limit, rows=f"{draw}s")
        # Where the law is conditioned on the distances that an anchor has, it need not be evaluated
        # beyond the largest.
        self._law_end = self.high
        if empty == "renormalize":
            self._law_end = max(self.low, min(self.high, self.index.largest_distance))
        anchor_stream = randomness.generator_at(self.seed, randomness.ANCHOR_ORDER)
        self._anchor_order = anchor_stream.permutation(store.n_instances)
        self._epoch = 0
        self._start = 0  # where the next pass over the current epoch begins
        self._position = 0  # batches of the current epoch handed out
        self._newest_pass = 0  # the pass whose progress counts; older iterators leave no trace
        self._warned = False
        self._settle_ranks()

    def _settle_ranks(self) -> None:
        """Find out about ranks as soon as they run: trainers start them after the sampler is made.

        Called before whatever depends on them.
        """
        running = None if self._ranks_known else _running_ranks()
        if running is None:
            return
        if self._follows_ranks:
            self.num_replicas, self.rank = running
            self._check_supply()
            self._batches_per_epoch = self._count_batches()
        self._ranks_known = True
        if running[0] > 1 and not self._follows_ranks:
            warnings.warn(
                f"torch.distributed runs {running[0]} ranks and every one of them will draw the "
                'same batches. Give the sampler distributed="auto", so that each rank draws its '
                "own; or num_replicas=1, rank=0 if your trainer shards batch samplers itself, as "
                "Accelerate does.",
                stacklevel=3,
            )

    # What torch and the frameworks built on it read.
    drop_last = True  # every epoch holds whole batches only

    @property
    def sampler(self) -> AnchorSampler:  # type: ignore[override]
        """The anchors, for frameworks that call `batch_sampler.sampler.set_epoch`."""
        return AnchorSampler(self)

    def __len__(self) -> int:
        """Return the number of batches an epoch, the same on every rank."""
        self._settle_ranks()
        return self._batches_per_epoch

    @property
    def epoch(self) -> int:
        """The epoch that the next pass belongs to; it advances with the last batch of a pass."""
        return self._epoch

    def set_epoch(self, epoch: int) -> None:
        """Let the next pass be over `epoch`. A position just loaded for that epoch is kept."""
        epoch = check_count("epoch", epoch, at_least=0)
        if epoch != self._epoch:
            self._move_to(epoch, 0)

    def _move_to(self, epoch: int, position: int) -> None:
        self._epoch, self._start, self._position = epoch, position, position
        self._newest_pass += 1

    def __iter__(self) -> Iterator[list[int]]:
        """Return an iterator over the rest of the current epoch's batches."""
        self._settle_ranks()
        self._newest_pass += 1
        return self._pass(self._epoch, self._start, self._newest_pass)

    def _pass(self, epoch: int, start: int, number: int) -> Iterator[list[int]]:
        # Only a pass that draws uses the start up: a DataLoader with workers makes two iterators.
        if number == self._newest_pass:
            self._start = 0
        chunk = max(1, _CHUNK // self._global_batch) if self.index.precomputed else 1
        length = self._batches_per_epoch
        for first in range(start, length, chunk):
            batches = self._draw(epoch, first, min(chunk, length - first))
            for k, batch in enumerate(batches, first + 1):
                if number == self._newest_pass:
                    done = k == length
                    self._epoch, self._position = (epoch + 1, 0) if done else (epoch, k)
                yield batch

    def batch(self, k: int, epoch: int = 0) -> list[int]:
        """Return batch `k` of `epoch`, whatever was drawn before.

        Raises:
            InvalidValueError: k outside [0, len(self)), or a negative epoch.
        """
        epoch = check_count("epoch", epoch, at_least=0)
        if check_count("k", k, at_least=0) >= len(self):
            raise InvalidValueError(f"an epoch has {len(self)} batches; got k={k}")
        return self._draw(epoch, int(k), 1)[0]

    def describe(self, epoch: int, k: int) -> BatchDescription:
        """Return mu, the law and the realised distances of batch `k` of `epoch`, for logging.

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
        mu = float(self.mu(step))
        (anchor,) = self.anchors(epoch, k, 1)
        words, pattern_of = self.store.words, self.store.pattern_of
        differ = words[pattern_of[batch[batch != anchor]]] ^ words[pattern_of[anchor]]
        bits = np.unpackbits(np.ascontiguousarray(differ).view(np.uint8), axis=1)
        law = TruncatedGaussian(mu, self.sigma, low=self.low, high=self.high).pmf()
        return BatchDescription(step, mu, law, bits.sum(axis=1, dtype=np.int64))

    def anchors(self, epoch: int, first: int, count: int) -> NDArray[np.int64]:
        """Return (count,) the anchors of batches `first`, `first` + 1, ... of `epoch`."""
        before = epoch * self._batches_per_epoch + first
        batch_number = before + np.arange(count, dtype=np.int64)
        if self.shard == "batches":
            batch_number = batch_number * self.num_replicas + self.rank
        return self._anchor_order[batch_number % self.store.n_instances]

    def _draw(self, epoch: int, first: int, count: int) -> list[list[int]]:
        """Draw `count` consecutive batches; nothing of `self` but a warning's flag changes."""
        before = epoch * self._batches_per_epoch + first
        steps = range(before, before + count)
        mus, which = np.unique(check_mu([self.mu(step) for step in steps]), return_inverse=True)
        law = log_weights(mus, self.sigma, self.low, self._law_end)[which]
        batches = np.empty((count, self._global_batch), np.int64)
        lengths = np.empty(count, np.int64)
        stream_rank = self.rank if self.shard == "batches" else 0
        draw_batches(
            self.index.buckets,
            Population(
                pattern_of=self.store.pattern_of,
                members=self.index.members,
                starts=self.index.starts,
                counts=self.store.counts,
                group_of=self._groups,
            ),
            Rules(
                low=self.low,
                nearest=self.empty == "nearest",
                per_instance=self.draw == "instance",
                distinct_patterns=self.duplicates in ("refill", "drop"),
                replacement=self.duplicates in ("drop", "shrink"),
            ),
            self._new_scratch(),
            self.anchors(epoch, first, count),
            law,
            np.uint64(self.seed),
            np.uint64(randomness.BATCHES),
            np.array([first, epoch, stream_rank], np.uint64),
            batches,
            lengths,
        )
        if lengths.min() == self._global_batch:
            rows: list[list[int]] = batches.tolist()
        else:
            self._warn_if_short(batches, lengths)
            rows = [row[:length].tolist() for row, length in zip(batches, lengths, strict=True)]
        if self.shard == "within":
            return [self._share(row) for row in rows]
        return rows

    def _new_scratch(self) -> Scratch:
        store, scanned = self.store, not self.index.precomputed
        size = max(self.high, store.n_bits) + 1
        keys = store.n_patterns if self.duplicates in ("refill", "drop") else store.n_instances
        return Scratch(
            stream=np.empty(11, np.uint64),
            mass=np.empty(size, np.int64),
            left=np.zeros(size, np.int64),
            weights=np.empty(self._law_end - self.low + 1),
            law=np.empty(-(-(self._law_end - self.low + 1) // LANES) * LANES),
            listed_begin=np.empty(size, np.int64),
            listed_end=np.empty(size, np.int64),
            patterns=np.empty(store.n_patterns + LANES * size, np.int32),
            running=np.empty(store.n_patterns + LANES * size, np.int64),
            distances=np.empty(store.n_patterns if scanned else 0, distance_dtype(store.n_bits)),
            block_mass=np.empty(
                (-(-store.n_patterns // TILE) if scanned else 0, store.n_bits + 1), np.int64
            ),
            bins=np.empty((4, store.n_bits + 1), np.int64),
            key_taken=np.zeros(keys, np.int32),
            group_taken=np.zeros(self._n_groups, np.int32),
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
        warnings.warn(
            f"a batch holds {lengths[shortest]} instead of {self._global_batch} instances: anchor "
            f"{batches[shortest, 0]} reaches no more at distances {self.low} to {self.high}"
            + (", one of each group" if self._n_groups else "")
            + ". Said once.",
            stacklevel=2,
        )

    @property
    def _global_batch(self) -> int:
        return self.batch_size * (self.num_replicas if self.shard == "within" else 1)

    def _check_supply(self) -> None:
        """Raise if no batch without duplicates can be full."""
        if self.duplicates == "refill" and self.store.n_patterns < self._global_batch:
            raise InvalidValueError(
                f"the store has {self.store.n_patterns} distinct patterns, too few for batches of "
                f"{self._global_batch} without duplicates; make batch_size smaller, or "
                'duplicates="keep" to let patterns repeat'
            )
        if self.duplicates in ("refill", "keep") and 0 < self._n_groups < self._global_batch:
            raise InvalidValueError(
                f"groups has {self._n_groups} distinct labels, too few for batches of "
                f"{self._global_batch} with one instance of each"
            )

    def _find_high(self, high: int | None) -> int:
        if high is not None:
            if check_count("high", high, at_least=1) < self.low:
                raise InvalidValueError(
                    f"low must not exceed high; got low={self.low}, high={high}"
                )
            return int(high)
        if self.empty == "renormalize":
            # The law is conditioned on the distances that an anchor has, so that every bound from
            # the largest distance on gives the same law; this one needs no pass over all pairs.
            return max(self.store.n_bits, self.low)
        largest = max_distance(self.store)
        if largest < self.low:
            raise InvalidValueError(
                f"low={self.low} exceeds the largest distance in the data, {largest}"
            )
        return largest

    def _count_batches(self) -> int:
        batches_per_epoch = self._batches_option
        drawing = self.num_replicas if self.shard == "batches" else 1
        n = self.store.n_instances
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

    # Stopping and resuming.

    def state_dict(self) -> dict[str, Any]:
        """Return where the latest pass stands, and what it was made from, as plain values.

        The position counts batches handed out. A DataLoader with workers takes them ahead of the
        training step, so a loop with workers saves where it stands itself, after batch k of an
        epoch `sampler.state_dict() | {"epoch": epoch, "position": k + 1}`. (torchdata's
        StatefulDataLoader does its own counting.)
        """
        return {
            "version": STATE_VERSION,
            "epoch": self._epoch,
            "position": self._position,
            "made_with": self._fingerprint(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Let the next pass go on where `state` stands.

        The number of ranks may have changed. With `shard="within"` the batches stay the same if
        num_replicas * batch_size does; with `shard="batches"`, whose ranks draw their own, the next
        pass begins at the same part of the epoch.

        Raises:
            StateError: not a state, of another version, or made with other data or options; the
                message names the first difference.

        Warns:
            UserWarning: the ranks changed and with them the batches.
        """
        wanted = {"version", "epoch", "position", "made_with"}
        if not isinstance(state, dict) or set(state) != wanted:
            got = sorted(state) if isinstance(state, dict) else type(state).__name__
            raise StateError(f"a sampler state has the keys {sorted(wanted)}; got {got}")
        if state["version"] != STATE_VERSION:
            raise StateError(
                f"the state has version {state['version']!r}; this release reads {STATE_VERSION}"
            )
        mine, theirs = self._fingerprint(), state["made_with"]
        if not isinstance(theirs, dict) or set(theirs) != set(mine):
            raise StateError(f"the state does not say what it was made with; got {theirs!r}")
        # What follows from the number of ranks may differ with it.
        resharded = self.shard == "batches" and theirs["num_replicas"] != mine["num_replicas"]
        for name in mine:
            may_differ = resharded and name in ("num_replicas", "batches_per_epoch")
            if theirs[name] != mine[name] and not may_differ:
                raise StateError(
                    f"the state was made with {name}={theirs[name]!r}; this sampler has "
                    f"{name}={mine[name]!r}"
                )
        length = check_count("batches_per_epoch", theirs["batches_per_epoch"], at_least=1)
        epoch = check_count("epoch", state["epoch"], at_least=0)
        position = check_count("position", state["position"], at_least=0)
        if position > length:
            raise StateError(f"position {position} lies beyond the {length} batches of an epoch")
        if resharded:
            warnings.warn(
                f"the state is of {theirs['num_replicas']} ranks with {length} batches an epoch, "
                f"and now {self.num_replicas} have {len(self)}: their batches are others, and mu "
                "is that of the new step. The next pass begins at the same part of the epoch.",
                stacklevel=2,
            )
            position = position * len(self) // length
        if position == len(self):
            epoch, position = epoch + 1, 0
        self._move_to(epoch, position)

    def _fingerprint(self) -> dict[str, Any]:
        """What must agree for two samplers to draw the same batches."""
        self._settle_ranks()
        mu = self.mu
        groups = self._groups.astype("<i4").tobytes()
        return {
            "store": self.store.digest,
            "groups": hashlib.blake2b(groups, digest_size=8).hexdigest(),
            # A function's own repr holds its address, which differs between processes.
            "mu": getattr(mu, "__qualname__", None) or repr(mu),
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
        return (
            f"ManiNegBatchSampler({self.store!r}, batch_size={self.batch_size}, mu={self.mu!r}, "
            f"sigma={self.sigma}, low={self.low}, high={self.high}, empty={self.empty!r}, "
            f"draw={self.draw!r}, duplicates={self.duplicates!r}, groups={groups}, "
            f"seed={self.seed}, batches_per_epoch={len(self)}, num_replicas={self.num_replicas}, "
            f"rank={self.rank}, shard={self.shard!r})"
        )

    # Ready-made readings of the paper, and the drop-in.

    @classmethod
    def paper(cls, store: ManifestationStore, **options: Any) -> "ManiNegBatchSampler":
        """Return the paper to the letter: Algorithm 1 with Table III's settings.

        Every instance is an anchor once an epoch; 63 distances are drawn with replacement; of equal
        manifestations one is kept, so batches are shorter than 64. mu falls from 11 to 0 by step
        150, as Table III says; with the 9,000 steps of the same table the authors' code reaches 0
        at its 150th epoch of 30 batches, step 4,500: `mu=LinearAnnealing(11, 0, steps=4500)`.

        Parameters:
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
        """Return what the authors' published code draws.

        Distances move to the nearest one that the anchor has, patterns are drawn before instances,
        only repeated instances are left out, an epoch has 30 batches, and mu changes once an epoch,
        from 11 to 0 by the 150th.

        Parameters:
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
        `loader` are kept; of a DistributedSampler, also the ranks.

        Parameters:
            loader: over a map-style dataset with as many items as the store has instances.
            options: `mu` and any other option of the sampler.

        Raises:
            InvalidTypeError: not a DataLoader, or one over an iterable dataset.
            InvalidValueError: automatic batching is off, or the dataset and the store differ in
                length.

        Example:
            >>> store = ManifestationStore.from_dense(np.eye(8, dtype=bool))
            >>> uniform = DataLoader(range(8), batch_size=4, shuffle=True)
            >>> hard = ManiNegBatchSampler.wrap(uniform, store, mu=2.0)
            >>> [len(batch) for batch in hard]
            [4, 4]
        """
        if not isinstance(loader, DataLoader):
            raise InvalidTypeError(f"loader must be a DataLoader; got {type(loader).__name__}")
        if isinstance(loader.dataset, IterableDataset):
            raise InvalidTypeError(
                "an IterableDataset chooses its own order, so no batch sampler can act on it; wrap "
                "a loader over a map-style dataset (one with __getitem__ and __len__). The README "
                "says how, for webdataset and other streams."
            )
        if loader.batch_sampler is None:
            raise InvalidValueError(
                "loader has batch_size=None (automatic batching is off): it has no batches to draw"
            )
        check_store("store", store)
        n_items = len(loader.dataset)  # type: ignore[arg-type]
        if n_items != store.n_instances:
            raise InvalidValueError(
                f"the dataset has {n_items} items and the store {store.n_instances} instances; "
                "instance i of the store must be item i of the dataset"
            )
        batch_size, length = getattr(loader.batch_sampler, "batch_size", None), len(loader)
        settings: dict[str, Any] = {"batch_size": batch_size}
        if not {"batch_size", "batches_per_epoch"} & set(options):
            settings["batches_per_epoch"] = max(1, length)
        if isinstance(loader.sampler, DistributedSampler):
            if "distributed" not in options:
                settings["num_replicas"] = loader.sampler.num_replicas
                settings["rank"] = loader.sampler.rank
        elif isinstance(batch_size, int) and "batches_per_epoch" in settings:
            # Said in a way that holds for any number of ranks, should some start later.
            ways = {-(-n_items // batch_size): "ceil", n_items // batch_size: None}
            settings["batches_per_epoch"] = ways.get(length, settings["batches_per_epoch"])
        kept = {name: getattr(loader, name) for name in _LOADER_SETTINGS if hasattr(loader, name)}
        return type(loader)(
            loader.dataset, batch_sampler=cls(store, **(settings | options)), **kept
        )
