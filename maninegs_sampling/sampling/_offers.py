"""Numba kernels that draw many instances for one anchor, one after the other, with replacement."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from maninegs_sampling.compiling import kernel
from maninegs_sampling.distances._tiles import TILE, distance_tile
from maninegs_sampling.sampling._population import instance_of
from maninegs_sampling.sampling._rows import SEARCH_STEP, Scan, weight_in_step
from maninegs_sampling.sampling._stream import random_below


class AnchorSums(NamedTuple):
    """An anchor's distances, and running sums of the weights at those drawn so far.

    Empty where rows are precomputed. Sums run over steps of SEARCH_STEP patterns.
    """

    distances: NDArray[Any]  # (U,) of the anchor to all patterns; the memory of a scan
    known: NDArray[np.bool_]  # (D,) whether a distance's sums are there
    running: NDArray[np.int64]  # (D, steps)


def new_anchor_sums(scan: Scan) -> AnchorSums:
    """Return working memory for one anchor, whose distances are those of `scan`."""
    n_distances = scan.bins.shape[1]
    return AnchorSums(
        distances=scan.distances,
        known=np.empty(n_distances, np.bool_),
        running=np.empty((n_distances, -(-len(scan.distances) // SEARCH_STEP)), np.int64),
    )


@kernel
def forget_sums(sums):
    """Forget the sums of the anchor before."""
    sums.known[:] = False


@kernel
def start_anchor(sums, words, u):
    """Compute the distances of pattern u if rows are not precomputed, and forget all sums."""
    forget_sums(sums)
    n = sums.distances.shape[0]
    for begin in range(0, n, TILE):
        end = min(begin + TILE, n)
        distance_tile(words, words, u, begin, end, sums.distances[begin:end])


@kernel
def sum_weights(sums, counts, unweighted, d):
    """Set the running sums of distance d."""
    distances, running = sums.distances, sums.running[d]
    sums.known[d] = True
    total = np.int64(0)
    for step in range(running.shape[0]):
        total += weight_in_step(distances, counts, unweighted, step * SEARCH_STEP, d)
        running[step] = total


@kernel
def select_summed(sums, counts, unweighted, d, target):
    """Return the pattern at distance d that holds weight number `target`, and what is left of it.

    There is more weight than `target` at that distance.
    """
    running = sums.running[d]
    begin, end = 0, running.shape[0]
    while begin < end:  # the first step whose running sum exceeds the target
        middle = (begin + end) // 2
        if running[middle] <= target:
            begin = middle + 1
        else:
            end = middle
    if begin > 0:
        target -= running[begin - 1]
    p = begin * SEARCH_STEP
    while True:
        if sums.distances[p] == d:
            weight = 1 if unweighted else counts[p]
            if target < weight:
                return p, target
            target -= weight
        p += 1


@kernel
def draw_at(buckets, population, rules, sums, stream, unweighted, u, d, weight, skip):
    """Return an instance at distance d of pattern u, by the rule of `per_instance`.

    weight: of all that may be drawn at this distance. skip: (3,) what is skipped for the anchor,
    as in `Skipped`.
    """
    target = random_below(stream, weight)
    if d == skip[0]:
        target += skip[2]
    if buckets.order.shape[0] > 0:
        p = np.int64(buckets.order[u, buckets.offsets[u, d] + target])
        if rules.per_instance:
            return p  # rows of instances
        target = np.int64(0)
    else:
        if not sums.known[d]:
            sum_weights(sums, population.counts, unweighted, d)
        p, target = select_summed(sums, population.counts, unweighted, d, target)
    return instance_of(population, rules, stream, p, target)
