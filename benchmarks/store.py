"""What building, merging and opening stores costs, beside how it was done with NumPy alone.

    python -m benchmarks.store [ROWS]

Each figure is of a process of its own, after one call on a few rows that loads the kernels. Memory
is how much the peak of the process's resident memory grows, the file's cached pages included.
"""

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.timing import describe_machine
from maninegs_sampling import ManifestationStore, concat_stores
from maninegs_sampling.reports.text_table import text_table

PATTERNS = {"few": 200, "many": 100_000, "distinct": None}


def dense_bits(rows: int, n_bits: int, patterns: int | None) -> NDArray[np.bool_]:
    """Return random rows, of which at most `patterns` are distinct."""
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2, (patterns or rows, n_bits), dtype=np.uint8).view(np.bool_)
    return bits[rng.integers(0, patterns, rows)] if patterns else bits


def sorted_by_numpy(bits: NDArray[np.bool_]) -> tuple[NDArray[np.uint64], NDArray[np.int32]]:
    """Return patterns and numbers, as `from_dense` made them with NumPy alone."""
    packed = np.zeros((len(bits), -(-bits.shape[1] // 64) * 8), np.uint8)
    packed[:, : -(-bits.shape[1] // 8)] = np.packbits(bits, axis=1, bitorder="little")
    return numbered_by_numpy(packed.view("<u8"))


def numbered_by_numpy(words: NDArray[np.uint64]) -> tuple[NDArray[np.uint64], NDArray[np.int32]]:
    """Return the distinct rows, and the number of each row."""
    order = np.lexsort(words.T)
    ordered = words[order]
    is_new = np.ones(len(words), np.bool_)
    is_new[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    pattern_of = np.empty(len(words), np.int32)
    pattern_of[order] = np.cumsum(is_new) - 1
    return ordered[is_new], pattern_of


def concatenated_by_numpy(stores: list[ManifestationStore]) -> Any:
    """Return patterns and numbers of two stores, sorted anew."""
    words, row_of = numbered_by_numpy(np.concatenate([store.words for store in stores]))
    first = np.cumsum([0, *(store.n_patterns for store in stores)])
    parts = zip(first, stores, strict=False)
    return words, np.concatenate([row_of[k + store.pattern_of] for k, store in parts])


def opened_by_sorting(path: Path) -> Any:
    """Map a store's arrays, hash the file and sort the patterns, as `load` checked them."""
    store = ManifestationStore.load(path, mmap=True, verify=False)
    hashlib.blake2b(np.memmap(path, np.uint8, "r").data, digest_size=32).digest()
    used = np.bincount(store.pattern_of.astype(np.intp), minlength=store.n_patterns)
    return used.all() and len(numbered_by_numpy(store.words)[0]) == store.n_patterns


def resident(line: str) -> int:
    """Return a figure of this process's memory in bytes, "VmHWM" (its peak) or "VmRSS"."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return 1024 * int(status.split(line + ":")[1].split()[0])


def measured(call: Callable[[], Any]) -> dict[str, float]:
    """Return seconds, processor seconds and growth of the peak of memory of one call."""
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # the peak becomes the present
    before, begin, cpu = resident("VmRSS"), time.perf_counter(), time.process_time()
    result = call()
    figures = {"seconds": time.perf_counter() - begin, "cpu": time.process_time() - cpu}
    del result
    return figures | {"bytes": resident("VmHWM") - before}


def task(name: str, how: str, file: str, rows: int, n_bits: int, patterns: int | None) -> Any:
    """Run one measurement of this process."""
    tiny = ManifestationStore.from_dense(np.eye(9, 70, dtype=np.bool_))
    concat_stores([tiny, tiny])
    tiny.save(file + ".tiny")
    ManifestationStore.load(file + ".tiny", mmap=True)
    old = how == "NumPy"
    if name == "from_dense":
        bits = dense_bits(rows, n_bits, patterns)
        new = ManifestationStore.from_dense
        return measured(lambda: (sorted_by_numpy if old else new)(bits))
    if name == "concat":
        bits = dense_bits(rows, n_bits, patterns)
        halves = [ManifestationStore.from_dense(half) for half in np.array_split(bits, 2)]
        del bits
        return measured(lambda: (concatenated_by_numpy if old else concat_stores)(halves))
    if old:
        return measured(lambda: opened_by_sorting(Path(file)))
    verify = how == "verified"
    return measured(lambda: ManifestationStore.load(file, mmap=True, verify=verify))


def run(*arguments: object) -> dict[str, float]:
    """Return what `task` returns in a new process."""
    command = [sys.executable, "-m", "benchmarks.store", "--task", json.dumps(arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def save_random_store(path: Path, rows: int, n_words: int) -> None:
    """Save a store of distinct random patterns, each with one instance."""
    rng = np.random.default_rng(0)
    words = rng.integers(0, 2**64, (rows, n_words), dtype=np.uint64)
    words = words[np.argsort(words[:, -1])]
    pattern_of = rng.permutation(rows).astype(np.uint32)
    store = ManifestationStore(words, pattern_of, 64 * n_words)
    store.save(path)


def main(rows: int) -> None:
    """Print what building costs, and what opening costs."""
    print(describe_machine())
    with tempfile.TemporaryDirectory() as folder:
        measure_building(rows, str(Path(folder) / "store"))
        measure_opening(Path(folder) / "store")


def measure_building(rows: int, tiny: str) -> None:
    """Print what `from_dense` and `concat_stores` cost."""
    table = []
    for name in ("from_dense", "concat"):
        for n_bits in (40, 64):
            for kind, patterns in PATTERNS.items():
                old, new = (
                    run(name, how, tiny, rows, n_bits, patterns) for how in ("NumPy", "now")
                )
                table.append(
                    (
                        name, str(n_bits), kind,
                        *(f"{rows / figures['seconds'] / 1e6:.1f}" for figures in (old, new)),
                        *(f"{figures['cpu'] / rows * 1e9:.0f}" for figures in (old, new)),
                        *(f"{figures['bytes'] / rows:.1f}" for figures in (old, new)),
                    )
                )  # fmt: skip
    head = ("", "bits", "patterns", "Mrows/s: NumPy", "now", "CPU ns a row: NumPy", "now")
    print(f"{rows:,} rows")
    print(text_table((*head, "peak bytes a row: NumPy", "now"), table))


def measure_opening(path: Path) -> None:
    """Print what opening memory-mapped stores costs."""
    table = []
    for rows, n_words, ways in (
        (2_000_000, 4, ("NumPy", "verified", "unverified")),
        (100_000_000, 1, ("verified", "unverified")),
    ):
        save_random_store(path, rows, n_words)
        size = path.stat().st_size / rows
        for how in ways:
            figures = run("open", how, str(path), rows, 64 * n_words, None)
            table.append(
                (
                    f"{rows:,}", str(64 * n_words), f"{size:.1f}", how,
                    f"{1e3 * figures['seconds']:.1f}", f"{1e3 * figures['cpu']:.1f}",
                    f"{figures['bytes'] / 1e6:.1f}",
                )
            )  # fmt: skip
    print("\nload(mmap=True), distinct patterns")
    head = ("rows", "bits", "file bytes a row", "how", "ms", "CPU ms", "peak MB")
    print(text_table(head, table))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", type=int, nargs="?", default=10_000_000)
    parser.add_argument("--task")
    options = parser.parse_args()
    if options.task:
        print(json.dumps(task(*json.loads(options.task))))
    else:
        main(options.rows)
