"""Reading tables: pandas, polars and pyarrow (through narwhals) and paths to files.

Tables are read some rows at a time, so that a file need not fit the memory.
"""

import datetime
import numbers
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from maninegs_sampling.data.cells import cell_text
from maninegs_sampling.data.column_codes import Column, distinct_cells
from maninegs_sampling.data.table_batches import read_rows
from maninegs_sampling.data.table_files import file_name
from maninegs_sampling.errors import InvalidTypeError, TableError
from maninegs_sampling.optional import require
from maninegs_sampling.quoting import listed, quoted

# The types of a cell; pandas has its own types for missing cells and periods.
_CELLS = (str, numbers.Number, np.generic, datetime.date, datetime.time, datetime.timedelta)
_CELLS_BY_NAME = {"NoneType", "NAType", "NaTType", "Period", "Interval", "UUID"}

# Rows that are encoded at a time by one thread.
_BATCH_ROWS = 2**18


@dataclass(frozen=True)
class Table:
    """Consecutive rows of a table.

    Attributes:
        source: what the table is called in messages.
        names: the names of the columns.
        first_row: the number of the first row in the table.
        n_rows: the number of rows.
    """

    source: str
    names: tuple[str, ...]
    first_row: int
    n_rows: int
    _frame: Any

    def column(self, name: str) -> Column:
        """Return the cells of a column.

        Raises:
            TableError: If a cell is neither a text, a number, a date nor a time, such as a list.
        """
        column = self._frame[name]
        cells, codes = distinct_cells(column)
        if str(column.dtype) == "Float32":
            # the shortest text of a float32: 0.1, not 0.10000000149
            cells = [None if cell is None else str(np.float32(cell)) for cell in cells]
        for kind in dict.fromkeys(map(type, cells)):
            if kind.__name__ in _CELLS_BY_NAME or (
                issubclass(kind, _CELLS) and not issubclass(kind, (np.bytes_, np.void))
            ):
                continue
            place, cell = next((i, cell) for i, cell in enumerate(cells) if type(cell) is kind)
            raise TableError(
                f"{self.row(codes, place)}, column {quoted(name)}: a cell of type "
                f"{kind.__name__}, {quoted(cell)}, is neither a text, a number nor a date"
            )
        return Column.of([cell_text(cell) for cell in cells], codes)

    def row(self, codes: NDArray[np.intp], code: int) -> str:
        """Return the source and the number of the first row with a code, for messages."""
        row = self.first_row + int((codes == code).argmax())
        return f"{self.source}, row {row} (the first is 0)"

    def batches(self) -> "Iterator[Table]":
        """Yield the same rows, at most _BATCH_ROWS at a time."""
        for begin in range(0, self.n_rows, _BATCH_ROWS):
            frame = self._frame[begin : begin + _BATCH_ROWS]
            yield Table(self.source, self.names, self.first_row + begin, len(frame), frame)


class Source(NamedTuple):
    """A whole table."""

    n_rows: int
    batches: Iterator[Table]  # its rows, which are read when they are asked for


def _with_text_names(native: Any, source: str) -> Any:
    """Return a pandas data frame whose columns are named by texts."""
    names = []
    for name in native.columns:
        text = cell_text(name) if isinstance(name, _CELLS) and not isinstance(name, str) else name
        if not isinstance(text, str) or (text == "" and not isinstance(name, str)):
            kind = "a tuple (a MultiIndex)" if isinstance(name, tuple) else type(name).__name__
            raise TableError(f"{source} has a column whose name is {kind}: {quoted(name)}")
        names.append(text)
    return native if names == list(native.columns) else native.set_axis(names, axis=1)


def _check_distinct(names: list[str], source: str) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise TableError(f"{source} has several columns with the same name: {listed(twice)}")


def _make(native: Any, source: str, first_row: int) -> Table:
    import narwhals

    names: list[str] = []
    if narwhals.dependencies.is_pandas_dataframe(native):
        native = _with_text_names(native, source)
        names = list(native.columns)
    elif narwhals.dependencies.is_pyarrow_table(native):
        names = list(native.column_names)
    _check_distinct(names, source)
    try:
        frame = narwhals.from_native(native, eager_only=True)
    except TypeError:
        raise InvalidTypeError(
            "a table is a pandas, polars or pyarrow table, or a path to a CSV or Parquet file; "
            f"got {type(native).__name__}"
        ) from None
    if not frame.columns:
        raise TableError(f"{source} has no columns")
    if len(frame) == 0:
        raise TableError(f"{source} has no rows")
    stripped = [name.strip() for name in frame.columns]  # as cells are, and as files are read
    _check_distinct(stripped, source)
    frame = frame.rename(dict(zip(frame.columns, stripped, strict=True)))
    return Table(source, tuple(frame.columns), first_row, len(frame), frame)


def _batches_of_frames(frames: Iterable[Any], source: str) -> Iterator[Table]:
    first_row = 0
    for frame in frames:
        table = _make(frame, source, first_row)
        first_row += table.n_rows
        yield from table.batches()


def read_sources(table: Any) -> Iterator[Source]:
    """Yield the tables in `table`: a path, a data frame, or a list of these.

    Raises:
        TableError: If a path is not a readable table, or a table has no rows, no columns, or two
            columns with the same name; for paths, when the batches are read.
        InvalidTypeError: If a part is not a table.
        MissingExtraError: If narwhals, or polars for paths, is not installed.
    """
    require("narwhals", extra="table", what="reading tables")
    parts = table if isinstance(table, (list, tuple)) else [table]
    if not parts:
        raise TableError("no table was given")
    for number, part in enumerate(parts, 1):
        if isinstance(part, (str, PathLike)):
            rows = read_rows(part)
            yield Source(rows.n_rows, _batches_of_frames(rows.frames, file_name(Path(part))))
        else:
            whole = _make(part, "the table" if len(parts) == 1 else f"table {number}", 0)
            yield Source(whole.n_rows, whole.batches())


def read_tables(table: Any) -> Iterator[Table]:
    """Yield the rows of all tables in `table`, some at a time.

    Raises:
        TableError: As `read_sources`.
        InvalidTypeError: As `read_sources`.
        MissingExtraError: As `read_sources`.
    """
    for source in read_sources(table):
        yield from source.batches
