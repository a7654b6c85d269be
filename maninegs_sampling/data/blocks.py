"""Packing in blocks: how rows of any kind become distinct patterns within little memory."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maninegs_sampling.data._pattern_kernels import new_sort_scratch
from maninegs_sampling.data.merging import Part, merge_parts, new_part
from maninegs_sampling.data.patterns import deduplicate
from maninegs_sampling.threads import run_on_threads, thread_count

# Words that are packed and sorted at a time by one thread; they stay in its caches.
BLOCK_WORDS = 2**18


def patterns_in_blocks(
    n: int, n_bits: int, packed_rows: Callable[[int, int], NDArray[np.uint64]]
) -> tuple[NDArray[np.uint64], NDArray[Any]]:
    """Return the distinct rows, packed and sorted, and the pattern of each row.

    Blocks of rows are packed and sorted on threads, and then merged, so that the memory used at a
    time is about twice that of the result.

    Args:
        n: number of rows.
        n_bits: bits of a row.
        packed_rows: returns the rows in [begin, end) as (end - begin, ceil(n_bits / 64)) words. It
            is called on several threads at once.
    """
    rows = max(1, BLOCK_WORDS // -(-n_bits // 64))

    def encode(begin: int, end: int) -> list[Part]:
        scratch = new_sort_scratch(min(rows, end - begin))
        blocks = (packed_rows(first, min(first + rows, end)) for first in range(begin, end, rows))
        return [new_part(*deduplicate(block, scratch)) for block in blocks]

    edges = np.linspace(0, n, thread_count() + 1, dtype=np.int64)
    return merge_parts([part for parts in run_on_threads(encode, edges) for part in parts])
