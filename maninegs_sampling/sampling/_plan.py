"""Numba kernels that plan an epoch: every instance in one batch, in clusters around anchors.

The plan starts as any order of the instances that the batches allow, and two places exchange their
instances again and again. Anchors stay where they are. Each place in turn is offered an instance
that the free sampler draws for its anchor, and the exchange is accepted by the rule of Metropolis
and Hastings. The plan's distribution is then that of free, independent draws for all anchors,
conditioned on every instance being in one place: its probability is proportional to the product
of q(i | a) over all places, where q(i | a) is the probability to draw instance i for anchor a.

Where patterns and groups are to be kept apart at once, two exchanges may be needed where one is not
allowed, so that in very small data some plans are not reached.

An exchange of x, drawn for a place of anchor a, and v, which stands there, for which x leaves a
place of anchor b, is accepted with probability min(1, q(v | b) / q(x | b)).
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from maninegs_sampling.compiling import kernel
from maninegs_sampling.distances._tiles import distance_of
from maninegs_sampling.sampling._distances import condition, draw_distance, nearest_open
from maninegs_sampling.sampling._offers import draw_at, start_anchor
from maninegs_sampling.sampling._population import is_unweighted
from maninegs_sampling.sampling._rows import find_row, skip_nearest_patterns
from maninegs_sampling.sampling._stream import random_below, random_unit, start_stream

# The log-probability of what cannot be drawn. A plan that needs it uses it as rarely as it can.
IMPOSSIBLE = -1e12

# Instances offered to each place of a cluster on every visit.
OFFERS = 24

# Partners tried for an instance that its batch may not hold, before the plan is given up.
PARTNERS = 10_000


class Plan(NamedTuple):
    """An epoch of n places: batch after batch, cluster after cluster, the anchor first."""

    order: NDArray[np.int32]  # (n,) the instance at each place
    place_of: NDArray[np.int32]  # (N,) the place of each instance; -1 for those left out
    anchor_at: NDArray[np.int32]  # (n,) the place of each place's anchor
    cluster_end: NDArray[np.int32]  # (n,) the place after its cluster
    batch_begin: NDArray[np.int32]  # (n,) the first place of its batch
    batch_end: NDArray[np.int32]  # (n,) the place after its batch
    mu_of: NDArray[np.int32]  # (n,) the number of its batch's mu, a row of the log-weights
    number_of: NDArray[np.int32]  # (n,) the number of its cluster


@kernel
def count_conflicts(plan, population, rules, place, instance):
    """Return how many others of a place's batch may not be in it together with `instance`."""
    conflicts = 0
    for other in range(plan.batch_begin[place], plan.batch_end[place]):
        if other != place:
            held = plan.order[other]
            same = rules.distinct_patterns and (
                population.pattern_of[held] == population.pattern_of[instance]
            )
            if population.group_of.shape[0] > 0:
                same = same or population.group_of[held] == population.group_of[instance]
            conflicts += same
    return conflicts


@kernel
def may_exchange(plan, population, rules, i, j):
    """Return whether two places may exchange their instances, as far as their batches go."""
    if plan.batch_begin[i] == plan.batch_begin[j]:
        return True
    if not rules.distinct_patterns and population.group_of.shape[0] == 0:
        return True
    return (
        count_conflicts(plan, population, rules, i, plan.order[j]) == 0
        and count_conflicts(plan, population, rules, j, plan.order[i]) == 0
    )


@kernel
def is_exchangeable(plan, anchor_place, j):
    """Return whether the instance at place j may come to the cluster of an anchor.

    It may not if it is left out of this epoch (j is -1), is an anchor, or is there already.
    """
    return j >= 0 and plan.anchor_at[j] != j and plan.anchor_at[j] != anchor_place


@kernel
def exchange(plan, i, j):
    """Exchange the instances of two places."""
    x, y = plan.order[i], plan.order[j]
    plan.order[i], plan.order[j] = y, x
    plan.place_of[y], plan.place_of[x] = i, j


@kernel
def resolve_conflicts(plan, population, rules, stream, seed, purpose, position):
    """Exchange instances that may not be in a batch together; return how many cannot be placed."""
    start_stream(stream, seed, purpose, position[0], position[1], position[2])
    n = plan.order.shape[0]
    unplaced = 0
    for i in range(n):
        if count_conflicts(plan, population, rules, i, plan.order[i]) == 0:
            continue
        unplaced += 1
        for _ in range(PARTNERS):
            j = random_below(stream, n)
            other_batch = plan.batch_begin[i] != plan.batch_begin[j]
            if other_batch and may_exchange(plan, population, rules, i, j):
                exchange(plan, i, j)
                unplaced -= 1
                break
    return unplaced


class Chances(NamedTuple):
    """What the free sampler would draw for each anchor, by the number of its cluster."""

    items: NDArray[np.int64]  # (K, E) instances, or patterns where these are drawn, at a distance
    logs: NDArray[np.float32]  # (K, E) log-probability of one, but for a constant of the anchor
    skip: NDArray[np.int64]  # (K, 3) distance, pattern and weight as in `Skipped`


@kernel
def find_items(buckets, population, rules, scratch, unweighted, u):
    """Set `weight_at` to what may be drawn at each distance for an anchor of pattern u."""
    weight_at = scratch.weight_at
    find_row(buckets, population.counts, unweighted, u, scratch.scan, rules.low, weight_at)
    skip_nearest_patterns(
        buckets, population, rules, unweighted, u, scratch.scan, scratch.skipped, weight_at
    )


