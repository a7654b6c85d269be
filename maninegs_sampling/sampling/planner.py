"""EpochPlanner: plans an epoch in which each instance is in exactly one batch."""

import numpy as np
from numpy.typing import NDArray

from maninegs_sampling import randomness
from maninegs_sampling.errors import InvalidValueError
from maninegs_sampling.sampling._draw import new_scratch
from maninegs_sampling.sampling._offers import new_anchor_sums
from maninegs_sampling.sampling._plan import Chances, Plan, improve_plan, resolve_conflicts
from maninegs_sampling.sampling._plan_clusters import Members, improve_clusters
from maninegs_sampling.sampling._population import new_taken
from maninegs_sampling.sampling._stream import STREAM_WORDS
from maninegs_sampling.sampling.drawer import BatchDrawer, distinct_numbers

# How often each cluster is visited. With 12 visits the mean distance lies within 2% of what it is
# with 100; with 4, within 5%, in a third of the time.
_MANY = 2**15
_VISITS, _VISITS_OF_MANY = 12, 4
# Instances offered to each place on every visit where the whole cluster is weighed.
_OFFERS_IN_CLUSTERS = 4
# Orders tried until one keeps equal patterns and groups apart.
_DEALS = 20


class EpochPlanner:
    """Plans epochs by the rules of a drawer.

    Args:
        drawer: what is drawn, and how. Its `duplicates` are "refill" or "keep".
        cluster_size: instances of a cluster.

    Raises:
        InvalidValueError: If `duplicates` leaves batches short.
    """

    def __init__(self, drawer: BatchDrawer, cluster_size: int) -> None:
        if not drawer.fills_batches:
            raise InvalidValueError(
                'coverage="epoch" puts each instance into a batch, and '
                f'duplicates="{drawer.duplicates}" leaves instances out; use duplicates="keep" or '
                '"refill"'
            )
        self._drawer = drawer
        self._cluster_size = cluster_size

    def check_supply(self, n_batches: int) -> None:
        """Raise `InvalidValueError` if an epoch of so many batches cannot be planned."""
        drawer = self._drawer
        if drawer.skip_nearest >= max(1, drawer.store.n_patterns - 1):
            raise InvalidValueError(
                f"skip_nearest={drawer.skip_nearest} leaves none of {drawer.store.n_patterns} "
                "patterns to draw for an anchor; make it smaller"
            )
        if drawer.rules.distinct_patterns and drawer.store.counts.max() > n_batches:
            raise InvalidValueError(
                f"one pattern has {drawer.store.counts.max()} instances, and an epoch has "
                f"{n_batches} batches: without duplicates in a batch, not every instance can be "
                'in one; use duplicates="keep" and give the patterns to the loss as ids='
            )
        if drawer.n_groups and np.bincount(drawer.population.group_of).max() > n_batches:
            raise InvalidValueError(
                f"one group has {np.bincount(drawer.population.group_of).max()} instances, and an "
                f"epoch has {n_batches} batches: not every instance can be in a batch without "
                "another of its group"
            )

    def plan(
        self, edges: NDArray[np.int64], mus: NDArray[np.float64], *, seed: int, epoch: int
    ) -> NDArray[np.int64]:
        """Return the instances of an epoch, batch after batch, cluster after cluster.

        Args:
            edges: (M + 1,) the first place of each batch, and the end of the last.
            mus: (M,) the mean of the distance distribution in each batch.
            seed: of the random stream.
            epoch: the epoch.

        Returns:
            (edges[-1],) int64, each instance at most once.

        Raises:
            InvalidValueError: If no plan was found that keeps patterns and groups apart.
        """
        values, mu_of_batch = distinct_numbers(mus)
        plan, unplaced = self._dealt(edges, mu_of_batch, seed, epoch)
        if unplaced:
            raise InvalidValueError(
                f"no plan was found for {unplaced} of {len(plan.order)} instances in "
                f"{_DEALS} attempts, whose patterns or groups are in all batches already; use "
                'fewer groups, or duplicates="keep"'
            )
        self._improve(plan, values, seed, epoch)
        return plan.order.astype(np.int64)

    def _improve(self, plan: Plan, mus: NDArray[np.float64], seed: int, epoch: int) -> None:
        """Exchange instances until the plan is hard."""
        drawer, store = self._drawer, self._drawer.store
        index, population, rules = drawer.index, drawer.population, drawer.rules
        where = np.uint64(seed), np.uint64(randomness.EPOCH_PLANS)
        offer_weights = drawer.log_weights(mus, "anchor")
        n_distances = offer_weights.shape[1]
        shape = (int(plan.number_of[-1]) + 1, n_distances)
        chances = Chances(
            items=np.empty(shape, np.int64),
            logs=np.empty(shape, np.float32),
            skip=np.empty((shape[0], 3), np.int64),
        )
        scratch = new_scratch(
            n_listed=store.n_patterns, n_distances=n_distances, **drawer.scale,
            taken=new_taken(0, 0, 1), n_scanned=0 if index.precomputed else store.n_patterns,
        )  # fmt: skip
        sums = new_anchor_sums(scratch.scan)
        visits = _VISITS_OF_MANY if len(plan.order) > _MANY else _VISITS
        # With center="cluster", clusters that are near to their anchors are where it starts.
        improve_plan(
            index.buckets, population, rules, scratch, sums, plan, offer_weights, chances, visits,
            *where, np.array((2, epoch, 0), np.uint64),
        )  # fmt: skip
        if drawer.center == "cluster":
            members = Members(
                totals=np.empty(len(plan.order), np.int64),
                others=np.empty(len(plan.order), np.int64),
                inverses=np.append(0.0, 0.5 / np.arange(1, self._cluster_size + 1)),
            )
            around = rules._replace(nearest=False, skip_nearest=0)
            improve_clusters(
                index.buckets, population, rules, around, scratch, sums, plan, members,
                offer_weights, drawer.log_weights(mus), chances.skip, np.full(3, -1), visits,
                _OFFERS_IN_CLUSTERS, *where, np.array((3, epoch, 0), np.uint64),
            )  # fmt: skip

    def _dealt(
        self, edges: NDArray[np.int64], mu_of_batch: NDArray[np.intp], seed: int, epoch: int
    ) -> tuple[Plan, int]:
        """Return a random plan, and the number of instances that its batches may not hold."""
        drawer = self._drawer
        where = np.uint64(seed), np.uint64(randomness.EPOCH_PLANS)
        stream = np.empty(STREAM_WORDS, np.uint64)
        unplaced = 0
        for attempt in range(_DEALS):
            plan = self._lay_out(edges, mu_of_batch, self._deal(edges, seed, epoch, attempt))
            if drawer.rules.distinct_patterns or drawer.n_groups:
                unplaced = resolve_conflicts(
                    plan, drawer.population, drawer.rules, stream, *where,
                    np.array((1, epoch, attempt), np.uint64),
                )  # fmt: skip
            if not unplaced:
                break
        return plan, unplaced

    def _deal(
        self, edges: NDArray[np.int64], seed: int, epoch: int, attempt: int
    ) -> NDArray[np.int64]:
        """Return a random order of the instances that keeps equal patterns or groups apart."""
        drawer = self._drawer
        rng = randomness.generator_at(seed, randomness.EPOCH_PLANS, (0, epoch, attempt))
        n = int(edges[-1])
        order: NDArray[np.int64] = rng.permutation(drawer.store.n_instances)[:n]
        keys: list[NDArray[np.int32]] = []
        if drawer.rules.distinct_patterns:
            keys.append(drawer.population.pattern_of)
        if drawer.n_groups:
            keys.append(drawer.population.group_of)
        if not keys:
            return order
        # Equal keys one after the other, dealt to the batches in turn, to random places of each.
        key = max(keys, key=lambda numbers: int(np.bincount(numbers).max()))
        rank = rng.permutation(int(key.max()) + 1)
        dealt = order[np.argsort(rank[key[order]], kind="stable")]
        batch = np.repeat(np.arange(len(edges) - 1), np.diff(edges))
        places = np.lexsort((rng.random(n), batch))
        turn = np.arange(n) - np.repeat(edges[:-1], np.diff(edges))
        order = np.empty(n, np.int64)
        order[places[np.lexsort((batch, turn))]] = dealt
        return order

    def _lay_out(
        self, edges: NDArray[np.int64], mu_of_batch: NDArray[np.int64], order: NDArray[np.int64]
    ) -> Plan:
        """Return the plan with its places, batches and clusters."""
        sizes = np.diff(edges)
        begin, end = np.repeat(edges[:-1], sizes), np.repeat(edges[1:], sizes)
        places = np.arange(len(order))
        anchor_at = begin + (places - begin) // self._cluster_size * self._cluster_size
        place_of = np.full(self._drawer.store.n_instances, -1)
        place_of[order] = places
        arrays = (
            order,
            place_of,
            anchor_at,
            np.minimum(anchor_at + self._cluster_size, end),
            begin,
            end,
            np.repeat(mu_of_batch, sizes),
            np.cumsum(anchor_at == places) - 1,
        )
        return Plan(*(array.astype(np.int32) for array in arrays))
