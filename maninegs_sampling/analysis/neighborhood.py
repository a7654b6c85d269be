"""What lies around an anchor, and whether the data can fill batches of distinct patterns."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from maninegs_sampling.analysis.hardness import hardness, local_sampler
from maninegs_sampling.analysis.reasons import Supply, TooFew
from maninegs_sampling.data.store import ManifestationStore
from maninegs_sampling.distances.index import DistanceBucketIndex
from maninegs_sampling.distances.metrics import (
    MetricName,
    check_measurable,
    metric_of,
    pattern_steps,
)
from maninegs_sampling.errors import InvalidValueError, check_count
from maninegs_sampling.sampling.groups import group_numbers

# Number of anchors to look at; all instances if there are fewer.
MOST_ANCHORS = 1_000

# Standard deviation, in steps, so small that an anchor's nearest patterns come first at mu = 0.
_NARROW = 0.01


@dataclass(frozen=True)
class Neighborhood:
    """What lies around an anchor, averaged over anchors.

    Attributes:
        n_anchors: Number of anchors.
        within: Number of other patterns at most 1, 2 and 3 bits away; by "jaccard" 0.1, 0.2 and
            0.3.
        nearest: Mean distance to the nearest batch_size - 1 patterns that may share a batch.
    """

    n_anchors: int
    within: tuple[float, float, float]
    nearest: float


def find_shortage(
    store: ManifestationStore, batch_size: int, groups: ArrayLike | None = None
) -> TooFew | None:
    """Return what is too few for full batches of distinct patterns and groups, if anything is.

    Args:
        store: The manifestations.
        batch_size: Instances per batch.
        groups: N labels. No two instances of a batch share one.

    Returns:
        The shortage, or None if batches can be full.

    Raises:
        InvalidTypeError, InvalidValueError: If a label is missing, or there are not N of them.

    Example:
        >>> store = ManifestationStore.from_dense([[0, 1], [1, 1]])
        >>> find_shortage(store, 2) is None, find_shortage(store, 3)
        (True, TooFew(what='patterns', available=2, batch_size=3))
    """
    available: dict[Supply, int] = {"patterns": store.n_patterns}
    if groups is not None:
        available["groups"] = int(group_numbers(groups, store.n_instances).max()) + 1
    for what, n in available.items():
        if n < batch_size:
            return TooFew(what, n, batch_size)
    return None


def neighborhood(
    store: ManifestationStore,
    *,
    batch_size: int = 64,
    groups: ArrayLike | None = None,
    index: DistanceBucketIndex | None = None,
    seed: int = 0,
    metric: MetricName = "hamming",
) -> Neighborhood:
    """Return what lies around an anchor, from at most 1,000 random anchors.

    Args:
        store: The manifestations.
        batch_size: Instances per batch.
        groups: N labels. No two instances of a batch share one.
        index: An index of `store` to draw from. If None, one is built.
        seed: Seed of the anchors.
        metric: "hamming" or "jaccard".

    Raises:
        InvalidValueError: If there are fewer distinct patterns, or groups, than `batch_size`.

    Example:
        >>> store = ManifestationStore.from_dense([[0, 0], [0, 1], [1, 1]])
        >>> neighborhood(store, batch_size=3).within[0]
        1.3333333333333333
    """
    check_measurable("store", store)
    batch_size = check_count("batch_size", batch_size, at_least=2)
    measure = metric_of(metric)
    shortage = find_shortage(store, batch_size, groups)
    if shortage is not None:
        raise InvalidValueError(str(shortage))
    n = min(MOST_ANCHORS, store.n_instances)
    miner = local_sampler(
        store,
        batch_size=batch_size,
        mu=0.0,
        metric=metric,
        sigma=_NARROW / measure.per_unit,
        groups=groups,
        seed=seed,
        batches_per_epoch=n,
        index=index,
    )
    within = np.zeros(3)
    patterns = store.pattern_of[miner.anchors(0, 0, n)]
    for pattern, anchors in zip(*np.unique(patterns, return_counts=True), strict=True):
        steps = pattern_steps(store, int(pattern), metric)
        near = [np.count_nonzero(steps <= measure.step(distance)) for distance in measure.near]
        within += anchors * (np.array(near) - 1)
    one, two, three = (float(total) / n for total in within)
    return Neighborhood(n, (one, two, three), hardness(miner, batches=n).anchor_mean)
