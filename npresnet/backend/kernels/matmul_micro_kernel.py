"""The micro-kernel of a product of matrices; see `micro_kernels`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import types
from numba.core.typing.templates import Signature
from numba.extending import intrinsic

from npresnet.backend.kernels.compile import inlined
from npresnet.backend.kernels.micro_kernels import ROWS
from npresnet.backend.kernels.vectors import (
    Emitter,
    Values,
    compiled_as,
    number,
    pointer,
    vector_lanes,
)


def make_matmul_micro_kernel(rows: int, vectors: int) -> Callable[..., None]:
    """Make a micro-kernel that multiplies rows of `a` by a panel of `b`.

    Called as ``micro_kernel(out, out_start, out_step, a, a_start, a_step, length, b,
    b_start)`` with flat arrays; for p < `rows`, and for the lanes of some vectors::

        out[out_start + p*out_step + lanes] = sum over l < length of
            a[a_start + p*a_step + l] * b[b_start + l*width + lanes]

    where width is the number of lanes.
    """

    def micro_kernel(out, out_start, out_step, a, a_start, a_step, length, b, b_start):
        width = vectors * vector_lanes(out.dtype)
        panel = b[b_start : b_start + length * width].reshape(length, width)
        for p in range(rows):
            begin = a_start + p * a_step
            total = a[begin : begin + length] @ panel
            begin = out_start + p * out_step
            out[begin : begin + width] = total

    @intrinsic
    def in_registers(
        typing, out, out_start, out_step, a, a_start, a_step, length, b, b_start
    ):
        whole = types.intp
        arguments = (out, whole, whole, a, whole, whole, whole, b, whole)

        def generate(
            context: Any, builder: ir.IRBuilder, signature: Signature, args: Any
        ) -> Any:
            emit = Emitter(context, builder, signature.args[0])
            out_p, a_p, b_p = (
                pointer(context, builder, signature.args[i], args[i]) for i in (0, 3, 7)
            )
            target, source = emit.at(out_p, args[1]), emit.at(a_p, args[4])
            starts = [emit.at(source, args[5], number(p)) for p in range(rows)]

            def element(i: ir.Value, state: Values) -> Values:
                row, *sums = state
                values = [emit.at(start, i) for start in starts]
                sums = emit.add_products(values, emit.load_row(row, vectors), sums)
                return [emit.at(row, number(vectors * emit.lanes)), *sums]

            zeros = [emit.constant(0)] * (rows * vectors)
            state = [emit.at(b_p, args[8]), *zeros]
            sums = emit.loop("element", args[6], element, state)[1:]
            for p in range(rows):
                row = sums[p * vectors : (p + 1) * vectors]
                emit.store_row(row, emit.at(target, args[2], number(p)))
            return context.get_dummy_value()

        return types.void(*arguments), generate

    return compiled_as(
        f"matmul_micro_kernel_{rows}_{vectors}", micro_kernel, in_registers
    )


wide_matmul = make_matmul_micro_kernel(ROWS, 2)
narrow_matmul = make_matmul_micro_kernel(ROWS, 1)


@inlined
def matmul_micro_kernel(wide, *arguments):
    """Compute two vectors of columns, or one."""
    if wide:
        wide_matmul(*arguments)
    else:
        narrow_matmul(*arguments)
