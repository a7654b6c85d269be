"""The decorator of Numba kernels, and a notice when they take longer than a second to compile."""

import sys
import threading
from collections.abc import Callable
from typing import Any

import numba
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


event.register("numba:compile", _Notice())  # type: ignore[no-untyped-call]


# Numba's options for every kernel of the package; `kernel` says why each is set.
OPTIONS: dict[str, Any] = {
    "nogil": True,
    "error_model": "numpy",
    "forceinline": True,
    "_nrt": False,
}


def kernel(function: Callable[..., Any]) -> Any:
    """Compile with the one set of options that every kernel of the package shares.

    nogil: slabs of rows run on plain Python threads, see `threads.run_on_threads`. Numba's own
    parallel regions start OpenMP, and a forked DataLoader worker of a process that ran OpenMP can
    hang or be killed.
    cache: compiled code is kept on disk, so that only the first process on a machine compiles. If
    no folder for it is writable, every process compiles.
    error_model: no branch for division by zero. No kernel divides by 0.
    forceinline, _nrt: kernels pass each other tuples of arrays. Inlined and without reference
    counting this costs nothing; with it, drawing a batch took eight times as long. In exchange, no
    kernel may allocate memory.
    fastmath is off: batches must not depend on how sums were reordered.
    """
    try:
        return numba.njit(cache=True, **OPTIONS)(function)
    except RuntimeError:  # Numba's answer where it can write neither beside the code nor at home
        return numba.njit(**OPTIONS)(function)
