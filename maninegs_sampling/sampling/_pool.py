"""Numba kernels of a batch's pool: instances drawn uniformly, from which distances are served.

An anchor's instances at a distance come out of the pool in the order in which they were drawn, so
they are a uniform sample of all of its instances there. With `draw="pattern"` patterns are drawn in
place of instances.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from maninegs_sampling.compiling import kernel
from maninegs_sampling.distances._tiles import popcount
from maninegs_sampling.sampling._population import (
    count_eligible,
    is_eligible,
    nth_eligible,
)
from maninegs_sampling.sampling._stream import random_below


class Pool(NamedTuple):
    """What was drawn for one anchor, sorted by distance."""

    beyond: NDArray[np.int64]  # (1,) larger distances are served from here; the largest: none
    begin: NDArray[np.int64]  # (D,) first entry of each distance that was not taken yet
    end: NDArray[np.int64]  # (D,) the place after the last
    entries: NDArray[np.int32]  # (P,) instances, or patterns where these are drawn, by distance
    drawn: NDArray[np.int32]  # (P,) the same in the order in which they were drawn
    distances: NDArray[Any]  # (P,) of these


def new_pool(size: int, last_step: int) -> Pool:
    """Return working memory for a pool of so many entries."""
    return Pool(
        beyond=np.full(1, last_step),
        begin=np.zeros(last_step + 1, np.int64),
        end=np.zeros(last_step + 1, np.int64),
        entries=np.empty(size, np.int32),
        drawn=np.empty(size, np.int32),
        distances=np.empty(size, np.uint16),
    )


@kernel
def draw_entries(words, population, rules, stream, u, pool):
    """Draw the entries, and set their distances from pattern u.

    One loop after the other, each with reads that do not wait for each other.
    """
    drawn, patterns, distances = pool.drawn, pool.entries, pool.distances
    n = population.pattern_of.shape[0] if rules.per_instance else words.shape[1]
    for k in range(drawn.shape[0]):
        drawn[k] = random_below(stream, n)
    for k in range(drawn.shape[0]):
        patterns[k] = population.pattern_of[drawn[k]] if rules.per_instance else drawn[k]
    word, others = words[0, u], words[0]
    for k in range(drawn.shape[0]):
        distances[k] = popcount(others[patterns[k]] ^ word)
    for w in range(1, words.shape[0]):
        word, others = words[w, u], words[w]
        for k in range(drawn.shape[0]):
            distances[k] += popcount(others[patterns[k]] ^ word)


@kernel
def fill_pool(words, population, rules, stream, u, pool):
    """Draw the pool, and sort its entries beyond distance `pool.beyond` from pattern u."""
    draw_entries(words, population, rules, stream, u, pool)
    begin, end = pool.begin, pool.end
    end[:] = 0
    for k in range(pool.drawn.shape[0]):
        end[pool.distances[k]] += 1
    used = np.int64(0)
    for d in range(end.shape[0]):
        number = end[d] if d > pool.beyond[0] else 0
        begin[d] = end[d] = used
        used += number
    for k in range(pool.drawn.shape[0]):
        d = np.int64(pool.distances[k])
        if d > pool.beyond[0]:
            pool.entries[end[d]] = pool.drawn[k]
            end[d] += 1


@kernel
def next_pooled(population, rules, taken, stamp, pool, stream, remaining, d):
    """Return the next eligible instance at distance d; -1 if the pool has no more there."""
    while pool.begin[d] < pool.end[d]:
        entry = np.int64(pool.entries[pool.begin[d]])
        pool.begin[d] += 1
        remaining[d] -= 1
        if rules.per_instance:
            if is_eligible(population, rules, taken, stamp, entry):
                return entry
        else:
            eligible = count_eligible(population, rules, taken, stamp, entry)
            if eligible > 0:
                n = random_below(stream, eligible)
                return nth_eligible(population, rules, taken, stamp, entry, n)
    return np.int64(-1)
