"""Numba kernels that know which instances a batch may still take."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from maninegs_sampling.compiling import kernel
from maninegs_sampling.sampling._stream import random_below


class Population(NamedTuple):
    """Which instances there are, by pattern and by group."""

    pattern_of: NDArray[np.int32]  # (N,)
    members: NDArray[np.int32]  # (N,) instances, grouped by pattern, ascending within one
    starts: NDArray[np.int32]  # (U,) first place of each pattern in `members`
    counts: NDArray[np.int32]  # (U,)
    group_of: NDArray[np.int32]  # (N,), or empty: no groups
    group_of_member: NDArray[np.int32]  # the same in the order of `members`


class Rules(NamedTuple):
    """The sampler's options, as flags."""

    low: int
    nearest: bool  # an empty distance moves to the nearest one, else it is conditioned away
    per_instance: bool  # uniform among a distance's instances, else among its patterns
    distinct_patterns: bool  # a pattern is used once a batch, else an instance is
    replacement: bool  # what is drawn again is left out, else it is never drawn again
    n_clusters: int  # anchors of a batch, each with as many negatives
    skip_nearest: int  # patterns nearest to an anchor that are not drawn for it


class Taken(NamedTuple):
    """What a batch holds: two sets of numbers, in hash tables that are never cleared.

    A slot holds stamp * 2**32 + number. It belongs to the batch if the stamp is the batch's, a
    number of its own. Small numbers have a slot each; where others have it, the next free one.
    """

    keys: NDArray[np.int64]  # patterns where they must be distinct, else instances
    groups: NDArray[np.int64]


def new_taken(n_keys: int, n_groups: int, batch_size: int) -> Taken:
    """Return empty sets, with slots for all numbers or for four times as many as a batch holds."""

    def slots(n: int) -> NDArray[np.int64]:
        return np.zeros(1 << (max(1, min(n, 4 * batch_size)) - 1).bit_length(), np.int64)

    return Taken(keys=slots(n_keys), groups=slots(n_groups))


@kernel
def find_slot(slots, stamp, number):
    """Return the slot that holds the number, or the free one where it belongs."""
    last = slots.shape[0] - 1
    place = number & last
    while slots[place] >> 32 == stamp and slots[place] & 0xFFFFFFFF != number:
        place = (place + 1) & last
    return place


@kernel
def is_marked(slots, stamp, number):
    """Return whether the batch's set holds the number."""
    return slots[find_slot(slots, stamp, number)] >> 32 == stamp


@kernel
def mark(slots, stamp, number):
    """Put the number into the batch's set."""
    slots[find_slot(slots, stamp, number)] = (stamp << 32) + number


@kernel
def is_unweighted(population, rules):
    """Return whether every pattern weighs 1, and not as much as it has instances."""
    return not rules.per_instance or population.members.shape[0] == population.counts.shape[0]


@kernel
def take(population, rules, taken, stamp, instance):
    """Mark the instance, or its pattern, and its group as taken."""
    key = population.pattern_of[instance] if rules.distinct_patterns else instance
    mark(taken.keys, stamp, np.int64(key))
    if population.group_of.shape[0] > 0:
        mark(taken.groups, stamp, np.int64(population.group_of[instance]))


@kernel
def is_eligible(population, rules, taken, stamp, instance):
    """Return whether neither the instance (or its pattern) nor its group is in the batch."""
    key = population.pattern_of[instance] if rules.distinct_patterns else instance
    if is_marked(taken.keys, stamp, np.int64(key)):
        return False
    if population.group_of.shape[0] == 0:
        return True
    return not is_marked(taken.groups, stamp, np.int64(population.group_of[instance]))


@kernel
def count_eligible(population, rules, taken, stamp, p):
    """Return how many instances of pattern p are eligible."""
    eligible = np.int64(0)
    if rules.distinct_patterns:
        if is_marked(taken.keys, stamp, np.int64(p)):
            return eligible
        if population.group_of.shape[0] == 0:
            return np.int64(population.counts[p])
        for place in range(population.starts[p], population.starts[p] + population.counts[p]):
            group = np.int64(population.group_of_member[place])
            eligible += not is_marked(taken.groups, stamp, group)
        return eligible
    for place in range(population.starts[p], population.starts[p] + population.counts[p]):
        if is_eligible(population, rules, taken, stamp, population.members[place]):
            eligible += 1
    return eligible


@kernel
def nth_eligible(population, rules, taken, stamp, p, n):
    """Return the n-th eligible instance of pattern p, which has more than n."""
    if rules.distinct_patterns and population.group_of.shape[0] == 0:
        return np.int64(population.members[population.starts[p] + n])
    for place in range(population.starts[p], population.starts[p] + population.counts[p]):
        instance = population.members[place]
        if is_eligible(population, rules, taken, stamp, instance):
            if n == 0:
                return np.int64(instance)
            n -= 1
    return np.int64(-1)


@kernel
def remaining_weight(population, rules, taken, stamp, p):
    """Return the weight that pattern p has left."""
    eligible = count_eligible(population, rules, taken, stamp, p)
    return eligible if rules.per_instance else min(eligible, 1)


@kernel
def instance_of(population, rules, stream, p, n):
    """Return instance number n of pattern p, or a random one where patterns are drawn."""
    if not rules.per_instance and population.counts[p] > 1:
        n = random_below(stream, population.counts[p])
    return np.int64(population.members[population.starts[p] + n])


# Guesses at an eligible anchor before all instances are looked through. Both ways are exact.
ANCHOR_GUESSES = 64


@kernel
def draw_anchor(population, rules, taken, stamp, stream):
    """Return an eligible instance, all equally likely; -1 if there is none."""
    n = population.pattern_of.shape[0]
    for _ in range(ANCHOR_GUESSES):
        instance = random_below(stream, n)
        if is_eligible(population, rules, taken, stamp, instance):
            return instance
    eligible = np.int64(0)
    for instance in range(n):
        eligible += is_eligible(population, rules, taken, stamp, instance)
    if eligible > 0:
        target = random_below(stream, eligible)
        for instance in range(n):
            if is_eligible(population, rules, taken, stamp, instance):
                if target == 0:
                    return np.int64(instance)
                target -= 1
    return np.int64(-1)
