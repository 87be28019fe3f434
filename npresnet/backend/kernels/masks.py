"""Eight numbers at a time, and a bit for each: a ReLU and its mask.

LLVM has comparisons of vectors whose results are bits; Numba has no words for them.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic, overload

from npresnet.backend.kernels.vectors import named, pointer

_BYTE = ir.IntType(8)
_BITS = ir.VectorType(ir.IntType(1), 8)


class _Eight:
    """Writes loads and stores of eight neighbours in an array."""

    def __init__(self, context: Any, builder: ir.IRBuilder, array: Any) -> None:
        self.context, self.builder = context, builder
        self.vector = ir.VectorType(context.get_data_type(array.dtype), 8)
        self.zeros = ir.Constant(self.vector, None)
        self.align = array.dtype.bitwidth // 8

    def place(self, kind: Any, array: Any, start: ir.Value) -> ir.Value:
        first = pointer(self.context, self.builder, kind, array)
        there = self.builder.gep(first, [start])
        return self.builder.bitcast(there, self.vector.as_pointer())

    def load(self, kind: Any, array: Any, start: ir.Value) -> ir.Value:
        return self.builder.load(self.place(kind, array, start), align=self.align)

    def store(self, value: ir.Value, kind: Any, array: Any, start: ir.Value) -> None:
        place = self.place(kind, array, start)
        self.builder.store(value, place, align=self.align)


def rectify_eight(out, x, start):
    """Put eight of ``max(x, 0)`` into `out`; return the bits of those that passed."""
    bits = 0
    for i in range(8):
        passes = not x[start + i] <= 0  # NaN passes
        out[start + i] = x[start + i] if passes else 0
        bits |= passes << i
    return bits


def stop_eight(grad_input, grad_output, start, bits):
    """Put eight gradients where their bits are 1 into `grad_input`, else zeros."""
    for i in range(8):
        passes = bits >> i & 1
        grad_input[start + i] = grad_output[start + i] if passes else 0


@intrinsic
def _rectify_eight(typing, out, x, start):

    def write(context, builder, signature, arguments):
        out_kind, x_kind, _ = signature.args
        out, x, start = arguments
        eight = _Eight(context, builder, x_kind)
        values = eight.load(x_kind, x, start)
        passes = builder.fcmp_unordered(">", values, eight.zeros)  # NaN passes
        rectified = builder.select(passes, values, eight.zeros)
        eight.store(rectified, out_kind, out, start)
        return builder.bitcast(passes, _BYTE)

    return types.uint8(out, x, types.intp), write


@intrinsic
def _stop_eight(typing, grad_input, grad_output, start, bits):

    def write(context, builder, signature, arguments):
        in_kind, out_kind, _, _ = signature.args
        grad_input, grad_output, start, bits = arguments
        eight = _Eight(context, builder, out_kind)
        values = eight.load(out_kind, grad_output, start)
        passed = builder.select(builder.bitcast(bits, _BITS), values, eight.zeros)
        eight.store(passed, in_kind, grad_input, start)
        return context.get_dummy_value()

    return types.void(grad_input, grad_output, types.intp, types.uint8), write


@overload(rectify_eight, strict=False)
def _rectify_eight_compiled(out, x, start):
    def rectify(out, x, start):
        return _rectify_eight(out, x, start)

    return named("rectify_eight", rectify)


@overload(stop_eight, strict=False)
def _stop_eight_compiled(grad_input, grad_output, start, bits):
    def stop(grad_input, grad_output, start, bits):
        _stop_eight(grad_input, grad_output, start, bits)

    return named("stop_eight", stop)
