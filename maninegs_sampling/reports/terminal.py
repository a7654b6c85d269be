"""Printing to a terminal, with control characters from tables and file names escaped."""

import atexit
import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any, TextIO, cast

from maninegs_sampling.quoting import escape_controls


def shell_word(word: str) -> str:
    r"""Return `word` quoted for a shell, in printable characters only.

    Args:
        word: A word of a command line, which may hold any bytes.

    Example:
        >>> print(shell_word("my cases.csv"), shell_word("caf\udce9.csv"))
        'my cases.csv' $'caf\xe9.csv'
    """
    if word.isprintable():
        return shlex.quote(word)
    shown = (
        chr(b) if 32 <= b < 127 and b not in b"'\\" else f"\\x{b:02x}" for b in os.fsencode(word)
    )
    return f"$'{''.join(shown)}'"


class _Escaping:
    """A text stream that escapes control characters, and characters that its encoding lacks."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        encoding = self._stream.encoding or "utf-8"
        shown = escape_controls(text, keep="\n")
        self._stream.write(shown.encode(encoding, "backslashreplace").decode(encoding))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def escaped_output() -> Iterator[None]:
    """Escape what is printed to standard output and standard error inside the `with` block."""
    out, err = (
        None if stream is None else cast(TextIO, _Escaping(stream))
        for stream in (sys.stdout, sys.stderr)
    )
    try:
        with redirect_stdout(out), redirect_stderr(err):
            yield
    finally:
        # Where colorama is installed, numba starts it. At exit it would reset colors in the
        # replaced standard output, which would show the escape sequence.
        if "colorama" in sys.modules:
            atexit.unregister(sys.modules["colorama"].initialise.reset_all)
