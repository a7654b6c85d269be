"""How often batches of distinct patterns show each pattern, against its share of the data."""

import numpy as np
from numpy.typing import NDArray

from maninegs_sampling.analysis.reasons import FrequencyShift, TooFew
from maninegs_sampling.data.store import ManifestationStore, check_store
from maninegs_sampling.errors import InvalidValueError, check_count

# Number of the most common patterns that are reported.
N_COMMON = 5

# Batches of distinct patterns that shift frequencies by more are advised against. In the project's
# own trainings ManiNeg lost at shifts of 0.21, 0.24 and 0.53; no loss was found at 0.19 and below.
LARGE_SHIFT = 0.2


def frequency_shift(store: ManifestationStore, batch_size: int) -> FrequencyShift:
    """Return how uniform batches of distinct patterns change the frequencies of patterns.

    Instances are drawn one after the other, and a pattern that is already there is skipped. The
    probability that a pattern with c instances is in a batch is close to 1 - exp(-t c), with t such
    that the probabilities add up to the batch (Rosén 1972).

    Args:
        store: The manifestations, with at least `batch_size` patterns.
        batch_size: Instances per batch.

    Raises:
        InvalidTypeError: If an argument has another type.
        InvalidValueError: If there are fewer patterns than a batch has instances.

    Example:
        >>> store = ManifestationStore.from_dense([[0, 0]] * 97 + [[0, 1], [1, 0], [1, 1]])
        >>> shift = frequency_shift(store, 2)
        >>> f"{shift.share:.0%}"
        '47%'
    """
    check_store("store", store)
    batch_size = check_count("batch_size", batch_size, at_least=1)
    if batch_size > store.n_patterns:
        raise InvalidValueError(str(TooFew("patterns", store.n_patterns, batch_size)))
    counts = np.sort(store.counts.astype(np.float64))[::-1]
    in_data = counts / counts.sum()
    in_batches = _inclusion_probabilities(counts, batch_size) / batch_size
    n = min(N_COMMON, len(counts))
    return FrequencyShift(
        float(np.abs(in_data - in_batches).sum() / 2),
        n,
        float(in_data[:n].sum()),
        float(in_batches[:n].sum()),
        batch_size,
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
