"""BatchDrawer: draws batches for given anchors, by the rules that a sampler's options set."""

from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from maninegs_sampling import randomness
from maninegs_sampling.data.patterns import as_int32
from maninegs_sampling.data.store import ManifestationStore
from maninegs_sampling.distances.histogram import max_distance
from maninegs_sampling.distances.index import DistanceBucketIndex
from maninegs_sampling.distances.metrics import (
    METRICS,
    MetricName,
    check_measurable,
    distance_dtype,
    metric_of,
)
from maninegs_sampling.errors import InvalidValueError, check_choice, check_count
from maninegs_sampling.sampling._cluster import (
    STEPS_PER_BIT,
    draw_cluster_batches,
    new_cluster_scratch,
)
from maninegs_sampling.sampling._draw import draw_batches, new_scratch
from maninegs_sampling.sampling._near import new_found
from maninegs_sampling.sampling._near_draw import draw_near_batches
from maninegs_sampling.sampling._population import Population, Rules, Taken, new_taken
from maninegs_sampling.sampling.distribution import log_masses
from maninegs_sampling.sampling.groups import check_number_of_groups
from maninegs_sampling.sampling.near import ROOM
from maninegs_sampling.sampling.search import Search, choose_search

Empty = Literal["renormalize", "nearest"]
Draw = Literal["instance", "pattern"]
Duplicates = Literal["refill", "keep", "drop_patterns", "drop_instances"]
Center = Literal["anchor", "cluster"]


def check_center(center: Center, metric: MetricName) -> None:
    """Raise `InvalidValueError` if distances of that metric cannot be measured from there."""
    if center == "cluster" and metric != "hamming":
        raise InvalidValueError(
            'center="cluster" needs metric="hamming": it measures mean distances in quarters of a '
            f"bit; got metric={metric!r}"
        )


