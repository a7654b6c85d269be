"""Numba kernels that find an anchor's patterns by distance: in a precomputed row, or by scanning.

The weight of a pattern is the number of its instances, or 1 where `unweighted`. `weight_at[d]` is
the weight of all patterns at distance d.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from maninegs_sampling.compiling import kernel
from maninegs_sampling.distances._tiles import TILE, distance_tile, shape_of

# Patterns skipped at a time in a search: counting matches vectorizes, stopping at one does not.
SEARCH_STEP = 64

# Longer rows are mostly not read; the figure is half a second-level cache.
TOUCHED_BYTES = 2**19


class Skipped(NamedTuple):
    """The patterns nearest to an anchor that are not drawn for it: those below a place in its row.

    A row is sorted by distance and then by pattern, so what is skipped comes first.
    """

    distance: NDArray[np.int64]  # (1,) all nearer patterns are skipped; -1 if nothing is
    pattern: NDArray[np.int64]  # (1,) at this distance, those up to this one are
    weight: NDArray[np.int64]  # (1,) the weight of these


def new_skipped() -> Skipped:
    """Return working memory for one anchor."""
    return Skipped(np.full(1, -1), np.full(1, -1), np.zeros(1, np.int64))


class Scan(NamedTuple):
    """An anchor's distances to all patterns; empty where rows are precomputed."""

    distances: NDArray[Any]  # (U,)
    block_weight: NDArray[np.int64]  # (blocks of TILE patterns, D), weight at each distance
    bins: NDArray[np.int64]  # (4, D)


