"""Say so when Numba compiles this package's kernels for longer than a second."""

import sys
import threading

from numba.core import event

_PATIENCE = 1.0  # seconds of silence


class _Notice(event.Listener):
    """Writes one line to stderr, once in a process.

    Attributes:
        depth: kernels being compiled; one that calls others compiles them within its own time.
    """

    def __init__(self) -> None:
        self.depth = 0
        self._timer: threading.Timer | None = None
        self._shown = False

    def on_start(self, event: event.Event) -> None:
        if not self._shown and _is_ours(event):
            self.depth += 1
            if self._timer is None:
                self._timer = threading.Timer(_PATIENCE, self._show)
                self._timer.daemon = True
                self._timer.start()

    def on_end(self, event: event.Event) -> None:
        if self.depth and _is_ours(event):
            self.depth -= 1
            if self.depth == 0 and self._timer is not None:
                self._timer.cancel()
                self._timer = None

    def _show(self) -> None:
        if self._shown:
            return
        self._shown = True
        print(
            "maninegs_sampling: compiling its kernels, which takes from 8 seconds to a minute. "
            "They are kept on disk: the next process starts at once.",
            file=sys.stderr,
        )


def _is_ours(event: event.Event) -> bool:
    module = event.data["dispatcher"].py_func.__module__
    return bool(module.startswith("maninegs_sampling."))


def announce_compilation() -> None:
    """Watch Numba's compiler from now on."""
    event.register("numba:compile", _Notice())  # type: ignore[no-untyped-call]
