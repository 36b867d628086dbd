"""Wide loads for Numba kernels: 64 bytes at a time, in plain LLVM vector instructions.

LLVM lowers them to what the processor has (AVX-512, AVX2, SSE, NEON), so one source is fast
everywhere and the results are the same. Every load takes the index of its first byte; the caller
sees to it that the bytes exist. Indices are unsigned, since Numba adds a wrap-around test to
signed ones.
"""

from __future__ import annotations

from typing import Any

from llvmlite import binding, ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

_I8 = ir.IntType(8)
_I64 = ir.IntType(64)
_I128 = ir.IntType(128)
WIDTH = 64
_V64 = ir.VectorType(_I8, WIDTH)


def _pointer(context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> Any:
    data = context.make_array(array_type)(context, builder, array).data
    return builder.gep(data, [index], source_etype=_I8)


def _splat(byte: int) -> ir.Constant:
    return ir.Constant(_V64, [byte] * WIDTH)


def _load64(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    pointer = _pointer(context, builder, signature.args[0], args[0], args[1])
    return builder.load(pointer, typ=_V64, align=1)


@intrinsic
def load_u64(typingctx: Any, data: Any, index: Any) -> Any:
    """Eight bytes from `data[index]` as a little-endian uint64."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = _pointer(context, builder, signature.args[0], args[0], args[1])
        return builder.load(pointer, typ=_I64, align=1)

    return types.uint64(data, types.uint64), codegen


@intrinsic
def copy64(typingctx: Any, source: Any, at: Any, target: Any, to: Any) -> Any:
    """Copy 64 bytes: `target[to : to + 64] = source[at : at + 64]`."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        vector = _load64(context, builder, signature, args)
        pointer = _pointer(context, builder, signature.args[2], args[2], args[3])
        builder.store(vector, builder.bitcast(pointer, _V64.as_pointer()), align=1)
        return context.get_dummy_value()

    return types.void(source, types.uint64, target, types.uint64), codegen


def _mask(builder: Any, bits: Any) -> Any:
    return builder.bitcast(bits, _I64)


@intrinsic
def newlines64(typingctx: Any, data: Any, index: Any) -> Any:
    """Bit i is set where `data[index + i]` is a line feed."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        vector = _load64(context, builder, signature, args)
        return _mask(builder, builder.icmp_unsigned("==", vector, _splat(10)))

    return types.uint64(data, types.uint64), codegen


@intrinsic
def high64(typingctx: Any, data: Any, index: Any) -> Any:
    """Bit i is set where `data[index + i]` is not ASCII."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        vector = _load64(context, builder, signature, args)
        return _mask(builder, builder.icmp_signed("<", vector, _splat(0)))

    return types.uint64(data, types.uint64), codegen


def _between(builder: Any, vector: Any, low: int, high: int) -> Any:
    shifted = builder.sub(vector, _splat(low))
    return builder.icmp_unsigned("<=", shifted, _splat(high - low))


def between64(low: int, high: int) -> Any:
    """An intrinsic: bit i is set where `low <= data[index + i] <= high`."""

    @intrinsic
    def masked(typingctx: Any, data: Any, index: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            vector = _load64(context, builder, signature, args)
            return _mask(builder, _between(builder, vector, low, high))

        return types.uint64(data, types.uint64), codegen

    return masked


@intrinsic
def json_stops64(typingctx: Any, data: Any, index: Any) -> Any:
    """Bit i is set where a JSON string ends or is escaped or broken: `"`, backslash, control."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        vector = _load64(context, builder, signature, args)
        quote = builder.icmp_unsigned("==", vector, _splat(0x22))
        escape = builder.icmp_unsigned("==", vector, _splat(0x5C))
        control = builder.icmp_unsigned("<", vector, _splat(0x20))
        return _mask(builder, builder.or_(builder.or_(quote, escape), control))

    return types.uint64(data, types.uint64), codegen


@intrinsic
def lower64(typingctx: Any, source: Any, at: Any, target: Any, to: Any) -> Any:
    """Copy 64 bytes, ASCII capitals made small: `target[to:] = lower(source[at:])`."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        vector = _load64(context, builder, signature, args)
        capital = _between(builder, vector, 0x41, 0x5A)
        lowered = builder.select(capital, builder.or_(vector, _splat(0x20)), vector)
        pointer = _pointer(context, builder, signature.args[2], args[2], args[3])
        builder.store(lowered, builder.bitcast(pointer, _V64.as_pointer()), align=1)
        return context.get_dummy_value()

    return types.void(source, types.uint64, target, types.uint64), codegen


@intrinsic
def words64(typingctx: Any, data: Any, index: Any) -> Any:
    """Bit i is set where `data[index + i]` is an ASCII letter, digit or underscore."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        vector = _load64(context, builder, signature, args)
        folded = builder.or_(vector, _splat(0x20))
        letter = _between(builder, folded, 0x61, 0x7A)
        digit = _between(builder, vector, 0x30, 0x39)
        underscore = builder.icmp_unsigned("==", vector, _splat(0x5F))
        return _mask(builder, builder.or_(builder.or_(letter, digit), underscore))

    return types.uint64(data, types.uint64), codegen


@intrinsic
def spaces64(typingctx: Any, data: Any, index: Any) -> Any:
    """Bit i is set where `data[index + i]` is ASCII white space: 9 to 13, 28 to 32."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        vector = _load64(context, builder, signature, args)
        controls = _between(builder, vector, 9, 13)
        separators = _between(builder, vector, 28, 32)
        return _mask(builder, builder.or_(controls, separators))

    return types.uint64(data, types.uint64), codegen


@intrinsic
def trailing_zeros(typingctx: Any, bits: Any) -> Any:
    """Number of zero bits below the lowest set one; 64 for zero."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 0))

    return types.uint64(types.uint64), codegen


@intrinsic
def ones(typingctx: Any, bits: Any) -> Any:
    """Number of set bits."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.ctpop(args[0])

    return types.uint64(types.uint64), codegen


@intrinsic
def multiply_high(typingctx: Any, left: Any, right: Any) -> Any:
    """The upper 64 bits of the 128-bit product."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        product = builder.mul(builder.zext(args[0], _I128), builder.zext(args[1], _I128))
        return builder.trunc(builder.lshr(product, ir.Constant(_I128, 64)), _I64)

    return types.uint64(types.uint64, types.uint64), codegen


@intrinsic
def multiply_fold(typingctx: Any, left: Any, right: Any) -> Any:
    """The 128-bit product, its upper half xored onto the lower: the mixing step of the hashes."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        product = builder.mul(builder.zext(args[0], _I128), builder.zext(args[1], _I128))
        upper = builder.trunc(builder.lshr(product, ir.Constant(_I128, 64)), _I64)
        return builder.xor(upper, builder.trunc(product, _I64))

    return types.uint64(types.uint64, types.uint64), codegen


COMPRESSES = bool(binding.get_host_cpu_features().get("avx512vbmi2"))
"""Whether this processor moves marked bytes of a vector together in one instruction."""

_QUARTER = ir.VectorType(ir.IntType(32), WIDTH // 4)


@intrinsic
def places64(typingctx: Any, bits: Any, base: Any, out: Any, count: Any) -> Any:
    """Write `base` plus the place of each set bit to `out[count:]`, uint32, without a branch.

    All of `out[count : count + 64]` is written; what lies past the set bits is scratch. Only for
    processors with `COMPRESSES`: elsewhere LLVM makes a slow loop of it.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        marked = builder.bitcast(args[0], ir.VectorType(ir.IntType(1), WIDTH))
        compress = cgutils.get_or_insert_function(
            builder.module,
            ir.FunctionType(_V64, [_V64, marked.type, _V64]),
            "llvm.experimental.vector.compress.v64i8",
        )
        iota = ir.Constant(_V64, list(range(WIDTH)))
        packed = builder.call(compress, [iota, marked, ir.Constant(_V64, ir.Undefined)])
        place = builder.trunc(args[1], ir.IntType(32))
        first = builder.insert_element(
            ir.Constant(_QUARTER, ir.Undefined), place, ir.Constant(ir.IntType(32), 0)
        )
        same = ir.Constant(ir.VectorType(ir.IntType(32), WIDTH // 4), [0] * (WIDTH // 4))
        bases = builder.shuffle_vector(first, ir.Constant(_QUARTER, ir.Undefined), same)
        data = context.make_array(signature.args[2])(context, builder, args[2]).data
        start = builder.gep(data, [args[3]], source_etype=ir.IntType(32))
        for part in range(4):
            lanes = ir.Constant(
                ir.VectorType(ir.IntType(32), WIDTH // 4),
                list(range(part * WIDTH // 4, (part + 1) * WIDTH // 4)),
            )
            few = builder.shuffle_vector(packed, ir.Constant(_V64, ir.Undefined), lanes)
            wide = builder.add(builder.zext(few, _QUARTER), bases)
            pointer = builder.gep(
                start, [ir.Constant(_I64, part * WIDTH // 4)], source_etype=ir.IntType(32)
            )
            builder.store(wide, builder.bitcast(pointer, _QUARTER.as_pointer()), align=1)
        return context.get_dummy_value()

    return types.void(types.uint64, types.uint64, out, types.uint64), codegen


kernel = njit(nogil=True, cache=True)


def eager(signature: str) -> Any:
    """Return a kernel compiled for one signature when its module is imported, and cached on disk.

    Inputs are declared read-only (`BYTES`, `INTS`), so that Arrow's buffers, which cannot be
    written, and NumPy's own arrays share one compiled version.
    """
    return njit(signature, nogil=True, cache=True)


BYTES = "Array(uint8, 1, 'C', readonly=True)"
INTS = "Array(int64, 1, 'C', readonly=True)"
