"""Reading one CSV, TSV or Parquet file. Its dialect is detected, or an option must state it."""

import codecs
import csv
import io
import re
from itertools import islice
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from maninegs_sampling.data.cells import normal_form, number_text
from maninegs_sampling.errors import InvalidTypeError, InvalidValueError, TableError
from maninegs_sampling.optional import require
from maninegs_sampling.quoting import listed, quoted

if TYPE_CHECKING:
    import polars

_SEPARATORS = (",", ";", "\t", "|")
_BOMS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16, whose mark begins this one
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_DECIMAL_COMMA = re.compile(r"[+-]?[0-9]*,[0-9]+(e[+-]?[0-9]+)?", re.I)
_THOUSANDS = re.compile(r"[+-]?[1-9][0-9]{0,2},[0-9]{3}")
_NO_NUMBER = {"", "na", "n/a", "nan", "null", "?"}
SNIFFED, _SNIFFED_ROWS = 10_000, 30  # characters and rows


# Longer than 60 lines because of its docstring.
def read_table(
    path: str | PathLike[str],
    *,
    separator: str | None = None,
    header: bool | None = None,
    encoding: str | None = None,
    decimal: str | None = None,
) -> "polars.DataFrame":
    """Return the table in a CSV, TSV or Parquet file, as a polars data frame.

    The cells of a CSV or TSV file are texts, or null if empty; those of a Parquet file keep their
    types. A path passed in place of a table is read with the defaults.

    Args:
        path: path of one file; ``*``, ``[`` and ``~`` are ordinary characters. Parquet files end in
            .parquet or .pq.
        separator: separator between cells; by default a tab in .tsv files, and otherwise
            the one of ``,``, ``;``, tab and ``|`` that gives the first rows equally many cells.
        header: whether the first row names the columns. If False, they are named column_1,
            column_2 and so on. By default the first row names them, and raises if it looks like
            data.
        encoding: encoding, such as "cp1252"; by default UTF-8, or UTF-16 or UTF-32 with a byte
            order mark.
        decimal: decimal sign, "," or "."; by default a comma if all numbers of a column are written
            with one and the separator is ``;``.

    Raises:
        TableError: If the file does not exist, is not a table, or can be read in several ways;
            the message names the line, or the option that decides.
        InvalidValueError: If an option has no such value, or is passed for a Parquet file.
        MissingExtraError: If polars is not installed.

    Example:
        >>> import tempfile, pathlib
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "cases.csv"
        >>> _ = path.write_text("shape;size\\nround;1,5\\noval;2,0\\n")
        >>> read_table(path).to_dicts()
        [{'shape': 'round', 'size': '1.5'}, {'shape': 'oval', 'size': '2.0'}]
    """
    polars = require("polars", extra="table", what="reading files")
    file = find_file(path)
    _check_options(separator, header, encoding, decimal)
    name = file_name(file)
    if is_parquet(file):
        given = {"separator": separator, "header": header, "encoding": encoding, "decimal": decimal}
        for option, value in given.items():
            if value is not None:
                raise InvalidValueError(f"{name} is a Parquet file, which takes no {option}=")
        return _read_parquet(file, name)
    text = decoded(file.read_bytes(), name, encoding)
    if separator is None:
        separator = detect_separator(text, name, file.suffix.lower())
    first, frame = _parsed(text, name, separator, header)
    if header is False:
        names = [f"column_{number}" for number in range(1, len(first) + 1)]
    else:
        names = column_names(first, name)
        if header is None and _looks_like_data(names, frame):
            raise TableError(
                f"{name}: the first line looks like data: {listed(names)}; give header=False "
                "(--no-header) if it is, or header=True (--header) if it names the columns"
            )
    frame.columns = names
    if decimal == "," or (decimal is None and separator != ","):
        frame = _with_decimal_points(frame, name, separator, decimal)
    return frame.with_columns(polars.all().replace("", None)) if '""' in text else frame


def find_file(path: str | PathLike[str]) -> Path:
    """Return the path of a file that exists, or raise."""
    if not isinstance(path, (str, PathLike)):
        raise InvalidTypeError(f"a path is a text or a pathlib.Path; got {quoted(path)}")
    file = Path(path)
    if file.is_dir():
        raise TableError(f"{file_name(file)} is a folder, not a file")
    if not file.is_file():
        raise TableError(f"there is no file {file_name(file)}")
    return file


def is_parquet(file: Path) -> bool:
    """Return whether a file is named like a Parquet file."""
    return file.suffix.lower() in (".parquet", ".pq")


