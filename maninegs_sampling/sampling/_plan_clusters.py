"""Numba kernels that plan an epoch of clusters whose members are near to each other.

The distance of a member is its mean distance to the other members of its cluster, of which those of
its own pattern do not count, rounded to a whole number of steps of 1 / STEPS_PER_BIT. The plan's
probability is proportional to the product over all members of the truncated Gaussian's weight at
their distance. As in `_plan`, places exchange their instances by the rule of Metropolis and
Hastings, and anchors stay. A place is offered an instance that is drawn around one member of its
cluster.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from maninegs_sampling.compiling import kernel
from maninegs_sampling.distances._tiles import distance_of
from maninegs_sampling.sampling._cluster import STEPS_PER_BIT
from maninegs_sampling.sampling._distances import condition, draw_distance
from maninegs_sampling.sampling._offers import draw_at, forget_sums
from maninegs_sampling.sampling._plan import (
    IMPOSSIBLE,
    exchange,
    find_items,
    is_exchangeable,
    is_skipped,
    may_exchange,
    open_row,
)
from maninegs_sampling.sampling._population import is_unweighted
from maninegs_sampling.sampling._stream import random_below, random_unit, start_stream


class Members(NamedTuple):
    """The distances of each place's instance to the others of its cluster."""

    totals: NDArray[np.int64]  # (n,) their sum
    others: NDArray[np.int64]  # (n,) how many are of another pattern
    inverses: NDArray[np.float64]  # (c + 1,) entry k: 1 / 2k


@kernel
def log_weight_of(rules, members, log_weights, total, others):
    """Return the log-weight of a member at a mean distance of total / others."""
    if others == 0:
        return IMPOSSIBLE
    # The floor of x + 1/2 for x = STEPS_PER_BIT * total / others; x + 1/2 + 1/4k has the same.
    step = np.int64((2 * STEPS_PER_BIT * total + others + 0.5) * members.inverses[others])
    step -= rules.low * STEPS_PER_BIT
    if step < 0 or step >= log_weights.shape[0]:
        return IMPOSSIBLE
    return max(log_weights[step], IMPOSSIBLE)


@kernel
def add_up_members(words, population, plan, members):
    """Set the totals of all places."""
    for i in range(plan.order.shape[0]):
        p = np.int64(population.pattern_of[plan.order[i]])
        members.totals[i] = 0
        members.others[i] = 0
        for k in range(plan.anchor_at[i], plan.cluster_end[i]):
            d = distance_of(words, p, np.int64(population.pattern_of[plan.order[k]]))
            members.totals[i] += d
            members.others[i] += d > 0


@kernel
def replacement_gain(words, population, rules, plan, members, log_weights, i, x):
    """Return the change of the log-weight of a cluster if x takes the place i in it."""
    old = np.int64(population.pattern_of[plan.order[i]])
    new = np.int64(population.pattern_of[x])
    gain = -log_weight_of(rules, members, log_weights, members.totals[i], members.others[i])
    total, others = np.int64(0), np.int64(0)
    for k in range(plan.anchor_at[i], plan.cluster_end[i]):
        if k == i:
            continue
        p = np.int64(population.pattern_of[plan.order[k]])
        before, after = distance_of(words, p, old), distance_of(words, p, new)
        total += after
        others += after > 0
        gain -= log_weight_of(rules, members, log_weights, members.totals[k], members.others[k])
        gain += log_weight_of(
            rules, members, log_weights, members.totals[k] - before + after,
            members.others[k] - (before > 0) + (after > 0),
        )  # fmt: skip
    return gain + log_weight_of(rules, members, log_weights, total, others)


@kernel
def update_members(words, population, plan, members, i, x):
    """Set the totals of a cluster as they will be with instance x at place i."""
    old = np.int64(population.pattern_of[plan.order[i]])
    new = np.int64(population.pattern_of[x])
    members.totals[i] = members.others[i] = 0
    for k in range(plan.anchor_at[i], plan.cluster_end[i]):
        if k == i:
            continue
        p = np.int64(population.pattern_of[plan.order[k]])
        before, after = distance_of(words, p, old), distance_of(words, p, new)
        members.totals[k] += after - before
        members.others[k] += np.int64(after > 0) - np.int64(before > 0)
        members.totals[i] += after
        members.others[i] += after > 0


