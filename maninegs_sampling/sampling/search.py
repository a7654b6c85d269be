"""How the instances around an anchor are found: listed, scanned, or near to it and in a pool."""

from dataclasses import dataclass
from typing import Literal, get_args

from maninegs_sampling.data.store import ManifestationStore
from maninegs_sampling.distances.index import DistanceBucketIndex
from maninegs_sampling.distances.metrics import METRICS, MetricName
from maninegs_sampling.errors import InvalidTypeError, InvalidValueError, check_choice
from maninegs_sampling.sampling.near import NearIndex, plan_near
from maninegs_sampling.sampling.near_plan import Effort

# "lists": all instances are sorted by distance from each pattern beforehand. "scan": the distances
# of an anchor are computed when it is drawn for. "near": only patterns near to it are looked for,
# and a pool is drawn of the others.
Search = Literal["lists", "scan", "near"]

# From about so many patterns on a scan takes longer than a search, and it is exact.
NEAR_FROM = 2**22
# The share of anchors that need to have a cluster of patterns near to them.
MOST_ANCHORS = 0.9
# More than any index takes.
_NO_LIMIT = 2**63 - 1


@dataclass(frozen=True)
class SearchPlan:
    """How a sampler finds the instances around an anchor, and why.

    Attributes:
        search: "lists", "scan" or "near".
        reason: why, as a sentence.
        nbytes: bytes that it takes beside the store.
        radius: up to this distance from any anchor, batches follow the exact distribution. Anchors
            with few instances near to them have a larger one.
        reach: beyond an anchor's radius and up to this distance at most, what is drawn from is a
            sample of the patterns near to it.
        pool: instances, or patterns, drawn for each anchor, that serve farther distances; 0 where
            the distribution is exact at all distances.
    """

    search: Search
    reason: str
    nbytes: int
    radius: float
    reach: float
    pool: int

    def __str__(self) -> str:
        return f"{self.search}: {self.reason}"


def choose_search(
    store: ManifestationStore,
    index: DistanceBucketIndex | Search | None,
    *,
    rows: str,
    metric: MetricName,
    memory_limit: int | str,
    low: int,
    high: int,
    cluster_size: int,
    exact_option: str | None,
) -> tuple[DistanceBucketIndex, NearIndex | None, SearchPlan]:
    """Return an index, a near index if that is how instances are found, and the reason.

    Args:
        store: the instances that may be drawn.
        index: a ready index, or what the user asked for; None to choose.
        rows: what a bucket is drawn from, "instances" or "patterns".
        metric: the metric.
        memory_limit: bytes that lists may take if they were not asked for.
        low: smallest distance of a negative, as a step.
        high: largest distance of a negative, as a step.
        cluster_size: patterns that the shell of an average anchor should hold.
        exact_option: an option that cannot do without all distances, as it is written.

    Raises:
        InvalidTypeError: If `index` is neither an index nor a text.
        InvalidValueError: If `index` is another text, of other instances, rows or metric, or
            "near" where an option needs all distances, or where it would cost too much.
    """
    if index is not None and not isinstance(index, (str, DistanceBucketIndex)):
        raise InvalidTypeError(
            "index must be a DistanceBucketIndex, or one of "
            f"{', '.join(map(repr, get_args(Search)))}; got {type(index).__name__}"
        )
    if isinstance(index, DistanceBucketIndex):
        return _of_index(_check_index(index, store, rows, metric), "the index was given")
    if index is not None:
        check_choice("index", index, get_args(Search))
    if index == "near" and exact_option is not None:
        raise InvalidValueError(f'index="near" does not go with {exact_option}; use "scan"')
    limit = {"lists": _NO_LIMIT, "scan": 0, "near": 0}.get(str(index), memory_limit)
    made = DistanceBucketIndex(store, memory_limit=limit, rows=rows, metric=metric)
    if index in ("lists", "scan"):
        return _of_index(made, "it was asked for")
    if index is None and made.precomputed:
        return _of_index(made, f"lists of all pairs fit the memory limit, {memory_limit!r}")
    if index is None and store.n_patterns < NEAR_FROM:
        return _of_index(made, f"lists exceed the memory limit, {memory_limit!r}")
    if exact_option is not None:
        return _of_index(made, f"{exact_option} needs the distances of all patterns")
    near = plan_near(
        store, low=low, high=high, needed=cluster_size, per_instance=rows == "instances",
        effort=Effort.of(cluster_size),
    )  # fmt: skip
    if near is None or near.plan.filled < MOST_ANCHORS:
        dear = f"to find {cluster_size} patterns near to most anchors costs too much without a scan"
        if index == "near":
            raise InvalidValueError(f'index="near" cannot be used: {dear}; use "scan"')
        return _of_index(made, dear)
    why = "it was asked for" if index else f"there are {store.n_patterns:,} patterns"
    levels = near.plan.levels
    found = (
        f"{why}; {near.plan.filled:.0%} of a sample of anchors have {cluster_size} patterns within "
        f"distance {levels[-1].radius}"
    )
    return made, near, SearchPlan(
        "near", found, near.nbytes, levels[0].radius, levels[-1].reach, near.plan.pool
    )  # fmt: skip


def _of_index(
    index: DistanceBucketIndex, reason: str
) -> tuple[DistanceBucketIndex, None, SearchPlan]:
    search: Search = "lists" if index.precomputed else "scan"
    metric = METRICS[index.metric]
    farthest = metric.distance(metric.last_step(index.store))
    return index, None, SearchPlan(search, reason, index.nbytes, farthest, farthest, 0)


def _check_index(
    index: DistanceBucketIndex, store: ManifestationStore, rows: str, metric: MetricName
) -> DistanceBucketIndex:
    if index.store is not store and index.store.digest != store.digest:
        raise InvalidValueError(
            f"index must be of the instances that may be drawn, {store!r}; it is of {index.store!r}"
        )
    if index.rows != rows:
        raise InvalidValueError(
            f"this sampler needs an index with rows={rows!r} (draw={rows[:-1]!r}); got one with "
            f"rows={index.rows!r}"
        )
    if index.metric != metric:
        raise InvalidValueError(
            f"this sampler needs an index with metric={metric!r}; got one with "
            f"metric={index.metric!r}"
        )
    return index
