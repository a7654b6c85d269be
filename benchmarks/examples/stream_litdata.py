"""Hard batches through LitData: chunks written in the order, then streamed without shuffling.

python -m benchmarks.examples.stream_litdata
"""

import tempfile
from pathlib import Path
from typing import Any

import litdata
import numpy as np

import maninegs_sampling as mn
from benchmarks.examples import streams


class Lesions:
    """Item i is instance i, for `litdata.optimize`."""

    def __init__(self, bits: np.ndarray) -> None:
        self.bits = bits

    def __call__(self, row: int) -> dict[str, Any]:
        """Return the item to write."""
        return {"row": row, "bits": self.bits[row]}


def write_chunks(
    order: mn.BatchOrder, epoch: int, read: Lesions, batch_size: int, folder: Path
) -> None:
    """Write an epoch to chunks of 4 batches, in its order."""
    rows = [row for batch in order.batches(epoch) for row in batch]
    litdata.optimize(
        read, rows, str(folder), chunk_size=4 * batch_size, num_workers=1, verbose=False
    )


def loader_of(folder: Path, batch_size: int, num_workers: int) -> litdata.StreamingDataLoader:
    """Return a loader of an epoch. Each rank and worker takes consecutive whole batches."""
    dataset = litdata.StreamingDataset(str(folder), shuffle=False, drop_last=False)
    return litdata.StreamingDataLoader(dataset, batch_size=batch_size, num_workers=num_workers)


if __name__ == "__main__":
    folder = Path(tempfile.mkdtemp())
    _, store = streams.write_shards(folder)
    order = streams.write_covering_order(store, folder)
    for epoch in range(order.n_epochs):
        chunks = folder / f"epoch-{epoch}"
        write_chunks(order, epoch, Lesions(store.to_dense()), streams.BATCH_SIZE, chunks)
        for batch in loader_of(chunks, streams.BATCH_SIZE, num_workers=2):
            print(epoch, batch["row"].tolist())
