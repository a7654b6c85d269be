"""ReproducibleBatchSampler: what every batch sampler of this package promises, in one place.

A subclass says which instances a batch holds; passes, epochs, ranks, states, and what torch and the
trainers expect of a batch sampler are here.
"""

import warnings
from abc import abstractmethod
from collections.abc import Iterator
from functools import cached_property
from typing import Any, ClassVar, Literal, TypeVar, get_args

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch.utils.data import BatchSampler, Sampler
from torch.utils.data.distributed import DistributedSampler

from maninegs_sampling import randomness
from maninegs_sampling.data.store import ManifestationStore, check_store
from maninegs_sampling.errors import (
    ImmutableError,
    InvalidTypeError,
    InvalidValueError,
    StateError,
    check_choice,
    check_count,
)
from maninegs_sampling.quoting import quoted
from maninegs_sampling.sampling import replacement, state, wrapping
from maninegs_sampling.sampling.epoch_length import BatchesPerEpoch, count_batches
from maninegs_sampling.sampling.groups import distinct_indices
from maninegs_sampling.sampling.progress import PassIterator, Progress
from maninegs_sampling.sampling.replicas import Replicas, Shard
from maninegs_sampling.sampling.wrapping import Loader

# The class that is made; typing has Self since Python 3.11.
Made = TypeVar("Made", bound="ReproducibleBatchSampler")

# Instances drawn in one call of a kernel while iterating: calls are amortized, and even the slowest
# precomputed batches come within milliseconds.
INSTANCES_PER_CALL = 16384


class FirstInstances(Sampler[int]):
    """The first instance of each batch of the next epoch, under the name frameworks look for.

    Lightning and Accelerate reach `set_epoch` only through `batch_sampler.sampler`.
    """

    def __init__(self, batch_sampler: "ReproducibleBatchSampler") -> None:
        self._batch_sampler = batch_sampler

    def __iter__(self) -> Iterator[int]:
        batches = self._batch_sampler
        epoch = batches.epoch
        return (batches.batch(k, epoch)[0] for k in range(len(batches)))

    def __len__(self) -> int:
        return len(self._batch_sampler)

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the batch sampler's next pass."""
        self._batch_sampler.set_epoch(epoch)


