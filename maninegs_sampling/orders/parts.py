"""Parts of an order that is being written, so that a killed process goes on where it stopped."""

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from maninegs_sampling.errors import InvalidTypeError, InvalidValueError, StorageError
from maninegs_sampling.optional import require
from maninegs_sampling.quoting import quoted

if TYPE_CHECKING:
    import pyarrow

METADATA_KEY = b"maninegs_order"


class Parts:
    """A folder of Parquet files, each with consecutive batches of one epoch, and what made them.

    Args:
        path: where the order will be. The folder is beside it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._folder = path.with_name(f"{path.name}.parts")
        self._metadata = self._folder / "made_with.json"

    def __str__(self) -> str:
        return str(self._folder)

    def begin(self, made_with: dict[str, Any]) -> dict[str, Any]:
        """Return what the parts that are there were made with, or note `made_with`."""
        if self._metadata.exists():
            content: dict[str, Any] = json.loads(self._metadata.read_text(encoding="utf-8"))
            return content
        self._folder.mkdir(parents=True, exist_ok=True)
        unfinished = self._metadata.with_suffix(".unfinished")
        unfinished.write_text(json.dumps(made_with), encoding="utf-8")
        os.replace(unfinished, self._metadata)
        return made_with

    def files(self) -> list[Path]:
        """Return the finished parts in order."""
        return sorted(self._folder.glob("*.parquet"))

    def last_batch(self) -> tuple[int, int, list[int]] | None:
        """Return epoch, number and rows of the last batch written; None before the first."""
        files = self.files()
        if not files:
            return None
        epochs, numbers, rows = columns_of(self._read(files[-1]))
        return int(epochs[-1]), int(numbers[-1]), rows[numbers == numbers[-1]].tolist()

    def add(self, epoch: int, first: int, batches: Sequence[Sequence[int]]) -> None:
        """Write one more part.

        Args:
            epoch: the epoch of its batches.
            first: the number of its first batch.
            batches: one or more lists of row numbers.
        """
        parquet = require("pyarrow.parquet", extra="streams", what="write_order")
        unfinished = self._folder / "part.unfinished"
        with parquet.ParquetWriter(unfinished, schema(), compression="zstd") as writer:
            writer.write_table(_as_table(epoch, first, batches))
        os.replace(unfinished, self._folder / f"{len(self.files()):08d}.parquet")

    def join(self, made_with: dict[str, Any]) -> None:
        """Write the order, a row group for each part, and remove the parts."""
        parquet = require("pyarrow.parquet", extra="streams", what="write_order")
        unfinished = self._folder / "order.unfinished"
        metadata = {METADATA_KEY: json.dumps(made_with).encode()}
        described = schema().with_metadata(metadata)
        with parquet.ParquetWriter(unfinished, described, compression="zstd") as writer:
            for file in self.files():
                table = self._read(file)
                writer.write_table(table.replace_schema_metadata(metadata), len(table))
        os.replace(unfinished, self._path)
        self.remove()

    def _read(self, file: Path) -> "pyarrow.Table":
        arrow = require("pyarrow", extra="streams", what="write_order")
        parquet = require("pyarrow.parquet", extra="streams", what="write_order")
        try:
            return parquet.read_table(file)
        except (arrow.ArrowException, OSError) as error:
            raise StorageError(
                f"{file} is damaged ({error}); remove the folder {self}, to begin again"
            ) from error

    def remove(self) -> None:
        """Remove the folder if it is there."""
        if self._folder.exists():
            shutil.rmtree(self._folder)


def schema() -> "pyarrow.Schema":
    """Return the columns of an order."""
    arrow = require("pyarrow", extra="streams", what="an order")
    return arrow.schema([(name, arrow.int64()) for name in ("epoch", "batch", "row")])


def columns_of(table: "pyarrow.Table") -> Iterator[NDArray[np.int64]]:
    """Return the epochs, batch numbers and rows of a table."""
    return (table[name].to_numpy() for name in ("epoch", "batch", "row"))


def _as_table(epoch: int, first: int, batches: Sequence[Sequence[int]]) -> "pyarrow.Table":
    arrow = require("pyarrow", extra="streams", what="write_order")
    lengths = np.array([len(batch) for batch in batches])
    if not lengths.all():
        number = first + int(lengths.argmin())
        raise InvalidValueError(f"batch {number} of epoch {epoch} is empty")
    rows = np.array(list(chain.from_iterable(batches)))
    if rows.ndim != 1 or rows.dtype.kind not in "iu":
        raise InvalidTypeError(
            f"a sampler of batches must give lists of row numbers; got {quoted(batches[0])}"
        )
    if rows.min() < 0:
        raise InvalidValueError(f"row numbers must be at least 0; got {rows.min()}")
    numbers = np.repeat(np.arange(first, first + len(batches)), lengths)
    columns = [np.full(len(rows), epoch), numbers, rows.astype(np.int64)]
    return arrow.table([arrow.array(column) for column in columns], schema=schema())
