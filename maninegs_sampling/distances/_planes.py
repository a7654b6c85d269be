"""All pairs of distances with AVX2, from planes of four bits.

Plane k holds bits 4 k to 4 k + 3 of each pattern, a byte for each. How they differ from those of
one pattern is looked up for 32 patterns with one instruction, in a table of 16. Splitting patterns
into planes pays where each is compared with several others.
"""

from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic
from numpy.typing import NDArray

from maninegs_sampling.compiling import kernel
from maninegs_sampling.distances._lookup import (
    BYTES,
    I16,
    I64,
    add,
    address_of,
    call,
    load,
    new_sums,
    store,
    stride_of,
)
from maninegs_sampling.distances._tiles import hamming_tile

# Rows and columns of a block of the distance matrix; as many sums as fit the registers.
ROWS, COLUMNS = 4, 64
# A byte that sums the bits of this many planes does not overflow.
_MOST_PLANES = 63
# Patterns of a tile, and bytes of its planes: they stay in the first-level cache.
_MOST_PATTERNS, _PLANES_BYTES = 2048, 20_480

# How many of four bits differ from four others. Each row holds the 16 counts twice, because the
# instruction looks up each half of a vector in the same half of the table.
_DIFFERENCES = np.array(
    [[(a ^ b).bit_count() for b in [*range(16)] * 2] for a in range(16)], np.uint8
)


class Planes(NamedTuple):
    """Scratch of one thread."""

    columns: NDArray[np.uint8]  # (K, patterns of a tile)
    rows: NDArray[np.uint16]  # (rows, K), the place in bytes of each row's counts in the table


def new_planes(n_rows: int, n_bits: int) -> Planes:
    """Return scratch to compare so many rows with all columns."""
    n_planes = -(-n_bits // 4)
    size = _PLANES_BYTES // n_planes // COLUMNS * COLUMNS
    return Planes(
        columns=np.empty((n_planes, min(max(size, COLUMNS), _MOST_PATTERNS)), np.uint8),
        rows=np.empty((n_rows, n_planes), np.uint16),
    )


@kernel
def split_columns(words, begin, end, planes):
    """Write patterns begin .. end - 1 to their planes."""
    for k in range(planes.shape[0]):
        part, plane = words[k // 16, begin:end], planes[k]
        shift = np.uint64(4 * (k % 16))
        for j in range(end - begin):
            plane[j] = (part[j] >> shift) & np.uint64(15)


@kernel
def split_rows(words, begin, end, rows):
    """Write the places in the table of patterns begin .. end - 1."""
    for i in range(end - begin):
        for k in range(rows.shape[1]):
            four = (words[k // 16, begin + i] >> np.uint64(4 * (k % 16))) & np.uint64(15)
            rows[i, k] = four * np.uint64(32)


@intrinsic
def _distances_of_block(
    typing_context: Any, planes: Any, rows: Any, table: Any, j: Any, first: Any, end: Any, out: Any
) -> Any:
    """Write the distances in planes first .. end - 1 of ROWS rows to COLUMNS columns into `out`.

    From the second call on, that is if `first` is not 0, they are added to what `out` holds.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kinds = signature.args
        zero = ir.Constant(I64, 0)
        columns = address_of(context, builder, kinds[0], arguments[0], zero, arguments[3])
        differences = address_of(context, builder, kinds[2], arguments[2])
        plane_size = stride_of(context, builder, kinds[0], arguments[0])
        vectors = COLUMNS // 32
        sums = [new_sums(builder, vectors) for _ in range(ROWS)]
        with cgutils.for_range_slice(
            builder, arguments[4], arguments[5], ir.Constant(I64, 1), inc=True
        ) as (k, _):
            plane = builder.add(columns, builder.mul(k, plane_size))
            bits = [load(builder, BYTES, plane, 32 * v) for v in range(vectors)]
            for r in range(ROWS):
                place = address_of(context, builder, kinds[1], arguments[1], ir.Constant(I64, r), k)
                entry = builder.zext(load(builder, I16, place), I64)
                counts = load(builder, BYTES, builder.add(differences, entry))
                for v in range(vectors):
                    found = call(builder, "llvm.x86.avx2.pshuf.b", BYTES, counts, bits[v])
                    add(builder, sums[r][v], found)
        is_first = builder.icmp_signed("==", arguments[4], zero)
        for r in range(ROWS):
            out = address_of(context, builder, kinds[6], arguments[6], ir.Constant(I64, r))
            _store_sums(builder, sums[r], kinds[6].dtype.bitwidth, is_first, out)
        return context.get_dummy_value()

    whole = types.int64
    return types.void(planes, rows, table, whole, whole, whole, out), generate


def _store_sums(builder: Any, sums: list[Any], bits: int, is_first: Any, address: Any) -> None:
    """Store bytes as numbers of `bits` bits, or add them to those that are there."""
    vector = ir.VectorType(ir.IntType(bits), 32)
    for v, each in enumerate(sums):
        values = builder.load(each)
        if bits > 8:
            before = load(builder, vector, address, 32 * v * bits // 8)
            before = builder.select(is_first, ir.Constant(vector, [0] * 32), before)
            values = builder.add(before, builder.zext(values, vector))
        store(builder, values, address, 32 * v * bits // 8)


@kernel
def pairwise_rows_by_lookup(words, other, begin, end, planes, out):
    """Do what `pairwise_rows` does."""
    columns, n_planes = other.shape[1], planes.columns.shape[0]
    size = planes.columns.shape[1]
    most = n_planes if out.itemsize == 1 else _MOST_PLANES
    split_rows(words, begin, end, planes.rows)
    for tile in range(0, columns, size):
        tile_end = min(columns, tile + size)
        split_columns(other, tile, tile_end, planes.columns)
        for i in range(begin, end, ROWS):
            last = min(i + ROWS, end)
            blocks_end = tile + (tile_end - tile) // COLUMNS * COLUMNS if last == i + ROWS else tile
            rows = planes.rows[i - begin : last - begin]
            for j in range(tile, blocks_end, COLUMNS):
                block = out[i:last, j : j + COLUMNS]
                for first in range(0, n_planes, most):
                    after = min(n_planes, first + most)
                    _distances_of_block(
                        planes.columns, rows, _DIFFERENCES, j - tile, first, after, block
                    )
            for r in range(i, last):
                if blocks_end < tile_end:
                    hamming_tile(words, other, r, blocks_end, tile_end, out[r, blocks_end:tile_end])
