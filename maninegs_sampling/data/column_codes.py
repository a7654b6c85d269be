"""A column as codes: its distinct cells, and which of them each row has.

Only distinct cells pass through Python. The library of the table finds them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import polars

# narwhals' types of columns in which equal cells are written alike.
_PLAIN = {
    "String", "Categorical", "Enum", "Boolean", "Date", "Datetime", "Time", "Duration", "Decimal",
    "Float32", "Float64", "Int8", "Int16", "Int32", "Int64", "Int128",
    "UInt8", "UInt16", "UInt32", "UInt64", "UInt128",
}  # fmt: skip
# Python's types of which the same holds. Equal decimals or times may be written differently.
_PLAIN_CELLS = {str, int, float, bool, type(None)}


@dataclass(frozen=True)
class Column:
    """The cells of a column as codes.

    Attributes:
        texts: the distinct texts, as `cell_text` writes them, in the order in which they appear.
        codes: (rows,) intp, the index of each row's text in `texts`.
    """

    texts: list[str]
    codes: NDArray[np.intp]

    @classmethod
    def of(cls, texts: list[str], codes: NDArray[np.intp]) -> "Column":
        """Return the column of texts of which some may be equal."""
        place_of = {text: place for place, text in enumerate(dict.fromkeys(texts))}
        if len(place_of) < len(texts):
            codes = np.array([place_of[text] for text in texts]).take(codes)
        return cls(list(place_of), codes)

    @classmethod
    def join(cls, parts: "Sequence[Column]") -> "Column":
        """Return the column of all rows of the parts, one part after the other."""
        firsts = np.cumsum([0, *(len(part.texts) for part in parts)])
        codes = [first + part.codes for first, part in zip(firsts, parts, strict=False)]
        return cls.of([text for part in parts for text in part.texts], np.concatenate(codes))

    def first_row(self, code: int) -> int:
        """Return the first row with a code."""
        return int((self.codes == code).argmax())

    def counts(self) -> dict[str, int]:
        """Return the number of rows with each text, the texts in order of appearance."""
        counts = np.bincount(self.codes, minlength=len(self.texts)).tolist()
        return dict(zip(self.texts, counts, strict=True))


def distinct_cells(column: Any) -> tuple[list[Any], NDArray[np.intp]]:
    """Return the distinct cells of a column in order of appearance, and the index of each row's.

    Cells are distinct if they may be written differently: 1, 1.0 and True are, although they are
    equal. The same cell may be listed twice.

    Args:
        column: a narwhals series.

    Example:
        >>> import narwhals, polars
        >>> cells, codes = distinct_cells(narwhals.from_native(
        ...     polars.Series(["oval", None, "round", "oval"]), series_only=True
        ... ))
        >>> cells, codes.tolist()
        (['oval', None, 'round'], [0, 1, 2, 0])
    """
    native, library = column.to_native(), column.implementation
    is_plain = str(column.dtype).partition("(")[0] in _PLAIN
    if is_plain and library.is_polars():
        labels = _labels_of_polars(native)
    elif is_plain and library.is_pyarrow():
        labels = _labels_of_pyarrow(native)
    elif is_plain and library.is_pandas() and native.dtype != object:
        labels = native.factorize(use_na_sentinel=False)[0]
    else:
        return _distinct_objects(column.to_list())
    first_rows, codes = _in_order_of_appearance(labels)
    return column[first_rows.tolist()].to_list(), codes


def _labels_of_polars(series: "polars.Series") -> NDArray[Any]:
    import polars

    if isinstance(series.dtype, (polars.Categorical, polars.Enum)):
        labels = series.to_physical()
        if labels.null_count() > 0:
            labels = labels.cast(polars.Int64).fill_null(-1) + 1
        return labels.to_numpy()
    rows = series.rename("cell").to_frame().with_row_index("row")
    # The first row with each row's cell: several times as fast as numbering the distinct cells.
    return rows.select(polars.col("row").min().over("cell")).to_series().to_numpy()


def _labels_of_pyarrow(column: Any) -> NDArray[Any]:
    if not str(column.type).startswith("dictionary"):
        column = column.dictionary_encode()
    elif any(chunk.dictionary.null_count for chunk in column.chunks):  # these cannot be unified
        column = column.cast(column.type.value_type).dictionary_encode()
    chunks = [
        chunk.indices.cast("int64").fill_null(-1).to_numpy(zero_copy_only=False)
        for chunk in column.unify_dictionaries().chunks
    ]
    labels: NDArray[Any] = np.concatenate(chunks) + 1
    return labels


def _in_order_of_appearance(labels: NDArray[Any]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the first row of each label, ascending, and each row's index among them.

    Args:
        labels: (rows,) integers, none of them negative; some may not occur.

    Example:
        >>> _in_order_of_appearance(np.array([5, 2, 5, 2, 9]))
        (array([0, 1, 4]), array([0, 1, 0, 1, 2]))
    """
    backwards = np.arange(len(labels) - 1, -1, -1)
    row_of = np.full(int(labels.max()) + 1, -1)
    row_of[labels[::-1]] = backwards  # of several rows, the last one assigned stays
    used = np.flatnonzero(row_of >= 0)
    used = used[np.argsort(row_of[used])]
    code_of = np.zeros(len(row_of), np.intp)
    code_of[used] = np.arange(len(used))
    return row_of[used], code_of.take(labels)


def _distinct_objects(cells: list[Any]) -> tuple[list[Any], NDArray[np.intp]]:
    keys = [
        (type(cell), cell) if type(cell) in _PLAIN_CELLS else row for row, cell in enumerate(cells)
    ]
    first_row: dict[Any, int] = {}
    for row, key in enumerate(keys):
        first_row.setdefault(key, row)
    place = {key: place for place, key in enumerate(first_row)}
    codes = np.fromiter(map(place.__getitem__, keys), np.intp, len(keys))
    return [cells[row] for row in first_row.values()], codes
