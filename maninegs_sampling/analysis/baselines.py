"""Batch samplers to compare with, each a function from the epoch to its batches."""

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch.utils.data import BatchSampler, RandomSampler

from maninegs_sampling import randomness
from maninegs_sampling.data.store import ManifestationStore, check_store
from maninegs_sampling.distances.index import DistanceBucketIndex
from maninegs_sampling.distances.metrics import MetricName, pattern_steps
from maninegs_sampling.errors import check_count
from maninegs_sampling.sampling.groups import group_numbers

Epochs = Callable[[int], Iterable[list[int]]]


def _check(store: ManifestationStore, batch_size: int, seed: int) -> None:
    check_store("store", store)
    check_count("batch_size", batch_size, at_least=1)
    randomness.check_seed(seed)


def uniform(store: ManifestationStore, batch_size: int, seed: int) -> Epochs:
    """Return uniform batches, drawn by torch's RandomSampler and BatchSampler.

    Args:
        store: The manifestations.
        batch_size: Instances per batch.
        seed: Seed in [0, 2**64).
    """
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
    """Return uniform batches of distinct patterns.

    Instances whose pattern is already in the batch are skipped. This is the baseline for ManiNeg's
    batches, because leaving out duplicates raises the mean distance by itself. A batch that cannot
    be filled is shorter, where `UniformDistinctBatchSampler` refuses data with too few patterns.

    Args:
        store: The manifestations.
        batch_size: Instances per batch.
        seed: Seed in [0, 2**64).
        groups: N labels. Instances whose group is already in the batch are skipped, too.
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
            # Most draws are skipped: shuffle the instances that can still be taken.
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
    """Return one instance of each pattern, drawn uniformly."""
    offsets = (rng.random(len(patterns)) * index.store.counts[patterns]).astype(np.int64)
    chosen: list[int] = index.members[index.starts[patterns] + offsets].tolist()
    return chosen


def nearest_only(
    store: ManifestationStore, batch_size: int, seed: int, metric: MetricName = "hamming"
) -> Epochs:
    """Return batches of an anchor and one instance of each of its nearest patterns.

    Ties are broken in a fixed order. A nearest-neighbor miner makes such batches.

    Args:
        store: The manifestations.
        batch_size: Instances per batch.
        seed: Seed in [0, 2**64).
        metric: "hamming" or "jaccard".
    """
    _check(store, batch_size, seed)
    index = DistanceBucketIndex(store, memory_limit=0)

    def epoch_batches(epoch: int) -> Iterator[list[int]]:
        rng = randomness.generator_at(seed, randomness.BASELINES, (1, epoch, 0))
        for anchor in rng.choice(store.n_instances, max(1, store.n_instances // batch_size)):
            distances = pattern_steps(store, int(store.pattern_of[anchor]), metric)
            nearest = np.argsort(distances, kind="stable")[1:batch_size]
            yield [int(anchor), *_one_of_each(nearest, index, rng)]

    return epoch_batches
