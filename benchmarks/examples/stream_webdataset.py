"""Hard batches through webdataset, from rewritten shards.

python -m benchmarks.examples.stream_webdataset
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import webdataset as wds

from benchmarks.examples import streams


def loader_of(paths: Sequence[Path], batch_size: int, num_workers: int) -> wds.WebLoader:
    """Return a loader of an epoch's rewritten shards. Ranks and workers take whole shards."""
    dataset = wds.WebDataset(
        [str(path) for path in paths], shardshuffle=False, nodesplitter=wds.split_by_node
    )
    batches = dataset.decode().to_tuple("json").batched(batch_size, collation_fn=list)
    return wds.WebLoader(batches, batch_size=None, num_workers=num_workers)


if __name__ == "__main__":
    folder = Path(tempfile.mkdtemp())
    shards, store = streams.write_shards(folder)
    order = streams.write_covering_order(store, folder)
    for epoch, paths in enumerate(streams.rewrite(order, shards, folder)):
        for batch in loader_of(paths, streams.BATCH_SIZE, num_workers=2):
            print(epoch, [lesion["row"] for (lesion,) in batch])
