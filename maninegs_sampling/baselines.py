"""Batch samplers to compare with: what people use instead, each a callable epoch -> batches."""

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import reverse_cuthill_mckee
from torch.utils.data import BatchSampler, RandomSampler

from maninegs_sampling import randomness
from maninegs_sampling.errors import InvalidValueError
from maninegs_sampling.hamming import pairwise_hamming, pattern_distances
from maninegs_sampling.index import DistanceBucketIndex
from maninegs_sampling.store import ManifestationStore

Epochs = Callable[[int], Iterable[list[int]]]

# The graph of `graph_blocks` is built from a dense matrix of distances between patterns.
MOST_GRAPH_PATTERNS = 20_000


def uniform(store: ManifestationStore, batch_size: int, seed: int) -> Epochs:
    """Torch's own RandomSampler and BatchSampler."""

    def epoch_batches(epoch: int) -> Iterable[list[int]]:
        generator = torch.Generator()
        generator.manual_seed(
            int(randomness.generator_at(seed, randomness.BASELINES, (0, epoch, 0)).integers(2**63))
        )
        anchors = RandomSampler(range(store.n_instances), generator=generator)
        return BatchSampler(anchors, batch_size, drop_last=store.n_instances >= batch_size)

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
    if store.n_patterns > MOST_GRAPH_PATTERNS:
        raise InvalidValueError(
            f"the graph is built for up to {MOST_GRAPH_PATTERNS} patterns; got {store.n_patterns}"
        )
    patterns = ManifestationStore(
        store.words, np.arange(store.n_patterns, dtype=np.int32), store.n_bits
    )
    distances = pairwise_hamming(patterns)
    degrees = np.cumsum(np.bincount(distances.ravel())) / store.n_patterns - 1
    radius = int(np.searchsorted(degrees, min(batch_size, store.n_patterns - 1)))
    order = reverse_cuthill_mckee(csr_matrix(distances <= radius), symmetric_mode=True)
    rank = np.empty(store.n_patterns, np.int64)
    rank[order] = np.arange(store.n_patterns)
    instances = np.argsort(rank[store.pattern_of], kind="stable")

    def epoch_batches(epoch: int) -> Iterator[list[int]]:
        rng = randomness.generator_at(seed, randomness.BASELINES, (2, epoch, 0))
        for block in rng.permutation(max(1, store.n_instances // batch_size)):
            batch = instances[block * batch_size : (block + 1) * batch_size]
            yield rng.permutation(batch).tolist()

    return epoch_batches
