"""Numba kernels that find the patterns near to an anchor without a look at all patterns.

Multi-index hashing (Norouzi et al. 2012). The bits are cut into m blocks, and for each block the
patterns are sorted by its value. A pattern within distance r of the anchor differs from it, in one
block j at least, by at most (r - j) // m bits: if each block j differed by more, all together
would differ by more than r. A *ring* e of a block are its values that differ from the anchor's by
e bits. Searching rings 0 to (r - j) // m of each block j finds all patterns up to distance r.

Of the rings beyond, some values are drawn at random. They find a sample of the patterns up to
distance `reach`, in which all patterns at one distance are expected equally often.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from maninegs_sampling.compiling import kernel
from maninegs_sampling.distances._kernels import popcount
from maninegs_sampling.sampling._bucket_lists import BucketLists
from maninegs_sampling.sampling._distances import LANES
from maninegs_sampling.sampling._stream import random_below, random_unit

# Buckets whose first rows are asked for before the first of them is read: the waits overlap.
AHEAD = 64


class NearTables(NamedTuple):
    """The patterns, sorted by the value of each block.

    Block 0 holds the highest bits, by which the patterns of a store are sorted already.
    """

    words: NDArray[np.uint64]  # (U, W)
    copies: NDArray[np.uint64]  # (m - 1, U, W) the same in the order of blocks 1, 2, ...
    patterns: NDArray[np.int32]  # (m - 1, U) the pattern of each row of the copies
    offsets: NDArray[np.uint32]  # (m, 2 ** b + 1) the first row of each value, b the most bits
    first_bit: NDArray[np.int64]  # (m,) of each block
    n_bits: NDArray[np.int64]  # (m,) of each block


class Rings(NamedTuple):
    """What is searched. `rates` and `least` concern distances beyond the radius."""

    radius: int  # all patterns up to this distance are found
    reach: int  # a sample of those up to this distance is found; not less than the radius
    masks: NDArray[np.uint32]  # numbers with 0, 1, 2, ... bits set, ascending where equally many
    begin: NDArray[np.int64]  # (E + 1,) the first mask with e bits
    sizes: NDArray[np.int64]  # (m, E) values in ring e of each block
    samples: NDArray[np.int64]  # (m, E) values drawn of each ring; 0 where all are searched, or none
    rates: NDArray[np.float64]  # (m, b + 1) how often a pattern in ring e of a block is found by it
    least: NDArray[np.float64]  # (reach + 1,) the least sum of rates of patterns at a distance


class Found(NamedTuple):
    """Patterns found for an anchor, in any order; beyond the radius some of them repeatedly."""

    number: NDArray[np.int64]  # (1,) of them; above the room there is if not all of them are there
    patterns: NDArray[np.int32]  # (room,)
    distances: NDArray[np.uint16]  # (room,)
    begins: NDArray[np.int64]  # (AHEAD,) the buckets searched next
    ends: NDArray[np.int64]  # (AHEAD,)
    touched: NDArray[np.uint64]  # (1,) keeps the compiler from leaving out reads ahead


def new_found(room: int) -> Found:
    """Return working memory for so many patterns."""
    return Found(
        number=np.zeros(1, np.int64),
        patterns=np.empty(room, np.int32),
        distances=np.empty(room, np.uint16),
        begins=np.empty(AHEAD, np.int64),
        ends=np.empty(AHEAD, np.int64),
        touched=np.zeros(1, np.uint64),
    )


@kernel
def block_value(words, i, first_bit, n_bits):
    """Return the bits of row i from `first_bit` on, at most 63 of them."""
    shift = np.uint64(first_bit & 63)
    value = words[i, first_bit >> 6] >> shift
    if (first_bit & 63) + n_bits > 64:
        value |= words[i, (first_bit >> 6) + 1] << (np.uint64(64) - shift)
    return value & ((np.uint64(1) << np.uint64(n_bits)) - np.uint64(1))


@kernel
def count_values(words, first_bit, n_bits, offsets):
    """Set `offsets` to the first place of each value of a block, were the rows sorted by it."""
    offsets[:] = 0
    for i in range(words.shape[0]):
        offsets[np.int64(block_value(words, i, first_bit, n_bits)) + 1] += 1
    for value in range(1, offsets.shape[0]):
        offsets[value] += offsets[value - 1]


@kernel
def sort_by_value(words, first_bit, n_bits, offsets, place, copy, patterns):
    """Write the rows to `copy` and their numbers to `patterns`, sorted by a block's value.

    place: as long as `offsets`, working memory.
    """
    place[:] = offsets
    for i in range(words.shape[0]):
        value = np.int64(block_value(words, i, first_bit, n_bits))
        k = np.int64(place[value])
        place[value] += 1
        patterns[k] = i
        for w in range(words.shape[1]):
            copy[k, w] = words[i, w]


@kernel
def block_distance(tables, rows, i, u, j):
    """Return by how many bits of block j row i differs from pattern u."""
    first_bit, n_bits = tables.first_bit[j], tables.n_bits[j]
    return np.int64(
        popcount(
            block_value(rows, i, first_bit, n_bits)
            ^ block_value(tables.words, u, first_bit, n_bits)
        )
    )


@kernel
def is_found_before(tables, rows, i, u, j, radius):
    """Return whether the full rings of a block before block j hold row i."""
    m = tables.n_bits.shape[0]
    for other in range(min(j, radius + 1)):
        if block_distance(tables, rows, i, u, other) <= (radius - other) // m:
            return True
    return False


@kernel
def is_kept(tables, rings, stream, rows, i, u, d):
    """Return whether a pattern found beyond the radius stays in the sample.

    Some patterns are found more often than others at their distance. They stay as much less often.
    """
    rate = 0.0
    for j in range(tables.n_bits.shape[0]):
        rate += rings.rates[j, block_distance(tables, rows, i, u, j)]
    return random_unit(stream) * rate < rings.least[d]


@kernel
def search_bucket(tables, rings, found, stream, u, j, begin, end, sampled, radius, reach):
    """Note what is within reach of pattern u among rows begin .. end of block j."""
    rows = tables.words if j == 0 else tables.copies[j - 1]
    word = tables.words[u, 0]
    for i in range(begin, end):
        d = np.int64(popcount(rows[i, 0] ^ word))
        for w in range(1, rows.shape[1]):
            d += np.int64(popcount(rows[i, w] ^ tables.words[u, w]))
        if d > reach or d == 0:
            continue
        if d <= radius:
            if sampled or is_found_before(tables, rows, i, u, j, radius):
                continue
        elif not is_kept(tables, rings, stream, rows, i, u, d):
            continue
        n = found.number[0]
        if n < found.patterns.shape[0]:
            found.patterns[n] = i if j == 0 else tables.patterns[j - 1, i]
            found.distances[n] = d
        found.number[0] = n + 1


@kernel
def search_ring(tables, rings, found, stream, u, j, e, sampled, radius, reach):
    """Search ring e of block j, or `rings.samples` values drawn from it."""
    rows = tables.words if j == 0 else tables.copies[j - 1]
    own = np.int64(block_value(tables.words, u, tables.first_bit[j], tables.n_bits[j]))
    size = rings.sizes[j, e]
    number = rings.samples[j, e] if sampled else size
    for first in range(0, number, AHEAD):
        ahead = min(AHEAD, number - first)
        for k in range(ahead):
            place = random_below(stream, size) if sampled else first + k
            value = own ^ np.int64(rings.masks[rings.begin[e] + place])
            found.begins[k] = tables.offsets[j, value]
            found.ends[k] = tables.offsets[j, value + 1]
        touched = np.uint64(0)
        for k in range(ahead):
            if found.begins[k] < found.ends[k]:
                touched ^= rows[found.begins[k], 0]
        found.touched[0] = touched
        for k in range(ahead):
            search_bucket(
                tables, rings, found, stream, u, j, found.begins[k], found.ends[k], sampled,
                radius, reach,
            )  # fmt: skip


@kernel
def search_rings(tables, rings, found, stream, u, radius, reach):
    """Find all patterns up to the radius, and up to `reach` a sample; return whether there is room.

    The anchor's own pattern u is left out.
    """
    found.number[0] = 0
    m = tables.n_bits.shape[0]
    for j in range(m):
        full = (radius - j) // m
        for e in range(min(full, tables.n_bits[j]) + 1):
            search_ring(tables, rings, found, stream, u, j, e, False, radius, reach)
            if found.number[0] > found.patterns.shape[0]:
                return False
        if reach > radius:
            for e in range(full + 1, rings.samples.shape[1]):
                if rings.samples[j, e] > 0:
                    search_ring(tables, rings, found, stream, u, j, e, True, radius, reach)
        if found.number[0] > found.patterns.shape[0]:
            return False
    return True


@kernel
def search_near(tables, rings, found, stream, u):
    """Find the patterns near to pattern u; return the radius and the reach.

    Where there is no room for all of them, nothing is sampled, and then the radius shrinks.
    """
    radius, reach = rings.radius, rings.reach
    while not search_rings(tables, rings, found, stream, u, radius, reach):
        radius = radius if reach > radius else radius - 1
        reach = radius
    return radius, reach


@kernel
def list_found(found, counts, unweighted, reach, lists, weight_at):
    """Write what was found into lists by distance, and set `weight_at` up to `reach`."""
    begin, end = lists.begin, lists.end
    end[:] = 0
    for k in range(found.number[0]):
        end[found.distances[k]] += 1
    used = np.int64(0)
    for d in range(min(reach + 1, begin.shape[0])):
        begin[d] = used
        used += -(-end[d] // LANES) * LANES
        end[d] = begin[d]
    for k in range(found.number[0]):
        d = np.int64(found.distances[k])
        lists.patterns[end[d]] = found.patterns[k]
        end[d] += 1
    for d in range(min(reach + 1, begin.shape[0])):
        total = np.int64(0)
        for place in range(begin[d], end[d]):
            total += 1 if unweighted else counts[lists.patterns[place]]
            lists.running[place] = total
        weight_at[d] = total
        for place in range(end[d], begin[d] - (begin[d] - end[d]) // LANES * LANES):
            lists.running[place] = np.iinfo(np.int64).max
    lists.used[0] = used
