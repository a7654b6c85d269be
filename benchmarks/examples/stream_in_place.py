"""Hard batches from webdataset's shards where they lie, with a few shards in memory.

python -m benchmarks.examples.stream_in_place
"""

import tempfile
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import webdataset as wds
from torch.utils.data import DataLoader, IterableDataset

import maninegs_sampling as mn
from benchmarks.examples import streams


class BatchesInPlace(IterableDataset[list[dict[str, Any]]]):
    """The batches of an epoch of a shard-local order, with a few shards in memory."""

    def __init__(
        self, order: mn.BatchOrder, epoch: int, paths: Sequence[Path], sizes: list[int], held: int
    ) -> None:
        self.order, self.epoch, self.paths, self.held = order, epoch, paths, held
        self.edges = np.append(0, np.cumsum(sizes))

    def __iter__(self) -> Iterator[list[dict[str, Any]]]:
        rank, ranks, worker, workers = wds.utils.pytorch_worker_info()
        # Consecutive batches, whose shards no other worker reads; equally many for each.
        per_worker = self.order.n_batches(self.epoch) // (ranks * workers)
        first = (rank * workers + worker) * per_worker
        read = lru_cache(self.held)(self.read)
        for batch in self.order.batches(self.epoch, first, first + per_worker):
            shards = np.searchsorted(self.edges, batch, side="right") - 1
            yield [
                read(shard)[row - self.edges[shard]]
                for row, shard in zip(batch, shards.tolist(), strict=True)
            ]

    def read(self, shard: int) -> list[dict[str, Any]]:
        """Return the samples of a shard."""
        source = wds.SimpleShardList([str(self.paths[shard])])
        return list(wds.DataPipeline(source, wds.tarfile_to_samples(), wds.decode()))


if __name__ == "__main__":
    folder = Path(tempfile.mkdtemp())
    shards, store = streams.write_shards(folder)
    order = streams.write_local_order(store, folder)
    sizes = [streams.PER_SHARD] * len(shards)
    for epoch in range(order.n_epochs):
        batches = BatchesInPlace(order, epoch, shards, sizes, held=2)
        for batch in DataLoader(batches, batch_size=None, num_workers=2):
            print(epoch, [sample["json"]["row"] for sample in batch])
