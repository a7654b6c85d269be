"""Numba kernels that find the patterns near to an anchor without a look at all patterns.

Multi-index hashing (Norouzi et al. 2012). The bits are cut into m blocks, and for each block the
patterns are sorted by its value. A pattern within distance r of the anchor differs from it, in one
block j at least, by at most (r - j) // m bits: if each block j differed by more, all together
would differ by more than r. A *ring* e of a block are its values that differ from the anchor's by
e bits. Searching rings 0 to (r - j) // m of each block j finds all patterns up to distance r.

Of the rings beyond, some values are drawn at random. They find a sample of the patterns up to
distance `reach`, in which all patterns at one distance are expected equally often. How often a ring
finds a pattern is its *rate*; a pattern's rates in all blocks add up.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from maninegs_sampling.compiling import kernel
from maninegs_sampling.distances._tiles import popcount
from maninegs_sampling.sampling._distances import LANES
from maninegs_sampling.sampling._stream import random_below, random_unit

# Buckets that are asked for before the first of them is read, so that the waits overlap; words of a
# line of the cache, and how many words of a bucket are asked for.
AHEAD, LINE, TOUCHED = 64, 8, 64
# Rows of a bucket that are compared before any is looked at, and those looked at together.
TILE, STEP = 512, 32


class NearTables(NamedTuple):
    """The patterns, sorted by the value of each block.

    Block 0 holds the highest bits, by which the patterns of a store are sorted already.
    """

    words: NDArray[np.uint64]  # (W, U)
    copies: NDArray[np.uint64]  # (m - 1, W, U) the same in the order of blocks 1, 2, ...
    patterns: NDArray[np.int32]  # (m - 1, U) the pattern of each row of the copies
    offsets: NDArray[np.uint32]  # (m, 2 ** b + 1) the first row of each value, b the most bits
    first_bit: NDArray[np.int64]  # (m,) of each block
    n_bits: NDArray[np.int64]  # (m,) of each block


class Rings(NamedTuple):
    """What is searched at each of L levels. `rates` and `kept` concern what is beyond a radius."""

    needed: int  # patterns that a level should hold of an anchor
    low: int  # smallest distance of those that count
    masks: NDArray[np.uint32]  # numbers with 0, 1, 2, ... bits set, ascending where equally many
    begin: NDArray[np.int64]  # (E + 1,) the first mask with e bits
    sizes: NDArray[np.int64]  # (m, E) values in ring e of each block
    radius: NDArray[np.int64]  # (L,) all patterns up to this distance are found
    reach: NDArray[np.int64]  # (L,) a sample of those up to this distance is found
    samples: NDArray[np.int64]  # (L, m, E) values drawn of each ring; 0 where all are searched
    rates: NDArray[np.float64]  # (L, m, b + 1) how often a pattern is found in ring e of a block
    kept: NDArray[np.float64]  # (L, R + 1) how often each pattern at a distance is in the sample


class Found(NamedTuple):
    """Patterns found for an anchor, in any order; beyond the radius some of them repeatedly."""

    number: NDArray[np.int64]  # (1,) of them; above the room there is if not all of them are there
    patterns: NDArray[np.int32]  # (room,)
    distances: NDArray[np.uint16]  # (room,)
    begins: NDArray[np.int64]  # (AHEAD,) the buckets searched next
    ends: NDArray[np.int64]  # (AHEAD,)
    touched: NDArray[np.uint64]  # (1,) keeps the compiler from leaving out reads ahead
    tile: NDArray[np.uint16]  # (TILE,) distances


def new_found(room: int) -> Found:
    """Return working memory for so many patterns."""
    return Found(
        number=np.zeros(1, np.int64),
        patterns=np.empty(room, np.int32),
        distances=np.empty(room, np.uint16),
        begins=np.empty(AHEAD, np.int64),
        ends=np.empty(AHEAD, np.int64),
        touched=np.zeros(1, np.uint64),
        tile=np.empty(TILE, np.uint16),
    )


@kernel
def block_value(words, i, first_bit, n_bits):
    """Return the bits of pattern i from `first_bit` on, at most 63 of them."""
    shift = np.uint64(first_bit & 63)
    value = words[first_bit >> 6, i] >> shift
    if (first_bit & 63) + n_bits > 64:
        value |= words[(first_bit >> 6) + 1, i] << (np.uint64(64) - shift)
    return value & ((np.uint64(1) << np.uint64(n_bits)) - np.uint64(1))


@kernel
def count_values(words, first_bit, n_bits, offsets):
    """Set `offsets` to the first place of each value of a block, were the rows sorted by it."""
    offsets[:] = 0
    for i in range(words.shape[1]):
        offsets[np.int64(block_value(words, i, first_bit, n_bits)) + 1] += 1
    for value in range(1, offsets.shape[0]):
        offsets[value] += offsets[value - 1]


@kernel
def sort_by_value(words, first_bit, n_bits, places, copy, patterns):
    """Write the rows to `copy` and their numbers to `patterns`, sorted by a block's value.

    places: the offsets of the block; they move on to where each value ends.
    """
    for i in range(words.shape[1]):
        value = np.int64(block_value(words, i, first_bit, n_bits))
        k = np.int64(places[value])
        places[value] += 1
        patterns[k] = i
        for w in range(words.shape[0]):
            copy[w, k] = words[w, i]


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
def is_kept(tables, rings, level, rows, i, u, d, unit):
    """Return whether a pattern found beyond the radius stays in the sample.

    Some patterns are found more often than others at their distance. They stay as much less often.

    unit: a random number in [0, 1).
    """
    rate = 0.0
    for j in range(tables.n_bits.shape[0]):
        rate += rings.rates[level, j, block_distance(tables, rows, i, u, j)]
    return unit * rate < rings.kept[level, d]


@kernel
def reach_of(rings, level, rate, unit, radius, reach):
    """Return up to which distance patterns of a ring of this rate may stay in the sample."""
    while reach > radius and unit * rate >= rings.kept[level, reach]:
        reach -= 1
    return reach


@kernel
def note_row(tables, rings, level, found, u, j, i, d, sampled, radius, unit):
    """Note row i of block j, at distance d from pattern u and within reach, if it counts."""
    rows = tables.words if j == 0 else tables.copies[j - 1]
    if d == 0:
        return
    if d <= radius:
        if sampled or is_found_before(tables, rows, i, u, j, radius):
            return
    elif not is_kept(tables, rings, level, rows, i, u, d, unit):
        return
    n = found.number[0]
    if n < found.patterns.shape[0]:
        found.patterns[n] = i if j == 0 else tables.patterns[j - 1, i]
        found.distances[n] = d
    found.number[0] = n + 1


@kernel
def compare_rows(rows, words, u, begin, end, tile):
    """Set `tile` to the distances of rows begin .. end from pattern u, and then to the largest."""
    n = end - begin
    word, part = words[0, u], rows[0, begin:end]
    for k in range(n):
        tile[k] = popcount(part[k] ^ word)
    for w in range(1, rows.shape[0]):
        word, part = words[w, u], rows[w, begin:end]
        for k in range(n):
            tile[k] += popcount(part[k] ^ word)
    tile[n : n + -n % STEP] = np.iinfo(np.uint16).max


@kernel
def search_bucket(
    tables, rings, level, found, stream, u, j, e, begin, end, sampled, radius, reach
):  # fmt: skip
    """Note what is within reach of pattern u among rows begin .. end, of ring e of block j."""
    rows = tables.words if j == 0 else tables.copies[j - 1]
    for first in range(begin, end, TILE):
        last = min(first + TILE, end)
        compare_rows(rows, tables.words, u, first, last, found.tile)
        for step in range(0, last - first, STEP):
            unit, farthest = 0.0, reach
            if reach > radius:
                # One number for a step, and not for each of its patterns, which are few at a time.
                unit = random_unit(stream)
                farthest = reach_of(rings, level, rings.rates[level, j, e], unit, radius, reach)
            near = 0
            part = found.tile[step : step + STEP]
            for k in range(STEP):  # a loop of fixed length vectorizes
                near += part[k] <= farthest
            if near > 0:
                for k in range(STEP):
                    d = np.int64(part[k])
                    if d <= farthest:
                        i = first + step + k
                        note_row(tables, rings, level, found, u, j, i, d, sampled, radius, unit)


@kernel
def search_ring(tables, rings, level, found, stream, u, j, e, sampled, radius, reach):
    """Search ring e of block j, or `rings.samples` values drawn from it."""
    rows = tables.words if j == 0 else tables.copies[j - 1]
    own = np.int64(block_value(tables.words, u, tables.first_bit[j], tables.n_bits[j]))
    size = rings.sizes[j, e]
    number = rings.samples[level, j, e] if sampled else size
    for first in range(0, number, AHEAD):
        ahead = min(AHEAD, number - first)
        for k in range(ahead):
            place = random_below(stream, size) if sampled else first + k
            value = own ^ np.int64(rings.masks[rings.begin[e] + place])
            found.begins[k] = tables.offsets[j, value]
            found.ends[k] = tables.offsets[j, value + 1]
        touched = np.uint64(0)
        for k in range(ahead):
            for i in range(found.begins[k], min(found.ends[k], found.begins[k] + TOUCHED), LINE):
                touched ^= rows[0, i]
        found.touched[0] = touched
        for k in range(ahead):
            search_bucket(
                tables, rings, level, found, stream, u, j, e, found.begins[k], found.ends[k],
                sampled, radius, reach,
            )  # fmt: skip


@kernel
def search_rings(tables, rings, level, found, stream, u, radius, reach):
    """Find all patterns up to the radius, and up to `reach` a sample; return whether there is room.

    The anchor's own pattern u is left out.
    """
    found.number[0] = 0
    m = tables.n_bits.shape[0]
    for j in range(m):
        full = (radius - j) // m
        for e in range(min(full, tables.n_bits[j]) + 1):
            search_ring(tables, rings, level, found, stream, u, j, e, False, radius, reach)
            if found.number[0] > found.patterns.shape[0]:
                return False
        if reach > radius:
            for e in range(full + 1, rings.samples.shape[2]):
                if rings.samples[level, j, e] > 0:
                    search_ring(tables, rings, level, found, stream, u, j, e, True, radius, reach)
        if found.number[0] > found.patterns.shape[0]:
            return False
    return True


@kernel
def count_found(found, low, radius):
    """Return how many patterns were found from distance `low` to the radius."""
    number = 0
    for k in range(found.number[0]):
        number += low <= found.distances[k] <= radius
    return number


@kernel
def search_near(tables, rings, found, stream, u):
    """Find the patterns near to pattern u; return the radius and the reach.

    It is the first level that holds enough of them, or the last. Where there is no room for all of
    them, nothing is sampled, and then the radius shrinks.
    """
    for level in range(rings.radius.shape[0]):
        radius, reach = rings.radius[level], rings.reach[level]
        if not search_rings(tables, rings, level, found, stream, u, radius, reach):
            break
        if count_found(found, rings.low, radius) >= rings.needed:
            break
    while found.number[0] > found.patterns.shape[0]:
        radius = radius if reach > radius else radius - 1
        reach = radius
        search_rings(tables, rings, level, found, stream, u, radius, reach)
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
