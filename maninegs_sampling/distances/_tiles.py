"""The distances of one pattern to a tile of others, and of two patterns: all that kernels ask.

The metric is the type of the patterns that a kernel is given, so each kernel is written once and
compiled for each metric, without a branch. For the Hamming distance they are their words, an array;
for any other metric a NamedTuple, which names them `words` and holds what else the metric needs.

Words are laid out transposed, (W, U): word w of every pattern lies contiguously, so the inner
loops run over patterns and vectorize.

What kernels call a distance is a whole number of steps. A step of the Hamming distance is one bit.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba.core import types
from numba.extending import intrinsic, overload
from numpy.typing import NDArray

from maninegs_sampling.compiling import OPTIONS, kernel
from maninegs_sampling.distances._lookup import COUNTS_BY_LOOKUP, MOST_WORDS, tile_by_lookup

# One tile of a row and of every word it is compared with stays in the first-level cache.
TILE = 2048

# The Jaccard distance is cut into so many steps.
JACCARD_STEPS = 100


class JaccardPatterns(NamedTuple):
    """Patterns whose Jaccard distances are asked for.

    Distances follow from those of Hamming: two sets of `ones` a and b that differ in h places have
    a union of (a + b + h) / 2, in h places of which they differ.
    """

    words: NDArray[np.uint64]  # (W, U)
    ones: NDArray[np.float32]  # (U,) bits that are set; NO_ONES where none is


# Added to a number of bits it is lost in rounding. Two empty sets come to 2 NO_ONES / 2 NO_ONES in
# common, which makes them equal, in place of 0 / 0.
NO_ONES = 2.0**-60


@intrinsic
def popcount(typing_context: Any, value: Any) -> Any:
    """Return the number of one bits, with a single machine instruction."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.uint64(types.uint64), generate


@kernel
def hamming_tile(words, other, i, begin, end, out):
    """Do what `distance_tile` does, for the Hamming distance."""
    done = 0
    if COUNTS_BY_LOOKUP and 1 < words.shape[0] <= MOST_WORDS:
        done = tile_by_lookup(words, other, i, begin, end, out)
        begin += done
    rest = out[done:]
    word = words[0, i]
    others = other[0, begin:end]
    for j in range(end - begin):
        rest[j] = popcount(word ^ others[j])
    for w in range(1, words.shape[0]):
        word = words[w, i]
        others = other[w, begin:end]
        for j in range(end - begin):
            rest[j] += popcount(word ^ others[j])


@kernel
def hamming_of(words, i, j):
    """Return the Hamming distance of two patterns."""
    distance = np.int64(0)
    for w in range(words.shape[0]):
        distance += np.int64(popcount(words[w, i] ^ words[w, j]))
    return distance


@kernel
def jaccard_step(differing, ones):
    """Return the Jaccard distance as a step: ceil(100 J), so that only equal sets are at step 0.

    ceil(100 (u - i) / u) = 100 - floor(100 i / u), where i bits are in both sets and u in either.
    Float32 is exact here: the numerator, 2 * 100 * i, is below 2**24 for 65,535 bits. A quotient
    that is no whole number is at least 1 / u = 2**-16 below the next one, more than its rounding
    of at most 2**-18.

    Args:
        differing: float32, the Hamming distance.
        ones: float32, the bits that are set in the two patterns, counted twice if in both.
    """
    in_both = np.float32(JACCARD_STEPS) * (ones - differing) / (ones + differing)
    return np.int32(JACCARD_STEPS) - np.int32(in_both)


@kernel
def jaccard_tile(patterns, other, i, begin, end, out):
    """Do what `distance_tile` does, for the Jaccard distance. `out` has room for B."""
    hamming_tile(patterns.words, other.words, i, begin, end, out)
    own = patterns.ones[i]
    ones = other.ones[begin:end]
    for j in range(end - begin):
        out[j] = jaccard_step(np.float32(out[j]), own + ones[j])


@kernel
def jaccard_of(patterns, i, j):
    """Return the Jaccard step between two patterns."""
    differing = np.float32(hamming_of(patterns.words, i, j))
    return np.int64(jaccard_step(differing, patterns.ones[i] + patterns.ones[j]))


class _Functions(NamedTuple):
    tile: Callable[..., Any]
    of_pair: Callable[..., Any]


_FUNCTIONS = {JaccardPatterns: _Functions(jaccard_tile, jaccard_of)}


def _functions_of(patterns: types.Type) -> _Functions:
    """Return the functions of the metric that patterns of a Numba type are made for."""
    if isinstance(patterns, types.BaseNamedTuple):
        return _FUNCTIONS[patterns.instance_class]
    return _Functions(hamming_tile, hamming_of)


def _tile(patterns: Any, other: Any, i: int, begin: int, end: int, out: Any) -> None:
    """Stand for the function of the metric in compiled code."""


@overload(_tile, jit_options=OPTIONS)
def _choose_tile(patterns: Any, other: Any, i: Any, begin: Any, end: Any, out: Any) -> Any:
    tile = _functions_of(patterns).tile

    def call(patterns: Any, other: Any, i: Any, begin: Any, end: Any, out: Any) -> Any:
        tile(patterns, other, i, begin, end, out)

    return call


def _of_pair(patterns: Any, i: int, j: int) -> int:
    """Stand for the function of the metric in compiled code."""
    raise NotImplementedError


@overload(_of_pair, jit_options=OPTIONS)
def _choose_of_pair(patterns: Any, i: Any, j: Any) -> Any:
    of_pair = _functions_of(patterns).of_pair

    def call(patterns: Any, i: Any, j: Any) -> Any:
        return of_pair(patterns, i, j)

    return call


def _shape(patterns: Any) -> Any:
    """Stand for the function of the type in compiled code."""


@overload(_shape, jit_options=OPTIONS)
def _choose_shape(patterns: Any) -> Any:
    def in_tuple(patterns: Any) -> Any:
        return patterns.words.shape

    def of_words(patterns: Any) -> Any:
        return patterns.shape

    return in_tuple if isinstance(patterns, types.BaseNamedTuple) else of_words


@kernel
def distance_tile(patterns, other, i, begin, end, out):
    """Write the distances of pattern i of `patterns` to begin..end of `other` into `out`."""
    _tile(patterns, other, i, begin, end, out)


@kernel
def distance_of(patterns, i, j):
    """Return the distance of two patterns."""
    return _of_pair(patterns, i, j)


@kernel
def shape_of(patterns):
    """Return (W, U): how many words a pattern has, and how many patterns there are."""
    return _shape(patterns)
