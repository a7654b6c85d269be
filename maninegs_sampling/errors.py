"""The errors this package raises: each a `ManiNegError` and also the fitting builtin error."""

import math
import numbers
import operator
from typing import Any

import numpy as np

from maninegs_sampling.quoting import quoted


class ManiNegError(Exception):
    """Base of every error raised on purpose by this package."""


class InvalidValueError(ManiNegError, ValueError):
    """A value of the right type that cannot be used."""


class InvalidTypeError(ManiNegError, TypeError):
    """An object of a type that cannot be used."""


class SchemaError(InvalidValueError):
    """A schema that contradicts itself or cannot be read."""


class TableError(InvalidValueError):
    """A table that does not fit its schema; the message names the row and the column."""


class StorageError(InvalidValueError):
    """A saved store that is damaged, truncated or of another version."""


class StateError(InvalidValueError):
    """A sampler state that was made with other data or other options."""


class ImmutableError(ManiNegError, AttributeError):
    """An option of an object that cannot be changed any more."""


class MissingExtraError(ManiNegError, ImportError):
    """An optional dependency is not installed; the message names the extra that brings it."""


def check_choice(name: str, value: object, choices: tuple[str, ...]) -> Any:
    """Return the one of `choices` that equals `value`, or raise `InvalidValueError`."""
    if not isinstance(value, str) or value not in choices:
        listed = ", ".join(repr(choice) for choice in choices)
        raise InvalidValueError(f"{name} must be one of {listed}; got {quoted(value)}")
    return choices[choices.index(value)]


def _plain(value: object) -> object:
    """Return the Python number of a numpy scalar, or of an array or a tensor of one number.

    None stands for a number that is missing: masked, or on the meta device.
    """
    if math.prod(getattr(value, "shape", (2,))) != 1:
        return value
    if np.ma.is_masked(value):
        return None
    try:
        return value.item()  # type: ignore[attr-defined]
    except (AttributeError, RuntimeError):
        return None


def check_whole(name: str, value: object) -> int:
    """Return `value` as an int, or raise `InvalidTypeError` if it is not a whole number."""
    plain = _plain(value)
    try:
        if isinstance(plain, bool):
            raise TypeError
        return operator.index(plain)  # type: ignore[arg-type]
    except TypeError:
        raise InvalidTypeError(f"{name} must be a whole number; got {quoted(value)}") from None


def check_count(name: str, value: object, *, at_least: int, at_most: int | None = None) -> int:
    """Return `value` as an int, or raise if it is not a whole number within the bounds."""
    number = check_whole(name, value)
    if number < at_least:
        raise InvalidValueError(f"{name} must be at least {at_least}; got {number}")
    if at_most is not None and number > at_most:
        raise InvalidValueError(f"{name} must be at most {at_most}; got {number}")
    return number


def check_number(name: str, value: object) -> float:
    """Return `value` as a float, or raise if it is not a finite real number."""
    plain = _plain(value)
    if isinstance(plain, bool) or not isinstance(plain, numbers.Real):
        raise InvalidTypeError(f"{name} must be a number; got {quoted(value)}")
    try:
        number = float(plain)
    except OverflowError:  # a Python int beyond the floats
        number = math.inf
    if not math.isfinite(number):
        raise InvalidValueError(f"{name} must be finite; got {quoted(value)}")
    return number
