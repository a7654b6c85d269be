"""Values in messages: cut where they are long, escaped where they would act on a terminal."""

import unicodedata
from collections.abc import Iterable

_CHARACTERS, _ITEMS = 80, 10


def quoted(value: object) -> str:
    """Return `repr(value)`, cut to 80 characters.

    Example:
        >>> quoted("oval"), len(quoted("a" * 1_000_000))
        ("'oval'", 80)
    """
    text = repr(value)
    return text if len(text) <= _CHARACTERS else f"{text[: _CHARACTERS - 3]}..."


def listed(values: Iterable[object]) -> str:
    """Return the values as a list with at most ten items, each cut as `quoted` does.

    Example:
        >>> listed(["a", "b"]), listed(range(100))
        ("['a', 'b']", '[0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 90 more]')
    """
    values = list(values)
    items = ", ".join(map(quoted, values[:_ITEMS]))
    more = f" and {len(values) - _ITEMS} more" if len(values) > _ITEMS else ""
    return f"[{items}{more}]"


def escape_controls(text: str, *, keep: str = "") -> str:
    r"""Return `text` with escapes in place of characters that are not shown but act.

    These are control characters, bidirectional overrides, line separators and lone surrogates: all
    that Python's `repr` escapes, but for spaces of other widths.

    Args:
        text: from a table, a schema or a file name.
        keep: characters that stay.

    Example:
        >>> print(escape_controls("shape\n\x1b[31m=é"))
        shape\n\x1b[31m=é
    """
    return "".join(
        c
        if c.isprintable() or c in keep or unicodedata.category(c) == "Zs"
        else c.encode("unicode_escape").decode()
        for c in text
    )
