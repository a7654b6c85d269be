"""Drawing batches of 64: python -m benchmarks.sampling [CBIS-DDSM CSV ...].

One run compares torch's RandomSampler and BatchSampler, over the same number of instances, with
this package. Batches are the lists of ints that a DataLoader gets. If the four CSV files of
CBIS-DDSM are given, the first table is measured on them.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable

import numpy as np
from torch.utils.data import BatchSampler, RandomSampler

from benchmarks.timing import best_seconds, describe_machine
from maninegs_sampling import CBIS_DDSM, LinearAnnealing, ManifestationStore, ManiNegBatchSampler
from maninegs_sampling.reports.text_table import text_table

BATCH = 64


def microseconds(batches: Iterable[list[int]], repeats: int = 9) -> float:
    """Return the time per batch in the fastest of `repeats` passes."""
    n = sum(1 for _ in batches)
    return 1e6 * best_seconds(lambda: sum(1 for _ in batches), repeats) / n


def uniform(n: int) -> BatchSampler:
    """Torch's own uniform batches."""
    return BatchSampler(RandomSampler(range(n)), BATCH, drop_last=True)


def measure_cbis(files: list[str]) -> None:
    """Print the table for the real data."""
    store = ManifestationStore.from_table(files, CBIS_DDSM)
    reference = microseconds(uniform(store.n_instances), 30)
    rows = [("torch uniform", reference)]
    schedules: dict[str, float | LinearAnnealing] = {
        "mu=0": 0.0,
        "mu=4.9": 4.9,
        "mu=11": 11.0,
        "mu=11 to 0": LinearAnnealing(11, 0, 4500),
    }
    for name, mu in schedules.items():
        sampler = ManiNegBatchSampler(store, batch_size=BATCH, mu=mu)
        rows.append((f"ManiNeg refill, {name}", microseconds(sampler, 30)))
    for duplicates in ("drop_patterns", "keep"):
        sampler = ManiNegBatchSampler(store, batch_size=BATCH, mu=4.9, duplicates=duplicates)
        rows.append((f"ManiNeg {duplicates}, mu=4.9", microseconds(sampler, 30)))
    sampler = ManiNegBatchSampler.authors(store, mu=4.9, batches_per_epoch=55)
    rows.append(("authors' reading, mu=4.9", microseconds(sampler, 30)))
    print(f"\nCBIS-DDSM: {store}, batches of {BATCH}, {len(uniform(store.n_instances))} an epoch")
    table = [(name, f"{us:.2f}", f"{us / reference:.2f}") for name, us in rows]
    print(text_table(("", "us/batch", "/ torch"), table))


def measure_sizes() -> None:
    """Print the table for random stores of increasing size."""
    rows = []
    for n, memory_limit in ((20_000, "1GiB"), (20_000, 0), (200_000, "1GiB"), (2_000_000, "1GiB")):
        bits = np.random.default_rng(0).random((n, 35)) < 0.5
        store = ManifestationStore.from_dense(bits)
        reference = microseconds(uniform(n), 3)
        for mu in (0.0, 17.5):
            sampler = ManiNegBatchSampler(
                store, batch_size=BATCH, mu=mu, batches_per_epoch=200, memory_limit=memory_limit
            )
            us = microseconds(sampler, 5)
            how = "precomputed" if sampler.index.precomputed else "scanned"
            name = f"{store.n_patterns:,} patterns, {how}, mu={mu:g}"
            rows.append((name, f"{us:.1f}", f"{us / reference:.1f}"))
    print(f"\nrandom stores, 35 bits, batches of {BATCH}")
    print(text_table(("", "us/batch", "/ torch"), rows))


def measure_groups() -> None:
    """Print the cost of groups: pairs, and a group with half or nearly all of the instances."""
    rows = []
    n = 20_000
    store = ManifestationStore.from_dense(np.random.default_rng(0).random((n, 20)) < 0.3)
    order = np.arange(n)
    groupings = {
        "none": None,
        "pairs": order // 2,
        "one group of 50%": np.where(order < n // 2, 0, order),
        "one group of 95%": np.where(order < 0.95 * n, 0, order),
    }
    for how, memory_limit in (("precomputed", "2GiB"), ("scanned", 0)):
        reference = None
        for name, groups in groupings.items():
            sampler = ManiNegBatchSampler(
                store, batch_size=BATCH, mu=2.0, groups=groups, memory_limit=memory_limit,
                batches_per_epoch=200,
            )  # fmt: skip
            us = microseconds(sampler, 5)
            reference = reference or us
            rows.append((f"{how}, {name}", f"{us:.1f}", f"{us / reference:.1f}"))
    print(f"\ngroups: {store}, batches of {BATCH}")
    print(text_table(("", "us/batch", "/ none"), rows))


_IMPORT = """
import time
begin = time.perf_counter(); import torch; import torch.utils.data
torch_done = time.perf_counter(); import maninegs_sampling as mn
imported = time.perf_counter()
import numpy as np
store = mn.ManifestationStore.from_dense(np.random.default_rng(0).random((3568, 36)) < 0.2)
begin_batch = time.perf_counter()
next(iter(mn.ManiNegBatchSampler(store, batch_size=64, mu=4.0)))
print(torch_done - begin, imported - torch_done, time.perf_counter() - begin_batch)
"""


def measure_start() -> None:
    """Print the time to the first batch of a new process, with and without compiled kernels."""
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "NUMBA_CACHE_DIR": cache}
        runs = []
        for _ in range(4):
            run = subprocess.run(
                [sys.executable, "-c", _IMPORT],
                env=environment,
                check=True,
                capture_output=True,
                text=True,
            )
            runs.append([float(word) for word in run.stdout.split()])
    warm = [min(run[i] for run in runs[1:]) for i in range(3)]
    rows = [
        ("import torch", f"{warm[0]:.2f}"),
        ("import maninegs_sampling after it", f"{warm[1]:.2f}"),
        ("first batch of a new process, kernels cached", f"{warm[2]:.2f}"),
        ("first batch of the first process, kernels compiled", f"{runs[0][2]:.2f}"),
    ]
    print("\n" + text_table(("", "seconds"), rows))


if __name__ == "__main__":
    print(describe_machine())
    if sys.argv[1:]:
        measure_cbis(sys.argv[1:])
    else:
        print("\nNo CSV files of CBIS-DDSM were given; the table for them is skipped.")
    measure_sizes()
    measure_groups()
    measure_start()
