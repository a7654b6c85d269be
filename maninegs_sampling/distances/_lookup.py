"""Distances of patterns of several words with AVX2, which cannot count the bits of a vector.

AVX-512 VPOPCNTDQ counts the bits of eight words with one instruction, and LLVM uses it for the
plain loops of `_kernels`. With AVX2, LLVM looks up the counts of four bits at a time, and widens
them after each word. Here the counts of the bytes of all words are summed before they are widened.
"""

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.registry import cpu_target
from numba.extending import intrinsic

from maninegs_sampling.compiling import kernel

I8, I16, I32, I64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))
BYTES, QUADS = ir.VectorType(I8, 32), ir.VectorType(I64, 4)

# Patterns whose distances from one pattern are computed at a time, from words.
STEP = 32
# A byte that sums the bits of this many bytes does not overflow.
MOST_WORDS = 31


def _counts_by_lookup() -> bool:
    """Return whether Numba compiles for a processor that this file is for."""
    _, _, features = cpu_target.target_context.codegen().magic_tuple()
    return "+avx2" in features and "+avx512vpopcntdq" not in features


COUNTS_BY_LOOKUP = _counts_by_lookup()


def address_of(context: Any, builder: Any, kind: Any, array: Any, *index: Any) -> Any:
    """Return the address of an item of an array; indices that are left out are 0."""
    made = context.make_array(kind)(context, builder, array)
    address = builder.ptrtoint(made.data, I64)
    for place, stride in zip(index, cgutils.unpack_tuple(builder, made.strides), strict=False):
        address = builder.add(address, builder.mul(place, stride))
    return address


def stride_of(context: Any, builder: Any, kind: Any, array: Any) -> Any:
    """Return the bytes between two rows of an array."""
    made = context.make_array(kind)(context, builder, array)
    return cgutils.unpack_tuple(builder, made.strides)[0]


def load(builder: Any, kind: Any, address: Any, offset: int = 0) -> Any:
    """Return the value of a type at an address, which need not be aligned."""
    address = builder.add(address, ir.Constant(I64, offset))
    return builder.load(builder.inttoptr(address, kind.as_pointer()), align=1)


def store(builder: Any, value: Any, address: Any, offset: int = 0) -> None:
    """Write a value to an address, which need not be aligned."""
    address = builder.add(address, ir.Constant(I64, offset))
    builder.store(value, builder.inttoptr(address, value.type.as_pointer()), align=1)


def call(builder: Any, name: str, result: Any, *arguments: Any) -> Any:
    """Return the result of an instruction that LLVM knows by name."""
    kind = ir.FunctionType(result, [argument.type for argument in arguments])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), list(arguments))


def new_sums(builder: Any, n: int) -> list[Any]:
    """Return n variables, each of 32 bytes that are 0."""
    zero = ir.Constant(BYTES, [0] * 32)
    sums = [cgutils.alloca_once(builder, BYTES) for _ in range(n)]
    for each in sums:
        builder.store(zero, each)
    return sums


def add(builder: Any, sums: Any, values: Any) -> None:
    """Add to a variable."""
    builder.store(builder.add(builder.load(sums), values), sums)


@intrinsic
def _distances_of_step(
    typing_context: Any, words: Any, other: Any, i: Any, j: Any, out: Any
) -> Any:
    """Write the distances of pattern i to patterns j .. j + STEP - 1 of `other` into `out`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kinds = signature.args
        word = address_of(
            context, builder, kinds[0], arguments[0], ir.Constant(I64, 0), arguments[2]
        )
        others = address_of(
            context, builder, kinds[1], arguments[1], ir.Constant(I64, 0), arguments[3]
        )
        steps = [stride_of(context, builder, kinds[a], arguments[a]) for a in (0, 1)]
        made = context.make_array(kinds[0])(context, builder, arguments[0])
        n_words = cgutils.unpack_tuple(builder, made.shape)[0]
        sums = new_sums(builder, 8)  # of the bits of each byte of four patterns
        first = ir.Constant(ir.VectorType(I32, 4), [0] * 4)
        with cgutils.for_range(builder, n_words, intp=I64) as loop:
            row = builder.add(others, builder.mul(loop.index, steps[1]))
            one = load(builder, I64, builder.add(word, builder.mul(loop.index, steps[0])))
            four = builder.insert_element(
                ir.Constant(QUADS, ir.Undefined), one, ir.Constant(I32, 0)
            )
            four = builder.shuffle_vector(four, ir.Constant(QUADS, ir.Undefined), first)
            for k in range(8):
                differing = builder.xor(four, load(builder, QUADS, row, 32 * k))
                differing = builder.bitcast(differing, BYTES)
                # LLVM looks up the counts of bytes, two times four bits.
                add(builder, sums[k], call(builder, "llvm.ctpop.v32i8", BYTES, differing))
        zero = ir.Constant(BYTES, [0] * 32)
        distances = [
            call(builder, "llvm.x86.avx2.psad.bw", QUADS, builder.load(each), zero) for each in sums
        ]
        out = address_of(context, builder, kinds[4], arguments[4])
        _store_narrow(builder, distances, kinds[4].dtype.bitwidth, out)
        return context.get_dummy_value()

    return types.void(words, other, types.int64, types.int64, out), generate


def _store_narrow(builder: Any, distances: list[Any], bits: int, address: Any) -> None:
    """Store 8 times 4 distances of 64 bits each, as numbers of `bits` bits."""
    of_word = 64 // bits
    vector = ir.VectorType(ir.IntType(bits), 4 * of_word)
    # Number k of word q is that of pattern 4 k + q.
    order = [of_word * q + k for k in range(of_word) for q in range(4)]
    for begin in range(0, 8, of_word):
        packed = distances[begin]
        for k in range(1, of_word):
            shift = ir.Constant(QUADS, [bits * k] * 4)
            packed = builder.or_(packed, builder.shl(distances[begin + k], shift))
        packed = builder.shuffle_vector(
            builder.bitcast(packed, vector),
            ir.Constant(vector, ir.Undefined),
            ir.Constant(ir.VectorType(I32, len(order)), order),
        )
        store(builder, packed, address, 32 * begin // of_word)


@kernel
def tile_by_lookup(words, other, i, begin, end, out):
    """Do what `distance_tile` does for whole steps of patterns; return for how many.

    Patterns have at most MOST_WORDS words.
    """
    whole = (end - begin) // STEP * STEP
    for j in range(0, whole, STEP):
        _distances_of_step(words, other, i, begin + j, out[j : j + STEP])
    return whole
