"""Hard batches through Hugging Face datasets with streaming=True, from rewritten shards.

python -m benchmarks.examples.stream_datasets
"""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datasets import load_dataset
from datasets.distributed import split_dataset_by_node
from torch.utils.data import DataLoader

from benchmarks.examples import streams


def loader_of(paths: Sequence[Path], batch_size: int, num_workers: int) -> "DataLoader[Any]":
    """Return a loader of an epoch's rewritten shards. Ranks and workers take whole shards."""
    rank, ranks = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    if len(paths) % ranks:
        # split_dataset_by_node would hand out single samples in turn, and no batch would stay whole
        raise ValueError(f"{len(paths)} shards cannot be split evenly over {ranks} ranks")
    files = [str(path) for path in paths]
    stream = load_dataset("webdataset", data_files=files, split="train", streaming=True)
    stream = split_dataset_by_node(stream, rank=rank, world_size=ranks)
    return DataLoader(
        stream, batch_size=batch_size, num_workers=num_workers, collate_fn=lambda batch: batch
    )


if __name__ == "__main__":
    folder = Path(tempfile.mkdtemp())
    shards, store = streams.write_shards(folder)
    order = streams.write_covering_order(store, folder)
    for epoch, paths in enumerate(streams.rewrite(order, shards, folder)):
        for batch in loader_of(paths, streams.BATCH_SIZE, num_workers=2):
            print(epoch, [lesion["json"]["row"] for lesion in batch])
