"""Reading packed codes: eight bits in a byte, as binary indexes and NumPy hold them."""

from collections.abc import Callable
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from maninegs_sampling.data.blocks import BLOCK_WORDS, patterns_in_blocks
from maninegs_sampling.data.dense import as_array
from maninegs_sampling.data.patterns import check_bits, check_instances, id_dtype, shorten
from maninegs_sampling.errors import InvalidTypeError, InvalidValueError, check_choice

# "big": the first bit of a byte is its highest, as in np.packbits. "little": its lowest.
BitOrder = Literal["big", "little"]

# Codes are taken in at most so many ranges. A sample says where ranges start, and the range of
# each code is found in blocks.
_MOST_RANGES = 32
_SAMPLED = 2**13
_RANGE_BLOCK = 2**18

# Each byte with its bits in the opposite order.
_REVERSED = np.packbits(
    np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1), axis=1, bitorder="little"
)[:, 0]


def packed_patterns(
    codes: ArrayLike | torch.Tensor, n_bits: int, bitorder: BitOrder
) -> tuple[NDArray[np.uint64], NDArray[Any]]:
    """Return the distinct codes as words, sorted, and the pattern of each code.

    Codes are taken range by range in the order of patterns, so that what is numbered already need
    not be merged. This takes little more memory than the result.
    """
    n_bits = check_bits(n_bits)
    order = check_choice("bitorder", bitorder, get_args(BitOrder))
    array = _check_codes(as_array("codes", codes), n_bits)
    _check_padding(array, n_bits, order)
    n, n_words = len(array), -(-n_bits // 64)
    n_ranges = min(_MOST_RANGES, -(-n * n_words // BLOCK_WORDS))

    def words_of(rows: NDArray[np.intp]) -> Callable[[int, int], NDArray[np.uint64]]:
        return lambda begin, end: _as_words(array[rows[begin:end]], n_words, order)

    range_of = _ranges(array, order, n_ranges)
    words, pattern_of = np.empty((n, n_words), np.uint64), np.empty(n, np.uint32)
    n_patterns = 0
    for number in range(n_ranges):
        rows = np.flatnonzero(range_of == number)
        if len(rows) > 0:
            distinct, numbers = patterns_in_blocks(len(rows), n_bits, words_of(rows))
            words[n_patterns : n_patterns + len(distinct)] = distinct
            pattern_of[rows] = numbers.astype(np.uint32) + np.uint32(n_patterns)
            n_patterns += len(distinct)
    return shorten(words, n_patterns), pattern_of.astype(id_dtype(n_patterns), copy=False)


def _as_words(block: NDArray[np.uint8], n_words: int, bitorder: BitOrder) -> NDArray[np.uint64]:
    """Return codes as rows of words: bit b is bit b % 64 of word b // 64."""
    rows = np.zeros((len(block), 8 * n_words), np.uint8)
    rows[:, : block.shape[1]] = block if bitorder == "little" else _REVERSED[block]
    return rows.view("<u8").astype(np.uint64, copy=False)


def _ranges(codes: NDArray[np.uint8], bitorder: BitOrder, n_ranges: int) -> NDArray[np.uint8]:
    """Return (n,) the range of each code: ranges in the order of patterns, about equally large."""

    def as_texts(rows: NDArray[np.uint8]) -> NDArray[np.bytes_]:
        # Patterns are sorted by their last word first, which is by their last byte first.
        backward = rows[:, ::-1] if bitorder == "little" else _REVERSED[rows[:, ::-1]]
        return np.ascontiguousarray(backward).view(f"S{rows.shape[1]}")[:, 0]

    # Drawn, because evenly spaced ones may be in step with a period of the data.
    sampled = np.random.default_rng(0).integers(0, len(codes), _SAMPLED)
    sample = np.sort(as_texts(codes[sampled]))
    starts = sample[np.arange(1, n_ranges) * len(sample) // n_ranges]
    ranges = np.empty(len(codes), np.uint8)
    for begin in range(0, len(codes), _RANGE_BLOCK):
        end = begin + _RANGE_BLOCK
        ranges[begin:end] = np.searchsorted(starts, as_texts(codes[begin:end]), side="right")
    return ranges


def _check_codes(array: NDArray[Any], n_bits: int) -> NDArray[np.uint8]:
    """Return `array`, or raise unless it holds at least one code of `n_bits` bits."""
    if array.dtype == np.int8:
        raise InvalidTypeError(
            "codes must be uint8; got int8. Codes of sentence-transformers with "
            'precision="binary" are 128 too low: pass (codes.astype(int) + 128).astype("uint8"), '
            'or make them with precision="ubinary". For others pass codes.view("uint8").'
        )
    if array.dtype != np.uint8:
        raise InvalidTypeError(
            f"codes must be uint8, eight bits in a byte; got {array.dtype}. Bits that are not "
            "packed go to ManifestationStore.from_dense."
        )
    n_bytes = -(-n_bits // 8)
    if array.ndim != 2 or array.shape[1] != n_bytes:
        raise InvalidValueError(
            f"codes must have the shape (instances, {n_bytes}) for {n_bits} bits; "
            f"got shape {array.shape}"
        )
    if len(array) == 0:
        raise InvalidValueError(f"a store needs at least one instance; got shape {array.shape}")
    check_instances(len(array))
    return array


def _check_padding(codes: NDArray[np.uint8], n_bits: int, bitorder: BitOrder) -> None:
    """Raise unless the bits of the last byte that belong to no trait are zero."""
    n_unused = -n_bits % 8
    unused = (1 << n_unused) - 1 if bitorder == "big" else 256 - (1 << (8 - n_unused))
    wrong = np.flatnonzero(codes[:, -1] & unused)
    if len(wrong) > 0:
        raise InvalidValueError(
            f'codes of {n_bits} bits with bitorder="{bitorder}" must end in {n_unused} zero bits; '
            f"row {wrong[0]} ends in byte {codes[wrong[0], -1]:#04x} ({len(wrong)} such rows). "
            "Is it another number of bits, or the other order?"
        )
