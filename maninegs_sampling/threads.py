"""Work on plain threads, for kernels that run without the GIL."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray


def thread_count() -> int:
    """Return the number of threads that `run_on_threads` uses."""
    # The configured number, not numba.get_num_threads(): that call would start OpenMP.
    return int(getattr(numba.config, "NUMBA_NUM_THREADS"))  # noqa: B009 (set at run time)


def run_on_threads(
    work: Callable[[int, int], Any], edges: Sequence[int] | NDArray[np.int64]
) -> list[Any]:
    """Return [work(edges[0], edges[1]), work(edges[1], edges[2]), ...], computed on threads.

    The threads end before this returns, so that a process may be forked at any time after it.
    There are as many as the process may use cores, or as the variable NUMBA_NUM_THREADS says.
    """
    slabs = [(int(a), int(b)) for a, b in pairwise(edges) if a < b]
    with ThreadPoolExecutor(thread_count()) as pool:
        return list(pool.map(lambda slab: work(*slab), slabs))
