"""What each engine reads of hard batches; run by test_streams, and as one rank of two."""

import sys
from pathlib import Path

import torch.distributed as dist
from torch.utils.data import DataLoader

import maninegs_sampling as mn
from benchmarks.examples.streams import BATCH_SIZE, PER_SHARD, N
from tests.integrations.common import finish


def webdataset(folder, epoch, num_workers):
    from benchmarks.examples.stream_webdataset import loader_of

    batches = loader_of(rewritten(folder, epoch), BATCH_SIZE, num_workers)
    return [[lesion["row"] for (lesion,) in batch] for batch in batches]


def datasets(folder, epoch, num_workers):
    from benchmarks.examples.stream_datasets import loader_of

    batches = loader_of(rewritten(folder, epoch), BATCH_SIZE, num_workers)
    return [[lesion["json"]["row"] for lesion in batch] for batch in batches]


def ray(folder, epoch, num_workers):
    from benchmarks.examples.stream_ray import batches_of

    batches = batches_of(rewritten(folder, epoch), BATCH_SIZE)
    return [[lesion["row"] for lesion in batch["json"]] for batch in batches]


def litdata(folder, epoch, num_workers):
    from benchmarks.examples.stream_litdata import loader_of

    batches = loader_of(folder / f"chunks-{epoch}", BATCH_SIZE, num_workers)
    return [batch["row"].tolist() for batch in batches]


def mosaicml(folder, epoch, num_workers):
    from benchmarks.examples.stream_mosaicml import OrderedDataset

    order = mn.BatchOrder(folder / "order.parquet")
    dataset = OrderedDataset(order, local=str(folder / "mds"), batch_size=BATCH_SIZE)
    loader = DataLoader(dataset, batch_size=BATCH_SIZE, num_workers=num_workers)
    passes = [[batch["row"].tolist() for batch in loader] for _ in range(epoch + 1)]
    return passes[-1]


def in_place(folder, epoch, num_workers):
    from benchmarks.examples.stream_in_place import BatchesInPlace

    order = mn.BatchOrder(folder / "local.parquet")
    paths = sorted(folder.glob("lesions-*.tar"))
    batches = BatchesInPlace(order, epoch, paths, [PER_SHARD] * (N // PER_SHARD), held=2)
    loader = DataLoader(batches, batch_size=None, num_workers=num_workers)
    return [[sample["json"]["row"] for sample in batch] for batch in loader]


def rewritten(folder, epoch):
    return sorted(folder.glob(f"rewritten/{epoch:04d}-*.tar"))


def rows_through(engine, folder, epoch, num_workers):
    """Return the rows of each batch of an epoch that an engine hands out."""
    return globals()[engine](folder, epoch, num_workers)


if __name__ == "__main__":
    engine, folder = sys.argv[1], Path(sys.argv[2])
    dist.init_process_group("gloo")
    finish(rows_through(engine, folder, 1, 2))
