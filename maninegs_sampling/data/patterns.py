"""Packed patterns: packing bits into words, and checking the arrays of a store."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maninegs_sampling.data import _pattern_kernels
from maninegs_sampling.data._pattern_kernels import SortScratch, first_out_of_order
from maninegs_sampling.errors import InvalidTypeError, InvalidValueError, check_count

# Instances and patterns are indexed with int32.
LARGEST_STORE = 2**31 - 1
# Distances are counted in uint16.
LARGEST_BITS = 2**16 - 1


def pack(bits: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """Pack (N, B) bool into (N, ceil(B / 64)) words: bit b is bit b % 64 of word b // 64."""
    n, n_bits = bits.shape
    words = np.empty((n, -(-n_bits // 64)), np.uint64)
    _pattern_kernels.pack_rows(frozen(np.ascontiguousarray(bits).view(np.uint8)), words)
    return words


def id_dtype(n_patterns: int) -> np.dtype[Any]:
    """Return the smallest unsigned type that holds the numbers of `n_patterns` patterns."""
    return np.min_scalar_type(n_patterns - 1)


def as_int32(pattern_of: NDArray[Any]) -> NDArray[np.int32]:
    """Return the pattern of each instance as int32, read-only, the one type that kernels take.

    Above 65,536 patterns the result is a view. Below, it is a copy of 4 bytes an instance.
    """
    array = np.asarray(pattern_of)
    return frozen(array.view(np.int32) if array.dtype == np.uint32 else array.astype(np.int32))


def deduplicate(
    words: NDArray[np.uint64], scratch: SortScratch | None = None
) -> tuple[NDArray[np.uint64], NDArray[Any]]:
    """Return the distinct rows, sorted by the last word first, and each row's index in them."""
    n = len(words)
    words = frozen(np.ascontiguousarray(words).view())
    scratch = scratch or _pattern_kernels.new_sort_scratch(n)
    half = _pattern_kernels.sort_patterns(words, scratch)
    last_words, order = frozen(scratch.keys[half, :n]), frozen(scratch.rows[half, :n])
    distinct, pattern_of = np.empty_like(words), np.empty(n, np.uint32)
    n_patterns = _pattern_kernels.number_patterns(words, last_words, order, distinct, pattern_of)
    return shorten(distinct, n_patterns), pattern_of.astype(id_dtype(n_patterns), copy=False)


def shorten(array: NDArray[Any], n: int) -> NDArray[Any]:
    """Return an array that nobody else refers to, cut to its first `n` rows without a copy."""
    array.resize((n, *array.shape[1:]), refcheck=False)
    return array


def frozen(array: NDArray[Any]) -> NDArray[Any]:
    """Return `array` itself, no longer writable."""
    array.flags.writeable = False
    return array


def check_bits(n_bits: object) -> int:
    """Return `n_bits` as an int, or raise unless it is an integer in [1, 65535]."""
    number = check_count("n_bits", n_bits, at_least=1)
    if number > LARGEST_BITS:
        raise InvalidValueError(f"a store has at most {LARGEST_BITS} bits (traits); got {number}")
    return number


def check_instances(n: int) -> None:
    """Raise if there are more instances than int32 can index."""
    if n > LARGEST_STORE:
        raise InvalidValueError(f"a store has at most {LARGEST_STORE} instances; got {n}")


def check_names(names: object, n_bits: int) -> tuple[str, ...] | None:
    """Return the names of the bits as text, or raise unless there is one for each bit.

    Integers become text: they are the column labels of a data frame made without names.
    """
    if names is None:
        return None
    if isinstance(names, (str, bytes, set, frozenset)) or not isinstance(names, Iterable):
        raise InvalidTypeError(f"bit_names must be a sequence of {n_bits} texts; got {names!r}")
    listed = tuple(names)
    if len(listed) != n_bits:
        raise InvalidValueError(f"{len(listed)} bit_names were given for {n_bits} bits")
    for b, name in enumerate(listed):
        if isinstance(name, bool) or not isinstance(name, (str, int, np.integer)):
            raise InvalidTypeError(f"bit_names[{b}] must be a text; got {name!r}")
    return tuple(str(name) for name in listed)


def check_shapes(words: tuple[int, ...], pattern_of: tuple[int, ...], n_bits: int) -> None:
    """Raise unless arrays of these shapes can be the patterns of `n_bits` and their instances."""
    if len(words) != 2 or words[1] != -(-n_bits // 64):
        raise InvalidValueError(
            f"words must have the shape (patterns, {-(-n_bits // 64)}) for {n_bits} bits; "
            f"got shape {words}"
        )
    if len(pattern_of) != 1:
        raise InvalidValueError(f"pattern_of must be a vector; got shape {pattern_of}")
    if words[0] == 0 or pattern_of[0] == 0:
        raise InvalidValueError(
            "a store needs at least one instance and one trait; "
            f"got {pattern_of[0]} instances of {words[0]} patterns"
        )
    check_instances(pattern_of[0])


def check_used_bits(words: NDArray[np.uint64], n_bits: int) -> None:
    """Raise if a bit from `n_bits` on is set."""
    if n_bits % 64 != 0 and (words[:, -1] >> np.uint64(n_bits % 64)).any():
        raise InvalidValueError(f"bits beyond the {n_bits} of a pattern are set")


def check_pattern_of(pattern_of: NDArray[Any], first: int, seen: NDArray[np.bool_]) -> None:
    """Raise unless `pattern_of` numbers patterns, and mark these in `seen`, (U,).

    Args:
        pattern_of: (n,) whole numbers, those of the instances from `first` on.
        first: the number of an instance.
        seen: (U,) whether each pattern has an instance.
    """
    if pattern_of.min() < 0 or pattern_of.max() >= len(seen):
        outside = (pattern_of < 0) | (pattern_of >= len(seen))
        place = int(outside.argmax())
        raise InvalidValueError(
            f"pattern_of[{first + place}] is {pattern_of[place]}, and the patterns are "
            f"[0, {len(seen)})"
        )
    seen[pattern_of] = True


def check_all_seen(seen: NDArray[np.bool_]) -> None:
    """Raise unless every pattern has an instance."""
    if not seen.all():
        raise InvalidValueError(f"pattern {seen.argmin()} has no instance in pattern_of")


def in_order(
    words: NDArray[np.uint64], pattern_of: NDArray[Any]
) -> tuple[NDArray[np.uint64], NDArray[Any]]:
    """Return the same patterns sorted, and their instances; the same arrays if they are sorted.

    Raises:
        InvalidValueError: If a pattern appears twice.
    """
    plain = frozen(np.ascontiguousarray(words).view())
    if first_out_of_order(plain[:0], plain) < 0:
        return words, pattern_of
    distinct, places = deduplicate(plain)
    if len(distinct) < len(words):
        raise InvalidValueError("patterns must be distinct; a pattern appears twice")
    return distinct, places[pattern_of]