def new_scan(n_scanned: int, last_step: int, dtype: np.dtype[Any]) -> Scan:
    """Return working memory for one anchor; 0 patterns if rows are not scanned."""
    return Scan(
        distances=np.empty(n_scanned, dtype),
        block_weight=np.empty((-(-n_scanned // TILE), last_step + 1), np.int64),
        bins=np.empty((4, last_step + 1), np.int64),
    )


@kernel
def scan_row(words, counts, unweighted, u, scan, weight_at):
    """Compute pattern u's distances and add the weight at each to `weight_at`, TILE by TILE."""
    patterns = shape_of(words)[1]
    size = scan.block_weight.shape[1]
    bins = scan.bins
    bins[:] = 0
    for block in range(scan.block_weight.shape[0]):
        begin = block * TILE
        end = min(begin + TILE, patterns)
        tile = scan.distances[begin:end]
        distance_tile(words, words, u, begin, end, tile)
        # Four rows of bins hide the latency of incrementing one bin twice in a row.
        quarter = (end - begin) // 4
        if unweighted:
            for j in range(quarter):
                k = 4 * j
                bins[0, tile[k]] += 1
                bins[1, tile[k + 1]] += 1
                bins[2, tile[k + 2]] += 1
                bins[3, tile[k + 3]] += 1
        else:
            weights = counts[begin:end]
            for j in range(quarter):
                k = 4 * j
                bins[0, tile[k]] += weights[k]
                bins[1, tile[k + 1]] += weights[k + 1]
                bins[2, tile[k + 2]] += weights[k + 2]
                bins[3, tile[k + 3]] += weights[k + 3]
        for k in range(4 * quarter, end - begin):
            bins[0, tile[k]] += 1 if unweighted else counts[begin + k]
        for d in range(size):
            weight = bins[0, d] + bins[1, d] + bins[2, d] + bins[3, d]
            scan.block_weight[block, d] = weight
            weight_at[d] += weight
        bins[:] = 0


@kernel
def weight_in_step(values, counts, unweighted, begin, wanted):
    """Return the weight of the patterns begin .. begin + SEARCH_STEP - 1 whose value is wanted."""
    inside = np.int64(0)
    if begin + SEARCH_STEP <= values.shape[0]:
        # A loop of fixed length over a slice vectorizes; it is eight times as fast.
        part, weights = values[begin : begin + SEARCH_STEP], counts[begin : begin + SEARCH_STEP]
        if unweighted:
            for k in range(SEARCH_STEP):
                inside += part[k] == wanted
        else:
            for k in range(SEARCH_STEP):
                inside += weights[k] if part[k] == wanted else 0
        return inside
    for p in range(begin, values.shape[0]):
        if values[p] == wanted:
            inside += 1 if unweighted else counts[p]
    return inside


@kernel
def select_scanned(scan, counts, unweighted, d, target):
    """Return the pattern at distance d that holds weight number `target`, and what is left of it.

    The scan holds more weight than `target` at that distance.
    """
    distances = scan.distances
    block = 0
    while target >= scan.block_weight[block, d]:
        target -= scan.block_weight[block, d]
        block += 1
    p = block * TILE
    while True:
        inside = weight_in_step(distances, counts, unweighted, p, d)
        if target < inside:
            break
        target -= inside
        p += SEARCH_STEP
    while True:
        if distances[p] == d:
            weight = 1 if unweighted else counts[p]
            if target < weight:
                return p, target
            target -= weight
        p += 1


@kernel
def touch_row(order, u):
    """Read row u of `order` once in sequence, into the cache; random reads would each wait."""
    total = np.int64(0)
    if order.shape[1] * order.itemsize <= TOUCHED_BYTES:
        for k in range(0, order.shape[1], 32):
            total += order[u, k]
    return total


@kernel
def skip_in_row(buckets, population, rules, unweighted, u, skipped):
    """Find what is skipped of the precomputed row u."""
    counts = population.counts
    place, end = np.int64(buckets.offsets[u, 1]), buckets.order.shape[1]
    left = rules.skip_nearest
    d = 1
    while left > 0 and place < end:
        while place >= buckets.offsets[u, d + 1]:
            d += 1
            skipped.weight[0] = 0
        p = np.int64(buckets.order[u, place])
        if rules.per_instance:  # rows of instances
            p = np.int64(population.pattern_of[p])
        place += counts[p] if rules.per_instance else 1
        skipped.distance[0] = d
        skipped.pattern[0] = p
        skipped.weight[0] += 1 if unweighted else counts[p]
        left -= 1


@kernel
def skip_scanned(scan, counts, unweighted, skip_nearest, skipped):
    """Find what is skipped of the scanned distances."""
    distances = scan.distances
    left = skip_nearest
    for d in range(1, scan.block_weight.shape[1]):
        here = 0
        for p in range(distances.shape[0]):
            here += distances[p] == d
        if here < left:
            left -= here
            continue
        p = 0
        while left > 0:
            if distances[p] == d:
                skipped.distance[0] = d
                skipped.pattern[0] = p
                skipped.weight[0] += 1 if unweighted else counts[p]
                left -= 1
            p += 1
        return
    skipped.distance[0] = scan.block_weight.shape[1]  # more than there are


@kernel
def skip_nearest_patterns(buckets, population, rules, unweighted, u, scan, skipped, weight_at):
    """Find what is skipped for an anchor of pattern u, and take it out of `weight_at`."""
    skipped.distance[0] = -1
    if rules.skip_nearest == 0:
        return
    skipped.weight[0] = 0
    if buckets.order.shape[0] > 0:
        skip_in_row(buckets, population, rules, unweighted, u, skipped)
    else:
        skip_scanned(scan, population.counts, unweighted, rules.skip_nearest, skipped)
    for d in range(rules.low, min(skipped.distance[0], weight_at.shape[0])):
        weight_at[d] = 0
    if rules.low <= skipped.distance[0] < weight_at.shape[0]:
        weight_at[skipped.distance[0]] -= skipped.weight[0]


@kernel
def find_row(buckets, counts, unweighted, u, scan, low, weight_at):
    """Set `weight_at` from distance `low` on; entry 0 is not used."""
    weight_at[:] = 0
    if buckets.order.shape[0] > 0:
        for d in range(low, weight_at.shape[0]):
            weight_at[d] = buckets.offsets[u, d + 1] - buckets.offsets[u, d]
        weight_at[0] = touch_row(buckets.order, u)  # kept, or the compiler would leave it out
    else:
        scan_row(buckets.words, counts, unweighted, u, scan, weight_at)
