"""What a sampler does to a batch, measured without training (section IV-D of the paper)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from maninegs_sampling import _kernels
from maninegs_sampling.hamming import distance_dtype, transposed
from maninegs_sampling.store import ManifestationStore


@dataclass(frozen=True)
class Hardness:
    """The distances in a set of batches; distances are Hamming distances between manifestations.

    Attributes:
        n_batches: batches measured.
        instances_mean, instances_min: instances a batch.
        patterns_mean, patterns_min: distinct patterns a batch.
        repeats: times that an instance stood in a batch that it was already in, over all batches.
        anchor_histogram: (B + 1,) int64, pairs of an anchor (a batch's first instance) and a
            negative at each distance: the paper's Figure 5 (a).
        pair_histogram: (B + 1,) int64, unordered pairs of a batch at each distance: Figure 5 (b).
        seen_per_epoch: mean number of distinct instances in an epoch.
    """

    n_batches: int
    instances_mean: float
    instances_min: int
    patterns_mean: float
    patterns_min: int
    repeats: int
    anchor_histogram: NDArray[np.int64]
    pair_histogram: NDArray[np.int64]
    seen_per_epoch: float

    @property
    def anchor_mean(self) -> float:
        """Mean distance between an anchor and a negative."""
        return histogram_mean(self.anchor_histogram)

    @property
    def pair_mean(self) -> float:
        """Mean distance over all pairs of a batch."""
        return histogram_mean(self.pair_histogram)

    def share_within(self, distance: int) -> float:
        """Share of the anchors' negatives at most `distance` away."""
        total = self.anchor_histogram.sum()
        return float(self.anchor_histogram[: distance + 1].sum() / total) if total else float("nan")


def histogram_mean(histogram: NDArray[np.int64]) -> float:
    """Return the mean of the distances counted in `histogram`; nan if it is empty.

    Example:
        >>> histogram_mean(np.array([0, 2, 2]))
        1.5
    """
    total = histogram.sum()
    return float(histogram @ np.arange(len(histogram)) / total) if total else float("nan")


def measure_hardness(
    store: ManifestationStore, epochs: Iterable[Iterable[Sequence[int]]]
) -> Hardness:
    """Return the hardness of the batches of some epochs.

    Parameters:
        store: whose instances the batches hold.
        epochs: the batches of each epoch, the anchor first in each batch.

    Example:
        >>> store = ManifestationStore.from_dense([[0, 0], [0, 1], [1, 1]])
        >>> hardness = measure_hardness(store, [[[0, 1], [0, 2]]])
        >>> hardness.anchor_histogram.tolist(), hardness.seen_per_epoch
        ([0, 1, 1], 3.0)
    """
    words = transposed(store.words)
    dtype = distance_dtype(store.n_bits)
    anchor_histogram = np.zeros(store.n_bits + 1, np.int64)
    pair_histogram = np.zeros(store.n_bits + 1, np.int64)
    sizes: list[int] = []
    patterns: list[int] = []
    seen: list[int] = []
    repeats = 0
    for epoch in epochs:
        seen_now = np.zeros(store.n_instances, np.bool_)
        for batch in epoch:
            pattern_of = store.pattern_of[np.asarray(batch)]
            seen_now[batch] = True
            sizes.append(len(batch))
            patterns.append(len(np.unique(pattern_of)))
            repeats += len(batch) - len(set(batch))
            chosen = np.ascontiguousarray(words[:, pattern_of])
            distances = np.empty((len(batch), len(batch)), dtype)
            _kernels.pairwise_rows(chosen, chosen, 0, len(batch), distances)
            anchor_histogram += np.bincount(distances[0, 1:], minlength=store.n_bits + 1)
            upper = distances[np.triu_indices(len(batch), 1)]
            pair_histogram += np.bincount(upper, minlength=store.n_bits + 1)
        seen.append(int(seen_now.sum()))
    return Hardness(
        n_batches=len(sizes),
        instances_mean=float(np.mean(sizes)),
        instances_min=min(sizes),
        patterns_mean=float(np.mean(patterns)),
        patterns_min=min(patterns),
        repeats=repeats,
        anchor_histogram=anchor_histogram,
        pair_histogram=pair_histogram,
        seen_per_epoch=float(np.mean(seen)),
    )