def _read_parquet(file: Path, name: str) -> "polars.DataFrame":
    import polars

    # An open file, because polars treats a path as a pattern.
    with file.open("rb") as content:
        try:
            return polars.read_parquet(content)
        except (polars.exceptions.PolarsError, OSError, ValueError) as error:
            raise TableError(f"{name} cannot be read as a table: {error}") from None


def _parsed(
    text: str, name: str, separator: str, header: bool | None
) -> tuple[list[str], "polars.DataFrame"]:
    """Return the cells of the first row, and the table, whose columns are not named yet."""
    import polars

    line = text.partition("\n")[0]
    if separator.isascii() and line.count('"') % 2 == 0 and regular_shape(text, separator):
        # Several times as fast as _rows, which reports what is wrong in other files.
        return cells_of(line, separator), polars.read_csv(
            text.rstrip("\r\n").encode(),
            separator=separator,
            has_header=header is not False,
            infer_schema=False,
        )
    rows = _rows(text, name, separator, header)
    cells = rows if header is False else rows[1:]
    columns = {f"{i}": [row[i] or None for row in cells] for i in range(len(rows[0]))}
    return rows[0], polars.DataFrame(columns, schema=dict.fromkeys(columns, polars.String))


def cells_of(line: str, separator: str) -> list[str]:
    """Return the cells of a line that is a whole row."""
    return next(csv.reader([line.rstrip("\r")], delimiter=separator))


def file_name(path: Path) -> str:
    """Return a path as printable text; bytes that are not text are escaped."""
    return str(path).encode("utf-8", "backslashreplace").decode()


def _check_options(separator: object, header: object, encoding: object, decimal: object) -> None:
    if separator is not None and (
        not isinstance(separator, str) or len(separator) != 1 or separator in '"\r\n\0'
    ):
        raise InvalidValueError(
            f"separator must be one character, and no quote or line end; got {quoted(separator)}"
        )
    if header is not None and not isinstance(header, bool):
        raise InvalidTypeError(f"header must be True, False or None; got {quoted(header)}")
    if decimal not in (None, ",", "."):
        raise InvalidValueError(f"decimal must be ',' or '.'; got {quoted(decimal)}")
    if encoding is not None:
        try:
            b"ab".decode(encoding, "ignore")  # type: ignore[arg-type]
        except (LookupError, TypeError, ValueError):
            raise InvalidValueError(
                f"encoding must be one that Python knows, such as 'utf-8' or 'cp1252'; "
                f"got {quoted(encoding)}"
            ) from None


def decoded(content: bytes, name: str, encoding: str | None) -> str:
    """Return the text of a file, or raise if it cannot be that of a table."""
    if encoding is None:
        marked = (found for mark, found in _BOMS.items() if content.startswith(mark))
        codec = next(marked, "utf-8")
    else:
        codec = encoding
    try:
        text = content.decode(codec)
    except UnicodeDecodeError as error:
        line = content[: error.start].decode(codec, "ignore").count("\n") + 1
        bad = content[error.start : error.start + 1].hex()
        raise TableError(
            f"{name}, line {line}: byte 0x{bad} is not {codec}; give the file's encoding=, such as "
            "'cp1252' for Western European text"
        ) from None
    except UnicodeError as error:
        raise TableError(f"{name} is not {codec}: {error}; give the file's encoding=") from None
    text = text.removeprefix("\ufeff")
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise TableError(
            f"{name}, line {line}: a NUL character, which no table holds; if the file is UTF-16 "
            "without a byte order mark, give encoding='utf-16-le' or 'utf-16-be'"
        )
    if not text.strip():
        raise TableError(f"{name} is empty")
    if re.match(r"sep=.?[\r\n]", text):
        raise TableError(
            f"{name}, line 1: {text[:5]!r} is for Excel and names no columns; remove this line"
        )
    return text


def regular_shape(text: str, separator: str) -> tuple[int, int] | None:
    """Return the rows and the columns of a text whose lines have equally many cells.

    Return None for other texts, for one column, and if quotes enclose parts of cells.
    """
    # Every second piece is in quotes, where separators and line ends do not count. An empty piece
    # between two of them is an escaped quote.
    pieces = text.rstrip("\r\n").split('"')
    outside = pieces[::2]
    ends = {"", separator, "\n", "\r"}
    if (
        len(pieces) % 2 == 0
        or not {piece[:1] for piece in outside[1:]} <= ends
        or not {piece[-1:] for piece in outside[:-1]} <= ends
    ):
        return None
    lines = "".join(outside).split("\n")
    cuts = {line.count(separator) for line in lines}
    returns = "\r" in text and any(p.count("\r") > p.count("\r\n") for p in outside)
    if len(cuts) > 1 or cuts == {0} or returns:
        return None
    return len(lines), cuts.pop() + 1


