"""Encoding: the bits that one trait sets in each row of a table."""

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from maninegs_sampling.data.tables import Table
from maninegs_sampling.data.traits import Trait
from maninegs_sampling.errors import TableError
from maninegs_sampling.quoting import listed, quoted

# What a missing cell becomes; see `Schema`.
Missing = Literal["absent", "option", "error"]


def bit_names(trait: Trait, missing: Missing) -> tuple[str, ...]:
    """Return a name for each bit of a trait, with the bit for missing cells if there is one."""
    return trait.bit_names + ((f"{trait.name}=missing",) if missing == "option" else ())


def encode_trait(
    trait: Trait, table: Table, *, missing: Missing, is_missing: Callable[[str], bool]
) -> NDArray[np.bool_]:
    """Return the bits of one trait, (rows, bits) bool.

    Args:
        trait: the trait.
        table: the table to read.
        missing: what a missing cell becomes; see `Schema`.
        is_missing: returns whether the text of a cell counts as missing.

    Raises:
        TableError: If the table lacks the trait's column, or the trait does not allow a cell.
    """
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
        return empty.repeat(table.n_rows, axis=0)

    texts = table.texts(column)
    # Each distinct text is encoded once; there are far fewer than rows.
    places = {text: place for place, text in enumerate(dict.fromkeys(texts))}
    patterns = np.zeros((len(places), n_bits), np.bool_)
    for text, place in places.items():
        try:
            if not is_missing(text):
                patterns[place, trait.encode_text(text)] = True
            elif missing == "option":
                patterns[place, -1] = True
            elif missing == "error":
                raise ValueError('is missing, and missing="error" forbids that')
        except ValueError as error:
            raise TableError(
                f"{table.source}, row {texts.index(text)} (the first is 0), "
                f"column {quoted(column)}: {error}"
            ) from None
    codes = np.fromiter(map(places.__getitem__, texts), np.int64, len(texts))
    return patterns[codes]


def _encode_spread(
    trait: Trait, table: Table, missing: Missing, is_missing: Callable[[str], bool]
) -> NDArray[np.bool_]:
    """Encode a trait that is spread over 0/1 columns, one for each of its bits."""
    flags = [Trait(name, "flag", optional=True) for name in trait.bit_names]
    of_flag: Missing = "error" if missing == "error" else "absent"
    bits = np.concatenate(
        [encode_trait(flag, table, missing=of_flag, is_missing=is_missing) for flag in flags],
        axis=1,
    )
    several = np.flatnonzero(bits.sum(axis=1) > 1)
    if trait.kind != "any_of" and len(several) > 0:
        row = int(several[0])
        columns = [trait.bit_names[i] for i in np.flatnonzero(bits[row])]
        raise TableError(
            f"{table.source}, row {row} (the first is 0): columns {listed(columns)} are set "
            f"together, but {quoted(trait.name)} has mutually exclusive options"
        )
    if missing == "option":
        bits = np.concatenate([bits, ~bits.any(axis=1, keepdims=True)], axis=1)
    return bits
