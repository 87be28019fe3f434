"""The register tile of a product of matrices; see `tile`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import types
from numba.core.typing.templates import Signature
from numba.extending import intrinsic

from npresnet.backend.kernels.compile import inlined
from npresnet.backend.kernels.tile import PLACES
from npresnet.backend.kernels.vectors import (
    Emitter,
    Values,
    compiled_as,
    number,
    pointer,
    vector_lanes,
)


def make_matrix_tile(places: int, vectors: int) -> Callable[..., None]:
    """Make a tile that multiplies `places` rows of `a` with a matrix `b`.

    Called as ``tile(out, out_start, out_step, a, a_start, a_step, length, b, b_start)``
    with flat arrays; for p < `places`, and for the lanes of some vectors::

        out[out_start + p*out_step + lanes] = sum over l < length of
            a[a_start + p*a_step + l] * b[b_start + l*width + lanes]

    where width is the number of lanes.
    """

    def tile(out, out_start, out_step, a, a_start, a_step, length, b, b_start):
        width = vectors * vector_lanes(out.dtype)
        rows = b[b_start : b_start + length * width].reshape(length, width)
        for p in range(places):
            begin = a_start + p * a_step
            total = a[begin : begin + length] @ rows
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
            starts = [emit.at(source, args[5], number(p)) for p in range(places)]

            def element(i: ir.Value, state: Values) -> Values:
                row, *sums = state
                values = [emit.at(start, i) for start in starts]
                sums = emit.add_products(values, emit.load_row(row, vectors), sums)
                return [emit.at(row, number(vectors * emit.lanes)), *sums]

            zeros = [emit.constant(0)] * (places * vectors)
            state = [emit.at(b_p, args[8]), *zeros]
            sums = emit.loop("element", args[6], element, state)[1:]
            for p in range(places):
                row = sums[p * vectors : (p + 1) * vectors]
                emit.store_row(row, emit.at(target, args[2], number(p)))
            return context.get_dummy_value()

        return types.void(*arguments), generate

    return compiled_as(f"matrix_tile_{places}_{vectors}", tile, in_registers)


wide_product = make_matrix_tile(PLACES, 2)
narrow_product = make_matrix_tile(PLACES, 1)


@inlined
def matrix_tile(wide, *arguments):
    """Compute a tile of two vectors of columns, or of one."""
    if wide:
        wide_product(*arguments)
    else:
        narrow_product(*arguments)