class BatchDrawer:
    """Draws batches of the instances of one store. The options are those of the batch sampler.

    Nothing changes after construction, so two threads may draw at once.

    Args:
        store: the instances that may be drawn.
        metric: what distances are.
        sigma: standard deviation of the distance distribution; None for the metric's.
        low: smallest distance of a negative; None for the smallest above 0.
        high: largest distance of a negative; None for the largest in the data.
        empty: what happens to distances at which the anchor has no instance.
        draw: whether instances or patterns are equally likely at a distance.
        duplicates: what may be in a batch twice, and whether batches are filled.
        anchors_per_batch: clusters of a batch, each an anchor and its negatives.
        center: what a candidate's distance is measured from.
        skip_nearest: patterns nearest to an anchor that are not drawn for it.
        groups: (N,) int32, a group's number for each instance; empty without groups.
        memory_limit: for lists, see `DistanceBucketIndex`.
        index: a ready index of the same instances, or how these are found; see `choose_search`.
        batch_size: instances of a batch of one rank.
        plans_epochs: whether whole epochs are planned with it.

    Attributes:
        low, high: as steps of the metric, which is what kernels call a distance.

    Raises:
        InvalidTypeError, InvalidValueError: If an option cannot be used.
    """

    def __init__(
        self,
        store: ManifestationStore,
        *,
        metric: MetricName,
        sigma: float | None,
        low: float | None,
        high: float | None,
        empty: Empty,
        draw: Draw,
        duplicates: Duplicates,
        anchors_per_batch: int,
        center: Center,
        skip_nearest: int,
        groups: NDArray[np.int32],
        memory_limit: int | str,
        index: DistanceBucketIndex | Search | None,
        batch_size: int,
        plans_epochs: bool,
    ) -> None:
        self.store = check_measurable("store", store)
        self.metric = metric_of(metric)
        self.sigma = self.metric.sigma if sigma is None else self.metric.check_sigma(sigma)
        self.low = 1 if low is None else self.metric.check_distance("low", low, least_step=1)
        self.empty: Empty = check_choice("empty", empty, get_args(Empty))
        self.duplicates: Duplicates = check_choice("duplicates", duplicates, get_args(Duplicates))
        self.anchors_per_batch = check_count("anchors_per_batch", anchors_per_batch, at_least=1)
        self.center: Center = check_choice("center", center, get_args(Center))
        check_center(self.center, metric)
        self.skip_nearest = check_count("skip_nearest", skip_nearest, at_least=0)
        self.instances_or_patterns: Draw = check_choice("draw", draw, get_args(Draw))
        self.high = self._find_high(high)
        self.index, self.near, self.search_plan = choose_search(
            store,
            index,
            rows=f"{draw}s",
            metric=metric,
            memory_limit=memory_limit,
            low=self.low,
            high=self.high,
            cluster_size=max(2, batch_size // self.anchors_per_batch),
            exact_option=self._exact_option(plans_epochs),
        )
        self.n_groups = int(groups.max()) + 1 if len(groups) else 0
        # Beyond the largest distance there is no instance: nothing need be evaluated there.
        self._end = min(self.high, self.metric.last_step(store))
        if empty == "renormalize":
            largest = self.metric.step(self.index.largest_distance)
            self._end = max(self.low, min(self.high, largest))
        self.population = Population(
            pattern_of=as_int32(store.pattern_of),
            members=self.index.members,
            starts=self.index.starts,
            counts=store.counts,
            group_of=groups,
            group_of_member=groups[self.index.members] if len(groups) else groups,
        )
        self.rules = Rules(
            low=self.low,
            nearest=empty == "nearest",
            per_instance=draw == "instance",
            distinct_patterns=duplicates in ("refill", "drop_patterns"),
            replacement=duplicates in ("drop_patterns", "drop_instances"),
            n_clusters=self.anchors_per_batch,
            skip_nearest=self.skip_nearest,
        )

    def _exact_option(self, plans_epochs: bool) -> str | None:
        """Return an option that needs the distances of all patterns, as it is written."""
        if plans_epochs:
            return 'coverage="epoch"'
        if self.metric is not METRICS["hamming"]:
            return f'metric="{self.metric.name}"'
        if self.center == "cluster":
            return 'center="cluster"'
        return f"skip_nearest={self.skip_nearest}" if self.skip_nearest else None

    @property
    def n_distances(self) -> int:
        """Distances, or steps of a mean distance, with any probability, from `low` on."""
        return (self._end - self.low) * self._steps_per_bit + 1

    @property
    def _steps_per_bit(self) -> int:
        return 1 if self.center == "anchor" else STEPS_PER_BIT

    @property
    def scale(self) -> dict[str, Any]:
        """The largest step and the dtype of steps, for `new_scratch`."""
        return {
            "last_step": self.metric.last_step(self.store),
            "dtype": distance_dtype(self.store.n_bits),
        }

    @property
    def fills_batches(self) -> bool:
        """Whether a batch is meant to hold as many instances as are asked for."""
        return not self.rules.replacement

    def check_supply(self, batch_size: int) -> None:
        """Raise `InvalidValueError` if no batch of that size can be full, and it should be."""
        n_instances, n_patterns = self.store.n_instances, self.store.n_patterns
        if self.fills_batches and n_instances < batch_size:
            raise InvalidValueError(
                f"there are {n_instances} instances, too few for batches of {batch_size}; make "
                "batch_size smaller"
            )
        if self.duplicates == "refill" and n_patterns < batch_size:
            raise InvalidValueError(
                f"the instances have {n_patterns} distinct patterns, too few for batches of "
                f"{batch_size} without duplicates; make batch_size smaller, or use "
                'duplicates="keep" to let patterns repeat'
            )
        left = n_patterns - 1 - self.skip_nearest
        needed = batch_size // self.anchors_per_batch - 1 if self.duplicates == "refill" else 1
        if self.skip_nearest and left < needed:
            raise InvalidValueError(
                f"skip_nearest={self.skip_nearest} leaves {max(0, left)} of {n_patterns} patterns "
                f"to draw for an anchor, which needs {needed}; make it smaller"
            )
        if self.fills_batches:
            check_number_of_groups(self.n_groups, batch_size)

    def distribution(self, mu: float) -> NDArray[np.float64]:
        """Return (D + 1,) float64, the probability of each distance, as a step, from 0 on.

        D is the smaller of `high` and the largest possible distance. With center="cluster" the
        steps of a mean distance are counted at the distance that they round to.
        """
        end = min(self.high, self.metric.last_step(self.store))
        masses = log_masses(mu, self.sigma, self._edges(end, self.center))
        steps = np.arange(len(masses)) + self.low * self._steps_per_bit
        distances = (2 * steps + self._steps_per_bit) // (2 * self._steps_per_bit)
        weights = np.exp(masses - masses.max())
        probabilities = np.zeros(end + 1)
        np.add.at(probabilities, distances, weights)
        probabilities /= probabilities.sum()
        return probabilities

    def draw(
        self,
        anchors: NDArray[np.int64],
        mus: NDArray[np.float64],
        *,
        batch_size: int,
        seed: int,
        position: NDArray[np.uint64],
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Draw one batch for each anchor.

        Args:
            anchors: (M,) instances, each the anchor of its batch's first cluster.
            mus: (M,) the mean of the distance distribution for each.
            batch_size: instances in a full batch, the anchor among them.
            seed: of the random stream.
            position: (3,) of the first batch in the stream; the next one's is 1 larger in entry 0.

        Returns:
            (M, batch_size) int64, cluster after cluster, the anchor first, filled from the left;
            (M,) int64, the instances that each batch holds; and (M, anchors_per_batch) int64, the
            place of each cluster's anchor, or the batch's length where nobody was left to be one.
        """
        distinct, mu_of = distinct_numbers(mus)
        log_weights = self.log_weights(distinct)
        batches = np.zeros((len(anchors), batch_size), np.int64)
        lengths = np.empty(len(anchors), np.int64)
        starts = np.empty((len(anchors), self.anchors_per_batch), np.int64)
        where = (np.uint64(seed), np.uint64(randomness.BATCHES), position)
        results = (batches, lengths, starts)
        if self.center == "anchor":
            draw_kernel, *what = self._anchor_kernel(batch_size)
        else:
            draw_kernel, *what = self._cluster_kernel(batch_size)
        draw_kernel(*what, anchors, log_weights, mu_of, *where, *results)
        return batches, lengths, starts

    def _anchor_kernel(self, batch_size: int) -> tuple[Any, ...]:
        """Return a kernel that draws around anchors, and its first arguments."""
        store, index, near = self.store, self.index, self.near
        sizes = {"n_distances": self.n_distances, **self.scale}
        taken = self._new_taken(batch_size)
        rules = self.population, self.rules
        if near is None:
            scratch = new_scratch(
                n_listed=store.n_patterns,
                n_scanned=0 if index.precomputed else store.n_patterns,
                taken=taken,
                **sizes,
            )
            return draw_batches, index.buckets, *rules, scratch
        scratch = new_scratch(n_listed=ROOM, pool_size=near.plan.pool, taken=taken, **sizes)
        return (
            draw_near_batches, near.tables, near.rings, index.buckets, *rules, scratch,
            new_found(ROOM),
        )  # fmt: skip

    def _cluster_kernel(self, batch_size: int) -> tuple[Any, ...]:
        """Return the kernel that draws clusters near to themselves, and its first arguments."""
        scratch = new_cluster_scratch(
            n_patterns=self.store.n_patterns,
            n_bits=self.store.n_bits,
            n_steps=self.n_distances,
            cluster_size=batch_size // self.anchors_per_batch,
            taken=self._new_taken(batch_size),
        )
        return draw_cluster_batches, self.index.buckets.words, self.population, self.rules, scratch

    def log_weights(
        self, mus: NDArray[np.float64], center: Center | None = None
    ) -> NDArray[np.float64]:
        """Return (M, E) float64, the log-weight of each distance at each mu.

        Args:
            mus: (M,) means of the distance distribution.
            center: what distances are measured from, if not what the drawer measures them from.
        """
        return log_masses(mus, self.sigma, self._edges(self._end, center or self.center))

    def _new_taken(self, batch_size: int) -> Taken:
        """Return what a batch can take once: instances or patterns, and groups."""
        store = self.store
        n_keys = store.n_patterns if self.rules.distinct_patterns else store.n_instances
        return new_taken(n_keys, self.n_groups, batch_size)

    def _edges(self, end: int, center: Center) -> NDArray[np.float64]:
        """Return the edges between the distances `low` to `end`, beyond which nobody lies.

        With center="cluster" they are those between the steps of a mean distance.

        With empty="nearest" whatever would be drawn between `end` and `high` moves to `end`.
        Otherwise the distribution is conditioned on the distances that the anchor has anyway.
        """
        if center == "cluster":
            edges = (np.arange(self.low * STEPS_PER_BIT, end * STEPS_PER_BIT + 2) - 0.5) / (
                STEPS_PER_BIT
            )
            last = self.high + 0.5 / STEPS_PER_BIT
        else:
            edges = self.metric.edges(self.low, end)
            last = self.metric.edges(self.high, self.high)[-1]
        if self.empty == "nearest":
            edges[-1] = last
        return edges

    def _find_high(self, high: float | None) -> int:
        last_step, low = self.metric.last_step(self.store), self.metric.distance(self.low)
        if self.low > last_step:
            raise InvalidValueError(f"low={low} exceeds the {last_step} bits of the store")
        if high is not None:
            highest = self.metric.check_distance("high", high, least_step=1)
            if highest < self.low:
                raise InvalidValueError(f"low must not exceed high; got low={low}, high={high}")
            return highest
        if self.empty == "renormalize":
            # Conditioned on the distances that an anchor has, every bound from the largest distance
            # on gives the same distribution. This one needs no pass over all pairs.
            return last_step
        largest = max_distance(self.store, metric=self.metric.name)
        if largest < low:
            raise InvalidValueError(
                f"low={low} exceeds the largest distance in the data, {largest}"
            )
        return self.metric.step(largest)


def distinct_numbers(numbers: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the distinct numbers, and the place of each number among them."""
    if (numbers == numbers[0]).all():  # a constant mu: much cheaper than sorting
        return numbers[:1], np.zeros(len(numbers), np.int64)
    distinct, places = np.unique(numbers, return_inverse=True)
    return distinct, places