class ReproducibleBatchSampler(BatchSampler):
    """Base class: batch k of epoch e is a pure function of (store, options, seed, e, k).

    A batch is a list of instance numbers. It can be drawn again with `batch`, early by prefetching
    workers, or after a restart, and is always the same. A pass over the sampler is one epoch. Each
    pass belongs to the epoch after that of the last pass that began, finished or not, unless
    `set_epoch` or `load_state_dict` says otherwise. Options cannot be changed after construction;
    `replace_store` sets the store of later epochs.

    A subclass implements `_draw_batches`, and adds its options to `_fixed` and `_fingerprint`.

    Args:
        store: one manifestation for each item of the dataset, in the same order.
        batch_size: instances in a batch of each rank.
        indices: (n,) the instances that may be drawn. Default: all.
        seed: in [0, 2**64). It is the sampler's own: `torch.manual_seed` and a trainer's seed do
            not reach it.
        batches_per_epoch: see `count_batches`.
        num_replicas: the number of ranks. Default: 1, because Accelerate and the trainers built on
            it shard any batch sampler themselves.
        rank: the number of this rank.
        distributed: "auto" takes both from torch.distributed or from torchrun's environment, when
            batches are first drawn if neither runs before.
        shard: "batches": each rank draws its own batches. "within": one batch of
            num_replicas * batch_size is split over the ranks, for losses that gather negatives.
        sampler: the DistributedSampler that Lightning passes to a batch sampler that it rebuilds.
            Its ranks are taken if nothing else is said about ranks.

    Raises:
        InvalidTypeError, InvalidValueError: If an option cannot be used.

    Warns:
        UserWarning: If several ranks run and nothing was said about them.
    """

    # Changing one of these would leave length, index and saved states out of date.
    _fixed: ClassVar[frozenset[str]] = frozenset(
        {"store", "batch_size", "indices", "seed", "shard", "replicas", "num_replicas", "rank",
         "drop_last", "sampler", "epoch"}
    )  # fmt: skip

    # The arguments after the store, which make the same sampler for another one.
    _given: tuple[tuple[Any, ...], dict[str, Any]]
    # Whether neighbors were given, so that the store does not say who is near.
    _follows_lists = False

    def __new__(cls: type[Made], store: object = None, *args: Any, **options: Any) -> Made:
        """Refuse a sampler in place of the store, with the reason."""
        # Checked before __init__'s signature is: Lightning rebuilds batch samplers as
        # cls(sampler, batch_size=..., drop_last=...), and "missing argument: mu" would not help.
        if isinstance(store, Sampler):
            raise InvalidTypeError(
                f"{cls.__name__} takes a ManifestationStore, not a sampler; got "
                f"{type(store).__name__}. If a trainer rebuilt this sampler to distribute it, tell "
                "it not to (Lightning: use_distributed_sampler=False) and give the sampler "
                'distributed="auto".'
            )
        made = super().__new__(cls)
        made._given = args, options
        return made

    def __init__(
        self,
        store: ManifestationStore,
        *,
        batch_size: int,
        indices: ArrayLike | torch.Tensor | None,
        seed: int,
        batches_per_epoch: BatchesPerEpoch,
        num_replicas: int | None,
        rank: int | None,
        distributed: Literal["auto"] | None,
        shard: Shard,
        sampler: Sampler[Any] | None,
    ) -> None:
        check_store("store", store)
        self.store = store
        self.batch_size = check_count("batch_size", batch_size, at_least=1, at_most=2**31)
        self.shard: Shard = check_choice("shard", shard, get_args(Shard))
        self.seed = randomness.check_seed(seed)
        self._replicas = Replicas.from_options(num_replicas, rank, distributed, sampler)
        # The instances that may be drawn; subclasses number them from 0.
        self._drawn = store if indices is None else store.subset(indices)
        self.indices = None if indices is None else distinct_indices(indices)
        self._batches_option = batches_per_epoch
        self._batches_per_epoch = self._count_batches()
        self._remember("indices", self.indices)
        self._progress = Progress()
        self._warned = False
        # This object draws from this epoch on, and its earlier selves the epochs before.
        self._since = 0
        self._earlier: tuple[Any, ...] = ()

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self._fixed and (name in self.__dict__ or hasattr(type(self), name)):
            raise ImmutableError(
                f"{name} of a {type(self).__name__} cannot be changed; make another sampler"
            )
        super().__setattr__(name, value)

    def _remember(self, name: str, value: Any) -> None:
        """Keep `value` in place of an option that was given, to make this sampler again."""
        options = self._given[1]
        if name in options:
            options[name] = value

    # What a subclass says.

    @abstractmethod
    def _draw_batches(
        self, epoch: int, first: int, count: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Draw consecutive batches, of all ranks together with shard="within".

        Nothing but a cache may change in `self`.

        Args:
            epoch: the epoch.
            first: number of the first batch.
            count: number of batches.

        Returns:
            (count, M) int64 with M >= `_global_batch_size`: instances, numbered as in `_drawn`,
            filled from the left; and (count,) int64, the instances that each batch holds.
        """

    def _check_supply(self) -> None:
        """Raise `InvalidValueError` if there are too few instances for a batch of all ranks."""

    def _batches_per_call(self) -> int:
        """Return how many batches to draw in one call while iterating."""
        return max(1, INSTANCES_PER_CALL // self._global_batch_size)

    def _count_batches(self) -> int:
        """Return the number of batches an epoch."""
        return count_batches(
            self._batches_option,
            n_instances=self._drawn.n_instances,
            batch_size=self.batch_size,
            replicas=self._replicas,
            shard=self.shard,
        )

    # What torch and the frameworks built on it read.

    @property
    def drop_last(self) -> bool:  # type: ignore[override]
        """Whether every epoch holds whole batches only."""
        return True

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
    def sampler(self) -> FirstInstances:  # type: ignore[override]
        """The batches' first instances, for frameworks that call `.sampler.set_epoch`."""
        return FirstInstances(self)

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
                self._check_supply()
            except InvalidValueError:
                self._replicas = before  # so that the next call raises again
                raise
            self._batches_per_epoch = self._count_batches()

    def __len__(self) -> int:
        """Return the number of batches an epoch, the same on every rank."""
        self._settle_replicas()
        return self._batches_per_epoch

    # Epochs and passes.

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
        return PassIterator(
            self._progress, self._draw_in_pass, self._batches_per_epoch, self._batches_per_call()
        )

    def batch(self, k: int, epoch: int = 0) -> list[int]:
        """Return batch `k` of `epoch`. What was drawn before does not change the result.

        Raises:
            InvalidValueError: If `k` is outside [0, len(self)) or `epoch` is negative.
        """
        epoch, k = self._check_epoch(epoch), self._check_number(k)
        return self._draw(epoch, k, 1)[0]

    # What subclasses draw from.

    @property
    def _n_parts(self) -> int:
        """The batches of a step: one for each rank, or one that the ranks share."""
        return self.num_replicas if self.shard == "batches" else 1

    @property
    def _part(self) -> int:
        """Which batch of a step this rank draws."""
        return self.rank if self.shard == "batches" else 0

    def _stream_position(self, epoch: int, first: int) -> NDArray[np.uint64]:
        """Return the position of a batch in the random stream; the next one's is 1 later."""
        return np.array([first, epoch, self._part], np.uint64)

    @cached_property
    def _anchor_order(self) -> NDArray[np.int32]:
        """(n,) the instances in the order in which they are anchors, over all batches and ranks."""
        stream = randomness.generator_at(self.seed, randomness.ANCHOR_ORDER)
        return stream.permutation(np.arange(self._drawn.n_instances, dtype=np.int32))

    def _anchors(self, epoch: int, first: int, count: int) -> NDArray[np.int64]:
        """Return (count,) the anchors of batches `first`, `first` + 1, ... of `epoch`."""
        steps = epoch * self._batches_per_epoch + first + np.arange(count, dtype=np.int64)
        order = self._anchor_order
        return order[(steps * self._n_parts + self._part) % len(order)].astype(np.int64)

    def _warn_once(self, message: str) -> None:
        if not self._warned:
            self._warned = True
            warnings.warn(f"{message} Shown once.", stacklevel=3)

    def _draw(self, epoch: int, first: int, count: int) -> list[list[int]]:
        """Return `count` consecutive batches, or this rank's shares of them."""
        drawing = self._drawing(epoch)
        if drawing is not self:
            return drawing._draw(epoch, first, count)
        batches, lengths = self._draw_batches(epoch, first, count)
        if self.indices is not None:
            batches = self.indices[batches]  # what lies beyond a batch's length is cut off below
        rows: list[list[int]] = batches.tolist()
        if lengths.min() < batches.shape[1]:
            rows = [row[:length] for row, length in zip(rows, lengths.tolist(), strict=True)]
        if self.shard == "within":
            return [row[self._share(len(row))] for row in rows]
        return rows

    def _draw_in_pass(self, epoch: int, first: int, count: int) -> list[list[int]]:
        """Return what `_draw` returns, for a pass over the sampler."""
        return self._draw(epoch, first, count)

    def _share(self, length: int) -> slice:
        """Return the places of this rank in a batch of all ranks. All shares are equally long."""
        size = length // self.num_replicas
        if size == 0:
            raise InvalidValueError(
                f'shard="within" cannot split a batch of {length} over {self.num_replicas} ranks'
            )
        return slice(self.rank * size, (self.rank + 1) * size)

    def _check_number(self, k: object) -> int:
        """Return `k` as an int, or raise unless an epoch has a batch of that number."""
        number = check_count("k", k, at_least=0)
        if number >= len(self):
            raise InvalidValueError(f"an epoch has {len(self)} batches; got k={number}")
        return number

    @property
    def _global_batch_size(self) -> int:
        return self.batch_size * (self.num_replicas if self.shard == "within" else 1)

    def _check_epoch(self, epoch: object) -> int:
        """Return `epoch` as an int, or raise unless its batches can be drawn.

        They can if they can be numbered with int64, and the store of the epoch is still here.
        """
        number = check_count("epoch", epoch, at_least=0)
        limit = 2**62 // (len(self) * self.num_replicas)
        if number >= limit:
            raise InvalidValueError(f"epoch must be below {limit}; got {number}")
        self._drawing(number)
        return number

    # Other stores.

    def replace_store(self, store: ManifestationStore, epoch: int) -> None:
        """Draw the batches of `epoch` and of all later epochs with another store.

        For proxies that change, such as embeddings of the model in training. From `epoch` on,
        batches are those of a sampler made with `store` and the options of this one. Options that
        were None, such as `high`, are worked out again; an index that was given is replaced by one
        that is chosen as with None. Call it between passes, or during one for a later epoch, from
        the thread that draws, and on every rank with the same store and epoch.

        The sampler keeps the stores of the last epoch before that of the next pass and of later
        ones. Batches of epochs before can no longer be drawn. A run that is resumed needs the store
        of its epoch and those that were set for later ones; see `load_state_dict`.

        Args:
            store: as many instances as the store that it replaces, in the order of the dataset.
            epoch: the first epoch with this store. None that has begun.

        Raises:
            InvalidTypeError: If `store` is not a store, or `epoch` not a whole number.
            InvalidValueError: If `epoch` has begun, the number of instances differs, an option
                cannot be used with `store`, or the sampler draws by neighbors that were given.

        Example:
            >>> from maninegs_sampling import ManiNegBatchSampler
            >>> sampler = ManiNegBatchSampler(
            ...     ManifestationStore.from_dense(np.eye(8, dtype=bool)), batch_size=4, mu=2.0
            ... )
            >>> for epoch in range(4):
            ...     if epoch == 2:
            ...         store = ManifestationStore.from_dense(np.tri(8, dtype=bool))
            ...         sampler.replace_store(store, epoch)
            ...     batches = list(sampler)
            >>> [sampler.store_at(epoch).n_bits for epoch in (1, 2, 9)], sampler.store is store
            ([8, 8, 8], True)
        """
        number = check_count("epoch", epoch, at_least=0)
        replacement.check_replacement(self, store, number, self._progress.begun)
        self._check_epoch(number)
        self._earlier = replacement.needed(self, self.epoch - 1)
        made = replacement.made_for(self, store)
        self.__dict__ = replacement.replaced(self, made, number)

    def store_at(self, epoch: int) -> ManifestationStore:
        """Return the store that the batches of `epoch` are drawn with.

        `store` is the one that was set last.

        Raises:
            InvalidTypeError, InvalidValueError: If `epoch` is not a whole number of at least 0, or
                the sampler no longer has its store.
        """
        return self._drawing(self._check_epoch(epoch)).store

    def _drawing(self: Made, epoch: int) -> Made:
        """Return this sampler, or its earlier self that draws `epoch`."""
        drawing: Made
        for drawing in reversed(self._selves):
            if epoch >= drawing._since:
                drawing._settle_replicas()
                return drawing
        raise InvalidValueError(
            f"epoch {epoch} was drawn with a store that was replaced; this sampler has those from "
            f"epoch {self._selves[0]._since} on"
        )

    @property
    def _selves(self) -> tuple[Any, ...]:
        """This sampler's earlier selves, and itself."""
        return (*self._earlier, self)

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
        epoch, position = self._progress.reached
        return state.make_state(epoch, position, self._fingerprint())

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Set the next pass to continue from `state_dict`.

        A run whose store was replaced needs the store of the epoch that it continues, and those
        that were set for later epochs. Make the sampler with the first of them, and call
        `replace_store` with the others, or with all, before the state is loaded.

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
        self._check_schedule(theirs)
        length = check_count("batches_per_epoch", theirs["batches_per_epoch"], at_least=1)
        if position > length:
            raise StateError(f"position {position} lies beyond the {length} batches of an epoch")
        if resharded:
            ranks = check_count("num_replicas", theirs["num_replicas"], at_least=1)
            warnings.warn(
                f"the state is of {ranks} ranks with {length} batches an epoch, and now "
                f"{self.num_replicas} have {len(self)}: they draw other batches, and a schedule "
                "is read at the new step. The next pass begins at the same part of the epoch.",
                stacklevel=2,
            )
            position = position * len(self) // length
        if position == len(self):
            epoch, position = epoch + 1, 0
        since = replacement.check_stores(mine["stores"], theirs["stores"], epoch, position)
        epoch = self._check_epoch(epoch)
        if theirs["stores"] != mine["stores"]:
            # What the run drew before, this sampler does not know.
            self._earlier = replacement.needed(self, epoch)
            first = self._selves[0]
            first._since = max(first._since, since)
        self._resume_schedule(theirs)
        self._progress.move_to(epoch, position)
        self._progress.begun = epoch if position else epoch - 1

    def _check_schedule(self, theirs: dict[str, Any]) -> None:
        """Raise `StateError` if the fingerprint `theirs` is of another schedule."""

    def _resume_schedule(self, theirs: dict[str, Any]) -> None:
        """Take over what the fingerprint `theirs` says about the steps drawn so far."""

    def _fingerprint(self) -> dict[str, Any]:
        """Return what must be equal for two samplers to draw the same batches."""
        self._settle_replicas()
        return {
            "sampler": type(self).__name__,
            "stores": [
                {"from_epoch": drawing._since, **drawing._fingerprint_of_store()}
                for drawing in self._selves
            ],
            "indices": None if self.indices is None else state.digest_of(self.indices),
            "seed": self.seed,
            # How a batch is split over the ranks does not change it.
            "batch_size": self._global_batch_size,
            "num_replicas": self.num_replicas if self.shard == "batches" else None,
            "shard": self.shard,
            "batches_per_epoch": len(self),
        }

    def _fingerprint_of_store(self) -> dict[str, Any]:
        """Return the part of the fingerprint that another store may change."""
        return {"store": self.store.digest}

    def _options_text(self) -> str:
        """Return the options that every sampler has, for `repr`."""
        indices = None if self.indices is None else f"{len(self.indices)} instances"
        return (
            f"batch_size={self.batch_size}, indices={indices}, seed={self.seed}, "
            f"batches_per_epoch={len(self)}, num_replicas={self.num_replicas}, rank={self.rank}, "
            f"shard={self.shard!r}"
        )

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
            options: any option of the sampler, such as `mu`. With `indices=` the sampler of
                `loader` may be of any kind, since they replace its choice.

        Raises:
            InvalidTypeError: If `loader` is not a DataLoader, is over an iterable dataset, has a
                sampler whose choice would be lost (weights, a class of your own), or is of a
                subclass whose settings cannot be read back.
            InvalidValueError: If automatic batching is off, or if the dataset and the store differ
                in length.

        Example:
            >>> from torch.utils.data import DataLoader
            >>> from maninegs_sampling import ManiNegBatchSampler
            >>> store = ManifestationStore.from_dense(np.eye(8, dtype=bool))
            >>> uniform = DataLoader(range(8), batch_size=4, shuffle=True)
            >>> hard = ManiNegBatchSampler.wrap(uniform, store, mu=2.0)
            >>> [len(batch) for batch in hard]
            [4, 4]
        """
        return wrapping.wrap(cls, loader, store, options)
