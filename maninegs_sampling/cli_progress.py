"""Progress of the command on a terminal: what is being done, and for how long."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any

from maninegs_sampling.reports.entries import Entry, LeftOut

# Seconds before progress is shown, and between two displays.
DELAY, INTERVAL = 2.0, 1.0


def _bar(*args: Any, **options: Any) -> Any:
    """Return a progress bar of tqdm for terminals only, or None if tqdm is not installed."""
    try:
        from tqdm import tqdm
    except ImportError:
        return None
    return tqdm(
        *args,
        leave=False,
        file=sys.__stderr__,  # sys.stderr would escape what moves the cursor
        disable=None,  # disabled if that is not a terminal
        **options,
    )


@contextmanager
def progress(what: str) -> Iterator[None]:
    """Show on a terminal what is being done and for how long, if it takes over two seconds.

    Args:
        what: What is done inside the `with` block, such as "reading the table".
    """
    bar = _bar(desc=what, bar_format="{desc}: {elapsed}", miniters=0, mininterval=0, delay=DELAY)
    if bar is None or bar.disable:
        yield
        return
    done = Event()

    def show() -> None:
        wait = DELAY
        while not done.wait(wait):
            bar.update(0)
            wait = INTERVAL

    shower = Thread(target=show, daemon=True)
    shower.start()
    try:
        yield
    finally:
        done.set()
        shower.join()
        bar.close()


def with_progress(entries: Iterable[Entry | LeftOut]) -> Iterable[Entry | LeftOut]:
    """Return the same entries, with a progress bar on a terminal if tqdm is installed.

    Args:
        entries: The entries of samplers, each measured when it is asked for.
    """
    bar: Iterable[Entry | LeftOut] | None = _bar(entries, desc="measuring", unit=" samplers")
    return entries if bar is None else bar
