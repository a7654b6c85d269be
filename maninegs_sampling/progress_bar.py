"""A progress bar, on a terminal and if tqdm is installed."""

import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress_bar(what: str, unit: str, *, shown: bool) -> Iterator[Callable[[int, int], None]]:
    """Return a function that moves a bar; it does nothing if the bar is not shown.

    Args:
        what: what is being done, before the bar.
        unit: what is counted, such as "rows".
        shown: whether to show the bar, if tqdm is installed and the standard error is a terminal.

    Returns:
        A function of how many units were done since it was last called, and how many there will be
        in all, as far as that is known.
    """
    if not shown or importlib.util.find_spec("tqdm") is None:
        yield lambda done, total: None
        return
    from tqdm import tqdm

    # sys.stderr may escape what moves the cursor; disable=None shows the bar on terminals only.
    with tqdm(
        desc=what, unit=f" {unit}", unit_scale=True, leave=False, file=sys.__stderr__, disable=None
    ) as bar:

        def advance(done: int, total: int) -> None:
            bar.total = total
            bar.update(done)

        yield advance
