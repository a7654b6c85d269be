"""The command `maninegs order`: hard batches as a file, and shards rewritten in its order."""

import argparse
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from maninegs_sampling.analysis.settings import suggest
from maninegs_sampling.cli_json import table_record
from maninegs_sampling.cli_pairs import add_metric_option
from maninegs_sampling.cli_tables import Rows, add_table_options, read_rows, repeated_options
from maninegs_sampling.data.storage import MAGIC
from maninegs_sampling.data.store import ManifestationStore
from maninegs_sampling.data.table_files import read_table
from maninegs_sampling.errors import InvalidValueError, TableError, check_count
from maninegs_sampling.orders.order_file import write_order
from maninegs_sampling.orders.rewriting import rewrite_shards
from maninegs_sampling.orders.shard_local import ShardLocalBatchSampler
from maninegs_sampling.orders.tar_shards import TarShards
from maninegs_sampling.quoting import escape_controls, quoted
from maninegs_sampling.sampling.drawer import Center, Duplicates
from maninegs_sampling.sampling.sampler import Coverage, ManiNegBatchSampler
from maninegs_sampling.sampling.schedules import LinearAnnealing


def add_order_command(commands: Any) -> None:
    """Add the command.

    Args:
        commands: What `ArgumentParser.add_subparsers` returned.
    """
    parser = commands.add_parser(
        "order", help="write hard batches to a file, for streams and shards"
    )
    parser.add_argument(
        "tables", nargs="+", metavar="TABLE", help="CSV or Parquet, or one saved store"
    )
    add_table_options(parser)
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("order.parquet"),
        metavar="FILE",
        help="the Parquet file; by default order.parquet",
    )
    parser.add_argument("--epochs", type=int, required=True, help="number of epochs")
    parser.add_argument("--batch-size", type=int, default=64, help="by default 64")
    parser.add_argument("--seed", type=int, default=0, help="by default 0")
    add_metric_option(parser)
    parser.add_argument(
        "--mu",
        type=float,
        nargs="+",
        help="mean of the distance distribution; or two, between which it moves in the first half "
        "of the epochs. Without, the settings are those of suggest",
    )
    parser.add_argument(
        "--sigma", type=float, help="standard deviation of the distance distribution"
    )
    parser.add_argument("--anchors-per-batch", type=int, default=1, help="clusters of a batch")
    parser.add_argument(
        "--center",
        choices=get_args(Center),
        default="anchor",
        help="what distances are measured from: the anchor, or all members of its cluster",
    )
    parser.add_argument(
        "--coverage",
        choices=get_args(Coverage),
        help="epoch: each instance is in one batch of an epoch",
    )
    parser.add_argument(
        "--duplicates",
        choices=get_args(Duplicates),
        help="what becomes of instances with equal patterns in a batch",
    )
    shards = parser.add_mutually_exclusive_group()
    shards.add_argument(
        "--rewrite",
        nargs="+",
        metavar="SHARD",
        help="webdataset's tar files, to be written again in the order; each epoch is a copy",
    )
    shards.add_argument(
        "--within",
        nargs="+",
        metavar="SHARD",
        help="webdataset's tar files, which stay; batches lie within --shards-per-window of them",
    )
    parser.add_argument(
        "--shards-out",
        type=Path,
        default=Path("shards"),
        metavar="DIR",
        help="folder for the rewritten shards; by default shards",
    )
    parser.add_argument(
        "--batches-per-shard", type=int, default=16, help="of a rewritten shard; by default 16"
    )
    parser.add_argument(
        "--shards-per-window", type=int, default=1, help="with --within; by default 1"
    )
    parser.add_argument(
        "--key",
        metavar="COLUMN",
        help="column with the samples' keys, for --rewrite; without, row i is the i-th sample",
    )
    parser.set_defaults(run=run_order)


