"""What the sampler costs in a DataLoader, and how long resuming takes.

    python -m benchmarks.loading [CBIS-DDSM CSV ...]

The dataset returns a constant, a number or a small image, so that only loading is measured. If the
four CSV files of CBIS-DDSM are given, they make the first store.
"""

import statistics
import sys
import time
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from benchmarks.timing import describe_machine
from maninegs_sampling import CBIS_DDSM, LinearAnnealing, ManifestationStore, ManiNegBatchSampler
from maninegs_sampling.data.datasets import synthetic_mvkl
from maninegs_sampling.reports.text_table import text_table

BATCH = 64
ROUNDS = 15


class Constant(Dataset[Any]):
    """A dataset of equal items."""

    def __init__(self, item: Any, length: int) -> None:
        self.item, self.length = item, length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, i: int) -> Any:
        return self.item


def batches_a_second(loader: DataLoader[Any]) -> float:
    """Return the batches per second of whole passes, over at least half a second."""
    count, begin = 0, time.perf_counter()
    while time.perf_counter() < begin + 0.5:
        count += sum(1 for _ in loader)
    return count / (time.perf_counter() - begin)


def measure_wrapping(store: ManifestationStore) -> None:
    """Print the batches per second of a uniform loader and of the wrapped one, in turns."""
    rows = []
    for name, item in (("a number", 0), ("64 x 64 floats", torch.zeros(1, 64, 64))):
        for workers in (0, 2):
            uniform = DataLoader(
                Constant(item, store.n_instances), BATCH, shuffle=True, drop_last=True,
                num_workers=workers, persistent_workers=workers > 0,
            )  # fmt: skip
            wrapped = ManiNegBatchSampler.wrap(uniform, store, mu=LinearAnnealing(11, 0, 4500))
            for loader in (uniform, wrapped):  # starts the workers
                sum(1 for _ in loader)
            pairs = [(batches_a_second(uniform), batches_a_second(wrapped)) for _ in range(ROUNDS)]
            ratios = sorted(ours / theirs for theirs, ours in pairs)
            theirs, ours = (statistics.median(pair[k] for pair in pairs) for k in (0, 1))
            rows.append(
                (
                    name, str(workers), f"{theirs:.0f}", f"{ours:.0f}",
                    f"{statistics.median(ratios):.3f}", f"{ratios[0]:.3f} to {ratios[-1]:.3f}",
                )
            )  # fmt: skip
    print(f"\n{store}, batches of {BATCH}, {ROUNDS} pairs of measurements; batches per second")
    print(text_table(("item", "workers", "uniform", "ManiNeg", "ratio", "of pairs"), rows))


def measure_resuming(store: ManifestationStore) -> None:
    """Print the time from loading a state to the next batch, in a run of ten million batches."""
    run = 10_000_000
    sampler = ManiNegBatchSampler(
        store,
        batch_size=BATCH,
        mu=LinearAnnealing(11, 0, run),
        batches_per_epoch=run,
    )
    rows = []
    for position in (0, 1, run // 3, run // 2, run - 1):
        state = sampler.state_dict() | {"epoch": 0, "position": position}
        seconds = []
        for _ in range(20):
            begin = time.perf_counter()
            sampler.load_state_dict(state)
            next(iter(sampler))
            seconds.append(time.perf_counter() - begin)
        rows.append((f"{position:,}", f"{1e3 * min(seconds):.2f}", f"{1e3 * max(seconds[1:]):.2f}"))
    print("\nresuming a run of 10,000,000 batches: milliseconds from the state to a batch")
    print(text_table(("position", "best", "worst"), rows))


if __name__ == "__main__":
    print(describe_machine())
    synthetic, _ = synthetic_mvkl(20_000)
    if sys.argv[1:]:
        measure_wrapping(ManifestationStore.from_table(sys.argv[1:], CBIS_DDSM))
    measure_wrapping(synthetic)
    measure_resuming(synthetic)
