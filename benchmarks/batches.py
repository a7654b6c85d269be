"""How hard batches are, what they cover and what they cost, on real data.

    python -m benchmarks.batches [cbis-ddsm=FOLDER] [wbcatt=FOLDER] [coco=LABELS.npz]

The folder of CBIS-DDSM holds its CSV files, that of WBCAtt `cells.csv`; the labels of COCO are
packed bits. Distances between equal patterns are left out, as a loss with `ids=` leaves them out.
"""

import sys
import time
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import polars
from tqdm import tqdm

from benchmarks.reference import wbcatt
from benchmarks.timing import best_seconds, describe_machine
from maninegs_sampling import (
    CBIS_DDSM,
    ManifestationStore,
    ManiNegBatchSampler,
    UniformDistinctBatchSampler,
)
from maninegs_sampling.analysis import baselines
from maninegs_sampling.analysis.batch_hardness import N_NEAREST, measure_hardness
from maninegs_sampling.analysis.coverage import measure_coverage
from maninegs_sampling.reports.text_table import text_table

BATCH = 64
CLUSTERS = 8
# Free batches to measure; with coverage="epoch" it is always a whole epoch.
MOST_BATCHES = 400

COVERING: dict[str, Any] = {
    "duplicates": "keep", "coverage": "epoch", "batches_per_epoch": "ceil",
}  # fmt: skip
# mu is 0 in all of them; sigma is small except in the covering ones.
SAMPLERS: dict[str, dict[str, Any]] = {
    "one anchor": {"sigma": 0.1},
    "near cluster": {"sigma": 0.1, "center": "cluster"},
    "8 clusters": {"sigma": 0.1, "anchors_per_batch": CLUSTERS},
    "8 near clusters": {"sigma": 0.1, "anchors_per_batch": CLUSTERS, "center": "cluster"},
    "one anchor, covering": {"sigma": 1.0, **COVERING},
    "near cluster, covering": {"sigma": 0.5, "center": "cluster", **COVERING},
    "8 clusters, covering": {"sigma": 1.0, "anchors_per_batch": CLUSTERS, **COVERING},
    "8 near clusters, covering": {
        "sigma": 1.0, "anchors_per_batch": CLUSTERS, "center": "cluster", **COVERING,
    },
}  # fmt: skip


def load(text: str) -> ManifestationStore:
    """Return the named data."""
    name, _, path = text.partition("=")
    if name == "cbis-ddsm":
        return ManifestationStore.from_table(sorted(Path(path).glob("*.csv")), CBIS_DDSM)
    if name == "wbcatt":
        return wbcatt.manifestations(polars.read_csv(Path(path) / "cells.csv"))
    if name == "coco":
        with np.load(path) as labels:
            bits = np.unpackbits(labels["bits_packed"], axis=1)[:, : int(labels["n_bits"])]
        return ManifestationStore.from_dense(bits)
    sys.exit(f"data are cbis-ddsm=FOLDER, wbcatt=FOLDER or coco=LABELS.npz; got {text!r}")


def distances_in_clusters(
    store: ManifestationStore, batches: list[list[int]], size: int
) -> tuple[float, float]:
    """Return the mean distance of negatives from their cluster's anchor, in all and in the farthest
    quarter of the clusters.
    """
    means = []
    for batch in batches:
        for begin in range(0, len(batch) - size + 1, size):
            cluster = measure_hardness(store, [[batch[begin : begin + size]]])
            means.append(cluster.masked_anchor_mean)
    found = np.sort(np.array(means)[~np.isnan(means)])
    return float(found.mean()), float(found[-max(1, len(found) // 4) :].mean())


def row_of(
    store: ManifestationStore, name: str, batches: list[list[int]], size: int, us: float
) -> tuple[str, ...]:
    """Return the cells of one sampler."""
    hardness = measure_hardness(store, [batches])
    coverage = measure_coverage(store, [batches])
    near, far = distances_in_clusters(store, batches, size)
    return (
        name,
        f"{hardness.masked_pair_mean:.2f}",
        f"{hardness.masked_nearest_mean:.2f}",
        f"{near:.2f}",
        f"{far:.2f}",
        f"{100 * coverage.seen_share:.0f}%",
        f"{us:.1f}",
    )


def measure(store: ManifestationStore) -> None:
    """Print the table of one store."""
    rows = []
    length = store.n_instances // BATCH
    uniform = baselines.uniform(store, BATCH, 0)
    rows.append(row_of(store, "uniform", list(uniform(0)), BATCH, microseconds(uniform(1))))
    distinct = UniformDistinctBatchSampler(store, batch_size=BATCH)
    cost = microseconds(distinct)
    batches = [distinct.batch(k) for k in range(length)]
    rows.append(row_of(store, "uniform-distinct", batches, BATCH, cost))
    for name, options in tqdm(SAMPLERS.items(), disable=None, leave=False):
        sampler = ManiNegBatchSampler(store, batch_size=BATCH, mu=0.0, **options)
        size = BATCH // options.get("anchors_per_batch", 1)
        cost = microseconds(sampler)
        n = len(sampler) if sampler.covers else min(len(sampler), MOST_BATCHES)
        rows.append(row_of(store, name, [sampler.batch(k) for k in range(n)], size, cost))
    print(text_table(
        ("", "all pairs", f"{N_NEAREST} nearest", "to anchor", "farthest 1/4", "seen", "us/batch"),
        rows,
    ))  # fmt: skip


def microseconds(batches: Iterable[list[int]]) -> float:
    """Return the time per batch in the fastest of five passes, each cut after `MOST_BATCHES`."""

    def batches_of_a_pass() -> int:
        return sum(1 for _ in islice(batches, MOST_BATCHES))

    return 1e6 * best_seconds(batches_of_a_pass) / batches_of_a_pass()


def measure_planning(store: ManifestationStore) -> None:
    """Print how long an epoch takes to be planned, and how long a state to be resumed inside it."""
    rows = []
    for name in (name for name in SAMPLERS if name.endswith("covering")):
        sampler = ManiNegBatchSampler(store, batch_size=BATCH, mu=0.0, **SAMPLERS[name])
        sampler.batch(0, epoch=100)  # compiles
        planning, resuming = [], []
        for epoch in range(3):
            begin = time.perf_counter()
            sampler.batch(0, epoch)
            planning.append(time.perf_counter() - begin)
            other = ManiNegBatchSampler(
                store, batch_size=BATCH, mu=0.0, index=sampler.index, **SAMPLERS[name]
            )
            state = sampler.state_dict() | {"epoch": epoch, "position": len(sampler) // 2}
            begin = time.perf_counter()
            other.load_state_dict(state)
            next(iter(other))
            resuming.append(time.perf_counter() - begin)
        rows.append((name, f"{1e3 * min(planning):.0f}", f"{1e3 * min(resuming):.0f}"))
    print("\n" + text_table(("milliseconds", "planning", "resuming"), rows))


if __name__ == "__main__":
    print(describe_machine())
    for argument in sys.argv[1:]:
        data = load(argument)
        print(f"\n{argument.partition('=')[0]}: {data}, batches of {BATCH}\n")
        measure(data)
        measure_planning(data)