@kernel
def find_chances(buckets, population, rules, scratch, unweighted, plan, log_weights, chances):
    """Set all chances."""
    n_distances = log_weights.shape[1]
    last = rules.low + n_distances - 1
    for place in range(plan.order.shape[0]):
        if plan.anchor_at[place] != place:
            continue
        row = plan.number_of[place]
        u = np.int64(population.pattern_of[plan.order[place]])
        find_items(buckets, population, rules, scratch, unweighted, u)
        chances.skip[row, 0] = scratch.skipped.distance[0]
        chances.skip[row, 1] = scratch.skipped.pattern[0]
        chances.skip[row, 2] = scratch.skipped.weight[0]
        chances.logs[row] = IMPOSSIBLE
        for k in range(n_distances):
            chances.items[row, k] = scratch.weight_at[rules.low + k]
        if open_row(rules, scratch, chances.items[row]) == 0:
            continue
        weights = log_weights[plan.mu_of[place]]
        if rules.nearest:  # what is drawn at an empty distance moves to the nearest one
            scratch.weights[:] = 0.0
            likeliest = -np.inf
            for k in range(n_distances):
                likeliest = max(likeliest, weights[k])
            for k in range(n_distances):
                d = nearest_open(rules, scratch.remaining, last, rules.low + k)
                scratch.weights[d - rules.low] += np.exp(weights[k] - likeliest)
        largest = -np.inf  # with a small sigma even the likeliest open distance is unlikely
        for k in range(n_distances):
            if chances.items[row, k] > 0:
                chance = np.log(scratch.weights[k]) if rules.nearest else weights[k]
                largest = max(largest, chance)
        for k in range(n_distances):
            if chances.items[row, k] > 0:
                chance = np.log(scratch.weights[k]) if rules.nearest else weights[k]
                chance -= largest + np.log(np.float64(chances.items[row, k]))
                chances.logs[row, k] = max(chance, IMPOSSIBLE)


@kernel
def open_row(rules, scratch, items):
    """Set `remaining` to an anchor's items; return the number of distances that have any."""
    open_distances = 0
    for k in range(items.shape[0]):
        scratch.remaining[rules.low + k] = items[k]
        open_distances += items[k] > 0
    return open_distances


@kernel
def is_skipped(skip, d, p):
    """Return whether pattern p, at distance d from an anchor, is one of those it skips."""
    return d < skip[0] or (d == skip[0] and p <= skip[1])


@kernel
def log_chance(words, population, rules, chances, row, anchor, instance):
    """Return the logarithm of q(instance | anchor), but for a term that depends on the anchor."""
    p = np.int64(population.pattern_of[instance])
    d = distance_of(words, np.int64(population.pattern_of[anchor]), p)
    if d < rules.low or d - rules.low >= chances.logs.shape[1]:
        return IMPOSSIBLE
    if is_skipped(chances.skip[row], d, p):
        return IMPOSSIBLE
    chance = np.float64(chances.logs[row, d - rules.low])
    return chance if rules.per_instance else chance - np.log(np.float64(population.counts[p]))


@kernel
def improve_plan(
    buckets, population, rules, scratch, sums, plan, log_weights, chances, visits, seed, purpose,
    position,
):  # fmt: skip
    """Exchange instances so that the plan comes to follow its distribution; see this file's head.

    Each cluster is visited `visits` times.
    """
    unweighted = is_unweighted(population, rules)
    words, stream = buckets.words, scratch.stream
    last = rules.low + log_weights.shape[1] - 1
    find_chances(buckets, population, rules, scratch, unweighted, plan, log_weights, chances)
    start_stream(stream, seed, purpose, position[0], position[1], position[2])
    for _ in range(visits):
        for place in range(plan.order.shape[0]):
            row = plan.number_of[place]
            if plan.anchor_at[place] != place or open_row(rules, scratch, chances.items[row]) == 0:
                continue
            u = np.int64(population.pattern_of[plan.order[place]])
            start_anchor(sums, words, u)
            total = condition(
                log_weights[plan.mu_of[place]], rules, scratch.remaining, scratch.weights,
                scratch.cumulative,
            )  # fmt: skip
            for _ in range(OFFERS):
                for i in range(place + 1, plan.cluster_end[place]):
                    d = draw_distance(rules, random_unit(stream), scratch.cumulative, total)
                    if rules.nearest:
                        d = nearest_open(rules, scratch.remaining, last, d)
                    x = draw_at(
                        buckets, population, rules, sums, stream, unweighted, u, d,
                        scratch.remaining[d], chances.skip[row],
                    )  # fmt: skip
                    j = np.int64(plan.place_of[x])
                    if not is_exchangeable(plan, place, j):
                        continue
                    other, anchor = plan.number_of[j], plan.order[plan.anchor_at[j]]
                    gain = log_chance(
                        words, population, rules, chances, other, anchor, plan.order[i]
                    ) - log_chance(words, population, rules, chances, other, anchor, x)
                    accepted = gain >= 0 or random_unit(stream) < np.exp(gain)
                    if accepted and may_exchange(plan, population, rules, i, j):
                        exchange(plan, i, j)
