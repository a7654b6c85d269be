"""Orders: Parquet files of (epoch, batch, row), for readers that take no batch sampler."""

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from os import PathLike
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from maninegs_sampling.errors import (
    InvalidTypeError,
    InvalidValueError,
    StateError,
    StorageError,
    check_count,
)
from maninegs_sampling.optional import require
from maninegs_sampling.orders.parts import METADATA_KEY, Parts, columns_of, schema
from maninegs_sampling.quoting import quoted
from maninegs_sampling.sampling import state
from maninegs_sampling.sampling.base import ReproducibleBatchSampler

_VERSION = 1
# Rows of a part, which becomes a row group: what a writer and a reader hold in memory.
ROWS_PER_PART = 2**20


class EpochBatches(Protocol):
    """A sampler of batches whose epoch can be set, such as this package's."""

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the next pass."""

    def __iter__(self) -> Iterator[list[int]]:
        """Return the batches of an epoch."""


@dataclass(frozen=True)
class BatchOrder:
    """The batches in a file that `write_order` wrote.

    It can be sent to other processes, which then read the same file. A reader holds about a
    million rows in memory.

    Args:
        path: The file.

    Attributes:
        n_epochs: Number of epochs.
        made_with: The number of epochs, the sampler's class, the instances of its store, and its
            fingerprint. The latter two are None if it has none.

    Raises:
        StorageError: If the file is not an order, or is damaged.
        MissingExtraError: If pyarrow is not installed.

    Example:
        >>> import tempfile
        >>> import maninegs_sampling as mn
        >>> store = mn.ManifestationStore.from_dense(np.eye(8, dtype=bool))
        >>> sampler = mn.ManiNegBatchSampler(store, batch_size=4, mu=2.0)
        >>> order = mn.write_order(sampler, f"{tempfile.mkdtemp()}/order.parquet", epochs=3)
        >>> order.n_epochs, order.n_batches(0)
        (3, 2)
        >>> next(order.batches(2, start=1)) == sampler.batch(1, epoch=2)
        True
    """

    path: str | PathLike[str]
    n_epochs: int = field(init=False, compare=False)
    made_with: dict[str, Any] = field(init=False, repr=False, compare=False)
    # Of each row group: its epoch, its first batch and the one after its last.
    _groups: list[tuple[int, int, int]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not Path(self.path).is_file():
            raise StorageError(f"there is no file {quoted(str(self.path))}")
        parquet = require("pyarrow.parquet", extra="streams", what="an order")
        with _damage_named(self.path), parquet.ParquetFile(self.path) as file:
            made_with = _metadata(file, self.path)
            groups = [_extent(file.metadata.row_group(i)) for i in range(file.num_row_groups)]
        n_epochs = check_count("epochs", made_with["epochs"], at_least=1)
        expected = 0, 0
        for epoch, first, stop in groups:
            if (epoch, first) not in (expected, (expected[0] + 1, 0)) or epoch >= n_epochs:
                raise StorageError(f"{self.path} is damaged: its batches are not in order")
            expected = epoch, stop
        object.__setattr__(self, "n_epochs", n_epochs)
        object.__setattr__(self, "made_with", made_with)
        object.__setattr__(self, "_groups", groups)

    def n_batches(self, epoch: int) -> int:
        """Return the number of batches of an epoch.

        Args:
            epoch: In [0, `n_epochs`).

        Raises:
            InvalidTypeError, InvalidValueError: If there is no such epoch.
        """
        epoch = check_count("epoch", epoch, at_least=0, at_most=self.n_epochs - 1)
        return max((stop for its, _, stop in self._groups if its == epoch), default=0)

    def batches(
        self, epoch: int, start: int = 0, stop: int | None = None, step: int = 1
    ) -> Iterator[list[int]]:
        """Return an iterator over batches of an epoch, as lists of row numbers.

        Rank r of W takes `start=r, step=W`, so that the ranks' k-th batches belong together.

        Args:
            epoch: In [0, `n_epochs`).
            start: Number of the first batch.
            stop: Number of the batch to stop before. Default: the end of the epoch.
            step: Difference of the numbers of consecutive batches, at least 1.

        Raises:
            InvalidTypeError, InvalidValueError: If an argument is out of range.
        """
        n_batches = self.n_batches(epoch)
        start = check_count("start", start, at_least=0)
        stop = n_batches if stop is None else check_count("stop", stop, at_least=0)
        step = check_count("step", step, at_least=1)
        return self._read(epoch, range(start, min(stop, n_batches), step))

    def _read(self, epoch: int, wanted: range) -> Iterator[list[int]]:
        parquet = require("pyarrow.parquet", extra="streams", what="an order")
        for number, (its, first, stop) in enumerate(self._groups):
            # The first wanted batch that is not before this row group.
            skipped = max(0, -(-(first - wanted.start) // wanted.step))
            here = range(wanted[skipped:].start, min(stop, wanted.stop), wanted.step)
            if its != epoch or not here:
                continue
            with _damage_named(self.path), parquet.ParquetFile(self.path) as file:
                _, batch, rows = columns_of(file.read_row_group(number))
            edges = np.searchsorted(batch, np.arange(first, stop + 1))
            for k in here:
                yield rows[edges[k - first] : edges[k - first + 1]].tolist()


# Longer than 60 lines because of its docstring.
def write_order(
    sampler: EpochBatches, path: str | PathLike[str], *, epochs: int, progress: bool = False
) -> BatchOrder:
    """Write the batches of the first epochs to a Parquet file, and return it.

    The columns are epoch, batch (its number in the epoch) and row (an instance), all int64. The
    file is written in parts, in a folder beside it. If the process is killed, call the function
    again with the same sampler: it goes on after the last part, and the file is the same. A file
    that is there already is checked and kept. About a million rows are in memory at a time.

    Args:
        sampler: A batch sampler of this package, for one rank; or another object with `set_epoch`
            whose iteration gives lists of row numbers, and the same ones for the same epoch. Its
            epoch is changed.
        path: The file to write.
        epochs: Number of epochs, from epoch 0 on.
        progress: Whether to show a progress bar on a terminal.

    Raises:
        InvalidTypeError, InvalidValueError: If an argument cannot be used, or if a batch is empty
            or holds anything but row numbers.
        StateError: If the file or its parts hold batches of other data or options.
        StorageError: If the file or a part is damaged.
        MissingExtraError: If pyarrow or tqdm is not installed.

    Example:
        >>> import tempfile
        >>> import maninegs_sampling as mn
        >>> store = mn.ManifestationStore.from_dense(np.eye(8, dtype=bool))
        >>> sampler = mn.UniformDistinctBatchSampler(store, batch_size=4)
        >>> order = write_order(sampler, f"{tempfile.mkdtemp()}/order.parquet", epochs=2)
        >>> [len(batch) for batch in order.batches(1)]
        [4, 4]
    """
    require("pyarrow", extra="streams", what="write_order")
    epochs = check_count("epochs", epochs, at_least=1)
    _check_sampler(sampler)
    target = Path(path)
    made_with = _made_with(sampler, epochs)
    parts = Parts(target)
    if target.exists():
        order = BatchOrder(target)
        _check_made_with(sampler, made_with, order.made_with, target)
        epoch = order.n_epochs - 1
        last = order.n_batches(epoch) - 1
        _check_batch(sampler, epoch, last, next(order.batches(epoch, last)), target)
        parts.remove()  # left over if the process was killed here
        return order
    if not target.parent.is_dir():
        raise InvalidValueError(f"there is no folder {quoted(str(target.parent))}")
    kept = parts.begin(made_with)
    _check_made_with(sampler, made_with, kept, parts)
    begin, first = 0, 0
    if (reached := parts.last_batch()) is not None:
        begin, last, rows = reached
        _check_batch(sampler, begin, last, rows, parts)
        first = last + 1
    bar = require("tqdm", extra="streams", what="write_order").tqdm(
        desc="batches",
        unit="",
        leave=False,
        file=sys.__stderr__,
        disable=None if progress else True,
    )
    with bar:
        for epoch in range(begin, epochs):
            _write_epoch(sampler, epoch, first, parts, bar.update)
            first = 0
    parts.join(kept)
    return BatchOrder(target)


def _check_sampler(sampler: Any) -> None:
    if not callable(getattr(sampler, "set_epoch", None)) or not isinstance(sampler, Iterable):
        raise InvalidTypeError(
            f"sampler must have set_epoch and give batches; got {type(sampler).__name__}"
        )
    if isinstance(sampler, ReproducibleBatchSampler) and sampler.num_replicas != 1:
        raise InvalidValueError(
            f"an order holds the batches of all ranks; got a sampler of rank {sampler.rank} of "
            f"{sampler.num_replicas}. Make it with num_replicas=1, rank=0, and let rank r of W "
            "read the batches r, r + W, r + 2W and so on"
        )


def _made_with(sampler: EpochBatches, epochs: int) -> dict[str, Any]:
    """Return what is noted of a sampler, as JSON values."""
    fingerprint = None
    if isinstance(sampler, ReproducibleBatchSampler):
        fingerprint = sampler.state_dict()["fingerprint"]
    return {
        "version": _VERSION,
        "epochs": epochs,
        "n_rows": getattr(getattr(sampler, "store", None), "n_instances", None),
        "sampler": type(sampler).__name__,
        "fingerprint": fingerprint,
    }


def _check_made_with(
    sampler: EpochBatches, mine: dict[str, Any], theirs: dict[str, Any], where: object
) -> None:
    """Raise `StateError` if what is in `where` was made with something else."""
    for name in ("version", "epochs", "sampler", "n_rows"):
        if theirs.get(name) != mine[name]:
            raise StateError(
                f"{where} was made with {name}={quoted(theirs.get(name))}, not {mine[name]!r}; "
                "remove it or write elsewhere"
            )
    if isinstance(sampler, ReproducibleBatchSampler):
        stores = mine["fingerprint"]["stores"]
        try:
            sampler.load_state_dict(state.make_state(0, 0, theirs["fingerprint"]))
            if theirs["fingerprint"]["stores"] != stores:  # some were set since, for later epochs
                raise StateError(f"the sampler has other stores by now, {quoted(stores)}")
        except StateError as error:
            raise StateError(f"{where}: {error}; remove it or write elsewhere") from error


def _check_batch(
    sampler: EpochBatches, epoch: int, number: int, rows: list[int], where: object
) -> None:
    """Raise `StateError` unless the sampler draws this batch, too."""
    drawn = next(_batches_from(sampler, epoch, number), None)
    if drawn is None or [int(row) for row in drawn] != rows:
        raise StateError(
            f"{where} was made with other data or options: batch {number} of epoch {epoch} is "
            f"{quoted(rows)} there, and the sampler draws {quoted(drawn)}; remove it or write "
            "elsewhere"
        )


def _batches_from(sampler: EpochBatches, epoch: int, number: int) -> Iterator[list[int]]:
    """Return the batches of an epoch from `number` on."""
    if not isinstance(sampler, ReproducibleBatchSampler):
        sampler.set_epoch(epoch)
        return islice(iter(sampler), number, None)
    if number == len(sampler):
        return iter(())
    # Not set_epoch, which keeps a position within that epoch.
    here = {"epoch": epoch, "position": number}
    sampler.load_state_dict(sampler.state_dict() | here)
    return iter(sampler)


def _write_epoch(
    sampler: EpochBatches, epoch: int, first: int, parts: Parts, show: Callable[[int], object]
) -> None:
    """Write the batches of an epoch from `first` on as parts."""
    held: list[list[int]] = []
    n_rows = 0
    for batch in _batches_from(sampler, epoch, first):
        held.append(batch)
        n_rows += len(batch)
        if n_rows >= ROWS_PER_PART:
            parts.add(epoch, first, held)
            show(len(held))
            first += len(held)
            held, n_rows = [], 0
    if held:
        parts.add(epoch, first, held)
        show(len(held))
    elif first == 0:
        raise InvalidValueError(f"the sampler gives no batch in epoch {epoch}")


@contextmanager
def _damage_named(path: object) -> Iterator[None]:
    """Raise what pyarrow raises for a damaged file as a `StorageError`."""
    arrow = require("pyarrow", extra="streams", what="an order")
    try:
        yield
    except (arrow.ArrowException, OSError) as error:
        raise StorageError(f"{path} cannot be read as an order: {error}") from error


def _metadata(file: Any, path: object) -> dict[str, Any]:
    """Return what an order was made with."""
    metadata = file.schema_arrow.metadata or {}
    if METADATA_KEY not in metadata or not file.schema_arrow.equals(schema()):
        raise StorageError(f"{path} is not an order that write_order wrote")
    made_with: dict[str, Any] = json.loads(metadata[METADATA_KEY])
    if made_with.get("version") != _VERSION:
        raise StorageError(
            f"{path} has version {quoted(made_with.get('version'))}; this release reads {_VERSION}"
        )
    return made_with


def _extent(group: Any) -> tuple[int, int, int]:
    """Return a row group's epoch, its first batch and the one after its last."""
    epoch, batch = group.column(0).statistics, group.column(1).statistics
    return epoch.min, batch.min, batch.max + 1
