"""All-pairs Hamming distances of 20,000 patterns: python -m benchmarks.hamming.

One run compares, on random bits: filling the result (the limit set by memory), this package, faiss
(which writes int32), numpy's bitwise_count, and torch's matrix product of +-1 vectors.
"""

import numpy as np
import torch

from benchmarks.timing import best_seconds, describe_machine
from maninegs_sampling import (
    DistanceBucketIndex,
    ManifestationStore,
    pairwise_hamming,
)
from maninegs_sampling.distances.histogram import count_pairs
from maninegs_sampling.reports.text_table import text_table

N = 20_000


def faiss_seconds(store: ManifestationStore) -> float | None:
    """Time faiss.hammings on the store's bytes. Return None if faiss is not installed."""
    try:
        import faiss
    except ImportError:
        return None
    n_bytes = -(-store.n_bits // 8)
    codes = np.ascontiguousarray(store.words.view(np.uint8)[store.pattern_of, :])
    # faiss has fast paths for these widths only.
    width = next(w for w in (8, 16, 32, 40, 64) if w >= n_bytes)
    codes = np.ascontiguousarray(
        np.pad(codes, ((0, 0), (0, max(0, width - codes.shape[1]))))[:, :width]
    )
    out = np.empty((N, N), np.int32)
    pointer = faiss.swig_ptr
    hammings = getattr(faiss, "hammings")  # noqa: B009 (made when faiss is loaded)
    return best_seconds(
        lambda: hammings(pointer(codes), pointer(codes), N, N, width, pointer(out)), 3
    )


def numpy_seconds(store: ManifestationStore, out: np.ndarray) -> float:
    """Time numpy's bitwise_count on blocks of rows."""
    words = store.words[store.pattern_of]

    def all_pairs() -> None:
        for begin in range(0, N, 100):
            block = np.bitwise_count(words[begin : begin + 100, None, :] ^ words[None, :, :])
            block.sum(axis=2, dtype=out.dtype, out=out[begin : begin + 100])

    return best_seconds(all_pairs, 1)


def torch_seconds(store: ManifestationStore) -> float:
    """Time torch's product x of +-1 vectors; the distance is (B - x) / 2."""
    signs = torch.from_numpy(store.to_dense()).float() * 2 - 1
    return best_seconds(lambda: (store.n_bits - signs @ signs.T) / 2, 1)


def measure(n_bits: int) -> None:
    """Print the table for one number of bits."""
    bits = np.random.default_rng(0).random((N, n_bits)) < 0.5
    store = ManifestationStore.from_dense(bits)
    out = np.zeros((N, N), np.uint8 if n_bits < 256 else np.uint16)
    fill = best_seconds(lambda: out.fill(1), 9)
    ours = best_seconds(lambda: pairwise_hamming(store, out=out), 9)
    faiss_time = faiss_seconds(store)
    rows = [
        ("fill the result with a constant", fill),
        ("maninegs pairwise_hamming", ours),
        ("faiss.hammings (int32)", faiss_time),
        ("numpy bitwise_count", numpy_seconds(store, out)),
        ("torch matmul of +-1", torch_seconds(store)),
        ("maninegs distance_histogram", best_seconds(lambda: count_pairs(store), 5)),
        ("maninegs DistanceBucketIndex", best_seconds(lambda: DistanceBucketIndex(store), 2)),
    ]
    print(f"\n{N:,} x {N:,} pairs, {n_bits} bits, into {out.dtype}")
    print(
        text_table(
            ("", "ms", "/ ours", "/ fill"),
            [
                (name, f"{1e3 * s:.1f}", f"{s / ours:.2f}", f"{s / fill:.2f}")
                if s is not None
                else (name, "not installed", "", "")
                for name, s in rows
            ],
        )
    )
    index = DistanceBucketIndex(store)
    print(f"index: {index.nbytes / store.n_patterns**2:.3f} bytes a pair")


if __name__ == "__main__":
    print(describe_machine())
    for width in (35, 312):
        measure(width)
