"""The state of a batch sampler as plain values: epoch, position, and a fingerprint."""

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from numpy.typing import NDArray

from maninegs_sampling.errors import StateError, check_count
from maninegs_sampling.quoting import quoted
from maninegs_sampling.sampling.schedules import (
    Constant,
    CosineAnnealing,
    ExponentialAnnealing,
    LinearAnnealing,
    Schedule,
    StepwiseAnnealing,
)

STATE_VERSION = 1

_KEYS = {"version", "epoch", "position", "fingerprint"}


def is_built_in(schedule: Schedule) -> bool:
    """Return whether `schedule` is one of this package's.

    Such a schedule has a value at every step, and its repr identifies it. Any other function is
    called only for steps that are drawn: it may read a table that ends with the training.
    """
    if type(schedule) is StepwiseAnnealing:
        return is_built_in(schedule.schedule)
    return type(schedule) in (Constant, LinearAnnealing, CosineAnnealing, ExponentialAnnealing)


class DrawnSteps:
    """Steps whose batches were drawn, as far as a fingerprint names them: 0, 1, 2, 4, 8, ..., last.

    Step 0 always counts as drawn: a sampler asks for it when it is made.
    """

    def __init__(self) -> None:
        self._steps = {0}
        self._last = 0

    def note(self, first: int, count: int) -> None:
        """Note that the batches of `count` steps from `first` on were drawn."""
        self._last = first + count - 1
        power = 1 << max(0, first - 1).bit_length()
        while power <= self._last:
            self._steps.add(power)
            power *= 2

    def add(self, steps: Iterable[int]) -> None:
        """Add the steps of a state that is resumed."""
        self._steps.update(steps)

    def __iter__(self) -> Iterator[int]:
        return iter(sorted({*self._steps, self._last}))


def schedule_fingerprint(
    schedule: Schedule, mu_at: Callable[[int], float], drawn: Iterable[int]
) -> dict[str, Any]:
    """Return the values of a schedule at steps that were drawn.

    Args:
        schedule: from step to mu.
        mu_at: the same, with its values checked.
        drawn: the steps.
    """
    steps = list(drawn)
    return {
        "name": repr(schedule) if is_built_in(schedule) else None,
        "steps": steps,
        "values": [mu_at(step) for step in steps],
    }


def check_schedule(theirs: Any, schedule: Schedule, mu_at: Callable[[int], float]) -> None:
    """Raise unless `schedule` has the values of the fingerprint `theirs`.

    Raises:
        StateError: If a value differs, or if `theirs` is not the fingerprint of a schedule.
    """
    if not _is_schedule_fingerprint(theirs):
        raise StateError(f"the state does not say what mu was; got {quoted(theirs)}")
    name = theirs["name"]
    if name is not None and is_built_in(schedule) and name != repr(schedule):
        raise StateError(f"the state was made with mu={name}; this sampler has mu={schedule!r}")
    for step, value in zip(theirs["steps"], theirs["values"], strict=True):
        try:
            mine = mu_at(step)
        except Exception as error:
            raise StateError(
                f"the state was made with mu={value!r} at step {step}; this sampler's mu fails "
                f"there: {error!r}"
            ) from error
        if not math.isclose(mine, value, rel_tol=1e-9, abs_tol=1e-12):
            raise StateError(
                f"the state was made with mu={value!r} at step {step}; this sampler has mu={mine!r}"
            )


def _is_schedule_fingerprint(value: Any) -> bool:
    if not isinstance(value, dict) or set(value) != {"name", "steps", "values"}:
        return False
    steps, values = value["steps"], value["values"]
    return (
        (value["name"] is None or isinstance(value["name"], str))
        and isinstance(steps, list)
        and isinstance(values, list)
        and len(steps) == len(values) <= 100
        and all(type(step) is int and 0 <= step < 2**62 for step in steps)
        and all(type(mu) in (int, float) and abs(mu) < 1e9 for mu in values)
    )


def make_state(epoch: int, position: int, fingerprint: Mapping[str, Any]) -> dict[str, Any]:
    """Return a state."""
    return {
        "version": STATE_VERSION,
        "epoch": epoch,
        "position": position,
        "fingerprint": dict(fingerprint),
    }


def read_state(state: Any) -> tuple[int, int, dict[str, Any]]:
    """Return epoch, position and fingerprint of a state.

    Raises:
        StateError: If it is not a state, or has another version.
    """
    if not isinstance(state, dict) or set(state) != _KEYS:
        got = sorted(map(repr, state)) if isinstance(state, dict) else type(state).__name__
        raise StateError(f"a sampler state has the keys {sorted(_KEYS)}; got {got!s:.200}")
    version = state["version"]
    if type(version) is not int or version != STATE_VERSION:
        raise StateError(
            f"the state has version {quoted(version)}; this release reads {STATE_VERSION}"
        )
    fingerprint = state["fingerprint"]
    if not isinstance(fingerprint, dict):
        raise StateError(f"the state has no fingerprint; got {quoted(fingerprint)}")
    epoch = check_count("epoch", state["epoch"], at_least=0)
    position = check_count("position", state["position"], at_least=0)
    return epoch, position, fingerprint


def check_fingerprint(
    mine: Mapping[str, Any], theirs: Mapping[str, Any], *, may_differ: tuple[str, ...]
) -> None:
    """Raise unless two samplers with these fingerprints draw the same batches.

    The schedule, "mu", is left to `check_schedule`, and "stores" to `check_stores`.

    Raises:
        StateError: If they differ. The message names the first difference.
    """
    other = theirs.get("sampler")
    if isinstance(other, str) and other != mine["sampler"]:
        raise StateError(
            f"the state was made with sampler={quoted(other)}; this is a {mine['sampler']}"
        )
    if set(theirs) != set(mine):
        raise StateError(f"the state does not say what it was made with; got {quoted(theirs)}")
    for name, value in mine.items():
        if name in ("mu", "stores") or name in may_differ:
            continue
        other = theirs[name]
        # Comparing an array, which no state holds, would not give a single bool.
        plain = other is None or isinstance(other, (str, int, float))
        if not plain or other != value:
            raise StateError(
                f"the state was made with {name}={quoted(other)}; this sampler has {name}={value!r}"
            )


def digest_of(numbers: NDArray[Any]) -> str:
    """Return a hexadecimal digest of an array of integers."""
    content = numbers.astype("<i8").tobytes()
    return hashlib.blake2b(content, digest_size=8).hexdigest()
