"""What a batch is: the distribution that its distances were drawn from, and the distances."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maninegs_sampling.data.store import ManifestationStore
from maninegs_sampling.distances.metrics import METRICS, MetricName, steps_of_pairs


@dataclass(frozen=True)
class BatchDescription:
    """The distance distribution of a batch, and the distances that were drawn.

    Attributes:
        step: the global step, epoch * batches per epoch + batch number.
        mu: mean of the distance distribution at that step, before truncation.
        distribution: (D + 1,) float64, the probability of each distance from 0 on, before it is
            conditioned on the distances that the anchor has. D is the smaller of `high` and the
            number of bits. By "jaccard" entry k is that of distances above (k - 1) / 100 and up to
            k / 100.
        distances: (n,) int64, of the batch's negatives, or this rank's share, from the anchors of
            their clusters. By "jaccard" float64, rounded up to hundredths.
    """

    step: int
    mu: float
    distribution: NDArray[np.float64]
    distances: NDArray[Any]

    @property
    def mean_distance(self) -> float:
        """Mean of the drawn distances; nan if there are none."""
        return float(self.distances.mean()) if len(self.distances) else float("nan")


def distances_from(
    store: ManifestationStore,
    anchors: NDArray[np.int64],
    instances: NDArray[np.int64],
    metric: MetricName = "hamming",
) -> NDArray[Any]:
    """Return (n,) distances of n instances from an anchor each, in O(n).

    They are int64, or by "jaccard" float64, rounded up to hundredths.
    """
    n = len(anchors)
    words = store.words[store.pattern_of[np.concatenate([anchors, instances])]]
    steps = steps_of_pairs(words, np.arange(n), np.arange(n, 2 * n), metric)
    return METRICS[metric].distances(steps)