@kernel
def offer_chance(words, population, rules, scratch, log_weights, u, instance):
    """Return the logarithm of the chance, times a constant, that `instance` is offered around u."""
    p = np.int64(population.pattern_of[instance])
    d = distance_of(words, u, p)
    if d < rules.low or d - rules.low >= log_weights.shape[0] or scratch.remaining[d] == 0:
        return IMPOSSIBLE
    chance = log_weights[d - rules.low] - np.log(np.float64(scratch.remaining[d]))
    return chance if rules.per_instance else chance - np.log(np.float64(population.counts[p]))


@kernel
def skip_gain(words, population, plan, skip, place, old, new):
    """Return how the log-weight of a place changes if its anchor skips `new` or `old`."""
    u = np.int64(population.pattern_of[plan.order[plan.anchor_at[place]]])
    row = skip[plan.number_of[place]]
    p, q = np.int64(population.pattern_of[old]), np.int64(population.pattern_of[new])
    before = is_skipped(row, distance_of(words, u, p), p)
    after = is_skipped(row, distance_of(words, u, q), q)
    return IMPOSSIBLE * (np.int64(after) - np.int64(before))


@kernel
def exchange_gain(words, population, rules, plan, members, log_weights, skip, i, j):
    """Return the change of the log-weight of a plan if two places exchange their instances."""
    v, x = plan.order[i], plan.order[j]
    here, there = log_weights[plan.mu_of[i]], log_weights[plan.mu_of[j]]
    gain = replacement_gain(words, population, rules, plan, members, here, i, x)
    gain += replacement_gain(words, population, rules, plan, members, there, j, v)
    if rules.skip_nearest > 0:
        gain += skip_gain(words, population, plan, skip, i, v, x)
        gain += skip_gain(words, population, plan, skip, j, x, v)
    return gain


@kernel
def improve_clusters(
    buckets, population, rules, around, scratch, sums, plan, members, offer_weights, log_weights,
    skip, nothing_skipped, visits, offers, seed, purpose, position,
):  # fmt: skip
    """Exchange instances so that the plan comes to follow its distribution; see this file's head.

    rules, around: the sampler's rules, and those by which instances are offered around a member,
    which skip nothing. offer_weights: (L, E), of the distances from `low` on. log_weights: (L, S),
    of the steps. skip: (K, 3), what is skipped for each anchor; nothing_skipped: (3,) of -1.
    """
    unweighted = is_unweighted(population, rules)
    words, stream = buckets.words, scratch.stream
    add_up_members(words, population, plan, members)
    start_stream(stream, seed, purpose, position[0], position[1], position[2])
    items = scratch.weight_at[rules.low : rules.low + offer_weights.shape[1]]
    for _ in range(visits):
        for place in range(plan.order.shape[0]):
            size = np.int64(plan.cluster_end[place] - place)
            if plan.anchor_at[place] != place or size == 1:
                continue
            center = place + random_below(stream, size)
            u = np.int64(population.pattern_of[plan.order[center]])
            find_items(buckets, population, around, scratch, unweighted, u)
            if open_row(around, scratch, items) == 0:
                continue
            weights = offer_weights[plan.mu_of[place]]
            forget_sums(sums)  # the distances are there
            total = condition(
                weights, around, scratch.remaining, scratch.weights, scratch.cumulative
            )
            for _ in range(offers):
                for i in range(place + 1, plan.cluster_end[place]):
                    if i == center:
                        continue
                    d = draw_distance(around, random_unit(stream), scratch.cumulative, total)
                    x = draw_at(
                        buckets, population, around, sums, stream, unweighted, u, d,
                        scratch.remaining[d], nothing_skipped,
                    )  # fmt: skip
                    j = np.int64(plan.place_of[x])
                    if not is_exchangeable(plan, place, j):
                        continue
                    v = plan.order[i]
                    gain = (
                        exchange_gain(
                            words, population, rules, plan, members, log_weights, skip, i, j
                        )
                        + offer_chance(words, population, around, scratch, weights, u, v)
                        - offer_chance(words, population, around, scratch, weights, u, x)
                    )
                    accepted = gain >= 0 or random_unit(stream) < np.exp(gain)
                    if accepted and may_exchange(plan, population, rules, i, j):
                        update_members(words, population, plan, members, i, x)
                        update_members(words, population, plan, members, j, v)
                        exchange(plan, i, j)
