"""Hardness annealing: frozen callables from the global step to the mean of the distribution, mu.

The step is the global batch number, epoch * batches_per_epoch + k. Any callable from an int to a
finite float is a schedule too, if it always returns the same value for the same step.

A schedule accepts Python, numpy and torch numbers and stores them as float and int, so that two
schedules with equal numbers are equal and have the same repr.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from maninegs_sampling.errors import (
    InvalidTypeError,
    InvalidValueError,
    check_count,
    check_number,
)
from maninegs_sampling.sampling.distribution import check_mean

Schedule = Callable[[int], float]


@dataclass(frozen=True)
class Constant:
    """mu stays at `value`.

    Example:
        >>> Constant(4.0)(1000)
        4.0
    """

    value: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "value", check_mean("value", self.value))

    def __call__(self, step: int) -> float:
        """Return mu at `step`."""
        return self.value


@dataclass(frozen=True)
class _Annealing:
    """From `start` to `end` in `steps` steps, whatever the curve."""

    start: float
    end: float
    steps: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "start", check_mean("start", self.start))
        object.__setattr__(self, "end", check_mean("end", self.end))
        object.__setattr__(self, "steps", check_count("steps", self.steps, at_least=1))


@dataclass(frozen=True)
class LinearAnnealing(_Annealing):
    """mu goes from `start` to `end` along a line, reaches `end` at step `steps` and stays there.

    This is the paper's schedule (Table III: 11 to 0).

    Example:
        >>> mu = LinearAnnealing(11, 0, steps=4500)
        >>> mu(0), mu(2250), mu(4500), mu(9000)
        (11.0, 5.5, 0.0, 0.0)
    """

    def __call__(self, step: int) -> float:
        """Return mu at `step`."""
        done = min(int(step) / self.steps, 1.0)
        return self.start + (self.end - self.start) * done


@dataclass(frozen=True)
class CosineAnnealing(_Annealing):
    """mu goes from `start` to `end` along half a cosine, reaches `end` at step `steps`.

    Example:
        >>> mu = CosineAnnealing(8, 0, steps=100)
        >>> mu(0), round(mu(50), 6), mu(100), mu(200)
        (8.0, 4.0, 0.0, 0.0)
    """

    def __call__(self, step: int) -> float:
        """Return mu at `step`."""
        done = min(int(step) / self.steps, 1.0)
        return self.end + (self.start - self.end) * (1.0 + math.cos(math.pi * done)) / 2.0


@dataclass(frozen=True)
class ExponentialAnnealing:
    """mu approaches `end` from `start`; the gap halves every `half_life` steps.

    Example:
        >>> mu = ExponentialAnnealing(8, 0, half_life=100)
        >>> mu(0), mu(100), mu(200)
        (8.0, 4.0, 2.0)
    """

    start: float
    end: float
    half_life: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "start", check_mean("start", self.start))
        object.__setattr__(self, "end", check_mean("end", self.end))
        half_life = check_number("half_life", self.half_life)
        if half_life <= 0:
            raise InvalidValueError(f"half_life must be positive; got {self.half_life!r}")
        object.__setattr__(self, "half_life", half_life)

    def __call__(self, step: int) -> float:
        """Return mu at `step`."""
        gap: float = 0.5 ** (int(step) / self.half_life)
        return self.end + (self.start - self.end) * gap


@dataclass(frozen=True)
class StepwiseAnnealing:
    """Another schedule, read only every `every` steps and held in between.

    With `every` = batches per epoch, mu changes once an epoch, as in the authors' code.

    Example:
        >>> mu = StepwiseAnnealing(LinearAnnealing(11, 0, steps=4500), every=30)
        >>> mu(0) == mu(29), mu(29) == mu(30)
        (True, False)
    """

    schedule: Schedule
    every: int

    def __post_init__(self) -> None:
        if not callable(self.schedule):
            raise InvalidTypeError(f"schedule must be callable; got {self.schedule!r}")
        object.__setattr__(self, "every", check_count("every", self.every, at_least=1))

    def __call__(self, step: int) -> float:
        """Return mu at `step`."""
        return float(self.schedule(int(step) // self.every * self.every))


def as_schedule(mu: float | Schedule) -> Schedule:
    """Return `mu` itself if it is a schedule, or the constant schedule of a number."""
    if callable(mu):
        return mu
    try:
        return Constant(check_mean("mu", mu))
    except InvalidTypeError:
        raise InvalidTypeError(
            f"mu must be a number or a callable from the step to a number; got {mu!r}"
        ) from None
