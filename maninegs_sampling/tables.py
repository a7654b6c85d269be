"""Reading tables: pandas, polars, pyarrow (through narwhals) and paths to CSV or Parquet files."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from maninegs_sampling.errors import InvalidTypeError, MissingExtraError, TableError


class Table(NamedTuple):
    """One table: where it came from, for messages, and its columns as lists of Python values."""

    source: str
    columns: dict[str, list[Any]]
    n_rows: int


def _read_path(path: Path) -> Any:
    try:
        import polars
    except ImportError:
        raise MissingExtraError(
            "reading files needs polars: pip install 'maninegs-sampling[table]'"
        ) from None
    if not path.is_file():
        raise TableError(f"there is no file {path}")
    try:
        if path.suffix.lower() in (".parquet", ".pq"):
            return polars.read_parquet(path)
        separator = "\t" if path.suffix.lower() == ".tsv" else ","
        # Text, not guessed types: "01" stays "01", and numbers are recognised per column later.
        return polars.read_csv(path, infer_schema=False, separator=separator)
    except polars.exceptions.PolarsError as error:
        raise TableError(f"{path} cannot be read as a table: {error}") from None


def read_tables(table: Any) -> Iterator[Table]:
    """Yield the tables in `table`: a path, a data frame, or a list of these.

    Raises:
        TableError: a path that is not a readable table, or a table without rows.
        InvalidTypeError: anything that is not a table.
        MissingExtraError: narwhals, or for paths polars, is not installed.
    """
    try:
        import narwhals
    except ImportError:
        raise MissingExtraError(
            "tables need narwhals: pip install 'maninegs-sampling[table]'"
        ) from None
    parts = table if isinstance(table, (list, tuple)) else [table]
    if not parts:
        raise TableError("no table was given")
    for number, part in enumerate(parts, 1):
        if isinstance(part, (str, Path)):
            source, native = str(part), _read_path(Path(part))
        else:
            source = "the table" if len(parts) == 1 else f"table {number}"
            native = part
        try:
            frame = narwhals.from_native(native, eager_only=True)
        except TypeError:
            raise InvalidTypeError(
                "a table is a pandas, polars or pyarrow table, or a path to a CSV or Parquet file; "
                f"got {type(part).__name__}"
            ) from None
        if len(frame) == 0:
            raise TableError(f"{source} has no rows")
        columns = {name: frame[name].to_list() for name in frame.columns}
        yield Table(source, columns, len(frame))


def cell_text(value: Any) -> str:
    """Return a cell as text: "" for missing, "3" for 3 and 3.0, otherwise the stripped text.

    Example:
        >>> [cell_text(value) for value in (None, float("nan"), 3.0, 0.5, True, " Round ")]
        ['', '', '3', '0.5', '1', 'Round']
    """
    if value is None:
        return ""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, float):
        if value != value:
            return ""
        return str(int(value)) if value.is_integer() else repr(value)
    text = str(value)
    return "" if text in ("<NA>", "NaT") else text.strip()
