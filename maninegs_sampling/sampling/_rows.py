"""Numba kernels that find an anchor's patterns by distance: in a precomputed row, or by scanning.

The weight of a pattern is the number of its instances, or 1 where `unweighted`. `weight_at[d]` is
the weight of all patterns at distance d.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from maninegs_sampling.distances._kernels import TILE, distance_tile, kernel
from maninegs_sampling.distances.hamming import distance_dtype

# Patterns skipped at a time in a search: counting matches vectorizes, stopping at one does not.
SEARCH_STEP = 64

# Longer rows are mostly not read; the figure is half a second-level cache.
TOUCHED_BYTES = 2**19


class Scan(NamedTuple):
    """An anchor's distances to all patterns; empty where rows are precomputed."""

    distances: NDArray[Any]  # (U,)
    block_weight: NDArray[np.int64]  # (blocks of TILE patterns, B + 1), weight at each distance
    bins: NDArray[np.int64]  # (4, B + 1)


def new_scan(n_patterns: int, n_bits: int, *, scanned: bool) -> Scan:
    """Return working memory for one anchor; without rows if nothing is to be scanned."""
    blocks = -(-n_patterns // TILE) if scanned else 0
    return Scan(
        distances=np.empty(n_patterns if scanned else 0, distance_dtype(n_bits)),
        block_weight=np.empty((blocks, n_bits + 1), np.int64),
        bins=np.empty((4, n_bits + 1), np.int64),
    )


@kernel
def scan_row(words, counts, unweighted, u, scan, weight_at):
    """Compute pattern u's distances and add the weight at each to `weight_at`, TILE by TILE."""
    patterns = words.shape[1]
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
    end = min(p + TILE, distances.shape[0])
    while True:
        step_end = min(p + SEARCH_STEP, end)
        inside = 0
        if unweighted:
            for k in range(p, step_end):
                inside += distances[k] == d
        else:
            for k in range(p, step_end):
                inside += counts[k] if distances[k] == d else 0
        if target < inside:
            break
        target -= inside
        p = step_end
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
def find_row(buckets, counts, unweighted, u, scan, low, weight_at):
    """Set `weight_at` from distance `low` on; entry 0 is not used."""
    weight_at[:] = 0
    if buckets.order.shape[0] > 0:
        for d in range(low, weight_at.shape[0]):
            weight_at[d] = buckets.offsets[u, d + 1] - buckets.offsets[u, d]
        weight_at[0] = touch_row(buckets.order, u)  # kept, or the compiler would leave it out
    else:
        scan_row(buckets.words, counts, unweighted, u, scan, weight_at)
