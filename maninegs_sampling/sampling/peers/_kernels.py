"""Numba kernels of the peers: uniform batches, random walks, nearest neighbors.

One batch is a pure function of its arguments: it seeds its own stream and leaves nothing behind.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from maninegs_sampling.compiling import kernel
from maninegs_sampling.distances._tiles import TILE, distance_tile, shape_of
from maninegs_sampling.sampling._stream import random_below, random_unit, start_stream


class UniformScratch(NamedTuple):
    """Working memory of `draw_uniform`. An entry is taken if it equals the batch's stamp."""

    stream: NDArray[np.uint64]  # (STREAM_WORDS,)
    patterns: NDArray[np.int32]  # (U,)
    groups: NDArray[np.int32]  # (groups,), or empty: no groups
    listed: NDArray[np.int32]  # (N,)


@kernel
def draw_uniform(
    pattern_of, group_of, patience, scratch, seed, purpose, position, batches, lengths
):
    """Draw instances uniformly among those whose pattern and group are not in the batch.

    Of draws among all instances those that cannot be taken are repeated. After `patience` such
    draws, the instances that can be taken are listed, and draws from the list that cannot be taken
    leave it. Both ways are exact, so the number only sets the speed.

    group_of: (N,), or empty: no groups. batches: (M, batch size), filled from the left; batch b is
    from the stream at position + (b, 0, 0). lengths: (M,).
    """
    stream, listed = scratch.stream, scratch.listed
    grouped = group_of.shape[0] > 0
    for b in range(batches.shape[0]):
        stamp = b + 1
        start_stream(stream, seed, purpose, position[0] + np.uint64(b), position[1], position[2])
        size, refused = 0, 0
        from_list, left = False, pattern_of.shape[0]
        while size < batches.shape[1] and left > 0:
            place = random_below(stream, left)
            instance = np.int64(listed[place]) if from_list else place
            taken = scratch.patterns[pattern_of[instance]] == stamp
            if grouped:
                taken = taken or scratch.groups[group_of[instance]] == stamp
            if not taken:
                batches[b, size] = instance
                size += 1
                scratch.patterns[pattern_of[instance]] = stamp
                if grouped:
                    scratch.groups[group_of[instance]] = stamp
            elif from_list:
                left -= 1
                listed[place] = listed[left]
            elif refused < patience:
                refused += 1
            else:
                from_list, left = True, 0
                for i in range(pattern_of.shape[0]):
                    free = scratch.patterns[pattern_of[i]] != stamp
                    if grouped:
                        free = free and scratch.groups[group_of[i]] != stamp
                    if free:
                        listed[left] = i
                        left += 1
        lengths[b] = size


class Graph(NamedTuple):
    """Whose neighbors a walk visits: nodes, which are patterns or single instances."""

    neighbors: NDArray[np.int32]  # (nodes, K) nodes, the first degrees[u] in use
    degrees: NDArray[np.int32]  # (nodes,)
    node_of: NDArray[np.int32]  # (N,) the node of each instance
    members: NDArray[np.int32]  # (N,) instances, grouped by node
    starts: NDArray[np.int32]  # (nodes + 1,) the first place of each node in `members`


@kernel
def walk(graph, anchors, restart_probability, patience, stream, taken, seed, purpose, position,
         batches):  # fmt: skip
    """Fill each batch with an instance of each node that a random walk with restart visits.

    The walk begins at the node of the batch's anchor. After `patience` steps without a node that is
    new to the batch it begins again, at a node drawn uniformly among those that are not in it.

    anchors: (M,). stream: (STREAM_WORDS,). taken: (nodes,) zeros. batches: (M, batch size), not
    larger than the number of nodes; batch b is from the stream at position + (b, 0, 0).
    """
    for b in range(batches.shape[0]):
        stamp = b + 1
        start_stream(stream, seed, purpose, position[0] + np.uint64(b), position[1], position[2])
        batches[b, 0] = anchors[b]
        start = np.int64(graph.node_of[anchors[b]])
        taken[start] = stamp
        here, size, idle = start, 1, 0
        while size < batches.shape[1]:
            degree = graph.degrees[here]
            if degree == 0 or random_unit(stream) < restart_probability:
                here = start
            else:
                here = np.int64(graph.neighbors[here, random_below(stream, degree)])
            idle += 1
            if taken[here] == stamp and idle == patience:
                while taken[here] == stamp:
                    here = random_below(stream, taken.shape[0])
                start = here
            if taken[here] != stamp:
                first = graph.starts[here]
                place = random_below(stream, graph.starts[here + 1] - first)
                batches[b, size] = graph.members[first + place]
                taken[here] = stamp
                size += 1
                idle = 0


@kernel
def nearest_rows(words, begin, end, skip, distances, place, nearest):
    """Write the nearest other patterns of each pattern begin..end, by distance and then number.

    distances: (U,) scratch. place: (B + 1,) int64 scratch. nearest: (U, K), the ranks from `skip`
    on.
    """
    patterns = shape_of(words)[1]
    last = skip + nearest.shape[1]
    for u in range(begin, end):
        for tile in range(0, patterns, TILE):
            tile_end = min(patterns, tile + TILE)
            distance_tile(words, words, u, tile, tile_end, distances[tile:tile_end])
        place[:] = 0
        for p in range(patterns):
            place[distances[p]] += 1
        place[0] = 0  # at distance 0 there is the pattern itself only
        nearer = 0
        for d in range(place.shape[0]):
            here = place[d]
            place[d] = nearer
            nearer += here
        for p in range(patterns):
            rank = place[distances[p]]
            if rank < last and p != u:
                if rank >= skip:
                    nearest[u, rank - skip] = p
                place[distances[p]] += 1