def run_order(options: argparse.Namespace) -> dict[str, Any]:
    """Write the order and, with --rewrite, the shards. Return what was written.

    Args:
        options: The parsed command line.
    """
    if options.key is not None and not options.rewrite:
        raise InvalidValueError("--key is for --rewrite")
    store, rows = _read(options)
    keys = None if options.key is None or rows is None else _keys(rows, options.key)
    if options.rewrite:
        options.coverage = options.coverage or "epoch"
    settings = _settings(store, rows, options)
    sampler: ManiNegBatchSampler | ShardLocalBatchSampler
    if options.within:
        sizes = TarShards.find(options.within).sizes()
        sampler = ShardLocalBatchSampler(
            store, sizes, shards_per_window=options.shards_per_window, **settings
        )
    else:
        sampler = ManiNegBatchSampler(store, num_replicas=1, rank=0, **settings)
        print(sampler)
    order = write_order(sampler, options.out, epochs=options.epochs, progress=True)
    n_batches = sum(map(order.n_batches, range(order.n_epochs)))
    print(f"wrote {escape_controls(str(options.out))}: {n_batches} batches")
    wrote = [str(options.out)]
    if options.rewrite:
        shards = rewrite_shards(
            order, options.rewrite, options.shards_out, keys=keys, progress=True,
            batches_per_shard=options.batches_per_shard,
        )  # fmt: skip
        print(f"wrote {len(shards)} shards to {escape_controls(str(options.shards_out))}")
        wrote += map(str, shards)
    record: dict[str, Any] = {} if rows is None else table_record(rows)
    return record | {"epochs": order.n_epochs, "batches": n_batches, "wrote": wrote}


def _read(options: argparse.Namespace) -> tuple[ManifestationStore, Rows | None]:
    """Return the store that was saved, or that of the tables."""
    path = Path(options.tables[0])
    if not path.is_file():
        raise TableError(f"there is no file {path}")
    with path.open("rb") as file:
        saved = file.read(len(MAGIC)) == MAGIC
    if not saved:
        rows = read_rows(options)
        return rows.store, rows
    words = [*options.tables[1:], *repeated_options(options)]
    words += ["--key"] if options.key else []
    if words:
        raise InvalidValueError(f"{path} is a saved store, which is given alone; got {words[0]!r}")
    return ManifestationStore.load(path, mmap=True), None


def _keys(rows: Rows, column: str) -> NDArray[np.object_]:
    """Return the texts of a column of all tables."""
    texts: list[str | None] = []
    for table in rows.tables:
        frame = read_table(table) if isinstance(table, str) else table
        if column not in frame.columns:
            raise TableError(f"no column {quoted(column)}, which was to be the column of keys")
        texts += frame[column].cast(str).to_list()
    if None in texts:
        raise TableError(f"row {texts.index(None)} has no key in column {quoted(column)}")
    return np.array(texts, dtype=object)


def _settings(
    store: ManifestationStore, rows: Rows | None, options: argparse.Namespace
) -> dict[str, Any]:
    """Return the options of the sampler: those given, and else those of `suggest`."""
    batch_size = check_count("--batch-size", options.batch_size, at_least=2)
    epochs = check_count("--epochs", options.epochs, at_least=1)
    steps = max(1, epochs * (store.n_instances // batch_size))
    groups = None if rows is None else rows.groups
    given: dict[str, Any] = {
        "batch_size": batch_size,
        "groups": groups,
        "metric": options.metric,
        "anchors_per_batch": options.anchors_per_batch,
        "center": options.center,
    }
    if options.mu is None:
        settings = given | dict(suggest(store, steps=steps, coverage=options.coverage, **given))
    elif len(options.mu) > 2:
        raise InvalidValueError(f"--mu takes one or two numbers; got {options.mu}")
    else:
        first, last = options.mu[0], options.mu[-1]
        mu = first if len(options.mu) == 1 else LinearAnnealing(first, last, max(1, steps // 2))
        settings = given | {"mu": mu}
    chosen = {name: getattr(options, name) for name in ("sigma", "coverage", "duplicates")}
    settings |= {name: value for name, value in chosen.items() if value is not None}
    return settings | {"seed": options.seed}
