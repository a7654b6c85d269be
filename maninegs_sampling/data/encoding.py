"""Encoding: the bits that the traits of a schema set in each row of a table."""

from collections.abc import Callable, Iterator
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from maninegs_sampling.data.bit_layout import Missing, encoded_width, own_bits
from maninegs_sampling.data.patterns import pack
from maninegs_sampling.data.tables import Table, read_sources
from maninegs_sampling.data.traits import Trait
from maninegs_sampling.errors import TableError
from maninegs_sampling.progress_bar import progress_bar
from maninegs_sampling.quoting import listed, quoted
from maninegs_sampling.threads import Result, map_on_threads

if TYPE_CHECKING:
    from maninegs_sampling.data.schema import Schema


class _CellError(Exception):
    """A cell that a trait does not allow.

    Attributes:
        error: what is wrong.
        place: the number of the trait, and of the check within it. Of several errors, the one with
            the lowest place is what encoding the traits one by one would find first.
    """

    def __init__(self, error: TableError, *place: int) -> None:
        super().__init__(str(error))
        self.error, self.place = error, place


def encoded_batches(
    schema: "Schema",
    table: Any,
    use: Callable[[NDArray[np.uint64]], Result],
    *,
    progress: bool = False,
) -> Iterator[Result]:
    """Yield what is made of the bits of a table, some rows at a time, in their order.

    Few batches are in memory at a time. A table with a cell that is not allowed is read to its
    end, to find the first one of the first trait.

    Args:
        schema: how a row becomes bits.
        table: as in `Schema.encode`.
        use: makes something of (rows, words) uint64, the bits of some rows, on a thread.
        progress: whether to show a progress bar.

    Raises:
        TableError: As in `Schema.encode`.
    """

    def work(batch: Table) -> tuple[int, Result | _CellError]:
        try:
            return batch.n_rows, use(_packed(schema, batch))
        except _CellError as refused:
            return batch.n_rows, refused

    total = 0
    with progress_bar("encoding", "rows", shown=progress) as advance:
        for source in read_sources(table):
            total += source.n_rows
            refused = list[_CellError]()
            for n_rows, made in map_on_threads(work, source.batches):
                advance(n_rows, total)
                if isinstance(made, _CellError):
                    refused.append(made)
                else:
                    yield made
            if refused:
                raise min(refused, key=attrgetter("place")).error from None


