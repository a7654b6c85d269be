"""Batches that each lie within a few shards, for data that cannot be moved."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from maninegs_sampling import randomness
from maninegs_sampling.data.store import ManifestationStore, check_store
from maninegs_sampling.errors import InvalidTypeError, InvalidValueError, check_count
from maninegs_sampling.quoting import quoted
from maninegs_sampling.sampling.groups import group_numbers
from maninegs_sampling.sampling.sampler import ManiNegBatchSampler
from maninegs_sampling.sampling.schedules import Schedule, as_schedule

# Options of ManiNegBatchSampler that are set for each window, or say how ranks share batches.
_NOT_OPTIONS = {
    "indices", "index", "batches_per_epoch", "num_replicas", "rank", "distributed", "shard",
    "sampler",
}  # fmt: skip


class ShardLocalBatchSampler:
    """Draw ManiNeg batches, each within a window of shards that a reader holds in memory.

    Each epoch goes through the shards in a new order and cuts it into windows. A window's batches
    come one after the other, so a reader needs one pass over the shards, and room for a window. A
    window of n instances has n // batch_size batches.

    A window is drawn from as `ManiNegBatchSampler` draws from the whole: negatives are as hard as
    the window allows. The batches are a pure function of (store, options, seed, epoch). A pass is
    one epoch; the next pass belongs to the next one, unless `set_epoch` says otherwise.

    Args:
        store: One manifestation for each item, shard after shard.
        shard_sizes: Number of items of each shard. They add up to the store's instances.
        batch_size: Instances in a batch.
        mu: Mean of the distances, as in `ManiNegBatchSampler`. Step k of epoch e is
            e * (N // batch_size) + k.
        shards_per_window: Number of shards of a window; some windows have fewer.
        groups: (N,) labels, such as patient ids. No two instances of a batch share one.
        seed: In [0, 2**64).
        **options: Further options of `ManiNegBatchSampler`, such as `sigma=` or `coverage=`.

    Raises:
        InvalidTypeError, InvalidValueError: If an option cannot be used; when batches are drawn, if
            a window has too few instances, patterns or groups for a batch.

    Example:
        >>> store = ManifestationStore.from_dense(np.eye(12, dtype=bool))
        >>> sampler = ShardLocalBatchSampler(store, [4, 4, 4], batch_size=2, mu=2.0)
        >>> [[row // 4 for row in batch] for batch in sampler]
        [[2, 2], [2, 2], [0, 0], [0, 0], [1, 1], [1, 1]]
    """

    def __init__(
        self,
        store: ManifestationStore,
        shard_sizes: ArrayLike,
        *,
        batch_size: int,
        mu: float | Schedule,
        shards_per_window: int = 1,
        groups: ArrayLike | None = None,
        seed: int = 0,
        **options: Any,
    ) -> None:
        check_store("store", store)
        self.store = store
        self._edges = _edges(shard_sizes, store.n_instances)
        self._batch_size = check_count("batch_size", batch_size, at_least=1)
        self._mu = as_schedule(mu)
        n_shards = len(self._edges) - 1
        per_window = check_count("shards_per_window", shards_per_window, at_least=1)
        self._n_windows = -(-n_shards // per_window)
        self._seed = randomness.check_seed(seed)
        if wrong := sorted(_NOT_OPTIONS & options.keys()):
            raise InvalidValueError(f"a ShardLocalBatchSampler takes no {wrong[0]}=")
        self._groups = None if groups is None else group_numbers(groups, store.n_instances)
        self._options = options
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the next pass.

        Args:
            epoch: At least 0.

        Raises:
            InvalidTypeError, InvalidValueError: If it is not.
        """
        self._epoch = check_count("epoch", epoch, at_least=0, at_most=2**32)

    def windows(self, epoch: int) -> list[NDArray[np.int64]]:
        """Return the numbers of the shards of each window of an epoch, in order.

        Args:
            epoch: At least 0.
        """
        return np.array_split(
            self._stream(epoch).permutation(len(self._edges) - 1), self._n_windows
        )

    def __len__(self) -> int:
        """Return the number of batches of the next pass; it may differ between epochs."""
        sizes = np.diff(self._edges)
        windows = self.windows(self._epoch)
        return sum(int(sizes[window].sum()) // self._batch_size for window in windows)

    def __iter__(self) -> Iterator[list[int]]:
        """Return an iterator over the batches of the next epoch."""
        epoch = self._epoch
        self._epoch += 1
        seeds = self._stream(epoch, 1).integers(2**64, size=self._n_windows, dtype=np.uint64)
        step = epoch * (self.store.n_instances // self._batch_size)
        for window, seed in zip(self.windows(epoch), seeds.tolist(), strict=True):
            rows = np.concatenate([np.arange(*self._edges[s : s + 2]) for s in np.sort(window)])
            sampler = self._sampler_of(window, rows, seed, step)
            yield from (rows[batch].tolist() for batch in sampler)
            step += len(sampler)

    def _stream(self, epoch: int, purpose: int = 0) -> np.random.Generator:
        return randomness.generator_at(self._seed, randomness.SHARD_WINDOWS, (epoch, purpose, 0))

    def _sampler_of(
        self, window: NDArray[np.int64], rows: NDArray[np.int64], seed: int, first: int
    ) -> ManiNegBatchSampler:
        """Return the sampler of a window's rows, whose first batch is that of step `first`."""
        try:
            return ManiNegBatchSampler(
                self.store.subset(rows),
                batch_size=self._batch_size,
                mu=lambda step: self._mu(first + step),
                groups=None if self._groups is None else self._groups[rows],
                seed=seed,
                num_replicas=1,
                rank=0,
                **self._options,
            )
        except InvalidValueError as error:
            raise InvalidValueError(f"in shards {sorted(window.tolist())}: {error}") from error


def _edges(shard_sizes: ArrayLike, n_instances: int) -> NDArray[np.int64]:
    """Return the first instance of each shard, and the number of all."""
    sizes = np.asarray(shard_sizes)
    if sizes.ndim != 1 or sizes.dtype.kind not in "iu":
        raise InvalidTypeError(
            f"shard_sizes must be a list of whole numbers; got {quoted(shard_sizes)}"
        )
    if not len(sizes) or sizes.min() < 1 or sizes.sum() != n_instances:
        raise InvalidValueError(
            f"shard_sizes must be at least 1 and add up to the {n_instances} instances of the "
            f"store; got {quoted(sizes.tolist())}"
        )
    return np.append(0, np.cumsum(sizes, dtype=np.int64))
