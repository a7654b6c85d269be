"""Numba kernels for Hamming distances. Plain arrays in, plain arrays out, nothing is checked here.

Words are laid out transposed, (W, U): word w of every pattern lies contiguously, so the inner
loops run over patterns and vectorize. A distance is uint8 up to 255 bits and uint16 beyond.
"""

from typing import Any

import numpy as np
from numba.core import types
from numba.extending import intrinsic

from maninegs_sampling.compiling import kernel


@intrinsic
def popcount(typing_context: Any, value: Any) -> Any:
    """Return the number of one bits, with a single machine instruction."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.uint64(types.uint64), generate


# One tile of a row and of every word it is compared with stays in the first-level cache.
TILE = 2048


@kernel
def distance_tile(words, other, i, begin, end, out):
    """Write the distances of pattern i of `words` to patterns begin..end of `other` into `out`."""
    word = words[0, i]
    others = other[0, begin:end]
    for j in range(end - begin):
        out[j] = popcount(word ^ others[j])
    for w in range(1, words.shape[0]):
        word = words[w, i]
        others = other[w, begin:end]
        for j in range(end - begin):
            out[j] += popcount(word ^ others[j])


@kernel
def pairwise_rows(words, other, begin, end, out):
    """Fill rows begin..end of the distance matrix."""
    columns = other.shape[1]
    # With one word a pattern each is read once a row, and a tile would only break up the writing.
    step = TILE if words.shape[0] > 1 else columns
    for tile in range(0, columns, step):
        tile_end = min(columns, tile + step)
        for i in range(begin, end):
            distance_tile(words, other, i, tile, tile_end, out[i, tile:tile_end])


@kernel
def histogram_rows(words, counts, begin, end, scratch, bins, histogram):
    """Add the pairs (i, j > i), begin <= i < end, weighted by counts[i] * counts[j].

    The four rows of `bins` hide the latency of incrementing one bin twice in a row.
    """
    patterns = words.shape[1]
    distances = histogram.shape[0]
    for i in range(begin, end):
        bins[:] = 0
        for tile in range(i + 1, patterns, TILE):
            tile_end = min(patterns, tile + TILE)
            distance_tile(words, words, i, tile, tile_end, scratch)
            quarter = (tile_end - tile) // 4
            for j in range(quarter):
                k = 4 * j
                bins[0, scratch[k]] += counts[tile + k]
                bins[1, scratch[k + 1]] += counts[tile + k + 1]
                bins[2, scratch[k + 2]] += counts[tile + k + 2]
                bins[3, scratch[k + 3]] += counts[tile + k + 3]
            for k in range(4 * quarter, tile_end - tile):
                bins[0, scratch[k]] += counts[tile + k]
        for d in range(distances):
            histogram[d] += counts[i] * (bins[0, d] + bins[1, d] + bins[2, d] + bins[3, d])


@kernel
def unweighted_histogram_rows(words, begin, end, scratch, table, histogram):
    """Like `histogram_rows` with all counts 1 and distances below 256, about twice as fast.

    Two neighboring distances, read as one 16-bit number, are counted with a single increment of
    `table`, (2, 65536) uint32 zeros.
    """
    patterns = words.shape[1]
    distances = histogram.shape[0]
    two = scratch.view(np.uint16)
    # A row adds at most patterns / 4 to a uint32 cell; the table is read before one can overflow.
    rows_between = max(1, min(1024, 2**32 // patterns))
    for i in range(begin, end):
        for tile in range(i + 1, patterns, TILE):
            tile_end = min(patterns, tile + TILE)
            size = tile_end - tile
            distance_tile(words, words, i, tile, tile_end, scratch)
            if size % 2 == 1:
                histogram[scratch[size - 1]] += 1
            quarter = size // 4
            for k in range(quarter):
                table[0, two[2 * k]] += 1
                table[1, two[2 * k + 1]] += 1
            if size // 2 > 2 * quarter:
                table[0, two[2 * quarter]] += 1
        if (i - begin) % rows_between == rows_between - 1 or i == end - 1:
            for a in range(distances):
                for b in range(distances):
                    seen = np.int64(table[0, 256 * a + b]) + np.int64(table[1, 256 * a + b])
                    histogram[a] += seen
                    histogram[b] += seen
                    table[0, 256 * a + b] = 0
                    table[1, 256 * a + b] = 0


@kernel
def sort_rows(words, members, starts, counts, begin, end, scratch, bins, order, offsets):
    """Sort the members of all patterns by their distance from each pattern begin..end.

    order[u]: the members, ascending in pattern and then in `members` at equal distance.
    offsets[u, d]: the first place of distance d in it.
    """
    patterns = words.shape[1]
    distances = offsets.shape[1] - 1
    place = bins[0]
    for u in range(begin, end):
        for tile in range(0, patterns, TILE):
            tile_end = min(patterns, tile + TILE)
            distance_tile(words, words, u, tile, tile_end, scratch[tile:tile_end])
        bins[:] = 0
        quarter = patterns // 4
        for j in range(quarter):
            k = 4 * j
            bins[0, scratch[k]] += counts[k]
            bins[1, scratch[k + 1]] += counts[k + 1]
            bins[2, scratch[k + 2]] += counts[k + 2]
            bins[3, scratch[k + 3]] += counts[k + 3]
        for k in range(4 * quarter, patterns):
            bins[0, scratch[k]] += counts[k]
        total = 0
        for d in range(distances):
            offsets[u, d] = total
            total += bins[0, d] + bins[1, d] + bins[2, d] + bins[3, d]
            place[d] = offsets[u, d]
        offsets[u, distances] = total
        row = order[u]
        for p in range(patterns):
            d = scratch[p]
            for k in range(starts[p], starts[p] + counts[p]):
                row[place[d]] = members[k]
                place[d] += 1
