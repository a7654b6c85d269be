"""Jaccard distances of 4,000 fingerprints: python -m benchmarks.jaccard.

One run compares, on random bits of which a tenth is set: all pairs by this package, by Hamming and
by Jaccard, with scikit-fingerprints and RDKit; and the 64 nearest of each row with usearch and with
faiss, which knows the Jaccard distance of floats alone. Times are of the processor, over all
threads, and measured by turns: the fastest of five, or the only one if it takes over a second. What
is not installed is left out.

usearch and faiss rank by the exact distance; the nearest of this package are those of its index and
its sampler, which round distances up to hundredths.
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.timing import describe_machine
from maninegs_sampling import (
    DistanceBucketIndex,
    ManifestationStore,
    pairwise_hamming,
    pairwise_jaccard,
)
from maninegs_sampling.distances.histogram import count_pairs
from maninegs_sampling.reports.text_table import text_table
from maninegs_sampling.sampling.peers.neighbors import nearest_patterns

N = 4_000
NEAREST = 64
TURNS = 5
# The rows that faiss is asked for are a tenth: with 2,048 bits all would take minutes.
FAISS_ROWS = N // 10

Calls = dict[str, Callable[[], Any]]


def ours(store: ManifestationStore) -> tuple[Calls, Calls]:
    """Return what this package computes of all pairs, and of the nearest."""
    hamming = pairwise_hamming(store)
    jaccard = pairwise_jaccard(store)
    pairs: Calls = {
        "fill the Hamming distances": lambda: hamming.fill(1),
        "fill the Jaccard distances": lambda: jaccard.fill(1),
        "pairwise_hamming": lambda: pairwise_hamming(store, out=hamming),
        "pairwise_jaccard": lambda: pairwise_jaccard(store, out=jaccard),
        "histogram, Hamming": lambda: count_pairs(store),
        "histogram, Jaccard": lambda: count_pairs(store, metric="jaccard"),
        "index, Hamming": lambda: DistanceBucketIndex(store),
        "index, Jaccard": lambda: DistanceBucketIndex(store, metric="jaccard"),
    }
    nearest: Calls = {
        "nearest, Hamming": lambda: nearest_patterns(store, NEAREST),
        "nearest, Jaccard": lambda: nearest_patterns(store, NEAREST, metric="jaccard"),
    }
    return pairs, nearest


def all_pairs_of_others(bits: np.ndarray) -> Calls:
    """Return what other packages compute of all pairs."""
    calls: Calls = {}
    try:
        from skfp.distances import bulk_tanimoto_binary_distance

        calls["scikit-fingerprints"] = lambda: bulk_tanimoto_binary_distance(bits)
    except ImportError:
        pass
    try:
        from rdkit.DataStructs import BulkTanimotoSimilarity, CreateFromBitString

        rows = [CreateFromBitString("".join(map(str, row))) for row in bits.astype(int).tolist()]
        calls["RDKit"] = lambda: [BulkTanimotoSimilarity(row, rows) for row in rows]
    except ImportError:
        pass
    return calls


def nearest_of_others(bits: np.ndarray) -> Calls:
    """Return what other packages compute of the nearest, each row itself among them."""
    calls: Calls = {}
    try:
        from usearch.index import MetricKind, search

        packed = np.packbits(bits, axis=1)
        calls["usearch, exact"] = lambda: search(
            packed, packed, NEAREST + 1, MetricKind.Tanimoto, exact=True, threads=1
        )
    except ImportError:
        pass
    try:
        import faiss

        index = faiss.IndexFlat(bits.shape[1], faiss.METRIC_Jaccard)
        floats = bits.astype(np.float32)
        index.add(floats)
        some = floats[:FAISS_ROWS]
        calls["faiss IndexFlat, a tenth of the rows"] = lambda: index.search(some, NEAREST + 1)
    except ImportError:
        pass
    return calls


def seconds_by_turns(calls: Calls) -> dict[str, float]:
    """Return the fewest seconds of the processor that each call took."""
    fewest = dict.fromkeys(calls, float("inf"))
    for _ in range(TURNS):
        for name, call in calls.items():
            if 1 < fewest[name] < float("inf"):
                continue
            begin = time.process_time()
            call()
            fewest[name] = min(fewest[name], time.process_time() - begin)
    return fewest


def print_table(title: str, calls: Calls, yardsticks: tuple[str, str]) -> None:
    """Print how long each call takes, beside two of them."""
    seconds = seconds_by_turns(calls)
    rows = [
        (name, f"{1e3 * s:.1f}", *(f"{s / seconds[other]:.2f}" for other in yardsticks))
        for name, s in seconds.items()
    ]
    print(f"\n{title}")
    print(text_table(("", "ms", *(f"/ {name}" for name in yardsticks)), rows))


def measure(n_bits: int) -> None:
    """Print the tables for one number of bits."""
    bits = np.random.default_rng(0).random((N, n_bits)) < 0.1
    bits = np.unique(bits, axis=0)
    store = ManifestationStore.from_dense(bits)
    pairs, nearest = ours(store)
    for call in (pairs | nearest).values():
        call()  # compiles
    print_table(
        f"all pairs of {len(bits):,} rows of {n_bits} bits",
        pairs | all_pairs_of_others(bits),
        ("pairwise_hamming", "pairwise_jaccard"),
    )
    print_table(
        f"the {NEAREST} nearest of each of {len(bits):,} rows of {n_bits} bits",
        nearest | nearest_of_others(bits),
        ("nearest, Hamming", "nearest, Jaccard"),
    )


if __name__ == "__main__":
    print(describe_machine())
    for width in (64, 312, 1024, 2048):
        measure(width)
