"""Cells of a table as texts. Numbers compare as numbers, and words without case."""

import re
from decimal import Decimal
from typing import Any

_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?", re.I)
_INFINITY = re.compile(r"([+-]?)inf(inity)?", re.I)
# What a number ends in. Looking at it first is many times as fast for most words.
_LAST_OF_NUMBER = frozenset("0123456789.fFyY")


def number_text(text: str) -> str | None:
    """Return the normal form of the number in `text`, or None if `text` is not a number.

    Integers of any size are kept exactly; other numbers are rounded to floats.

    Example:
        >>> [number_text(text) for text in ("01", "1.0", "+1", "1e0", ".50", "-0", "1,5", "1_000")]
        ['1', '1', '1', '1', '0.5', '0', None, None]
    """
    if text[-1:] not in _LAST_OF_NUMBER:
        return None
    if _NUMBER.fullmatch(text) is None:
        infinity = _INFINITY.fullmatch(text)
        return None if infinity is None else f"{infinity[1].strip('+')}inf"
    value = float(text)
    if value in (float("inf"), float("-inf")):
        return text.lower()  # too large for a float: compared as it is written
    if not value.is_integer():
        return repr(value)
    exact = Decimal(text)
    whole = int(exact)
    return str(whole if whole == exact else int(value))


def normal_form(text: str) -> str:
    """Return the form of `text` in which options are compared.

    Case, outer spaces and repeated spaces are ignored, and numbers compare as numbers.

    Example:
        >>> normal_form("  Well  Defined"), normal_form("2.0"), normal_form("≤2cm")
        ('well defined', '2', '<=2cm')
    """
    words = " ".join(text.split()).casefold().replace("≤", "<=").replace("≥", ">=")
    return number_text(words) or words


def cell_text(value: Any) -> str:
    """Return a cell as text: "" for missing, "3" for 3, 3.0 and "03", otherwise stripped.

    The text is the same whether a library converted the column to numbers or kept its texts.

    Example:
        >>> [cell_text(value) for value in (None, float("nan"), 3.0, "0.50", True, " Round ")]
        ['', '', '3', '0.5', 'True', 'Round']
    """
    if value is None:
        return ""
    if isinstance(value, float):
        return "" if value != value else str(number_text(repr(float(value))))
    text = str(value).strip()
    if text in ("<NA>", "NaT"):
        return ""
    return number_text(text) or text
