"""One rank that reads an epoch of hard batches through an engine, for test_streams."""

import importlib
import sys
from pathlib import Path

from torch.utils.data import DataLoader

import maninegs_sampling as mn
from benchmarks.examples.streams import BATCH_SIZE, PER_SHARD, N
from tests.integrations.common import finish


def rows_through(engine, paths, num_workers):
    """Return the rows of each batch that an engine reads from rewritten shards."""
    example = importlib.import_module(f"benchmarks.examples.stream_{engine}")
    batches = example.loader_of(paths, BATCH_SIZE, num_workers)
    if engine == "webdataset":
        return [[lesion["row"] for (lesion,) in batch] for batch in batches]
    return [[lesion["json"]["row"] for lesion in batch] for batch in batches]


def rows_in_place(order, epoch, paths, num_workers):
    from benchmarks.examples.stream_in_place import BatchesInPlace

    in_place = BatchesInPlace(order, epoch, paths, [PER_SHARD] * (N // PER_SHARD), held=2)
    loader = DataLoader(in_place, batch_size=None, num_workers=num_workers)
    return [[sample["json"]["row"] for sample in batch] for batch in loader]


if __name__ == "__main__":
    engine, order_path, *words = sys.argv[1:]
    paths = [Path(word) for word in words]
    if engine == "in_place":
        finish(rows_in_place(mn.BatchOrder(order_path), 1, paths, 2))
    finish(rows_through(engine, paths, 2))
