"""RandomWalkBatchSampler: batches gathered by a random walk with restart on the neighbor graph."""

from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch.utils.data import Sampler

from maninegs_sampling import randomness
from maninegs_sampling.data.patterns import frozen
from maninegs_sampling.data.store import ManifestationStore
from maninegs_sampling.errors import InvalidValueError, check_count, check_number
from maninegs_sampling.sampling import state
from maninegs_sampling.sampling._stream import STREAM_WORDS
from maninegs_sampling.sampling.base import ReproducibleBatchSampler
from maninegs_sampling.sampling.epoch_length import BatchesPerEpoch
from maninegs_sampling.sampling.peers._kernels import Graph, walk
from maninegs_sampling.sampling.peers.neighbors import find_neighbors
from maninegs_sampling.sampling.replicas import Shard

# Steps without a new instance after which a walk begins elsewhere: it is then all but certain that
# nothing new lies within its reach.
PATIENCE = 100


class RandomWalkBatchSampler(ReproducibleBatchSampler):
    """Gather each batch by a random walk with restart on the neighbor graph (BatchSampler).

    Source: Yang et al., "BatchSampler: Sampling Mini-Batches for Contrastive Learning in Vision,
    Language, and Graphs", KDD 2023, arXiv 2306.03355. The walk starts at an instance. With
    `restart_probability` a step leads back to it, otherwise to a neighbor, uniformly drawn. The
    instances that are visited make the batch.

    The graph joins each pattern to its nearest patterns by Hamming distance, or is given as
    `neighbors`. A visited pattern gives one of its instances, uniformly drawn, so no pattern
    appears twice. With `neighbors` the walk visits instances, and patterns may repeat.

    Choices of ours: the paper takes the nearest among a random sample of candidates for each
    instance, and here they are the nearest of all. Edges are followed from an instance to those in
    its list. After 100 steps without a new instance the walk begins again at an instance outside
    the batch, so that every batch is full. Starts run through a seeded permutation of the
    instances, as anchors do in `ManiNegBatchSampler`. The paper tunes both numbers below to the
    data; the defaults are ours.

    Args:
        store: one manifestation for each item of the dataset, in the same order.
        batch_size: instances in a batch of each rank.
        n_neighbors: neighbors of each in the graph, at most. With many, batches come near to
            uniform ones; with too few, walks find nothing new and begin elsewhere.
        restart_probability: of each step, in [0, 1). The larger, the nearer to the start.
        neighbors: (N, K) whole numbers, the neighbors of each instance, nearest first, from any
            embedding; -1 where one is missing, as faiss writes it. An instance in its own list is
            dropped.
        indices, seed, batches_per_epoch, num_replicas, rank, distributed, shard, sampler: as in
            `ManiNegBatchSampler`. Neighbors that may not be drawn are dropped.

    Raises:
        InvalidTypeError, InvalidValueError: If an option cannot be used, or if there are too few
            patterns (with `neighbors`: instances) for a full batch.

    Warns:
        UserWarning: If several ranks run and nothing was said about them.

    Example:
        >>> store = ManifestationStore.from_dense(np.tri(8, dtype=bool))
        >>> sampler = RandomWalkBatchSampler(store, batch_size=4, n_neighbors=2)
        >>> [len(set(batch)) for batch in sampler]
        [4, 4]
    """

    _fixed: ClassVar[frozenset[str]] = ReproducibleBatchSampler._fixed | {
        "n_neighbors", "restart_probability",
    }  # fmt: skip

    def __init__(
        self,
        store: ManifestationStore,
        *,
        batch_size: int,
        n_neighbors: int = 20,
        restart_probability: float = 0.2,
        neighbors: ArrayLike | torch.Tensor | None = None,
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
        self.restart_probability = check_number("restart_probability", restart_probability)
        if not 0 <= self.restart_probability < 1:
            raise InvalidValueError(
                f"restart_probability must be in [0, 1); got {self.restart_probability}"
            )
        self.n_neighbors = check_count("n_neighbors", n_neighbors, at_least=1)
        lists = find_neighbors(
            self._drawn, neighbors, n_instances=store.n_instances, indices=self.indices,
            n_neighbors=self.n_neighbors, skip_nearest=0,
        )  # fmt: skip
        self._follows_lists = neighbors is not None
        self._remember("neighbors", None)
        self._graph = Graph(
            neighbors=lists.nearest,
            degrees=lists.degrees,
            node_of=lists.node_of,
            members=lists.members,
            starts=lists.starts,
        )
        self._check_supply()
        self._settle_replicas()

    def _check_supply(self) -> None:
        nodes, size = len(self._graph.neighbors), self._global_batch_size
        if nodes < size:
            kind = "instances" if nodes == self._drawn.n_instances else "distinct patterns"
            raise InvalidValueError(
                f"there are {nodes} {kind}, too few for batches of {size}; make batch_size smaller"
            )

    def _draw_batches(
        self, epoch: int, first: int, count: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        batches = np.empty((count, self._global_batch_size), np.int64)
        walk(
            # Unpickled arrays are writable, for which numba would compile the kernel once more.
            Graph(*map(frozen, self._graph)),
            self._anchors(epoch, first, count),
            self.restart_probability,
            PATIENCE,
            np.empty(STREAM_WORDS, np.uint64),
            np.zeros(len(self._graph.neighbors), np.int32),
            np.uint64(self.seed),
            np.uint64(randomness.RANDOM_WALKS),
            self._stream_position(epoch, first),
            batches,
        )
        return batches, np.full(count, batches.shape[1])

    def _fingerprint(self) -> dict[str, Any]:
        return {
            **super()._fingerprint(),
            "restart_probability": self.restart_probability,
        }

    def _fingerprint_of_store(self) -> dict[str, Any]:
        return {
            **super()._fingerprint_of_store(),
            "neighbors": state.digest_of(self._graph.neighbors),
        }

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({self.store!r}, n_neighbors={self.n_neighbors}, "
            f"restart_probability={self.restart_probability}, {self._options_text()})"
        )
