"""Cells of tables encoded one by one: the slow, obvious twin. Imports nothing of the package.

A trait and a schema are whatever has the attributes of `Trait` and `Schema`.
"""

import re
from decimal import Decimal
from math import inf, isfinite, isnan

TRUE = ("1", "true", "t", "yes", "y", "present")
FALSE = ("0", "false", "f", "no", "n", "absent")


def number(text):
    """The number in a text, written in one way; None if it is none."""
    if re.fullmatch(r"(?i)[+-]?inf(inity)?", text):
        return "-inf" if text.startswith("-") else "inf"
    if not re.fullmatch(r"(?i)[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?", text):
        return None
    value = float(text)
    if not isfinite(value):
        return text.lower()
    if value != int(value):
        return repr(value)
    exact = Decimal(text)
    return str(int(exact)) if exact == int(exact) else str(int(value))


def cell_text(cell):
    if cell is None or (isinstance(cell, float) and isnan(cell)):
        return ""
    text = repr(float(cell)) if isinstance(cell, float) else str(cell).strip()
    if text in ("<NA>", "NaT"):
        return ""
    return text if number(text) is None else number(text)


def form(text):
    """What two texts have in common that are the same option."""
    words = " ".join(text.split()).casefold().replace("≤", "<=").replace("≥", ">=")
    return words if number(words) is None else number(words)


def is_missing(schema, text):
    return form(text) in ("", "nan", *map(form, schema.missing_values))


def option(trait, word):
    """The index of the option that a word stands for, or None."""
    found = None
    for place, name in enumerate(trait.options):
        if form(name) == form(word):
            found = place
    for synonym, name in trait.synonyms:
        if form(synonym) == form(word):
            found = trait.options.index(name)
    return found


def encode_cell(schema, trait, cell):
    """The bits of one cell, or None if the trait does not allow it."""
    text = cell_text(cell)
    n_bits = {"flag": 1, "bins": len(trait.edges) + 1}.get(trait.kind, len(trait.options))
    missing = is_missing(schema, text)
    if missing and schema.missing == "error":
        return None
    bits = [False] * n_bits
    if not missing:
        if trait.kind == "flag":
            if trait.options and option(trait, text) is None:
                return None
            if not trait.options and form(text) not in TRUE + FALSE:
                return None
            bits[0] = option(trait, text) == 1 if trait.options else form(text) in TRUE
        elif trait.kind == "bins":
            if number(text) is None:
                return None
            value = float(number(text))
            for place, (low, high) in enumerate(
                zip((-inf, *trait.edges), (*trait.edges, inf), strict=True)
            ):
                bits[place] = low < value <= high or (place == 0 and value == -inf)
        else:
            words = [text]
            if trait.kind == "any_of" and option(trait, text) is None:
                words = text.split(trait.separator)
            for word in words:
                if option(trait, word) is None:
                    return None
                bits[option(trait, word)] = True
    if trait.ordered:
        # bit j says "option j or a higher one"
        bits = [any(bits[place:]) for place in range(n_bits)]
    return (bits + ([missing] if schema.missing == "option" else [])) * trait.weight


def encode(schema, columns):
    """The bits of each row; or the row and the column of the first cell that is not allowed.

    Args:
        schema: whose traits all have a column of their name.
        columns: the cells of each column.
    """
    rows = [[] for _ in next(iter(columns.values()))]
    known = [[] for _ in rows]
    for trait in schema.traits:
        for row, cell in enumerate(columns[trait.name]):
            bits = encode_cell(schema, trait, cell)
            if bits is None:
                return row, trait.name
            rows[row] += bits
            known[row] += [not is_missing(schema, cell_text(cell))] * len(bits)
    if schema.missing == "masked":
        return [row + of_row for row, of_row in zip(rows, known, strict=True)]
    return rows
