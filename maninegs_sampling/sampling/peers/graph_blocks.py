"""GraphBlockBatchSampler: blocks of a bandwidth-minimizing order (GCBS, ICML 2023)."""

from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array
from torch.utils.data import Sampler

from maninegs_sampling import randomness
from maninegs_sampling.data.store import ManifestationStore
from maninegs_sampling.distances.histogram import distance_histogram
from maninegs_sampling.distances.pairwise import pairwise_hamming
from maninegs_sampling.errors import InvalidValueError, check_count
from maninegs_sampling.sampling import state
from maninegs_sampling.sampling.peers.blocks import shuffle_blocks
from maninegs_sampling.sampling.peers.neighbors import listed_neighbors
from maninegs_sampling.sampling.planned import PlannedBatchSampler
from maninegs_sampling.sampling.replicas import Shard

# Edges of the Hamming graph at most; each takes five bytes, and as much again to order it.
MOST_EDGES = 2**28
# Number of rows of the distance matrix that are computed together.
_GRAPH_ROWS = 256


class GraphBlockBatchSampler(PlannedBatchSampler):
    """Cut a bandwidth-minimizing order of the neighbor graph into batches (GCBS).

    Source: Sachidananda, Yang and Zhu, "Global Contrastive Batch Sampling via Optimization on
    Sample Permutations", ICML 2023. Pairs that are nearer than a global threshold are joined, and
    reverse Cuthill-McKee orders the instances such that joined ones are near each other.
    Consecutive blocks are the batches. Each instance is in one batch of an epoch; see
    `batches_per_epoch` for what is left over. Where patterns repeat, a batch holds few of them:
    mask equal ones in the loss with `ids=`.

    Here the threshold is the smallest Hamming distance that gives a pattern `n_neighbors` others on
    average. With `neighbors` an instance is joined to the first `n_neighbors` in its list.

    In the paper epochs differ because the order is computed again from the embeddings of the model
    in training. Manifestations do not change, so these are choices of ours: each epoch begins the
    order at another place, shuffles the instances of each pattern, and hands out the blocks in
    shuffled order. One block of an epoch may therefore join both ends of the order. The default of
    `n_neighbors` is ours, too.

    Args:
        store: one manifestation for each item of the dataset, in the same order.
        batch_size: instances in a batch of each rank.
        n_neighbors: neighbors of each in the graph, on average at least; with `neighbors` at most.
        neighbors: (N, K) whole numbers, the neighbors of each instance, nearest first, from any
            embedding; -1 where one is missing, as faiss writes it. An instance in its own list is
            dropped.
        batches_per_epoch: None: whole batches only, so that up to W * batch_size - 1 instances, for
            W ranks, are left out of an epoch; not the same ones in every epoch. "ceil": they make
            a last, smaller batch on each rank, if there are at least W.
        indices, seed, num_replicas, rank, distributed, shard, sampler: as in `ManiNegBatchSampler`.

    Raises:
        InvalidTypeError, InvalidValueError: If an option cannot be used, if there are too few
            instances, or if the graph would have more than 2**28 edges.

    Warns:
        UserWarning: If several ranks run and nothing was said about them.

    Example:
        >>> store = ManifestationStore.from_dense(np.tri(8, dtype=bool))
        >>> sampler = GraphBlockBatchSampler(store, batch_size=2)
        >>> sorted(sum(sampler, []))
        [0, 1, 2, 3, 4, 5, 6, 7]
    """

    _fixed: ClassVar[frozenset[str]] = PlannedBatchSampler._fixed | {"n_neighbors"}

    def __init__(
        self,
        store: ManifestationStore,
        *,
        batch_size: int,
        n_neighbors: int = 64,
        neighbors: ArrayLike | torch.Tensor | None = None,
        indices: ArrayLike | torch.Tensor | None = None,
        seed: int = 0,
        batches_per_epoch: Literal["ceil"] | None = None,
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
        self._check_supply()
        self.n_neighbors = check_count("n_neighbors", n_neighbors, at_least=1)
        if neighbors is None:
            graph, node_of = hamming_graph(self._drawn, self.n_neighbors), self._drawn.pattern_of
        else:
            lists = listed_neighbors(neighbors, store.n_instances, self.indices)
            graph = joined(lists[:, : self.n_neighbors])
            node_of = np.arange(len(lists), dtype=np.int32)
        self._place_of = places_in_order(graph)[node_of]
        self._follows_lists = neighbors is not None
        self._remember("neighbors", None)
        self._settle_replicas()

    def _plan(self, epoch: int) -> NDArray[np.int64]:
        rng = randomness.generator_at(self.seed, randomness.GRAPH_BLOCKS, (0, epoch, 0))
        order = rng.permutation(len(self._place_of))
        order = order[np.argsort(self._place_of[order], kind="stable")]
        order = np.roll(order, -rng.integers(len(order)))
        return shuffle_blocks(order, self._global_batch_size, rng)

    def _fingerprint_of_store(self) -> dict[str, Any]:
        return {**super()._fingerprint_of_store(), "order": state.digest_of(self._place_of)}

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({self.store!r}, n_neighbors={self.n_neighbors}, "
            f"{self._options_text()})"
        )


def joined(nearest: NDArray[np.int32]) -> csr_array:
    """Return the (n, n) bool graph that joins each instance to those in its list, both ways.

    Args:
        nearest: (n, K) int32; -1 where a neighbor is missing.
    """
    row, place = np.nonzero(nearest >= 0)
    column = nearest[row, place]
    edges = np.concatenate([row, column]), np.concatenate([column, row])
    n = len(nearest)
    # csr_array adds up repeated entries, and true or true is true
    return csr_array((np.ones(len(edges[0]), np.bool_), edges), shape=(n, n))


def places_in_order(graph: csr_array) -> NDArray[np.int64]:
    """Return (M,) int64, the place of each node in the reverse Cuthill-McKee order."""
    from scipy.sparse.csgraph import reverse_cuthill_mckee  # slow to import

    order = reverse_cuthill_mckee(graph, symmetric_mode=True)
    places = np.empty(len(order), np.int64)
    places[order] = np.arange(len(order))
    return places


def hamming_graph(store: ManifestationStore, neighbors: int) -> csr_array:
    """Return the graph that joins patterns within the smallest sufficient distance.

    Args:
        store: U patterns.
        neighbors: how many others a pattern is to be joined to on average, at least.

    Returns:
        (U, U) bool, symmetric.

    Raises:
        InvalidValueError: If there would be more than 2**28 edges.
    """
    n = store.n_patterns
    patterns = ManifestationStore(store.words.copy(), np.arange(n, dtype=np.int32), store.n_bits)
    edges = np.cumsum(2 * distance_histogram(patterns))
    radius = int(np.searchsorted(edges, n * min(neighbors, n - 1)))
    if edges[radius] > MOST_EDGES:
        raise InvalidValueError(
            f"joining the {n} patterns within a distance of {radius}, so that each has "
            f"{neighbors} others on average, takes {edges[radius]} edges, more than {MOST_EDGES}; "
            "give lists of neighbors"
        )
    # A few rows at a time and columns of 4 bytes, because the square matrix would not fit.
    columns, lengths = [], []
    for first in range(0, n, _GRAPH_ROWS):
        rows = patterns.subset(np.arange(first, min(n, first + _GRAPH_ROWS)))
        row, column = np.nonzero(pairwise_hamming(rows, patterns) <= radius)
        columns.append(column.astype(np.int32))
        lengths.append(np.bincount(row, minlength=rows.n_instances))
    joined_to = np.concatenate(columns)
    starts = np.append(0, np.cumsum(np.concatenate(lengths))).astype(np.int32)
    return csr_array((np.ones(len(joined_to), np.bool_), joined_to, starts), shape=(n, n))
