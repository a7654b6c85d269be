"""How often batches of distinct patterns show each pattern, against its share of the data."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from maninegs_sampling.data.store import ManifestationStore

# The most common patterns that are reported, by number.
N_COMMON = 5


@dataclass(frozen=True)
class FrequencyShift:
    """What leaving out duplicates does to how often instances are seen.

    Attributes:
        share: Share of the places in batches that would have to hold instances of other patterns
            for each pattern to be seen as often as in the data: the total-variation distance
            between the two distributions over patterns, in [0, 1].
        n_common: Number of the most common patterns that the next two are about.
        common_in_data: Their share of the instances.
        common_in_batches: Their share of the places in batches of distinct patterns.
    """

    share: float
    n_common: int
    common_in_data: float
    common_in_batches: float


def frequency_shift(store: ManifestationStore, batch_size: int) -> FrequencyShift:
    """Return how uniform batches of distinct patterns change the frequencies of patterns.

    Instances are drawn one after the other, and a pattern that is already there is skipped. The
    probability that a pattern with c instances is in a batch is close to 1 - exp(-t c), with t such
    that the probabilities add up to the batch (Rosén 1972).

    Args:
        store: The manifestations, with at least `batch_size` patterns.
        batch_size: Instances per batch.

    Example:
        >>> store = ManifestationStore.from_dense([[0, 0]] * 97 + [[0, 1], [1, 0], [1, 1]])
        >>> shift = frequency_shift(store, 2)
        >>> f"{shift.share:.0%}"
        '47%'
    """
    counts = np.sort(store.counts.astype(np.float64))[::-1]
    in_data = counts / counts.sum()
    in_batches = _inclusion_probabilities(counts, batch_size) / batch_size
    n = min(N_COMMON, len(counts))
    return FrequencyShift(
        float(np.abs(in_data - in_batches).sum() / 2),
        n,
        float(in_data[:n].sum()),
        float(in_batches[:n].sum()),
    )


def _inclusion_probabilities(counts: NDArray[np.float64], batch_size: int) -> NDArray[np.float64]:
    """Return the probability of each pattern to be in a batch of distinct patterns."""
    from scipy.optimize import brentq  # takes long to import, which most users need not wait for

    if batch_size >= len(counts):
        return np.ones(len(counts))

    def surplus(logarithm: float) -> float:
        return float(-np.expm1(-np.exp(logarithm) * counts).sum()) - batch_size

    low = np.log(batch_size / counts.sum() / 2)
    t = np.exp(brentq(surplus, low, 700 - np.log(counts.max()), xtol=1e-12))
    probabilities: NDArray[np.float64] = -np.expm1(-t * counts)
    return probabilities
