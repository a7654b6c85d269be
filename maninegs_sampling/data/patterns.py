"""Packed patterns: packing bits into words, and checking the arrays of a store."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maninegs_sampling.errors import InvalidTypeError, InvalidValueError, check_count

# Instances and patterns are indexed with int32.
LARGEST_STORE = 2**31 - 1
# Distances are counted in uint16.
LARGEST_BITS = 2**16 - 1


def pack(bits: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """Pack (N, B) bool into (N, ceil(B / 64)) words: bit b is bit b % 64 of word b // 64."""
    n, n_bits = bits.shape
    words = np.zeros((n, -(-n_bits // 64) * 8), dtype=np.uint8)
    words[:, : -(-n_bits // 8)] = np.packbits(bits, axis=1, bitorder="little")
    return words.view("<u8").astype(np.uint64, copy=False)


def deduplicate(words: NDArray[np.uint64]) -> tuple[NDArray[np.uint64], NDArray[np.int32]]:
    """Return the distinct rows, sorted by the last word first, and each row's index in them."""
    order = np.lexsort(words.T)
    ordered = words[order]
    is_new = np.ones(len(words), dtype=np.bool_)
    is_new[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    pattern_of = np.empty(len(words), dtype=np.int32)
    pattern_of[order] = np.cumsum(is_new) - 1
    return ordered[is_new], pattern_of


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


def check_arrays(words: NDArray[Any], pattern_of: NDArray[Any], n_bits: int) -> None:
    """Raise unless `words` are distinct patterns and `pattern_of` uses each of them."""
    if words.dtype.newbyteorder("=") != np.uint64:
        raise InvalidTypeError(f"words must be uint64; got {words.dtype}")
    if words.ndim != 2 or words.shape[1] != -(-n_bits // 64):
        raise InvalidValueError(
            f"words must have the shape (patterns, {-(-n_bits // 64)}) for {n_bits} bits; "
            f"got shape {words.shape}"
        )
    if pattern_of.ndim != 1:
        raise InvalidValueError(f"pattern_of must be a vector; got shape {pattern_of.shape}")
    if len(words) == 0 or len(pattern_of) == 0:
        raise InvalidValueError(
            "a store needs at least one instance and one trait; "
            f"got {len(pattern_of)} instances of {len(words)} patterns"
        )
    check_instances(len(pattern_of))
    if pattern_of.dtype.kind not in "iu":
        raise InvalidTypeError(f"pattern_of must hold whole numbers; got {pattern_of.dtype}")
    outside = (pattern_of < 0) | (pattern_of >= len(words))
    if outside.any():
        first = int(outside.argmax())
        raise InvalidValueError(
            f"pattern_of[{first}] is {pattern_of[first]}, and the patterns are [0, {len(words)})"
        )
    used = np.bincount(pattern_of.astype(np.intp, copy=False), minlength=len(words))
    if not used.all():
        raise InvalidValueError(f"pattern {used.argmin()} has no instance in pattern_of")
    if n_bits % 64 != 0 and (words[:, -1] >> np.uint64(n_bits % 64)).any():
        raise InvalidValueError(f"bits beyond the {n_bits} of a pattern are set")
    if len(deduplicate(words)[0]) != len(words):
        raise InvalidValueError("patterns must be distinct; a pattern appears twice")
