"""Tables as text."""

from collections.abc import Iterable, Sequence

from maninegs_sampling.quoting import escape_controls


def text_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table as text, the first column aligned left and the others right.

    Control characters in a cell, including tabs and newlines, are escaped.

    Args:
        header: Names of the columns.
        rows: Cells of each row.

    Example:
        >>> print(text_table(("name", "n"), [("a", "10"), ("bc", "9")]))
        name   n
        a     10
        bc     9
    """
    cells = [tuple(map(escape_controls, row)) for row in (header, *rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    )
