"""Batch samplers to compare with: what people use instead, each a callable epoch -> batches."""

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import reverse_cuthill_mckee
from torch.utils.data import BatchSampler, RandomSampler

from maninegs_sampling import randomness
from maninegs_sampling.data.store import ManifestationStore, check_store
from maninegs_sampling.distances.hamming import (
    distance_histogram,
    pairwise_hamming,
    pattern_distances,
)
from maninegs_sampling.distances.index import DistanceBucketIndex
from maninegs_sampling.errors import InvalidValueError, check_count
from maninegs_sampling.sampling.groups import group_numbers

Epochs = Callable[[int], Iterable[list[int]]]

# The graph of `graph_blocks` takes a comparison of every two patterns, and an edge for many.
MOST_GRAPH_PATTERNS = 20_000

# Rows of the distance matrix that are looked at together.
_GRAPH_ROWS = 256


def _check(store: ManifestationStore, batch_size: int, seed: int) -> None:
    check_store("store", store)
    check_count("batch_size", batch_size, at_least=1)
    randomness.check_seed(seed)


def uniform(store: ManifestationStore, batch_size: int, seed: int) -> Epochs:
    """Torch's own RandomSampler and BatchSampler."""
    _check(store, batch_size, seed)

    def epoch_batches(epoch: int) -> Iterable[list[int]]:
        generator = torch.Generator()
        generator.manual_seed(
            int(randomness.generator_at(seed, randomness.BASELINES, (0, epoch, 0)).integers(2**63))
        )
        anchors = RandomSampler(range(store.n_instances), generator=generator)
        return BatchSampler(anchors, batch_size, drop_last=store.n_instances >= batch_size)

    return epoch_batches


def uniform_distinct(
    store: ManifestationStore, batch_size: int, seed: int, groups: ArrayLike | None = None
) -> Epochs:
    """Uniform batches of distinct patterns: instances whose pattern is in the batch are skipped.

    This is what ManiNeg's batches are to be compared with, since leaving duplicates out raises the
    mean distance by itself. A batch that cannot be filled is shorter.

    Args:
        store: the manifestations.
        batch_size: instances a batch.
        seed: in [0, 2**64).
        groups: N labels; instances whose group is in the batch are skipped, too.
    """
    _check(store, batch_size, seed)
    n = store.n_instances
    group_of = np.arange(n) if groups is None else group_numbers(groups, n)

    def draw(rng: np.random.Generator) -> list[int]:
        batch: list[int] = []
        patterns: set[int] = set()
        taken: set[int] = set()

        def offer(candidates: NDArray[np.int64]) -> None:
            of = (candidates, store.pattern_of[candidates], group_of[candidates])
            for i, pattern, group in zip(*(ids.tolist() for ids in of), strict=True):
                if len(batch) == batch_size:
                    break
                if pattern not in patterns and group not in taken:
                    batch.append(i)
                    patterns.add(pattern)
                    taken.add(group)

        offer(rng.integers(n, size=4 * batch_size))
        if len(batch) < batch_size:
            # Most draws are skipped by now: go through the instances that would not be.
            free = ~np.isin(store.pattern_of, list(patterns)) & ~np.isin(group_of, list(taken))
            offer(rng.permutation(np.flatnonzero(free)))
        return batch

    def epoch_batches(epoch: int) -> Iterator[list[int]]:
        rng = randomness.generator_at(seed, randomness.BASELINES, (3, epoch, 0))
        for _ in range(max(1, n // batch_size)):
            yield draw(rng)

    return epoch_batches


def _one_of_each(
    patterns: NDArray[np.int64], index: DistanceBucketIndex, rng: np.random.Generator
) -> list[int]:
    """One instance of each pattern, uniformly."""
    offsets = (rng.random(len(patterns)) * index.store.counts[patterns]).astype(np.int64)
    chosen: list[int] = index.members[index.starts[patterns] + offsets].tolist()
    return chosen


def nearest_only(store: ManifestationStore, batch_size: int, seed: int) -> Epochs:
    """An anchor and one instance of each of its closest patterns, ties in a fixed order.

    This is the batch of a nearest-neighbour miner.
    """
    _check(store, batch_size, seed)
    index = DistanceBucketIndex(store, memory_limit=0)

    def epoch_batches(epoch: int) -> Iterator[list[int]]:
        rng = randomness.generator_at(seed, randomness.BASELINES, (1, epoch, 0))
        for anchor in rng.choice(store.n_instances, max(1, store.n_instances // batch_size)):
            distances = pattern_distances(store, int(store.pattern_of[anchor]))
            nearest = np.argsort(distances, kind="stable")[1:batch_size]
            yield [int(anchor), *_one_of_each(nearest, index, rng)]

    return epoch_batches


def graph_blocks(store: ManifestationStore, batch_size: int, seed: int) -> Epochs:
    """Blocks of a bandwidth-minimising order of the Hamming graph.

    The idea of Global Contrastive Batch Sampling (Sachidananda et al. 2023): patterns within a
    radius are joined, reverse Cuthill-McKee puts joined ones near each other, and consecutive
    blocks are batches. The radius is the smallest that gives a pattern `batch_size` neighbours on
    average.

    Raises:
        InvalidValueError: more than 20,000 patterns.
    """
    _check(store, batch_size, seed)
    if store.n_patterns > MOST_GRAPH_PATTERNS:
        raise InvalidValueError(
            f"the graph is built for up to {MOST_GRAPH_PATTERNS} patterns; got {store.n_patterns}"
        )
    order = reverse_cuthill_mckee(_hamming_graph(store, batch_size), symmetric_mode=True)
    rank = np.empty(store.n_patterns, np.int64)
    rank[order] = np.arange(store.n_patterns)
    instances = np.argsort(rank[store.pattern_of], kind="stable")

    def epoch_batches(epoch: int) -> Iterator[list[int]]:
        rng = randomness.generator_at(seed, randomness.BASELINES, (2, epoch, 0))
        for block in rng.permutation(max(1, store.n_instances // batch_size)):
            batch = instances[block * batch_size : (block + 1) * batch_size]
            yield rng.permutation(batch).tolist()

    return epoch_batches


def _hamming_graph(store: ManifestationStore, neighbours: int) -> csr_matrix:
    """Join the patterns within the smallest radius that gives each `neighbours` on average."""
    n = store.n_patterns
    patterns = ManifestationStore(store.words.copy(), np.arange(n, dtype=np.int32), store.n_bits)
    degrees = np.cumsum(2 * distance_histogram(patterns)) / n
    radius = int(np.searchsorted(degrees, min(neighbours, n - 1)))
    # A few rows at a time, so that no square matrix is held, and columns as 4 bytes.
    columns, lengths = [], []
    for first in range(0, n, _GRAPH_ROWS):
        rows = patterns.subset(np.arange(first, min(n, first + _GRAPH_ROWS)))
        row, column = np.nonzero(pairwise_hamming(rows, patterns) <= radius)
        columns.append(column.astype(np.int32))
        lengths.append(np.bincount(row, minlength=rows.n_instances))
    edges = np.concatenate(columns)
    starts = np.append(0, np.cumsum(np.concatenate(lengths))).astype(np.int32)
    return csr_matrix((np.ones(len(edges), np.bool_), edges, starts), shape=(n, n))
