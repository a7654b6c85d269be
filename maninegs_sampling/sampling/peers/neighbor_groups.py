"""NeighborGroupBatchSampler: batches of groups of neighbors (B3, NeurIPS 2025)."""

from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array
from torch.utils.data import Sampler

from maninegs_sampling import randomness
from maninegs_sampling.data.store import ManifestationStore
from maninegs_sampling.errors import InvalidValueError, check_count
from maninegs_sampling.sampling import state
from maninegs_sampling.sampling.peers.blocks import shuffle_blocks
from maninegs_sampling.sampling.peers.equal_groups import partition
from maninegs_sampling.sampling.peers.neighbors import NeighborLists, find_neighbors
from maninegs_sampling.sampling.planned import PlannedBatchSampler
from maninegs_sampling.sampling.replicas import Shard


class NeighborGroupBatchSampler(PlannedBatchSampler):
    """Partition the neighbor graph into equal groups, and make batches of groups (B3).

    Source: Thirukovalluru et al., "Breaking the Batch Barrier (B3) of Contrastive Learning via
    Smart Batch Mining", NeurIPS 2025. The nearest ranks of each instance, the likeliest false
    negatives, are skipped. Two instances are joined if each is among the next ranks of the other.
    METIS partitions this graph into groups of equal size, and a batch consists of groups drawn at
    random. Each instance is in one batch of an epoch; see `batches_per_epoch` for what is left
    over. Which groups meet in a batch differs from epoch to epoch; the groups do not, but for one
    that takes in those that are left over.

    Patterns may repeat in a batch: mask equal ones in the loss with `ids=`.

    Needs the extra `metis`.

    Choices of ours: ranks are those of the other patterns by Hamming distance, so an instance's own
    pattern is never its neighbor. Where two patterns are joined, each instance of the one with more
    instances is joined to one instance of the other, evenly. METIS balances its parts to within a
    tolerance, so some instances are moved afterwards to make the groups exactly equal. The
    partition depends on the version of METIS, which must be the same on all ranks; a state that was
    made with another partition is refused.

    Args:
        store: one manifestation for each item of the dataset, in the same order.
        batch_size: instances in a batch of each rank, a multiple of `group_size`.
        group_size: instances in a group.
        skip_nearest: nearest ranks to skip. Default: the 30 of the paper.
        n_neighbors: ranks after them in which each must be of the other to be joined.
        neighbors: (N, K) whole numbers, the neighbors of each instance, nearest first, from any
            embedding; -1 where one is missing, as faiss writes it. An instance in its own list is
            dropped before ranks are counted. Lists need `skip_nearest` + `n_neighbors` entries for
            the whole window.
        batches_per_epoch: None: whole batches only, so that up to W * batch_size - 1 instances, for
            W ranks, are left out of an epoch; not the same ones in every epoch. "ceil": they make
            a last, smaller batch on each rank, if there are at least W.
        indices, seed, num_replicas, rank, distributed, shard, sampler: as in `ManiNegBatchSampler`.
            Neighbors that may not be drawn are dropped before ranks are counted.

    Raises:
        InvalidTypeError, InvalidValueError: If an option cannot be used, if there are too few
            instances, or if `skip_nearest` leaves no neighbors.
        MissingExtraError: If pymetis is not installed.

    Warns:
        UserWarning: If several ranks run and nothing was said about them.

    Example:
        >>> store = ManifestationStore.from_dense(np.tri(8, dtype=bool))
        >>> sampler = NeighborGroupBatchSampler(
        ...     store, batch_size=4, group_size=2, skip_nearest=1, n_neighbors=3
        ... )
        >>> sorted(sum(sampler, []))
        [0, 1, 2, 3, 4, 5, 6, 7]
    """

    _fixed: ClassVar[frozenset[str]] = PlannedBatchSampler._fixed | {
        "group_size", "skip_nearest", "n_neighbors",
    }  # fmt: skip

    def __init__(
        self,
        store: ManifestationStore,
        *,
        batch_size: int,
        group_size: int,
        skip_nearest: int = 30,
        n_neighbors: int = 100,
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
        self.group_size = check_count("group_size", group_size, at_least=1)
        if self.batch_size % self.group_size:
            raise InvalidValueError(
                f"batch_size must be a multiple of group_size; got batch_size={self.batch_size}, "
                f"group_size={self.group_size}"
            )
        self.skip_nearest = check_count("skip_nearest", skip_nearest, at_least=0)
        self.n_neighbors = check_count("n_neighbors", n_neighbors, at_least=1)
        self._check_supply()
        lists = find_neighbors(
            self._drawn, neighbors, n_instances=store.n_instances, indices=self.indices,
            n_neighbors=self.n_neighbors, skip_nearest=self.skip_nearest,
        )  # fmt: skip
        self._follows_lists = neighbors is not None
        self._remember("neighbors", None)
        rng = randomness.generator_at(self.seed, randomness.NEIGHBOR_GROUPS)
        groups = partition(instance_graph(lists), self.group_size, int(rng.integers(2**31)))
        # The instances group by group, what does not divide at the end.
        self._by_group = np.argsort(groups, kind="stable")
        self._settle_replicas()

    def _plan(self, epoch: int) -> NDArray[np.int64]:
        rng = randomness.generator_at(self.seed, randomness.NEIGHBOR_GROUPS, (1, epoch, 0))
        order = self._by_group.copy()
        whole, rest = divmod(len(order), self.group_size)
        if rest and whole:
            # What does not make a group is at the end, where it is left out or makes a small
            # batch. So that it is not always the same, it changes places with members of a random
            # group.
            group = order[: whole * self.group_size].reshape(whole, -1)[rng.integers(whole)]
            places = rng.permutation(self.group_size)[:rest]
            group[places], order[-rest:] = order[-rest:].copy(), group[places]
        return shuffle_blocks(order, self.group_size, rng)

    def _fingerprint(self) -> dict[str, Any]:
        return {**super()._fingerprint(), "group_size": self.group_size}

    def _fingerprint_of_store(self) -> dict[str, Any]:
        return {
            **super()._fingerprint_of_store(),
            "groups": state.digest_of(self._by_group),
        }

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({self.store!r}, group_size={self.group_size}, "
            f"skip_nearest={self.skip_nearest}, n_neighbors={self.n_neighbors}, "
            f"{self._options_text()})"
        )


def reciprocal_pairs(nearest: NDArray[np.int32]) -> NDArray[np.int64]:
    """Return (E, 2) int64, the pairs u < v of nodes that are in each other's lists.

    Args:
        nearest: (M, K) the list of each node, which names none twice; -1 fills a row up.

    Example:
        >>> reciprocal_pairs(np.array([[1, 2], [0, 2], [1, -1]])).tolist()
        [[0, 1], [1, 2]]
    """
    nodes = len(nearest)
    u, place = np.nonzero(nearest >= 0)
    v = nearest[u, place].astype(np.int64)
    pairs = np.sort(np.minimum(u, v) * nodes + np.maximum(u, v))
    twice = pairs[1:][pairs[1:] == pairs[:-1]]
    return np.stack(np.divmod(twice, nodes), axis=1)


def instance_graph(lists: NeighborLists) -> csr_array:
    """Return the (n, n) bool graph of the instances whose nodes are in each other's lists.

    Of two such nodes, each instance of the larger is joined to one instance of the other, evenly:
    n instances of K neighbors each have at most n * K edges, however many share a node.

    Args:
        lists: the neighbors of each node.
    """
    members, starts = lists.members, lists.starts
    counts = np.diff(starts)
    u, v = reciprocal_pairs(lists.nearest).T
    n_edges = np.maximum(counts[u], counts[v])
    u, v = np.repeat(u, n_edges), np.repeat(v, n_edges)
    turn = np.arange(len(u)) - np.repeat(np.cumsum(n_edges) - n_edges, n_edges)
    a = members[starts[u] + turn % counts[u]]
    b = members[starts[v] + turn % counts[v]]
    edges = np.concatenate([a, b]), np.concatenate([b, a])
    n = len(members)
    return csr_array((np.ones(len(edges[0]), np.bool_), edges), shape=(n, n))
