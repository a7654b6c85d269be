"""Reading files some rows at a time, with the same cells as `read_table` with its defaults.

A CSV file is read twice. The first pass checks what can only be said of the whole file, and notes
where it can be cut between two rows. It gives up on any file that is out of the ordinary, and on
any mistake: `read_table` then reads the file whole, or says what is wrong.
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from maninegs_sampling.data.cells import number_text
from maninegs_sampling.data.table_files import (
    SNIFFED,
    cells_of,
    column_names,
    decoded,
    detect_separator,
    file_name,
    find_file,
    is_parquet,
    read_table,
    regular_shape,
)
from maninegs_sampling.errors import TableError
from maninegs_sampling.optional import require

if TYPE_CHECKING:
    import polars

# Bytes of a part of a CSV file.
_PART_BYTES = 2**23
# Rows of a part of a Parquet file.
_PART_ROWS = 2**18
# Lines that a quoted cell at the end of a part may have.
_MOST_LINES = 100
# Names of columns that are looked for in the text. If one never appears, no cell equals it. Names
# with quotes are not: in the text, these are doubled.
_MOST_SOUGHT = 3


@dataclass(frozen=True)
class Rows:
    """The rows of a file, which are read when they are asked for.

    Attributes:
        n_rows: how many there are.
        frames: the data frames of consecutive rows.
    """

    n_rows: int
    frames: "Iterator[polars.DataFrame]"


def read_rows(path: str | PathLike[str]) -> Rows:
    """Return the rows of a CSV, TSV or Parquet file.

    UTF-8 files and Parquet files are read in parts. These are read whole: other encodings, files
    of one column, files with decimal commas, and files whose quotes or line ends are irregular.

    Args:
        path: as in `read_table`.

    Raises:
        TableError: As in `read_table`.
        MissingExtraError: If polars is not installed.
    """
    require("polars", extra="table", what="reading files")
    file = find_file(path)
    if is_parquet(file):
        return _parquet_rows(file)
    parts = _csv_parts(file)
    if parts is not None:
        return Rows(sum(parts.n_rows), parts.frames())
    frame = read_table(path)
    return Rows(len(frame), iter([frame]))


def _parquet_rows(file: Path) -> Rows:
    import polars

    errors = (polars.exceptions.PolarsError, OSError, ValueError)

    def collect(table: "polars.LazyFrame") -> "polars.DataFrame":
        try:
            return table.collect()
        except errors as error:
            raise TableError(f"{file_name(file)} cannot be read as a table: {error}") from None

    def frames(n_rows: int) -> "Iterator[polars.DataFrame]":
        # An open file, because polars treats a path as a pattern.
        with file.open("rb") as content:
            table = polars.scan_parquet(content)
            for begin in range(0, max(1, n_rows), _PART_ROWS):
                yield collect(table.slice(begin, _PART_ROWS))

    with file.open("rb") as content:
        try:
            counted = polars.scan_parquet(content).select(polars.len())
        except errors as error:
            raise TableError(f"{file_name(file)} cannot be read as a table: {error}") from None
        n_rows = int(collect(counted).item())
    return Rows(n_rows, frames(n_rows))


class _CsvParts(NamedTuple):
    """Where a regular CSV file can be cut between two rows."""

    file: Path
    separator: str
    names: list[str]  # of the columns
    edges: list[int]  # the first byte of each part, and the end of the last one
    n_rows: list[int]  # of each part

    def frames(self) -> "Iterator[polars.DataFrame]":
        """Yield the table of each part."""
        import polars

        with self.file.open("rb") as content:
            for (begin, end), n_rows in zip(pairwise(self.edges), self.n_rows, strict=True):
                content.seek(begin)
                text = content.read(end - begin)
                frame = _parsed(text, self.separator)
                if frame is None or frame.shape != (n_rows, len(self.names)):
                    raise TableError(f"{file_name(self.file)} changed while it was read")
                frame.columns = self.names
                yield frame.with_columns(polars.all().replace("", None)) if b'""' in text else frame


def _parsed(text: bytes, separator: str) -> "polars.DataFrame | None":
    """Return the table of some rows, whose columns are not named yet; None if it is no table."""
    import polars

    try:
        return polars.read_csv(
            text.rstrip(b"\r\n"), separator=separator, has_header=False, infer_schema=False
        )
    except polars.exceptions.PolarsError:
        return None


def _csv_parts(file: Path) -> _CsvParts | None:
    """Return the parts of a file, or None if it must be read whole."""
    try:
        with file.open("rb") as content:
            return _find_parts(file, content)
    except (TableError, UnicodeDecodeError, csv.Error):
        return None  # reading the file whole reports what is wrong


def _find_parts(file: Path, content: BinaryIO) -> _CsvParts | None:
    found = _CsvParts(file, "", [], [], [])
    end, sought = 0, list[str]()
    for part, is_last in _whole_rows(content):
        text = part.decode()
        end += len(part)
        if not found.edges:
            found = _read_header(file, part, is_last)
            sought = [n for n in found.names if not number_text(n) and '"' not in n]
            sought = sorted(sought, key=len)[-_MOST_SOUGHT:]
            text = text.partition("\n")[2]
        ends = text[len(text.rstrip("\r\n")) :]
        if ends == text and is_last and found.n_rows:
            break  # blank lines after the last row
        n_rows, n_columns = regular_shape(text, found.separator) or (0, 0)
        if (
            n_columns != len(found.names)
            or (ends not in ("\n", "\r\n") and not is_last)  # blank lines
            or "\0" in text
            or ("," in text and found.separator != ",")  # a decimal comma, perhaps
        ):
            return None
        found.edges.append(end)
        found.n_rows.append(n_rows)
        sought = [name for name in sought if name not in text]
    return found if sought or not _looks_like_data(found) else None


def _read_header(file: Path, part: bytes, is_last: bool) -> _CsvParts:
    """Return the dialect of a file, and no parts yet.

    Args:
        file: the file.
        part: its first rows.
        is_last: whether these are all.
    """
    text = decoded(part, file_name(file), None)
    separator = detect_separator(text, file_name(file), file.suffix.lower())
    line = text.partition("\n")[0]
    if line.count('"') % 2 == 1 or (len(text) <= SNIFFED and not is_last):
        raise TableError("the first row is too long")
    names = column_names(cells_of(line, separator), file_name(file))
    return _CsvParts(file, separator, names, [part.find(b"\n") + 1], [])


def _looks_like_data(found: _CsvParts) -> bool:
    """Return whether each name that is no number may recur in its column."""
    columns = [i for i, name in enumerate(found.names) if not number_text(name)]
    if "" in found.names or not columns:
        return True
    for frame in found.frames():
        columns = [i for i in columns if not (frame[:, i] == found.names[i]).any()]
    return not columns


def _whole_rows(content: BinaryIO) -> Iterator[tuple[bytes, bool]]:
    """Yield some rows at a time, and whether they are the last ones."""
    part, block = b"", content.read(_PART_BYTES)
    while block:
        part, block = part + block, content.read(_PART_BYTES)
        end = _end_of_rows(part) if block else len(part)
        yield part[:end], not block
        part = part[end:]


def _end_of_rows(part: bytes) -> int:
    """Return where the last whole row ends."""
    end = len(part)
    for _ in range(_MOST_LINES):
        end = part.rfind(b"\n", 0, end)
        if end < 0:
            break
        if part.count(b'"', 0, end) % 2 == 0:  # not within a quoted cell
            return end + 1
    raise TableError("no row ends")
