"""The errors this package raises: each a `ManiNegError` and also the fitting builtin error."""

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


class MissingExtraError(ManiNegError, ImportError):
    """An optional dependency is not installed; the message names the extra that brings it."""


def check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    """Raise `InvalidValueError` unless `value` is one of `choices`."""
    if value not in choices:
        listed = ", ".join(repr(choice) for choice in choices)
        raise InvalidValueError(f"{name} must be one of {listed}; got {quoted(value)}")


def check_count(name: str, value: object, *, at_least: int) -> int:
    """Return `value` as an int, or raise if it is not a whole number of at least `at_least`."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise InvalidTypeError(f"{name} must be a whole number; got {value!r}")
    number = int(value.__index__())
    if number < at_least:
        raise InvalidValueError(f"{name} must be at least {at_least}; got {number}")
    return number
