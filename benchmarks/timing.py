"""Timing, for all benchmarks."""

import os
import platform
import time
from collections.abc import Callable
from typing import Any

from numba.core.registry import cpu_target


def best_seconds(call: Callable[[], Any], repeats: int = 5) -> float:
    """Return the seconds of the fastest of `repeats` calls, after one that is not measured."""
    call()
    seconds = []
    for _ in range(repeats):
        begin = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - begin)
    return min(seconds)


def describe_machine() -> str:
    """Return a line about the machine, to be printed above a table."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    _, _, features = cpu_target.target_context.codegen().magic_tuple()
    known = ("avx512vpopcntdq", "avx512f", "avx2", "neon")
    vectors = next((name for name in known if f"+{name}" in features), "no vectors known")
    return f"{platform.machine()} with {vectors}, {cores} cores, Python {platform.python_version()}"
