"""What the scripts beside it stream: tar shards of lesions, and orders of hard batches of them."""

import io
import json
import tarfile
from pathlib import Path

import maninegs_sampling as mn
from maninegs_sampling.data.datasets import synthetic_mvkl

N, PER_SHARD, BATCH_SIZE, EPOCHS = 192, 48, 8, 2


def write_shards(folder: Path) -> tuple[list[Path], mn.ManifestationStore]:
    """Write the lesions to tar shards; return these and the store. Sample i is instance i."""
    store, _ = synthetic_mvkl(N)
    bits = store.to_dense().astype(int).tolist()
    paths = [folder / f"lesions-{first // PER_SHARD}.tar" for first in range(0, N, PER_SHARD)]
    for number, path in enumerate(paths):
        with tarfile.open(path, "w") as tar:
            for i in range(number * PER_SHARD, (number + 1) * PER_SHARD):
                content = json.dumps({"row": i, "bits": bits[i]}).encode()
                member = tarfile.TarInfo(f"lesion-{i:06d}.json")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    return paths, store


def write_covering_order(store: mn.ManifestationStore, folder: Path) -> mn.BatchOrder:
    """Write an order whose epochs have each lesion once."""
    sampler = mn.ManiNegBatchSampler(
        store, batch_size=BATCH_SIZE, mu=0.0, coverage="epoch", duplicates="keep"
    )
    return mn.write_order(sampler, folder / "order.parquet", epochs=EPOCHS)


def write_local_order(store: mn.ManifestationStore, folder: Path) -> mn.BatchOrder:
    """Write an order whose batches lie within two shards each."""
    sampler = mn.ShardLocalBatchSampler(
        store, [PER_SHARD] * (N // PER_SHARD), batch_size=BATCH_SIZE, mu=0.0, shards_per_window=2
    )
    return mn.write_order(sampler, folder / "local.parquet", epochs=EPOCHS)


def rewrite(order: mn.BatchOrder, shards: list[Path], folder: Path) -> list[list[Path]]:
    """Write the shards again in the order; return the new ones of each epoch."""
    paths = mn.rewrite_shards(order, shards, folder / "rewritten", batches_per_shard=3)
    return [[p for p in paths if p.name.startswith(f"{e:04d}-")] for e in range(EPOCHS)]
