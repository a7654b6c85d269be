"""Lower bounds on the distances in uniform batches: Figure 4 of the paper."""

import numpy as np
from numpy.typing import ArrayLike

from maninegs_sampling.analysis.coverage import as_floats
from maninegs_sampling.data.store import ManifestationStore
from maninegs_sampling.distances.metrics import METRICS, MetricName, check_measurable
from maninegs_sampling.distances.pairs import pair_distances
from maninegs_sampling.errors import InvalidValueError, check_count

# Share of a normal distribution below its mean - 3 standard deviations.
_SHARE_BELOW = 0.0013


def distance_lower_bound(n_bits: int, p: ArrayLike = 0.5) -> float:
    """Return mean - 3 standard deviations of the distance between two independent manifestations.

    Only 0.13% of the pairs in uniform batches are nearer (Figure 4 of the paper). Two instances
    differ in a trait of frequency p with probability 2 p (1 - p). (The paper writes the mean as
    n p, which is the same at its p = 0.5.) The bound is negative where near pairs are common.

    Args:
        n_bits: Number of traits.
        p: Frequency of each trait, in [0, 1]: one number for all traits, or (n_bits,).

    Raises:
        InvalidTypeError: If `n_bits` is not a whole number or `p` is not numeric.
        InvalidValueError: If `n_bits` is below 1, or `p` has another shape or values outside
            [0, 1].

    Example:
        >>> round(distance_lower_bound(35), 2)  # 17.5 - 3 sqrt(8.75)
        8.63
    """
    n_bits = check_count("n_bits", n_bits, at_least=1)
    frequencies = as_floats("p", p)
    if frequencies.shape not in ((), (n_bits,)) or not np.all(
        (frequencies >= 0) & (frequencies <= 1)
    ):
        raise InvalidValueError(
            f"p must be one frequency in [0, 1] or {n_bits} of them, one for each trait; got {p!r}"
        )
    differ = np.broadcast_to(2 * frequencies * (1 - frequencies), (n_bits,))
    return float(differ.sum() - 3 * np.sqrt((differ * (1 - differ)).sum()))


def data_distance_lower_bound(
    store: ManifestationStore, *, metric: MetricName = "hamming"
) -> float:
    """Return the smallest distance within which 0.13% of all pairs of the data lie.

    This is `distance_lower_bound` for traits that depend on each other. It is estimated from random
    pairs if there are more than 131,072 patterns, unless `distance_histogram` has counted them all.

    Args:
        store: The manifestations.
        metric: "hamming" or "jaccard".

    Raises:
        InvalidValueError: If the store has one instance and so no pairs, or there is no such
            metric.

    Example:
        >>> data_distance_lower_bound(ManifestationStore.from_dense([[0, 0], [0, 1], [1, 1]]))
        1
    """
    if check_measurable("store", store).n_instances == 1:
        raise InvalidValueError("a store of one instance has no pairs")
    shares = pair_distances(store, metric=metric).shares
    return METRICS[metric].distance(int(np.searchsorted(np.cumsum(shares), _SHARE_BELOW)))
