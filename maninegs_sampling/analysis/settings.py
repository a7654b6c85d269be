"""Settings for ManiNeg read off the data: no training is needed."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, count, islice
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from maninegs_sampling.analysis import baselines
from maninegs_sampling.analysis.diagnostics import (
    Hardness,
    hardness,
    histogram_mean,
    measure_hardness,
)
from maninegs_sampling.data.store import ManifestationStore, check_store
from maninegs_sampling.distances.hamming import distance_histogram, pattern_distances
from maninegs_sampling.errors import InvalidValueError, check_count
from maninegs_sampling.sampling.sampler import ManiNegBatchSampler
from maninegs_sampling.sampling.schedules import LinearAnnealing

# Anchors to look around from; all of them where there are fewer.
MOST_ANCHORS = 1_000

# At mu = 0 a law so narrow that an anchor's nearest patterns are drawn first.
_NARROW = 0.01


@dataclass(frozen=True)
class Neighbourhood:
    """What lies around an anchor, averaged over anchors.

    Attributes:
        n_anchors: anchors looked at.
        within: patterns other than the anchor's at most 1, 2 and 3 bits away.
        nearest: mean distance of the patterns that a batch takes when it takes the nearest.
    """

    n_anchors: int
    within: tuple[float, float, float]
    nearest: float


@dataclass(frozen=True)
class Settings(Mapping[str, Any]):
    """Arguments for `ManiNegBatchSampler` and its `.wrap`, each with its reason: `**settings`.

    Attributes:
        arguments: the arguments; with `groups`, where such were given.
        reasons: for each of them, why.

    Example:
        >>> store = ManifestationStore.from_dense(np.random.default_rng(0).random((300, 20)) < 0.5)
        >>> settings = suggest(store, steps=1000)
        >>> sampler = ManiNegBatchSampler(store, batch_size=64, **settings)
        >>> print(settings["sigma"])
        2.3
    """

    arguments: dict[str, Any]
    reasons: dict[str, str]

    def __getitem__(self, name: str) -> Any:
        return self.arguments[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.arguments)

    def __len__(self) -> int:
        return len(self.arguments)

    def call(self, *, groups: str = "groups") -> str:
        """Return the arguments as Python source, to be pasted into a call.

        Args:
            groups: source for the labels, which are too many to print.

        Example:
            >>> Settings({"mu": LinearAnnealing(8.0, 0.0, steps=500), "sigma": 2.5}, {}).call()
            'mu=mn.LinearAnnealing(8, 0, steps=500), sigma=2.5'
        """
        parts = []
        for name, value in self.items():
            if isinstance(value, LinearAnnealing):
                text = f"mn.LinearAnnealing({value.start:g}, {value.end:g}, steps={value.steps})"
            elif name == "groups":
                text = groups
            else:
                text = f"{value:g}"
            parts.append(f"{name}={text}")
        return ", ".join(parts)


def supply_problem(
    store: ManifestationStore, batch_size: int, groups: ArrayLike | None = None
) -> str | None:
    """Return why batches of distinct patterns, and groups, cannot be full; None if they can.

    Raises:
        InvalidValueError: groups that are missing or of another number.

    Example:
        >>> store = ManifestationStore.from_dense([[0, 1], [1, 1]])
        >>> supply_problem(store, 2) is None, supply_problem(store, 3)[:23]
        (True, 'batches of 3 without du')
    """
    sources = [("patterns", store.n_patterns, "more traits")]
    if groups is not None:
        labels = set(checked_groups(store, groups))
        sources.append(("groups", len(labels), "no groups"))
    for what, n, instead in sources:
        if n < batch_size:
            at_most = f"a batch size of at most {n}, or {instead}" if n > 1 else instead
            return (
                f"batches of {batch_size} without duplicates need {batch_size} distinct {what} "
                f"and the data has {n}: take {at_most}"
            )
    return None


def checked_groups(store: ManifestationStore, groups: ArrayLike) -> list[Any]:
    """Return the labels as a list, or raise what the sampler raises about them."""
    ManiNegBatchSampler(store, batch_size=1, mu=0.0, groups=groups, memory_limit=0)
    labels: list[Any] = np.asarray(groups).tolist()
    return labels


def neighbourhood(
    store: ManifestationStore,
    *,
    batch_size: int = 64,
    groups: ArrayLike | None = None,
    seed: int = 0,
) -> Neighbourhood:
    """Return what lies around an anchor, from at most 1,000 instances drawn at random.

    Args:
        store: the manifestations.
        batch_size: instances a batch.
        groups: N labels; no two instances of a batch share one.
        seed: of the anchors.

    Raises:
        InvalidValueError: fewer distinct patterns, or groups, than batch_size.

    Example:
        >>> store = ManifestationStore.from_dense([[0, 0], [0, 1], [1, 1]])
        >>> neighbourhood(store, batch_size=3).within[0]
        1.3333333333333333
    """
    check_store("store", store)
    batch_size = check_count("batch_size", batch_size, at_least=2)
    problem = supply_problem(store, batch_size, groups)
    if problem is not None:
        raise InvalidValueError(problem)
    n = min(MOST_ANCHORS, store.n_instances)
    miner = ManiNegBatchSampler(
        store,
        batch_size=batch_size,
        mu=0.0,
        sigma=_NARROW,
        groups=groups,
        seed=seed,
        batches_per_epoch=n,
        num_replicas=1,
        rank=0,
        memory_limit=0,
    )
    within = np.zeros(3)
    patterns = store.pattern_of[miner.anchors(0, 0, n)]
    for pattern, anchors in zip(*np.unique(patterns, return_counts=True), strict=True):
        distances = pattern_distances(store, int(pattern))
        within += anchors * np.array([np.count_nonzero(distances <= d) - 1 for d in (1, 2, 3)])
    near, nearer, nearest = (float(total) / n for total in within)
    return Neighbourhood(n, (near, nearer, nearest), hardness(miner, batches=n).anchor_mean)


def uniform_distinct_hardness(
    store: ManifestationStore,
    *,
    batch_size: int = 64,
    groups: ArrayLike | None = None,
    batches: int = 200,
    seed: int = 0,
) -> Hardness:
    """Return the hardness of uniform batches of distinct patterns, the yardstick for ManiNeg's.

    Args:
        store: the manifestations.
        batch_size: instances a batch.
        groups: N labels; no two instances of a batch share one.
        batches: batches to measure.
        seed: of the batches.

    Example:
        >>> store = ManifestationStore.from_dense([[0, 0], [0, 0], [0, 0], [1, 1]])
        >>> uniform_distinct_hardness(store, batch_size=2).pair_mean
        2.0
    """
    batches = check_count("batches", batches, at_least=1)
    epoch_batches = baselines.uniform_distinct(store, batch_size, seed, groups)
    drawn = chain.from_iterable(map(epoch_batches, count()))
    return measure_hardness(store, [islice(drawn, batches)])


def suggest(
    store: ManifestationStore,
    *,
    steps: int,
    batch_size: int = 64,
    groups: ArrayLike | None = None,
    seed: int = 0,
) -> Settings:
    """Return settings read off the data, for a training of `steps` steps.

    Args:
        store: the manifestations.
        steps: steps of the whole training.
        batch_size: instances a batch.
        groups: N labels, such as a patient id; no two instances of a batch share one.
        seed: of the batches and anchors looked at.

    Returns:
        `mu`, `sigma`, `low`, `high` and, if given, `groups`, with their reasons: for
        `ManiNegBatchSampler(store, batch_size=64, **settings)` and
        `ManiNegBatchSampler.wrap(loader, store, **settings)`.

    Raises:
        InvalidValueError: fewer distinct patterns, or groups, than batch_size; or all patterns at
            one distance.

    Example:
        >>> store = ManifestationStore.from_dense(np.random.default_rng(0).random((300, 20)) < 0.5)
        >>> print(suggest(store, steps=9000).call())
        mu=mn.LinearAnnealing(10, 2.4, steps=4500), sigma=2.3, low=1, high=18
    """
    steps = check_count("steps", steps, at_least=1)
    around = neighbourhood(store, batch_size=batch_size, groups=groups, seed=seed)
    uniform = uniform_distinct_hardness(store, batch_size=batch_size, groups=groups, seed=seed)
    return settings_from(
        distance_histogram(store), around, uniform.pair_mean, steps, batch_size, groups
    )


def settings_from(
    histogram: NDArray[np.int64],
    around: Neighbourhood,
    uniform_distinct_mean: float,
    steps: int,
    batch_size: int,
    groups: ArrayLike | None,
) -> Settings:
    """Return the settings that follow from what was measured; see `suggest`."""
    distances = np.flatnonzero(histogram[1:]) + 1
    if len(distances) == 1:
        raise InvalidValueError(
            f"all patterns are {distances[0]} bits apart: there are no nearer negatives to choose"
        )
    mean = histogram_mean(histogram)
    spread = math.sqrt(_mean_square(histogram) - mean**2)
    sigma = max(0.5, round(spread, 1))
    start = round(uniform_distinct_mean, 1)
    end = max(0.0, round(min(around.nearest - 2 * sigma, start), 1))
    fall = max(1, steps // 2)
    arguments: dict[str, Any] = {
        "mu": LinearAnnealing(start, end, steps=fall),
        "sigma": sigma,
        "low": 1,
        "high": int(distances[-1]),
    }
    reasons = {
        "mu": f"from {start:g}, the mean distance in uniform batches of distinct patterns, so "
        f"about as hard; to {end:g}, two sigma under the {around.nearest:.1f} bits of an anchor's "
        f"nearest {batch_size - 1} patterns (but not under 0), since lower ones draw almost the "
        f"same batches; over the first {fall:,} of {steps:,} steps, half of them as the paper's "
        "authors ran",
        "sigma": f"{sigma:g}, the spread of the distances in the data, as 3 is in the paper's",
        "low": "1: an anchor's own pattern is never a negative",
        "high": f"{distances[-1]}, the largest distance in the data",
    }
    if groups is not None:
        arguments["groups"] = groups
        reasons["groups"] = "as given: no two instances of a batch share one"
    return Settings(arguments, reasons)


def _mean_square(histogram: NDArray[np.int64]) -> float:
    return float(histogram @ np.arange(len(histogram)) ** 2 / histogram.sum())
