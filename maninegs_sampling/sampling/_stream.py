"""Numba kernels of the random stream: Philox 4x64, as `randomness.generator_at` sets it up."""

from typing import Any

import numpy as np
from numba.core import types
from numba.extending import intrinsic

from maninegs_sampling.compiling import kernel

# What a stream is kept in, all uint64: key 2, counter 4, buffer 8, words used of the buffer.
STREAM_WORDS = 15


@intrinsic
def multiply_high(typing_context: Any, a: Any, b: Any) -> Any:
    """Return the upper 64 bits of the 128-bit product of two uint64."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        wide = context.get_value_type(types.uint64).__class__(128)
        x, y = (builder.zext(argument, wide) for argument in arguments)
        high = builder.lshr(builder.mul(x, y), wide(64))
        return builder.trunc(high, context.get_value_type(types.uint64))

    return types.uint64(types.uint64, types.uint64), generate


@kernel
def start_stream(stream, seed, purpose, a, b, c):
    """Put `stream` where `randomness.generator_at(seed, purpose, (a, b, c))` starts."""
    stream[0] = seed
    stream[1] = purpose
    stream[2] = 0
    stream[3] = a
    stream[4] = b
    stream[5] = c
    stream[14] = 8


@kernel
def next_word(stream):
    """Return the next 64 random bits: Philox with ten rounds (Salmon et al. 2011), as in numpy.

    Two blocks of four words are made side by side, because each round waits for the one before it.
    """
    used = np.int64(stream[14])
    if used == 8:
        key0, key1 = stream[0], stream[1]
        c0, c1, c2, c3 = stream[2] + np.uint64(1), stream[3], stream[4], stream[5]
        d0, d1, d2, d3 = stream[2] + np.uint64(2), stream[3], stream[4], stream[5]
        stream[2] = d0
        for _ in range(10):
            high0 = multiply_high(np.uint64(0xD2E7470EE14C6C93), c0)
            low0 = np.uint64(0xD2E7470EE14C6C93) * c0
            high1 = multiply_high(np.uint64(0xCA5A826395121157), c2)
            low1 = np.uint64(0xCA5A826395121157) * c2
            high2 = multiply_high(np.uint64(0xD2E7470EE14C6C93), d0)
            low2 = np.uint64(0xD2E7470EE14C6C93) * d0
            high3 = multiply_high(np.uint64(0xCA5A826395121157), d2)
            low3 = np.uint64(0xCA5A826395121157) * d2
            c0, c1, c2, c3 = high1 ^ c1 ^ key0, low1, high0 ^ c3 ^ key1, low0
            d0, d1, d2, d3 = high3 ^ d1 ^ key0, low3, high2 ^ d3 ^ key1, low2
            key0 += np.uint64(0x9E3779B97F4A7C15)
            key1 += np.uint64(0xBB67AE8584CAA73B)
        stream[6], stream[7], stream[8], stream[9] = c0, c1, c2, c3
        stream[10], stream[11], stream[12], stream[13] = d0, d1, d2, d3
        used = 0
    stream[14] = used + 1
    return stream[6 + used]


@kernel
def random_below(stream, limit):
    """Return a number in [0, limit), uniform to within limit / 2**64."""
    return np.int64(multiply_high(next_word(stream), np.uint64(limit)))


@kernel
def random_unit(stream):
    """Return a float64 in [0, 1), a multiple of 2**-53."""
    return np.float64(next_word(stream) >> np.uint64(11)) * 2.0**-53
