"""What a batch is: the distribution that its distances were drawn from, and the distances."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from maninegs_sampling.data.store import ManifestationStore


@dataclass(frozen=True)
class BatchDescription:
    """The distance distribution of a batch, and the distances that were drawn.

    Attributes:
        step: the global step, epoch * batches per epoch + batch number.
        mu: mean of the distance distribution at that step, before truncation.
        distribution: (D + 1,) float64, the probability of each distance from 0 on, before it is
            conditioned on the distances that the anchor has. D is the smaller of `high` and the
            number of bits.
        distances: (n,) int64, of the batch's negatives, or this rank's share, from the anchors of
            their clusters.
    """

    step: int
    mu: float
    distribution: NDArray[np.float64]
    distances: NDArray[np.int64]

    @property
    def mean_distance(self) -> float:
        """Mean of the drawn distances; nan if there are none."""
        return float(self.distances.mean()) if len(self.distances) else float("nan")


def distances_from(
    store: ManifestationStore, anchors: NDArray[np.int64], instances: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return (n,) int64 Hamming distances of n instances from an anchor each, in O(n)."""
    words, pattern_of = store.words, store.pattern_of
    differ = words[pattern_of[instances]] ^ words[pattern_of[anchors]]
    bits = np.unpackbits(np.ascontiguousarray(differ).view(np.uint8), axis=1)
    distances: NDArray[np.int64] = bits.sum(axis=1, dtype=np.int64)
    return distances
