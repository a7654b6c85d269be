"""Numba kernels for distances. Arrays in, arrays out, nothing is checked here.

`words` are patterns as `_tiles` has them: their type is the metric. A distance is in steps.
"""

import numpy as np

from maninegs_sampling.compiling import kernel
from maninegs_sampling.distances._tiles import (
    TILE,
    distance_of,
    distance_tile,
    hamming_tile,
    popcount,
    shape_of,
)


@kernel
def pairwise_rows(words, other, begin, end, out):
    """Fill rows begin..end of the distance matrix."""
    columns = shape_of(other)[1]
    # With one word a pattern each is read once a row, and a tile would only break up the writing.
    step = TILE if shape_of(words)[0] > 1 else columns
    for tile in range(0, columns, step):
        tile_end = min(columns, tile + step)
        for i in range(begin, end):
            distance_tile(words, other, i, tile, tile_end, out[i, tile:tile_end])


@kernel
def jaccard_rows(patterns, other, begin, end, scratch, out):
    """Fill rows begin..end of the matrix of Jaccard distances, (N, M) float32.

    scratch: (T,), for the Hamming distances to T patterns at a time.
    """
    columns, step = shape_of(other)[1], scratch.shape[0]
    for tile in range(0, columns, step):
        tile_end = min(columns, tile + step)
        ones = other.ones[tile:tile_end]
        for i in range(begin, end):
            hamming_tile(patterns.words, other.words, i, tile, tile_end, scratch)
            own = patterns.ones[i]
            row = out[i, tile:tile_end]
            for j in range(tile_end - tile):
                differing = np.float32(scratch[j])
                # Of the union, whose size is half of the denominator, see `JaccardPatterns`.
                row[j] = np.float32(2) * differing / (own + ones[j] + differing)


@kernel
def count_ones(words, ones):
    """Write the number of bits that are set in each pattern to `ones`, (U,)."""
    ones[:] = 0
    for w in range(words.shape[0]):
        for j in range(words.shape[1]):
            ones[j] += popcount(words[w, j])


@kernel
def distances_of_pairs(words, left, right, out):
    """Write the distance of patterns left[k] and right[k] of `words` to out[k]."""
    for k in range(out.shape[0]):
        out[k] = distance_of(words, left[k], right[k])


@kernel
def histogram_rows(words, counts, begin, end, scratch, bins, histogram):
    """Add the pairs (i, j > i), begin <= i < end, weighted by counts[i] * counts[j].

    The four rows of `bins` hide the latency of incrementing one bin twice in a row.
    """
    patterns = shape_of(words)[1]
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
def read_table(table, alone, factor, histogram):
    """Add `factor` times what `table` and `alone` hold to the histogram, and clear both."""
    distances = histogram.shape[0]
    for a in range(distances):
        first = table[0, 256 * a : 256 * a + distances]
        second = table[1, 256 * a : 256 * a + distances]
        total = alone[a]
        for b in range(distances):
            both = np.int64(first[b]) + np.int64(second[b])
            histogram[b] += factor * both
            total += both
            first[b] = 0
            second[b] = 0
        histogram[a] += factor * total
        alone[a] = 0


@kernel
def equal_counts_histogram_rows(
    words, counts, edges, begin, end, scratch, table, alone, histogram
):  # fmt: skip
    """Like `histogram_rows` up to the last edge, with equal counts between edges, below 256 bits.

    Two neighboring distances, read as one 16-bit number, are counted with a single addition to
    `table`, (2, 65536) uint32 zeros, which is about twice as fast. A last one without a neighbor
    goes into `alone`, (B + 1,) int64 zeros. Counts ascend up to the last edge, so that a row adds
    less than 2**32 to a cell.
    """
    two = scratch.view(np.uint16)
    for s in range(edges.shape[0] - 1):
        stop = min(end, edges[s + 1] - 1)
        if begin >= stop:
            continue
        added = 0
        for i in range(begin, stop):
            count = np.uint32(counts[i])
            first = max(i + 1, edges[s])
            most = counts[i] * ((edges[s + 1] - first) // 4 + 1)  # that this row adds to a cell
            if added + most >= 2**32:
                read_table(table, alone, counts[edges[s]], histogram)
                added = 0
            added += most
            for tile in range(first, edges[s + 1], TILE):
                tile_end = min(edges[s + 1], tile + TILE)
                size = tile_end - tile
                distance_tile(words, words, i, tile, tile_end, scratch)
                quarter = size // 4
                for k in range(quarter):
                    table[0, two[2 * k]] += count
                    table[1, two[2 * k + 1]] += count
                if size // 2 > 2 * quarter:
                    table[0, two[2 * quarter]] += count
                if size % 2 == 1:
                    alone[scratch[size - 1]] += counts[i]
        read_table(table, alone, counts[edges[s]], histogram)


@kernel
def paired_histogram_rows(
    words, counts, pair_counts, start, rows_between, begin, end, scratch, table, alone, histogram
):  # fmt: skip
    """Like `histogram_rows` from `start` on, below 256 bits, where neighbors mostly have one count.

    Patterns start + 2 k and start + 2 k + 1 have the count pair_counts[k], (K,) uint32. Patterns
    from start + 2 K on are counted one by one. Pairs go into `table` and others into `alone`, as in
    `equal_counts_histogram_rows`. These are read whenever the count of the rows changes, and after
    `rows_between` rows, before a cell can overflow.
    """
    patterns = shape_of(words)[1]
    if start == patterns:
        return
    two = scratch.view(np.uint16)
    rows = 0
    for i in range(begin, end):
        first = max(start, i + 1)
        if first < patterns and (first - start) % 2 == 1:  # mostly the other one of its own pair
            distance_tile(words, words, i, first, first + 1, scratch)
            alone[scratch[0]] += counts[first]
            first += 1
        for tile in range(first, patterns, TILE):
            tile_end = min(patterns, tile + TILE)
            distance_tile(words, words, i, tile, tile_end, scratch)
            pairs_before = (tile - start) // 2
            weights = pair_counts[pairs_before : pairs_before + (tile_end - tile) // 2]
            pairs = weights.shape[0]
            for k in range(pairs // 2):
                table[0, two[2 * k]] += weights[2 * k]
                table[1, two[2 * k + 1]] += weights[2 * k + 1]
            if pairs % 2 == 1:
                table[0, two[pairs - 1]] += weights[pairs - 1]
            others = counts[tile + 2 * pairs : tile_end]
            distances = scratch[2 * pairs :]
            for k in range(others.shape[0]):
                alone[distances[k]] += others[k]
        rows += 1
        if i == end - 1 or rows == rows_between or counts[i + 1] != counts[i]:
            rows = 0
            read_table(table, alone, counts[i], histogram)


@kernel
def sort_rows(words, members, starts, counts, begin, end, scratch, bins, order, offsets):
    """Sort the members of all patterns by their distance from each pattern begin..end.

    order[u]: the members, ascending in pattern and then in `members` at equal distance.
    offsets[u, d]: the first place of distance d in it.
    """
    patterns = shape_of(words)[1]
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
