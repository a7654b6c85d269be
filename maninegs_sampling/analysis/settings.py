"""Settings for ManiNeg, read off the data without training."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from maninegs_sampling.analysis.batch_hardness import histogram_mean
from maninegs_sampling.analysis.hardness import uniform_distinct_hardness
from maninegs_sampling.analysis.neighborhood import Neighborhood, neighborhood
from maninegs_sampling.analysis.reasons import (
    GroupsReason,
    HighReason,
    LowReason,
    MuReason,
    OneDistance,
    Reason,
    SigmaReason,
)
from maninegs_sampling.data.store import ManifestationStore
from maninegs_sampling.distances.hamming import distance_histogram
from maninegs_sampling.distances.index import DistanceBucketIndex
from maninegs_sampling.errors import InvalidValueError, check_count
from maninegs_sampling.sampling.schedules import LinearAnnealing


@dataclass(frozen=True)
class Settings(Mapping[str, Any]):
    """Arguments for `ManiNegBatchSampler` and its `.wrap`, to be passed as `**settings`.

    Attributes:
        arguments: The arguments, including `groups` if they were given.
        reasons: For each argument, why it has its value. `str` makes a sentence of a reason.

    Example:
        >>> import maninegs_sampling as mn
        >>> store = ManifestationStore.from_dense(np.random.default_rng(0).random((300, 20)) < 0.5)
        >>> settings = suggest(store, steps=1000)
        >>> sampler = mn.ManiNegBatchSampler(store, batch_size=64, **settings)
        >>> print(settings["sigma"])
        2.3
    """

    arguments: dict[str, Any]
    reasons: dict[str, Reason]

    def __getitem__(self, name: str) -> Any:
        return self.arguments[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.arguments)

    def __len__(self) -> int:
        return len(self.arguments)

    def call(self, *, groups: str = "groups") -> str:
        """Return the arguments as Python source, to be pasted into a call.

        Args:
            groups: Source code for the groups, which are too many to print.

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


def suggest(
    store: ManifestationStore,
    *,
    steps: int,
    batch_size: int = 64,
    groups: ArrayLike | None = None,
    index: DistanceBucketIndex | None = None,
    seed: int = 0,
) -> Settings:
    """Return settings read off the data, for a training of `steps` steps.

    Args:
        store: The manifestations.
        steps: Number of steps of the whole training.
        batch_size: Instances per batch.
        groups: N labels, such as patient ids. No two instances of a batch share one.
        index: An index of `store` to draw from. If None, one is built.
        seed: Seed of the batches and anchors that are measured.

    Returns:
        `mu`, `sigma`, `low`, `high` and, if given, `groups`, with their reasons: for
        `ManiNegBatchSampler(store, batch_size=64, **settings)` and
        `ManiNegBatchSampler.wrap(loader, store, **settings)`.

    Raises:
        InvalidValueError: If there are fewer distinct patterns, or groups, than `batch_size`, or
            all patterns have the same distance.

    Example:
        >>> store = ManifestationStore.from_dense(np.random.default_rng(0).random((300, 20)) < 0.5)
        >>> print(suggest(store, steps=9000).call())
        mu=mn.LinearAnnealing(10, 2.4, steps=4500), sigma=2.3, low=1, high=18
    """
    steps = check_count("steps", steps, at_least=1)
    around = neighborhood(store, batch_size=batch_size, groups=groups, index=index, seed=seed)
    only = only_distance(store)
    if only is not None:
        raise InvalidValueError(str(only))
    uniform = uniform_distinct_hardness(store, batch_size=batch_size, groups=groups, seed=seed)
    return settings_from(store, around, uniform.pair_mean, steps, batch_size, groups)


def only_distance(store: ManifestationStore) -> OneDistance | None:
    """Return the distance between distinct patterns if there is but one, and None otherwise."""
    distances = np.flatnonzero(distance_histogram(store)[1:]) + 1
    return OneDistance(int(distances[0])) if len(distances) == 1 else None


def settings_from(
    store: ManifestationStore,
    around: Neighborhood,
    uniform_distinct_mean: float,
    steps: int,
    batch_size: int,
    groups: ArrayLike | None,
    *,
    start: float | None = None,
    easier_at: float | None = None,
) -> Settings:
    """Return the settings that follow from the measurements; see `suggest`.

    Args:
        store: The manifestations, with patterns at two distances or more.
        around: What lies around an anchor.
        uniform_distinct_mean: Mean distance in uniform batches of distinct patterns.
        steps: Number of steps of the whole training.
        batch_size: Instances per batch.
        groups: N labels, or None.
        start: The first mu. If None, `uniform_distinct_mean`, rounded.
        easier_at: The mu at which batches are easier than uniform ones, if `start` avoids one.
    """
    histogram = distance_histogram(store)
    high = int(np.flatnonzero(histogram)[-1])
    sigma = max(0.5, round(_standard_deviation(histogram), 1))
    start = round(uniform_distinct_mean, 1) if start is None else start
    end = max(0.0, round(min(around.nearest - 2 * sigma, start), 1))
    fall = max(1, steps // 2)
    mu = LinearAnnealing(start, end, steps=fall)
    arguments: dict[str, Any] = {"mu": mu, "sigma": sigma, "low": 1, "high": high}
    reasons: dict[str, Reason] = {
        "mu": MuReason(start, easier_at, end, around.nearest, batch_size, fall, steps),
        "sigma": SigmaReason(sigma),
        "low": LowReason(),
        "high": HighReason(high),
    }
    if groups is not None:
        arguments["groups"] = groups
        reasons["groups"] = GroupsReason()
    return Settings(arguments, reasons)


def _standard_deviation(histogram: NDArray[np.int64]) -> float:
    mean_square = float(histogram @ np.arange(len(histogram)) ** 2 / histogram.sum())
    return math.sqrt(mean_square - histogram_mean(histogram) ** 2)