def _packed(schema: "Schema", table: Table) -> NDArray[np.uint64]:
    """Return (rows, words), the bits of all traits; raise _CellError if a cell is not allowed."""
    words = np.zeros((table.n_rows, -(-schema.n_bits // 64)), np.uint64)
    bit = 0
    for number, trait in enumerate(schema.traits):
        try:
            patterns, codes = _encode_trait(trait, table, schema.missing, schema.is_missing)
        except TableError as error:
            raise _CellError(error, number) from None
        except _CellError as refused:
            raise _CellError(refused.error, number, *refused.place) from None
        halves = np.split(patterns, 2, axis=1) if schema.missing == "masked" else [patterns]
        for half, own in enumerate(halves):
            repeated = np.tile(own, (1, trait.weight))
            word, shift = divmod(bit + half * (schema.n_bits // 2), 64)
            packed = pack(np.pad(repeated, ((0, 0), (shift, 0))))
            words[:, word : word + packed.shape[1]] |= packed.take(codes, axis=0)
        bit += halves[0].shape[1] * trait.weight
    return words


def _encode_trait(
    trait: Trait, table: Table, missing: Missing, is_missing: Callable[[str], bool]
) -> tuple[NDArray[np.bool_], NDArray[np.intp]]:
    """Return distinct patterns of a trait's bits, (patterns, bits), and the pattern of each row.

    With missing="masked", the bits are followed by as many that say which of them are known.
    """
    column = next((c for c in trait.columns or (trait.name,) if c in table.names), None)
    n_bits = own_bits(trait, missing)
    width = encoded_width(trait, missing)
    if column is None:
        columns = _spread_columns(trait, table)
        if columns:
            return _encode_spread(trait, columns, table, missing, is_missing)
        if not trait.optional:
            wanted = " or ".join(map(quoted, trait.columns or (trait.name,)))
            raise TableError(
                f"{table.source} has no column {wanted} for trait {quoted(trait.name)}; "
                f"it has {listed(table.names)}"
            )
        empty = np.zeros((1, width), np.bool_)
        empty[0, -1] = missing == "option"
        return empty, np.zeros(table.n_rows, np.intp)

    cells = table.column(column)
    patterns = np.zeros((len(cells.texts), width), np.bool_)
    for place, text in enumerate(cells.texts):
        try:
            if not is_missing(text):
                patterns[place, trait.encode_text(text)] = True
                patterns[place, n_bits:] = True
            elif missing == "option":
                patterns[place, -1] = True
            elif missing == "error":
                raise ValueError('is missing, and missing="error" forbids that')
        except ValueError as error:
            where = f"{table.row(cells.codes, place)}, column {quoted(column)}"
            raise _CellError(TableError(f"{where}: {error}"), 1) from None
    return patterns, cells.codes


def _spread_columns(trait: Trait, table: Table) -> tuple[str, ...]:
    """Return the 0/1 columns that a trait is spread over: one for each option or ordered bit."""
    cumulative = set(trait.bit_names) - set(trait.option_names) if trait.ordered else set()
    if not cumulative.isdisjoint(table.names):
        lacking = [name for name in trait.bit_names if name not in table.names]
        if lacking:
            raise TableError(
                f"{table.source} lacks the columns {listed(lacking)} of ordered trait "
                f"{quoted(trait.name)}, and has others of its bits"
            )
        return trait.bit_names
    return trait.option_names if any(name in table.names for name in trait.option_names) else ()


def _encode_spread(
    trait: Trait,
    columns: tuple[str, ...],
    table: Table,
    missing: Missing,
    is_missing: Callable[[str], bool],
) -> tuple[NDArray[np.bool_], NDArray[np.intp]]:
    """Encode a trait that is spread over 0/1 columns.

    Exclusive options are known if one of them is set; others are known one by one.
    """
    of_flag: Missing = "absent" if missing == "option" else missing
    n_bits = own_bits(trait, missing)
    width = encoded_width(trait, missing)
    bits = np.zeros((table.n_rows, width), np.bool_)
    own = bits[:, : trait.n_bits]
    for bit, name in enumerate(columns):
        flag = Trait(name, "flag", optional=True)
        try:
            patterns, codes = _encode_trait(flag, table, of_flag, is_missing)
        except TableError as error:
            raise _CellError(error, bit) from None
        except _CellError as refused:
            raise _CellError(refused.error, bit, *refused.place) from None
        bits[:, bit::n_bits] = patterns.take(codes, axis=0)  # and whether it is known, if masked
    _check_spread(trait, columns, own, table)
    if trait.ordered and columns == trait.option_names:
        own[:] = np.logical_or.accumulate(own[:, ::-1], axis=1)[:, ::-1]
    if missing == "option":
        bits[:, -1] = ~own.any(axis=1)
    elif missing == "masked" and trait.kind != "any_of":
        bits[:, n_bits:] = own.any(axis=1, keepdims=True)
    return bits, np.arange(table.n_rows)


def _check_spread(
    trait: Trait, columns: tuple[str, ...], bits: NDArray[np.bool_], table: Table
) -> None:
    """Raise _CellError if columns are set together that exclude each other, or without others."""
    cumulative = columns != trait.option_names
    if cumulative:
        wrong = np.flatnonzero((bits[:, 1:] & ~bits[:, :-1]).any(axis=1))
    else:
        wrong = np.flatnonzero((bits.sum(axis=1) > 1) & (trait.kind != "any_of"))
    if len(wrong) == 0:
        return
    found = listed(np.array(columns)[bits[wrong[0]]].tolist())
    if cumulative:
        problem = f"columns {found} are set without all lower ones of {listed(columns)}"
    else:
        problem = (
            f"columns {found} are set together, but {quoted(trait.name)} has mutually exclusive "
            "options"
        )
    where = f"{table.source}, row {table.first_row + wrong[0]} (the first is 0)"
    raise _CellError(TableError(f"{where}: {problem}"), trait.n_bits)
