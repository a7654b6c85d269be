"""Encoding: the bits that the traits of a schema set in each row of a table."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from maninegs_sampling.data.patterns import pack
from maninegs_sampling.data.tables import Table, read_tables
from maninegs_sampling.data.traits import Trait
from maninegs_sampling.errors import TableError
from maninegs_sampling.quoting import listed, quoted

if TYPE_CHECKING:
    from maninegs_sampling.data.schema import Schema

# What a missing cell becomes; see `Schema`.
Missing = Literal["absent", "option", "error"]


def bit_names(trait: Trait, missing: Missing) -> tuple[str, ...]:
    """Return a name for each bit of a trait, with the bit for missing cells if there is one."""
    return trait.bit_names + ((f"{trait.name}=missing",) if missing == "option" else ())


def packed_batches(schema: "Schema", table: Any) -> Iterator[NDArray[np.uint64]]:
    """Yield the bits of a table, as (rows, words) uint64 for each of its parts.

    Args:
        schema: how a row becomes bits.
        table: as in `Schema.encode`.

    Raises:
        TableError: As in `Schema.encode`.
    """
    n_words = -(-len(schema.bit_names) // 64)
    for part in read_tables(table):
        words = np.zeros((part.n_rows, n_words), np.uint64)
        bit = 0
        for trait in schema.traits:
            patterns, codes = _encode_trait(trait, part, schema.missing, schema.is_missing)
            word, shift = divmod(bit, 64)
            packed = pack(np.pad(patterns, ((0, 0), (shift, 0))))
            words[:, word : word + packed.shape[1]] |= packed.take(codes, axis=0)
            bit += patterns.shape[1]
        yield words


def _encode_trait(
    trait: Trait, table: Table, missing: Missing, is_missing: Callable[[str], bool]
) -> tuple[NDArray[np.bool_], NDArray[np.intp]]:
    """Return distinct patterns of a trait's bits, (patterns, bits), and the pattern of each row."""
    column = next((c for c in trait.columns or (trait.name,) if c in table.names), None)
    n_bits = trait.n_bits + (missing == "option")
    if column is None:
        if trait.kind != "flag" and any(name in table.names for name in trait.bit_names):
            return _encode_spread(trait, table, missing, is_missing)
        if not trait.optional:
            wanted = " or ".join(map(quoted, trait.columns or (trait.name,)))
            raise TableError(
                f"{table.source} has no column {wanted} for trait {quoted(trait.name)}; "
                f"it has {listed(table.names)}"
            )
        empty = np.zeros((1, n_bits), np.bool_)
        empty[0, -1] = missing == "option"
        return empty, np.zeros(table.n_rows, np.intp)

    cells = table.column(column)
    patterns = np.zeros((len(cells.texts), n_bits), np.bool_)
    for place, text in enumerate(cells.texts):
        try:
            if not is_missing(text):
                patterns[place, trait.encode_text(text)] = True
            elif missing == "option":
                patterns[place, -1] = True
            elif missing == "error":
                raise ValueError('is missing, and missing="error" forbids that')
        except ValueError as error:
            where = table.row(cells.codes, place)
            raise TableError(f"{where}, column {quoted(column)}: {error}") from None
    return patterns, cells.codes


def _encode_spread(
    trait: Trait, table: Table, missing: Missing, is_missing: Callable[[str], bool]
) -> tuple[NDArray[np.bool_], NDArray[np.intp]]:
    """Encode a trait that is spread over 0/1 columns, one for each of its bits."""
    of_flag: Missing = "error" if missing == "error" else "absent"
    bits = np.zeros((table.n_rows, trait.n_bits + (missing == "option")), np.bool_)
    for bit, name in enumerate(trait.bit_names):
        flag = Trait(name, "flag", optional=True)
        patterns, codes = _encode_trait(flag, table, of_flag, is_missing)
        bits[:, bit] = patterns[:, 0].take(codes)
    several = np.flatnonzero(bits.sum(axis=1) > 1)
    if trait.kind != "any_of" and len(several) > 0:
        row = int(several[0])
        columns = [trait.bit_names[i] for i in np.flatnonzero(bits[row])]
        raise TableError(
            f"{table.source}, row {row} (the first is 0): columns {listed(columns)} are set "
            f"together, but {quoted(trait.name)} has mutually exclusive options"
        )
    if missing == "option":
        bits[:, -1] = ~bits.any(axis=1)
    return bits, np.arange(table.n_rows)
