"""Hard batches through MosaicML Streaming, which reads samples of its shards in any order.

python -m benchmarks.examples.stream_mosaicml
"""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from streaming import MDSWriter, StreamingDataset
from streaming.base.batching import batching_methods
from torch.utils.data import DataLoader

import maninegs_sampling as mn
from benchmarks.examples import streams


class OrderedDataset(StreamingDataset):
    """A streaming dataset whose ranks and workers share the batches of an order."""

    def __init__(self, order: mn.BatchOrder, **options: Any) -> None:
        super().__init__(**options)
        self.order, self.batching_method = order, "order"


def share(dataset: OrderedDataset, world: Any, epoch: int, seen: int) -> NDArray[np.int64]:
    """Return the samples of all ranks and workers, from the `seen`-th of an epoch on."""
    ranks, workers, size = world.num_ranks, world.workers_per_rank, dataset.batch_size
    first = seen // (ranks * size)
    n_steps = dataset.order.n_batches(epoch) // ranks - first
    work = np.full((ranks, workers, -(-n_steps // workers), size), -1)  # -1 is no sample
    batches = dataset.order.batches(epoch, first * ranks, (first + n_steps) * ranks)
    for number, batch in enumerate(batches):
        step, rank = divmod(number, ranks)
        work[rank, step % workers, step // workers] = np.reshape(batch, size)
    return work.reshape(world.num_nodes, world.ranks_per_node, *work.shape[1:])


batching_methods["order"] = share


def write_shards(folder: Path) -> None:
    """Write the lesions to MDS shards. Sample i is instance i."""
    with MDSWriter(out=str(folder), columns={"row": "int"}, size_limit=1024) as writer:
        for row in range(streams.N):
            writer.write({"row": row})


if __name__ == "__main__":
    folder = Path(tempfile.mkdtemp())
    _, store = streams.write_shards(folder)
    write_shards(folder / "mds")
    order = streams.write_covering_order(store, folder)
    dataset = OrderedDataset(order, local=str(folder / "mds"), batch_size=streams.BATCH_SIZE)
    loader: DataLoader[Any] = DataLoader(dataset, batch_size=streams.BATCH_SIZE, num_workers=2)
    for epoch in range(order.n_epochs):
        for batch in loader:
            print(epoch, batch["row"].tolist())
