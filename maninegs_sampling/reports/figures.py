"""The numbers behind Figures 2, 4 and 5 of the paper, for any data; `drawing` draws them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from maninegs_sampling.analysis.batch_hardness import Hardness
from maninegs_sampling.analysis.bounds import data_distance_lower_bound, distance_lower_bound
from maninegs_sampling.analysis.hardness import (
    check_mus,
    hardness_at,
    uniform_distinct_hardness,
)
from maninegs_sampling.analysis.settings import Settings
from maninegs_sampling.data.store import ManifestationStore
from maninegs_sampling.distances.index import DistanceBucketIndex
from maninegs_sampling.distances.metrics import METRICS, MetricName
from maninegs_sampling.distances.pairs import distance_limit, mean_distance, pair_distances
from maninegs_sampling.errors import check_count
from maninegs_sampling.sampling.distribution import log_masses


@dataclass(frozen=True)
class DistanceDistributions:
    """Figure 2: distances to negatives, drawn uniformly and from the truncated Gaussian.

    Attributes:
        uniform: (D + 1,) share of the pairs of the data at each distance, see `pair_distances`.
        independent: (D + 1,) the paper's binomial distribution, for as many independent traits of
            frequency 0.5; None but by "hamming".
        gaussians: For each mu, (D + 1,) the truncated Gaussian.
        metric: "hamming" or "jaccard".
    """

    uniform: NDArray[np.float64]
    independent: NDArray[np.float64] | None
    gaussians: dict[float, NDArray[np.float64]]
    metric: MetricName = "hamming"


@dataclass(frozen=True)
class LowerBounds:
    """Figure 4: mean - 3 sigma of the distance, by the number of traits.

    Attributes:
        n_bits: (M,) numbers of traits.
        half: (M,) bound for independent traits of frequency 0.5, as in the paper.
        alike: (M,) bound for independent traits as frequent, on average, as those of the data.
        data: (number of traits, bound) of the data itself, whose traits depend on each other.
    """

    n_bits: NDArray[np.int64]
    half: NDArray[np.float64]
    alike: NDArray[np.float64]
    data: tuple[int, float]


@dataclass(frozen=True)
class HardnessByMu:
    """Figure 5: (a) anchors and negatives, (b) all pairs of a batch, (c) nearest, at falling mu.

    Attributes:
        mus: (M,) means of the distance distribution.
        measured: (M,) hardness at each mu.
        uniform_mean: Mean distance over all pairs of the data.
        uniform_distinct: Hardness of uniform batches of distinct patterns.
    """

    mus: tuple[float, ...]
    measured: tuple[Hardness, ...]
    uniform_mean: float
    uniform_distinct: Hardness


@dataclass(frozen=True)
class Annealing:
    """The distances between anchors and negatives over a training.

    Attributes:
        steps: (M,) steps of the training.
        mus: (M,) mu at each step.
        shares: (M, D + 1) share of the negatives at each distance.
        metric: "hamming" or "jaccard".
    """

    steps: NDArray[np.int64]
    mus: NDArray[np.float64]
    shares: NDArray[np.float64]
    metric: MetricName = "hamming"


def largest_step(store: ManifestationStore, metric: MetricName = "hamming") -> int:
    """Return the step of the largest distance of pairs, at least 1, for the end of an axis.

    Args:
        store: The manifestations.
        metric: "hamming" or "jaccard".
    """
    return max(1, METRICS[metric].step(distance_limit(store, metric=metric)))


def distance_distributions(store: ManifestationStore, settings: Settings) -> DistanceDistributions:
    """Return the numbers of Figure 2, with mu at the start and at the end of its schedule.

    Args:
        store: The manifestations.
        settings: `mu`, a schedule with a start and an end, `sigma`, `low` and `high`, and `metric`
            unless it is "hamming".

    Example:
        >>> store = ManifestationStore.from_dense(np.random.default_rng(0).random((300, 20)) < 0.5)
        >>> from maninegs_sampling import suggest
        >>> list(distance_distributions(store, suggest(store, steps=100)).gaussians)
        [10.0, 2.4]
    """
    metric = METRICS[settings.get("metric", "hamming")]
    pairs = pair_distances(store, metric=metric.name)
    end = largest_step(store, metric.name)
    low, high = metric.step(settings["low"]), metric.step(settings["high"])
    gaussians = {}
    for mu in (settings["mu"].start, settings["mu"].end):
        masses = log_masses(mu, settings["sigma"], metric.edges(low, high))
        weights = np.exp(masses - masses.max())
        gaussians[mu] = np.pad(weights / weights.sum(), (low, end + 1))[: end + 1]
    independent = None
    if metric.name == "hamming":
        independent = stats.binom(store.n_bits, 0.5).pmf(np.arange(end + 1))
    return DistanceDistributions(pairs.shares[: end + 1], independent, gaussians, metric.name)


def lower_bounds(store: ManifestationStore) -> LowerBounds:
    """Return the numbers of Figure 4, and where the data lies in it.

    Args:
        store: The manifestations.

    Example:
        >>> store = ManifestationStore.from_dense(np.random.default_rng(0).random((300, 20)) < 0.5)
        >>> lower_bounds(store).data
        (20, 4)
    """
    n_bits = np.arange(10, max(50, store.n_bits) + 1)
    p = store.to_dense().mean(axis=0)
    differ = float((2 * p * (1 - p)).mean())
    frequency = (1 - np.sqrt(max(0.0, 1 - 2 * differ))) / 2  # 2 p (1 - p) = differ
    half = np.array([distance_lower_bound(int(n), 0.5) for n in n_bits])
    alike = np.array([distance_lower_bound(int(n), frequency) for n in n_bits])
    return LowerBounds(n_bits, half, alike, (store.n_bits, data_distance_lower_bound(store)))


def hardness_by_mu(
    store: ManifestationStore,
    mus: Sequence[float],
    *,
    sigma: float,
    batch_size: int = 64,
    batches: int = 200,
    groups: ArrayLike | None = None,
    seed: int = 0,
) -> HardnessByMu:
    """Return the numbers of Figure 5.

    Args:
        store: The manifestations.
        mus: (M,) means of the distance distribution.
        sigma: Standard deviation of the distance distribution.
        batch_size: Instances per batch.
        batches: Number of batches to measure at each mu.
        groups: N labels. No two instances of a batch share one.
        seed: Seed of everything that is drawn.

    Example:
        >>> store = ManifestationStore.from_dense(np.random.default_rng(0).random((300, 20)) < 0.5)
        >>> found = hardness_by_mu(store, [10, 5, 0], sigma=3.0, batches=20)
        >>> found.measured[2].pair_mean < found.measured[0].pair_mean
        True
    """
    drawing: dict[str, Any] = {
        "batch_size": batch_size, "batches": batches, "groups": groups, "seed": seed
    }  # fmt: skip
    return HardnessByMu(
        check_mus(mus),
        hardness_at(store, mus, sigma=sigma, **drawing),
        mean_distance(store),
        uniform_distinct_hardness(store, **drawing),
    )


def annealing(
    store: ManifestationStore,
    settings: Settings,
    *,
    steps: int,
    batch_size: int = 64,
    seed: int = 0,
    points: int = 40,
    batches: int = 20,
    index: DistanceBucketIndex | None = None,
) -> Annealing:
    """Return the distances between anchors and negatives over a training.

    Args:
        store: The manifestations.
        settings: Settings of the sampler. If they have groups, no two instances of a batch share
            one.
        steps: Number of steps of the training.
        batch_size: Instances per batch.
        seed: Seed of the sampler.
        points: Number of steps to look at, from the first to the last.
        batches: Number of batches to measure at each.
        index: An index of `store` to draw from. If None, one is built.

    Example:
        >>> store = ManifestationStore.from_dense(np.random.default_rng(0).random((300, 20)) < 0.5)
        >>> from maninegs_sampling import suggest
        >>> annealing(store, suggest(store, steps=100), steps=100, points=5).steps.tolist()
        [0, 25, 50, 74, 99]
    """
    steps = check_count("steps", steps, at_least=1)
    points = check_count("points", points, at_least=1)
    chosen = np.unique(np.linspace(0, steps - 1, points).round().astype(np.int64))
    mus = np.array([settings["mu"](int(step)) for step in chosen])
    metric: MetricName = settings.get("metric", "hamming")
    measured = hardness_at(
        store,
        mus.tolist(),
        sigma=settings["sigma"],
        metric=metric,
        batch_size=batch_size,
        batches=batches,
        groups=settings.get("groups"),
        index=index,
        seed=seed,
    )
    histograms = np.stack([h.anchor_histogram for h in measured])
    histograms = histograms[:, : largest_step(store, metric) + 1]
    shares = histograms / histograms.sum(axis=1, keepdims=True)
    return Annealing(chosen, mus, shares, metric)
