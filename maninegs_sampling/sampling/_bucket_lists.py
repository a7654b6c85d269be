"""Numba kernels that write out the patterns left at a distance, and draw from such lists.

A distance is listed when little of its bucket is left: until then an instance is guessed.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from maninegs_sampling.compiling import kernel
from maninegs_sampling.distances._tiles import TILE
from maninegs_sampling.sampling._distances import LANES
from maninegs_sampling.sampling._population import (
    count_eligible,
    is_marked,
    nth_eligible,
    remaining_weight,
)
from maninegs_sampling.sampling._rows import SEARCH_STEP, weight_in_step
from maninegs_sampling.sampling._stream import random_below


class BucketLists(NamedTuple):
    """The lists of one batch, one after the other in `patterns` and `running`.

    A list holds the patterns that had any weight left when it was written, with the running sums
    of that weight, padded to whole LANES. Weights are corrected when a pattern is drawn; in
    between they may be too large, where a draw at another distance took a pattern's groups.
    """

    begin: NDArray[np.int64]  # (D,) first place of a distance's list, -1 where there is none
    end: NDArray[np.int64]  # (D,) place after its last pattern
    used: NDArray[np.int64]  # (1,) places that lists take up, with their padding
    patterns: NDArray[np.int32]  # (U + LANES * D,)
    running: NDArray[np.int64]  # (U + LANES * D,)


def new_lists(n_patterns: int, n_distances: int) -> BucketLists:
    """Return working memory for the lists of one batch."""
    places = n_patterns + LANES * n_distances
    return BucketLists(
        begin=np.empty(n_distances, np.int64),
        end=np.empty(n_distances, np.int64),
        used=np.zeros(1, np.int64),
        patterns=np.empty(places, np.int32),
        running=np.empty(places, np.int64),
    )


@kernel
def clear_lists(lists):
    """Forget all lists."""
    lists.begin[:] = -1
    lists.used[0] = 0


@kernel
def append_pattern(population, rules, taken, stamp, lists, p, end, total):
    """Append pattern p to a list if it has any weight left; return the list's end and total."""
    weight = remaining_weight(population, rules, taken, stamp, p)
    if weight > 0:
        total += weight
        lists.patterns[end] = p
        lists.running[end] = total
        end += 1
    return end, total


@kernel
def list_row(buckets, population, rules, taken, stamp, lists, skipped, u, d, begin):
    """List what is left at distance d from the precomputed row u; return the end and the total."""
    grouped = population.group_of.shape[0] > 0
    end, total = begin, np.int64(0)
    place, last = np.int64(buckets.offsets[u, d]), np.int64(buckets.offsets[u, d + 1])
    if d == skipped.distance[0]:
        place += skipped.weight[0]
    while place < last:
        p = np.int64(buckets.order[u, place])
        if rules.per_instance:  # rows of instances, those of a pattern side by side
            # One look dismisses each instance of a taken group, which may hold nearly all.
            if grouped and is_marked(taken.groups, stamp, np.int64(population.group_of[p])):
                place += 1
                continue
            p = np.int64(population.pattern_of[p])
            if grouped:  # some of the pattern's instances may have been dismissed
                while place + 1 < last and population.pattern_of[buckets.order[u, place + 1]] == p:
                    place += 1
            else:
                place += population.counts[p] - 1
        place += 1
        end, total = append_pattern(population, rules, taken, stamp, lists, p, end, total)
    return end, total


@kernel
def list_scanned(population, rules, taken, stamp, lists, scan, skipped, d, begin):
    """List what is left at distance d of the scanned distances; return the end and the total."""
    distances = scan.distances
    end, total = begin, np.int64(0)
    after = skipped.pattern[0] if d == skipped.distance[0] else -1
    for block in range(scan.block_weight.shape[0]):
        if scan.block_weight[block, d] == 0:
            continue
        block_end = min((block + 1) * TILE, distances.shape[0])
        for step in range(block * TILE, block_end, SEARCH_STEP):
            if weight_in_step(distances, population.counts, True, step, d) > 0:
                for p in range(step, min(step + SEARCH_STEP, block_end)):
                    if distances[p] == d and p > after:
                        end, total = append_pattern(
                            population, rules, taken, stamp, lists, p, end, total
                        )
    return end, total


@kernel
def list_bucket(
    buckets, population, rules, taken, stamp, lists, scan, skipped, remaining, u, d
):  # fmt: skip
    """List what is left at distance d, and set `remaining[d]` to its exact weight."""
    begin = lists.used[0]
    if buckets.order.shape[0] > 0:
        end, total = list_row(buckets, population, rules, taken, stamp, lists, skipped, u, d, begin)
    else:
        end, total = list_scanned(population, rules, taken, stamp, lists, scan, skipped, d, begin)
    lists.begin[d] = begin
    lists.end[d] = end
    remaining[d] = total
    while (end - begin) % LANES != 0:
        lists.running[end] = np.iinfo(np.int64).max
        end += 1
    lists.used[0] = end


@kernel
def find_listed(lists, d, target):
    """Return the place that holds weight number `target` at distance d, and what is left of it."""
    begin, running = lists.begin[d], lists.running
    place = begin
    for lane in range(begin, lists.end[d], LANES):  # cheaper than a search that branches
        for k in range(lane, lane + LANES):
            place += running[k] <= target
    return place, target - (running[place - 1] if place > begin else 0)


@kernel
def draw_listed(population, rules, taken, stamp, lists, stream, remaining, d):
    """Return an eligible instance at the listed distance d, and its place; -1 if there is none."""
    while remaining[d] > 0:
        place, n = find_listed(lists, d, random_below(stream, remaining[d]))
        p = np.int64(lists.patterns[place])
        eligible = count_eligible(population, rules, taken, stamp, p)
        if not rules.per_instance and eligible > 1:
            n = random_below(stream, eligible)
        if n < eligible:
            return nth_eligible(population, rules, taken, stamp, p, n), place
        # Other distances' draws took p's groups: correct its weight and draw again.
        correct_weight(population, rules, taken, stamp, lists, remaining, d, place)
    return np.int64(-1), lists.begin[d]


@kernel
def correct_weight(population, rules, taken, stamp, lists, remaining, d, place):
    """Bring the listed weight of the pattern at `place` up to date."""
    running = lists.running
    begin = lists.begin[d]
    before = running[place - 1] if place > begin else 0
    p = np.int64(lists.patterns[place])
    weight = remaining_weight(population, rules, taken, stamp, p)
    change = running[place] - before - weight
    for lane in range(place - (place - begin) % LANES, lists.end[d], LANES):
        for k in range(lane, lane + LANES):
            running[k] -= change if k >= place else 0
    remaining[d] -= change
