"""Hard batches through Ray Data, from rewritten shards.

python -m benchmarks.examples.stream_ray
"""

import os
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import ray

from benchmarks.examples import streams


def batches_of(paths: Sequence[Path], batch_size: int) -> Iterable[dict[str, Any]]:
    """Return an epoch's batches of this rank, which reads every WORLD_SIZE-th rewritten shard."""
    rank, ranks = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    # Blocks are read in parallel, and by default handed out as they are ready.
    ray.data.DataContext.get_current().execution_options.preserve_order = True
    dataset = ray.data.read_webdataset([str(path) for path in paths[rank::ranks]])
    batches: Iterable[dict[str, Any]] = dataset.iter_batches(batch_size=batch_size)
    return batches


if __name__ == "__main__":
    folder = Path(tempfile.mkdtemp())
    shards, store = streams.write_shards(folder)
    order = streams.write_covering_order(store, folder)
    ray.init(num_cpus=2, include_dashboard=False, object_store_memory=2**28)
    for epoch, paths in enumerate(streams.rewrite(order, shards, folder)):
        for batch in batches_of(paths, streams.BATCH_SIZE):
            print(epoch, [lesion["row"] for lesion in batch["json"]])
