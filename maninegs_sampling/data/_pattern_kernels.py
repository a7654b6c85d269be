"""Numba kernels that pack bits, and sort, number and merge patterns. Nothing is checked here.

Patterns are rows of words, (n, W) uint64. They are ordered by their last word, then by the one
before it, and so on. Numba compiles a kernel once more for arrays that cannot be written, so all
arrays that are only read are passed read-only.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from maninegs_sampling.compiling import kernel

_DIGITS = 8  # of 8 bits, in a word


@kernel
def pack_rows(bits, words):
    """Write (n, B) bytes, 0 or not, as rows of words: bit b is bit b % 64 of word b // 64."""
    for i in range(bits.shape[0]):
        for w in range(words.shape[1]):
            begin = 64 * w
            word = np.uint64(0)
            for b in range(min(64, bits.shape[1] - begin)):
                word |= np.uint64(bits[i, begin + b] != 0) << np.uint64(b)
            words[i, w] = word


class SortScratch(NamedTuple):
    """Working memory to sort n rows. Each pass over a digit goes from one half to the other."""

    keys: NDArray[np.uint64]  # (2, n) one word of each row
    rows: NDArray[np.uint32]  # (2, n)
    counts: NDArray[np.int64]  # (8, 256) words with each value of each digit


def new_sort_scratch(n: int) -> SortScratch:
    """Return working memory to sort up to `n` rows."""
    return SortScratch(
        keys=np.empty((2, n), np.uint64),
        rows=np.empty((2, n), np.uint32),
        counts=np.empty((_DIGITS, 256), np.int64),
    )


@kernel
def count_digits(keys, counts):
    """Count how many of `keys` have each value of each digit."""
    counts[:] = 0
    for i in range(keys.shape[0]):
        key = keys[i]
        for digit in range(_DIGITS):
            counts[digit, (key >> np.uint64(8 * digit)) & np.uint64(255)] += 1


@kernel
def move_by_digit(keys, rows, digit, counts, moved_keys, moved_rows):
    """Move keys and rows to where their digit belongs, in the same order within one digit."""
    shift = np.uint64(8 * digit)
    place = 0
    for value in range(256):
        count = counts[value]
        counts[value] = place
        place += count
    for i in range(keys.shape[0]):
        value = (keys[i] >> shift) & np.uint64(255)
        place = counts[value]
        counts[value] = place + 1
        moved_keys[place] = keys[i]
        moved_rows[place] = rows[i]


@kernel
def sort_patterns(words, scratch):
    """Sort the rows of `words`, stably; return which half of `scratch.rows` holds their order.

    Radix sort, the least significant digit first. Digits that all rows share cost nothing.
    """
    n = words.shape[0]
    keys, rows = scratch.keys[:, :n], scratch.rows[:, :n]
    half = 0
    for i in range(n):
        rows[0, i] = i
    for w in range(words.shape[1]):
        for i in range(n):
            keys[half, i] = words[rows[half, i], w]
        count_digits(keys[half], scratch.counts)
        for digit in range(_DIGITS):
            counts = scratch.counts[digit]
            if counts[(keys[half, 0] >> np.uint64(8 * digit)) & np.uint64(255)] < n:
                other = 1 - half
                move_by_digit(keys[half], rows[half], digit, counts, keys[other], rows[other])
                half = other
    return half


@kernel
def compare_patterns(first, i, second, j):
    """Return -1, 0 or 1: whether row i of `first` comes before row j of `second`, or equals it."""
    for w in range(first.shape[1] - 1, -1, -1):
        a, b = first[i, w], second[j, w]
        if a != b:
            return -1 if a < b else 1
    return 0


@kernel
def number_patterns(words, last_words, order, distinct, pattern_of):
    """Write the distinct rows in `order` to `distinct`, and each row's number; return their number.

    last_words, order: (n,) the last word of each row, and the rows, both as sorted.
    pattern_of: (n,) the number of each row among the distinct ones.
    """
    last = words.shape[1] - 1
    number = -1
    for i in range(order.shape[0]):
        row = order[i]
        is_new = i == 0 or last_words[i] != last_words[i - 1]
        if last > 0 and not is_new:
            is_new = compare_patterns(words, order[i - 1], words, row) != 0
        number += is_new
        for w in range(last):
            distinct[number, w] = words[row, w]
        distinct[number, last] = last_words[i]
        pattern_of[row] = number
    return number + 1


@kernel
def merge_patterns(first, second, merged, place_of_first, place_of_second):
    """Merge two sorted lists of distinct patterns; return how many patterns there are in both.

    merged: room for all of both. place_of_first, place_of_second: each pattern's place in it.
    """
    last = first.shape[1] - 1
    i, j, n = 0, 0, 0
    while i < first.shape[0] and j < second.shape[0]:
        a, b = first[i, last], second[j, last]
        in_first, in_second = a <= b, b <= a
        if last > 0 and a == b:
            order = compare_patterns(first, i, second, j)
            in_first, in_second = order <= 0, order >= 0
        for w in range(last):
            merged[n, w] = first[i, w] if in_first else second[j, w]
        merged[n, last] = min(a, b)
        # Which list is next cannot be predicted, so there is no branch on it: a pattern that is not
        # next gets its place again later.
        place_of_first[i] = n
        place_of_second[j] = n
        i += in_first
        j += in_second
        n += 1
    while i < first.shape[0]:
        for w in range(first.shape[1]):
            merged[n, w] = first[i, w]
        place_of_first[i] = n
        i += 1
        n += 1
    while j < second.shape[0]:
        for w in range(first.shape[1]):
            merged[n, w] = second[j, w]
        place_of_second[j] = n
        j += 1
        n += 1
    return n


@kernel
def first_out_of_order(before, words):
    """Return the first row that is not larger than the one before it; -1 if there is none.

    before: (1, W) the row before the first one, or (0, W) if there is none.
    """
    if before.shape[0] > 0 and compare_patterns(before, 0, words, 0) >= 0:
        return 0
    for i in range(1, words.shape[0]):
        if compare_patterns(words, i - 1, words, i) >= 0:
            return i
    return -1


@kernel
def count_instances(pattern_of, counts):
    """Add the number of instances with each pattern to `counts`."""
    for i in range(pattern_of.shape[0]):
        counts[pattern_of[i]] += 1


@kernel
def group_instances(pattern_of, places, members):
    """Write the instances to `members`, grouped by pattern and ascending within one.

    places: (U,) the first place of each pattern; they move on to where each pattern ends.
    """
    for i in range(pattern_of.shape[0]):
        p = pattern_of[i]
        members[places[p]] = i
        places[p] += 1