def detect_separator(text: str, name: str, suffix: str) -> str:
    """Return the only separator that gives the first rows equally many cells, or raise."""
    first = text.lstrip().partition("\n")[0]
    if suffix == ".tsv" and "\t" in first:
        return "\t"
    head = text[: text.find("\n", SNIFFED)] if "\n" in text[SNIFFED:] else text
    widths: dict[str, list[int]] = {}
    for separator in _SEPARATORS:
        if separator not in head:
            continue
        reader = csv.reader(io.StringIO(head, newline=""), delimiter=separator)
        try:
            widths[separator] = [len(row) for row in islice(reader, _SNIFFED_ROWS) if row]
        except csv.Error:
            widths[separator] = [0]  # reading the rows reports what is wrong
        if len(head) < len(text) and len(widths[separator]) > 1:
            widths[separator].pop()  # the row may continue after the head
    fitting = [s for s, found in widths.items() if len(set(found)) == 1 and found[0] > 1]
    if len(fitting) == 1:
        return fitting[0]
    in_header = [s for s in _SEPARATORS if s in first]
    if not fitting and len(in_header) == 1:
        return in_header[0]
    below = [s for s, found in widths.items() if len(set(found[1:])) == 1 and found[1] > 1]
    if not in_header and not below:
        words = [len(line.split()) for line in head.splitlines() if line.strip()]
        if len(words) == 1 or len(set(words)) > 1 or words[0] == 1:
            return ","  # one column
    choices = fitting or in_header or below or [" "]
    raise TableError(
        f"{name} may be cut at {' or '.join(map(repr, choices))}; give separator= (--separator), "
        f"such as separator={choices[0]!r}, or another one"
    )


def _rows(text: str, name: str, separator: str, header: bool | None) -> list[list[str]]:
    """Return all rows, of equal length, without trailing blank lines."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    rows: list[list[str]] = []
    line, blank = 1, 0
    try:
        for row in reader:
            if not row:
                blank = blank or line
            elif blank:
                raise TableError(
                    f"{name}, line {blank}: a blank line inside the table; remove it, or write "
                    "its missing cells with separators"
                )
            elif rows and len(row) != len(rows[0]):
                number = len(rows) - (header is not False)
                raise TableError(
                    f"{name}, row {number} (the first is 0; line {line}): {len(row)} cells where "
                    f"the first line has {len(rows[0])}: {listed(row)}"
                )
            else:
                rows.append(row)
            line = reader.line_num + 1
    except csv.Error as error:
        raise TableError(
            f"{name} cannot be read as a table: the row that begins in line {line} is not "
            f"complete ({error}); is a quote left open?"
        ) from None
    return rows


def column_names(first: list[str], name: str) -> list[str]:
    """Return the names in the first line, or raise if two are the same."""
    first = [word.strip() for word in first]
    twice = next((word for i, word in enumerate(first) if word in first[:i]), None)
    if twice is not None:
        raise TableError(
            f"{name}: the first line has {quoted(twice)} twice, so it does not name the columns; "
            "give header=False (--no-header) if it is data, or rename them"
        )
    return first


def _looks_like_data(first: list[str], frame: "polars.DataFrame") -> bool:
    """Return whether each cell of the first row is a number or recurs in its column."""
    if all(number_text(word.strip()) for word in first if word.strip()):
        return True
    return all(
        number_text(word.strip()) or (column == word).any()
        for word, column in zip(first, frame.iter_columns(), strict=True)
    )


def _with_decimal_points(
    frame: "polars.DataFrame", name: str, separator: str, decimal: str | None
) -> "polars.DataFrame":
    """Return the table with decimal points in the columns that have decimal commas."""
    for column in frame.iter_columns():
        distinct = {text: text.strip() for text in column.unique() if text is not None}
        with_comma = {t: s for t, s in distinct.items() if _DECIMAL_COMMA.fullmatch(s)}
        others = [s for t, s in distinct.items() if t not in with_comma]
        if not with_comma or any("," in text for text in others):
            continue  # no numbers, or sets of them
        if decimal is None:
            if not all(number_text(s) or normal_form(s) in _NO_NUMBER for s in others):
                continue
            thousands = all(map(_THOUSANDS.fullmatch, with_comma.values()))
            if separator != ";" or thousands or any("." in s for s in others):
                raise TableError(
                    f"{name}: column {quoted(column.name)} holds numbers such as "
                    f"{quoted(min(with_comma.values()))}; give decimal=',' (--decimal) if the "
                    "comma begins the decimals, or decimal='.' if it does not"
                )
        points = {text: number.replace(",", ".") for text, number in with_comma.items()}
        frame = frame.with_columns(column.replace(points))
    return frame
