"""Tar shards written again in the order of batches, so that a hard batch is a sequential read."""

import hashlib
import json
import os
import sys
from collections.abc import Sequence
from itertools import islice
from os import PathLike
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from maninegs_sampling.errors import InvalidValueError, StateError, check_count
from maninegs_sampling.optional import require
from maninegs_sampling.orders.order_file import BatchOrder
from maninegs_sampling.orders.tar_shards import BLOCK, TarShards
from maninegs_sampling.quoting import quoted


# Longer than 60 lines because of its docstring.
def rewrite_shards(
    order: BatchOrder,
    shards: Sequence[str | PathLike[str]],
    folder: str | PathLike[str],
    *,
    batches_per_shard: int = 16,
    keys: ArrayLike | None = None,
    progress: bool = False,
) -> list[Path]:
    """Write webdataset's tar shards again in an order, and return the paths of the new ones.

    A new shard holds whole batches of one epoch, one after the other, so a reader that takes each
    shard from its beginning and cuts off `batch_size` samples at a time gets the order's batches.
    Samples are copied as they are. Each epoch of the order is a copy of the data.

    The shards must lie on a disk where any place can be read, uncompressed. If the process is
    killed, call the function again with the same arguments: finished shards are kept.

    Args:
        order: An order in which no row is twice in an epoch, such as that of a sampler with
            `coverage="epoch"`, and of equally large batches but for the last of an epoch.
        shards: The tar files.
        folder: Where the new shards are written, as ``<epoch>-<number>.tar``.
        batches_per_shard: Batches of a new shard; the last one of an epoch may hold fewer.
        keys: (N,) the key of each row, webdataset's `__key__`. Default: row i is the i-th sample of
            all shards, in the given order.
        progress: Whether to show a progress bar on a terminal.

    Raises:
        InvalidTypeError, InvalidValueError: If an argument cannot be used, if the order does not
            fit the samples, or if two samples with the same key would be read as one.
        StorageError: If a shard is missing, compressed or damaged.
        StateError: If `folder` holds shards of another order, or of other shards.
        MissingExtraError: If pyarrow or tqdm is not installed.

    Example:
        >>> import io, pathlib, tarfile, tempfile
        >>> import maninegs_sampling as mn
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> with tarfile.open(folder / "data.tar", "w") as tar:
        ...     for i in range(8):
        ...         tar.addfile(tarfile.TarInfo(f"{i}.txt"), io.BytesIO())
        >>> store = mn.ManifestationStore.from_dense(np.eye(8, dtype=bool))
        >>> sampler = mn.ManiNegBatchSampler(store, batch_size=2, mu=2.0, coverage="epoch")
        >>> order = mn.write_order(sampler, folder / "order.parquet", epochs=1)
        >>> new = mn.rewrite_shards(order, [folder / "data.tar"], folder, batches_per_shard=2)
        >>> [path.name for path in new]
        ['0000-000000.tar', '0000-000001.tar']
    """
    per_shard = check_count("batches_per_shard", batches_per_shard, at_least=1)
    samples = TarShards.find(shards)
    sample_of = None if keys is None else samples.rows(keys)
    n_rows = len(samples) if sample_of is None else len(sample_of)
    _check_order(order, n_rows, "samples" if keys is None else "keys")
    target = Path(folder)
    _claim(target, order, samples, per_shard, sample_of)
    bar = require("tqdm", extra="streams", what="rewrite_shards").tqdm(
        desc="shards", unit="", leave=False, file=sys.__stderr__, disable=None if progress else True
    )
    written = []
    with bar:
        for epoch in range(order.n_epochs):
            batches = order.batches(epoch)
            for number in range(-(-order.n_batches(epoch) // per_shard)):
                rows = np.concatenate(list(islice(batches, per_shard)))
                written.append(target / f"{epoch:04d}-{number:06d}.tar")
                if not written[-1].exists():
                    chosen = rows if sample_of is None else sample_of[rows]
                    _write_shard(written[-1], samples, chosen)
                bar.update()
    return written


def _check_order(order: BatchOrder, n_rows: int, counted: str) -> None:
    """Raise unless each row is a sample, and is once in an epoch, in batches of one size."""
    expected = order.made_with.get("n_rows")
    if expected is not None and expected != n_rows:
        raise InvalidValueError(
            f"the order is of {expected} rows, and there are {n_rows} {counted}; row i must be the "
            "i-th sample, or have a key in keys="
        )
    size = len(next(order.batches(0)))
    for epoch in range(order.n_epochs):
        seen = np.zeros(n_rows, np.bool_)
        last = order.n_batches(epoch) - 1
        for number, batch in enumerate(order.batches(epoch)):
            rows = np.asarray(batch)
            where = f"batch {number} of epoch {epoch}"
            if rows.max() >= n_rows:
                raise InvalidValueError(f"{where} has row {rows.max()}, of {n_rows} {counted}")
            if len(rows) > size or (len(rows) < size and number != last):
                raise InvalidValueError(
                    f"{where} has {len(rows)} rows and the first batch {size}; a reader can cut "
                    "off batches of one size only"
                )
            if seen[rows].any() or len(np.unique(rows)) < len(rows):
                row = next(row for row in batch if seen[row] or batch.count(row) > 1)
                raise InvalidValueError(
                    f"{where} has row {row}, which the epoch had before; shards are rewritten for "
                    'epochs that cover the data, such as coverage="epoch"'
                )
            seen[rows] = True


def _claim(
    folder: Path,
    order: BatchOrder,
    samples: TarShards,
    per_shard: int,
    sample_of: NDArray[np.int64] | None,
) -> None:
    """Note in `folder` what its shards are made of, or raise if others are there."""
    order_digest = hashlib.blake2b(digest_size=16)
    with Path(order.path).open("rb") as file:
        while block := file.read(2**20):
            order_digest.update(block)
    places = hashlib.blake2b(digest_size=16)
    for column in (samples.shard, samples.begin, samples.end, samples.key, sample_of):
        if column is not None:
            places.update(column.tobytes())
    made_of = {
        "order": order_digest.hexdigest(),
        "samples": places.hexdigest(),
        "batches_per_shard": per_shard,
    }
    note = folder / "rewritten.json"
    folder.mkdir(parents=True, exist_ok=True)
    if note.exists():
        there = json.loads(note.read_text(encoding="utf-8"))
        for name, value in made_of.items():
            if there.get(name) != value:
                raise StateError(
                    f"{folder} holds shards with {name}={quoted(there.get(name))}, not {value!r}; "
                    "remove them or write elsewhere"
                )
        return
    if there := sorted(folder.glob("[0-9]*-[0-9]*.tar")):
        raise StateError(f"{folder} holds shards of something else, such as {there[0].name}")
    unfinished = note.with_suffix(".unfinished")
    unfinished.write_text(json.dumps(made_of), encoding="utf-8")
    os.replace(unfinished, note)


def _write_shard(path: Path, samples: TarShards, chosen: NDArray[np.int64]) -> None:
    """Write some samples as a tar file, atomically."""
    same = np.flatnonzero(samples.key[chosen][1:] == samples.key[chosen][:-1])
    if same.size:
        first, second = chosen[same[0]], chosen[same[0] + 1]
        raise InvalidValueError(
            f"samples {first} and {second} have the same key, so a reader would take them for one; "
            "give each sample a key of its own"
        )
    unfinished = path.with_suffix(".unfinished")
    with unfinished.open("wb") as file:
        file.writelines(samples.read(int(sample)) for sample in chosen)
        file.write(bytes(2 * BLOCK))
    os.replace(unfinished, path)
