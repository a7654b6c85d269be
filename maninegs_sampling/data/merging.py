"""Merging sorted lists of patterns: how stores of parts become the store of all instances."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from maninegs_sampling.data._pattern_kernels import merge_patterns
from maninegs_sampling.data.patterns import frozen, id_dtype, shorten
from maninegs_sampling.threads import run_on_threads

# Instances in a piece: NumPy widens indices to 8 bytes each.
_PIECE = 2**20


class Piece:
    """The patterns of some consecutive instances.

    Attributes:
        pattern_of: the pattern of each instance, as first numbered.
        places: the number now of each pattern as first numbered. None where it would be no smaller
            than `pattern_of`, which is then kept up to date itself.
    """

    def __init__(self, pattern_of: NDArray[Any], n_patterns: int) -> None:
        self.pattern_of = pattern_of
        few = 2 * n_patterns < len(pattern_of)
        self.places = np.arange(n_patterns, dtype=id_dtype(n_patterns)) if few else None

    def renumber(self, places: NDArray[Any]) -> None:
        """Replace the number of each pattern by `places[number]`."""
        if self.places is None:
            self.pattern_of = np.take(places, self.pattern_of)
        else:
            self.places = np.take(places, self.places)

    def numbers(self) -> NDArray[Any]:
        """Return the number now of each instance's pattern."""
        return self.pattern_of if self.places is None else np.take(self.places, self.pattern_of)


class Part(NamedTuple):
    """Some of the instances, and their patterns."""

    words: NDArray[np.uint64]  # (U, W) distinct, sorted
    pieces: list[Piece]


def new_part(words: NDArray[np.uint64], pattern_of: NDArray[Any]) -> Part:
    """Return the part that has these arrays, which stay as they are."""
    cuts = range(_PIECE, len(pattern_of), _PIECE)
    pieces = [Piece(part, len(words)) for part in np.split(np.asarray(pattern_of), cuts)]
    return Part(frozen(np.asarray(words).view()), pieces)


def merge_parts(parts: list[Part]) -> tuple[NDArray[np.uint64], NDArray[Any]]:
    """Return the distinct patterns of all parts, sorted, and the pattern of each instance.

    Neighbors are merged two by two until one is left, which gives the same arrays as sorting all
    patterns. Merging is associative, so parts may themselves have been merged.

    Args:
        parts: at least one, in the order of their instances. The list is emptied on the way, so
            that each level of the tree can be freed when the next one is made.
    """
    while len(parts) > 1:

        def merge(begin: int, end: int) -> Part:
            merged = _merge(*parts[begin:end])
            parts[begin:end] = [None] * (end - begin)  # type: ignore[list-item] # not read again
            return merged

        unpaired = parts[len(parts) // 2 * 2 :]
        parts[:] = run_on_threads(merge, range(0, len(parts) + 1, 2)) + unpaired
    words, pieces = parts.pop()
    pattern_of = np.empty(sum(len(piece.pattern_of) for piece in pieces), id_dtype(len(words)))
    end = 0
    for piece in pieces:
        begin, end = end, end + len(piece.pattern_of)
        pattern_of[begin:end] = piece.numbers()
    return words, pattern_of


def _merge(first: Part, second: Part) -> Part:
    n_first, n_second = len(first.words), len(second.words)
    merged = np.empty((n_first + n_second, first.words.shape[1]), np.uint64)
    places = np.empty(n_first, np.uint32), np.empty(n_second, np.uint32)
    n = merge_patterns(first.words, second.words, merged, *places)
    for part, place in zip((first, second), places, strict=True):
        numbers = place.astype(id_dtype(n), copy=False)
        for piece in part.pieces:
            piece.renumber(numbers)
    return Part(frozen(shorten(merged, n)), first.pieces + second.pieces)
