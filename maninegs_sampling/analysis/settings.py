"""Settings for ManiNeg, read off the data without training."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
from numpy.typing import ArrayLike

from maninegs_sampling.analysis.frequencies import LARGE_SHIFT, frequency_shift
from maninegs_sampling.analysis.hardness import uniform_distinct_hardness
from maninegs_sampling.analysis.neighborhood import Neighborhood, find_shortage, neighborhood
from maninegs_sampling.analysis.reasons import FrequencyShift, OneDistance, Reason
from maninegs_sampling.analysis.setting_reasons import (
    AnchorsReason,
    CenterReason,
    CoverageReason,
    GroupsReason,
    HighReason,
    KeepReason,
    LowReason,
    MetricReason,
    MuReason,
    SigmaReason,
)
from maninegs_sampling.data.store import ManifestationStore
from maninegs_sampling.distances.index import DistanceBucketIndex
from maninegs_sampling.distances.metrics import MetricName, check_measurable, metric_of
from maninegs_sampling.distances.pairs import (
    distance_limit,
    estimated_pair_distances,
    few_enough_to_count,
    pair_distances,
)
from maninegs_sampling.errors import InvalidValueError, check_choice, check_count
from maninegs_sampling.sampling.drawer import Center, check_center
from maninegs_sampling.sampling.groups import group_numbers
from maninegs_sampling.sampling.sampler import Coverage
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

    def with_reasons(self, more: Mapping[str, tuple[Any, Reason]]) -> "Settings":
        """Return these settings and more, given as name to (value, reason)."""
        return Settings(
            self.arguments | {name: value for name, (value, _) in more.items()},
            self.reasons | {name: reason for name, (_, reason) in more.items()},
        )

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
            elif isinstance(value, str):
                text = f'"{value}"'
            else:
                text = f"{value:g}"
            parts.append(f"{name}={text}")
        return ", ".join(parts)


# Longer than 60 lines because of its docstring.
def suggest(
    store: ManifestationStore,
    *,
    steps: int,
    batch_size: int = 64,
    metric: MetricName = "hamming",
    anchors_per_batch: int = 1,
    center: Center = "anchor",
    coverage: Coverage | None = None,
    groups: ArrayLike | None = None,
    index: DistanceBucketIndex | None = None,
    seed: int = 0,
    exact: bool = False,
) -> Settings:
    """Return settings read off the data, for a training of `steps` steps.

    What is near an anchor is read off for a cluster of batch_size / anchors_per_batch instances.

    Args:
        store: The manifestations.
        steps: Number of steps of the whole training.
        batch_size: Instances per batch.
        metric: What distances are, as in `ManiNegBatchSampler`.
        anchors_per_batch: Clusters of a batch, as in `ManiNegBatchSampler`. It must divide
            `batch_size`.
        center: What distances are measured from, as in `ManiNegBatchSampler`.
        coverage: Whether an epoch covers the data, as in `ManiNegBatchSampler`. By default it does
            where batches of distinct patterns would show rare patterns far too often; see
            `frequency_shift`. With "epoch", the settings include `duplicates="keep"` if a pattern
            has more instances than an epoch has batches (N // batch_size); tell the loss with
            `ids=`, see `PatternDataset`.
        groups: N labels, such as patient ids. No two instances of a batch share one.
        index: An index of `store` to draw from. If None, one is built.
        seed: Seed of the batches and anchors that are measured.
        exact: Whether to count the distances of all pairs even if there are more than 131,072
            patterns. By default sigma is estimated from random pairs then, and `high` is the number
            of traits that vary, which draws the same batches as the largest distance.

    Returns:
        `mu`, `sigma`, `low`, `high`, what was asked for if it differs from the sampler's defaults,
        and, if given, `groups`, with their reasons: for
        `ManiNegBatchSampler(store, batch_size=64, **settings)` and
        `ManiNegBatchSampler.wrap(loader, store, **settings)`.

    Raises:
        InvalidTypeError: If an argument has another type.
        InvalidValueError: If an argument is out of range, there are fewer distinct patterns, or
            groups, than a batch needs, or all patterns have the same distance.

    Example:
        >>> store = ManifestationStore.from_dense(np.random.default_rng(0).random((300, 20)) < 0.5)
        >>> print(suggest(store, steps=9000).call())
        mu=mn.LinearAnnealing(10, 2.4, steps=4500), sigma=2.3, low=1, high=18
        >>> suggest(store, steps=9000, anchors_per_batch=8)["mu"].end
        0.3
    """
    check_measurable("store", store)
    steps = check_count("steps", steps, at_least=1)
    batch_size = check_count("batch_size", batch_size, at_least=2)
    metric = metric_of(metric).name
    cluster_size = _cluster_size(batch_size, anchors_per_batch)
    shift = None
    if coverage is None and (shift := large_shift(store, batch_size, groups)) is not None:
        coverage = "epoch"
    coverage = "free" if coverage is None else coverage
    chosen = _chosen(store, batch_size, cluster_size, center, coverage, shift, metric)
    if "duplicates" in chosen:
        _check_instances(store, batch_size)
        cluster_size = min(cluster_size, max(2, store.n_patterns))
    elif (shortage := find_shortage(store, batch_size, groups)) is not None:
        raise InvalidValueError(str(shortage))
    drawing: dict[str, Any] = {"groups": groups, "seed": seed, "metric": metric}
    around = neighborhood(store, batch_size=cluster_size, index=index, **drawing)
    only = only_distance(store, metric)
    if only is not None:
        raise InvalidValueError(str(only))
    uniform = uniform_distinct_hardness(store, batch_size=batch_size, **drawing)
    settings = settings_from(
        store, around, uniform.pair_mean, steps, cluster_size, groups, metric=metric, exact=exact
    )
    return settings.with_reasons(chosen)


def large_shift(
    store: ManifestationStore, batch_size: int, groups: ArrayLike | None
) -> FrequencyShift | None:
    """Return what distinct patterns do to frequencies, if it is much and coverage can mend it."""
    if batch_size > store.n_patterns:
        return None
    shift = frequency_shift(store, batch_size)
    if shift.share <= LARGE_SHIFT:
        return None
    if groups is not None:
        largest = np.bincount(group_numbers(groups, store.n_instances)).max()
        if largest > store.n_instances // batch_size:  # no plan keeps its instances apart
            return None
    return shift


def _cluster_size(batch_size: int, anchors_per_batch: int) -> int:
    anchors = check_count("anchors_per_batch", anchors_per_batch, at_least=1)
    if batch_size % anchors:
        raise InvalidValueError(
            f"anchors_per_batch={anchors} must divide the batch, of {batch_size} instances"
        )
    if anchors == batch_size:
        raise InvalidValueError(
            f"anchors_per_batch={anchors} leaves no negatives to be drawn in batches of "
            f"{batch_size}, so there is nothing to set; it must be at most {batch_size // 2}"
        )
    return batch_size // anchors


def _check_instances(store: ManifestationStore, batch_size: int) -> None:
    if store.n_instances < batch_size:
        raise InvalidValueError(
            f"there are {store.n_instances} instances, too few for batches of {batch_size}; make "
            "batch_size smaller"
        )


def _chosen(
    store: ManifestationStore,
    batch_size: int,
    cluster_size: int,
    center: str,
    coverage: str,
    shift: FrequencyShift | None,
    metric: MetricName,
) -> dict[str, tuple[Any, Reason]]:
    """Return what differs from the sampler's defaults, each with its reason."""
    found: dict[str, tuple[Any, Reason]] = {}
    anchors = batch_size // cluster_size
    if anchors > 1:
        found["anchors_per_batch"] = anchors, AnchorsReason(anchors, cluster_size)
    if check_choice("center", center, get_args(Center)) == "cluster":
        check_center("cluster", metric)
        found["center"] = center, CenterReason()
    if check_choice("coverage", coverage, get_args(Coverage)) == "epoch":
        found.update(covering(store, batch_size, shift))
    return found


def covering(
    store: ManifestationStore, batch_size: int, shift: FrequencyShift | None
) -> dict[str, tuple[Any, Reason]]:
    """Return the arguments, with their reasons, with which an epoch covers the data."""
    covers = CoverageReason(int(store.counts.max()), store.n_instances // batch_size, shift)
    found: dict[str, tuple[Any, Reason]] = {"coverage": ("epoch", covers)}
    if not covers.fits:
        found["duplicates"] = "keep", KeepReason(covers.largest, covers.n_batches)
    return found


def only_distance(store: ManifestationStore, metric: MetricName = "hamming") -> OneDistance | None:
    """Return the distance between distinct patterns if there is but one, and None otherwise.

    At most B + 1 patterns of B bits can have equal Hamming distances (Fisher's inequality). By
    "jaccard" it is not looked for where the pairs are too many to count.
    """
    if metric == "hamming" and store.n_patterns > store.n_bits + 1:
        return None
    pairs = pair_distances(store, metric=metric, exact=metric == "hamming")
    if pairs.n_drawn is not None or np.count_nonzero(pairs.shares[1:]) != 1:
        return None
    return OneDistance(pairs.largest, metric)


def settings_from(
    store: ManifestationStore,
    around: Neighborhood,
    uniform_distinct_mean: float,
    steps: int,
    cluster_size: int,
    groups: ArrayLike | None,
    *,
    metric: MetricName = "hamming",
    start: float | None = None,
    easier_at: float | None = None,
    exact: bool,
) -> Settings:
    """Return the settings that follow from the measurements; see `suggest`.

    Args:
        store: The manifestations, with patterns at two distances or more.
        around: What lies around an anchor.
        uniform_distinct_mean: Mean distance in uniform batches of distinct patterns.
        steps: Number of steps of the whole training.
        cluster_size: Instances of an anchor's cluster: the batch, if it has one anchor.
        groups: N labels, or None.
        metric: "hamming" or "jaccard".
        start: The first mu. If None, `uniform_distinct_mean`, rounded.
        easier_at: The mu at which batches are easier than uniform ones, if `start` avoids one.
        exact: Whether to count all pairs in any case.
    """
    # Estimated even if the pairs happen to have been counted: equal calls give equal settings.
    counted = exact or few_enough_to_count(store)
    if counted:
        pairs = pair_distances(store, metric=metric, exact=True)
    else:
        pairs = estimated_pair_distances(store, metric=metric)
    measure = metric_of(metric)
    low, digits = measure.distance(1), measure.digits
    high = pairs.largest if counted else distance_limit(store, metric=metric)
    sigma = max(measure.least_sigma, round(pairs.standard_deviation, digits))
    start = round(uniform_distinct_mean, digits) if start is None else start
    end = max(0.0, round(min(around.nearest - 2 * sigma, start), digits))
    fall = max(1, steps // 2)
    mu = LinearAnnealing(start, end, steps=fall)
    arguments: dict[str, Any] = {"mu": mu, "sigma": sigma, "low": low, "high": high}
    reasons: dict[str, Reason] = {
        "mu": MuReason(start, easier_at, end, around.nearest, cluster_size, fall, steps, metric),
        "sigma": SigmaReason(sigma, pairs.n_drawn),
        "low": LowReason(low),
        "high": HighReason(high, counted, metric),
    }
    if metric != "hamming":
        arguments["metric"], reasons["metric"] = metric, MetricReason(metric)
    if groups is not None:
        arguments["groups"] = groups
        reasons["groups"] = GroupsReason()
    return Settings(arguments, reasons)
