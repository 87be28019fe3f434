"""The two micro-kernels that everything heavy is made of.

A core multiplies and adds two vectors per instruction, but only if sums and factors
are in registers. A micro-kernel keeps a small matrix of sums there, its register tile:
some rows of one or two vectors of neighbouring channels. At every step it broadcasts
one number per row and multiplies it by the step's vectors of channels: 16 loads for 28
vectors of products and sums, and every number may come from anywhere in memory.

Convolutions are made of the first one: rows are pixels, steps are what a pixel sees.
Gradients with respect to weights are made of the second: rows are weights, steps are
pixels, and it adds to what is there. Each is first an ordinary Python function, which
says what it computes; the compiled version replaces it.

The names are those of BLIS: Van Zee and van de Geijn, "BLIS: A Framework for Rapidly
Instantiating BLAS Functionality", ACM TOMS 41(3), 2015.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.core.typing.templates import Signature
from numba.extending import intrinsic

from npresnet.backend.kernels.compile import inlined
from npresnet.backend.kernels.vectors import (
    Emitter,
    Values,
    compiled_as,
    number,
    pointer,
    vector_lanes,
    vector_registers,
)


class TileShape(NamedTuple):
    """Sizes of the register tiles; they follow the host's vector registers."""

    lanes: int  # elements of one vector register
    rows: int  # of a convolution's tile
    grad_rows: int  # of `wide_grad_weight`'s; `narrow_grad_weight`'s has twice as many


# With 32 registers 28 sums leave room for the factors, with 16 registers 12 do. What
# adds to what is there cannot overlap, so its size is a power of two.
ROWS, GRAD_ROWS = (14, 8) if vector_registers() == 32 else (6, 4)


@functools.cache
def tile_shape(dtype: np.dtype[Any]) -> TileShape:
    """Return the sizes of the tiles for an element type."""
    return TileShape(vector_lanes(dtype), ROWS, GRAD_ROWS)


def make_conv_micro_kernel(rows: int, vectors: int) -> Callable[..., None]:
    """Make a micro-kernel that multiplies rows of `a` by a panel of `b`.

    Called as ``micro_kernel(out, out_start, writes, a, a_start, reads, first, segments,
    length, b, b_start, bias, bias_start, residual, adds, floor)`` with flat arrays; for
    `rows` numbers p from `first` on, and for the lanes of some vectors::

        out[out_start + writes[p] + lanes] = bias[bias_start + lanes]
            + sum over segments s and l < length of
              a[a_start + reads[p] + segments[s] + l] * b[b_start + row*width + lanes]

    where row = s*length + l, and width is the number of lanes; plus the element of
    `residual` at the same offset if `adds` is true, and no less than `floor`.
    """

    def micro_kernel(
        out,
        out_start,
        writes,
        a,
        a_start,
        reads,
        first,
        segments,
        length,
        b,
        b_start,
        bias,
        bias_start,
        residual,
        adds,
        floor,
    ):
        width = vectors * vector_lanes(out.dtype)
        panel = b[b_start : b_start + len(segments) * length * width]
        for p in range(first, first + rows):
            begin = a_start + reads[p]
            seen = [a[begin + s : begin + s + length] for s in segments]
            total = np.concatenate(seen) @ panel.reshape(-1, width)
            total += bias[bias_start : bias_start + width]
            begin = out_start + writes[p]
            if adds:
                total += residual[begin : begin + width]
            total[total <= floor] = floor
            out[begin : begin + width] = total

    @intrinsic
    def in_registers(
        typing,
        out,
        out_start,
        writes,
        a,
        a_start,
        reads,
        first,
        segments,
        length,
        b,
        b_start,
        bias,
        bias_start,
        residual,
        adds,
        floor,
    ):
        whole = types.intp
        arguments = [out, whole, writes, a, whole, reads, whole, segments, whole]
        arguments += [b, whole, bias, whole, residual, types.boolean, out.dtype]

        def generate(
            context: Any, builder: ir.IRBuilder, signature: Signature, args: Any
        ) -> Any:
            emit = Emitter(context, builder, signature.args[0])
            out_p, writes_p, a_p, reads_p, segments_p, b_p, bias_p, residual_p = (
                pointer(context, builder, signature.args[i], args[i])
                for i in (0, 2, 3, 5, 7, 9, 11, 13)
            )
            out_p, a_p = emit.at(out_p, args[1]), emit.at(a_p, args[4])
            residual_p = emit.at(residual_p, args[1])
            numbers = [builder.add(args[6], number(p)) for p in range(rows)]
            reads = [emit.at(a_p, builder.load(emit.at(reads_p, p))) for p in numbers]
            writes = [builder.load(emit.at(writes_p, p)) for p in numbers]

            def segment(s: ir.Value, state: Values) -> Values:
                offset = builder.load(emit.at(segments_p, s))
                starts = [emit.at(read, offset) for read in reads]

                def element(i: ir.Value, state: Values) -> Values:
                    row, *sums = state
                    values = [emit.at(start, i) for start in starts]
                    sums = emit.add_products(values, emit.load_row(row, vectors), sums)
                    return [emit.at(row, number(vectors * emit.lanes)), *sums]

                return emit.loop("element", args[8], element, state)

            array = context.make_array(signature.args[7])(context, builder, args[7])
            count = builder.extract_value(array.shape, 0)
            zeros = [emit.constant(0)] * (rows * vectors)
            start = emit.at(b_p, args[10])
            sums = emit.loop("segment", count, segment, [start, *zeros])[1:]
            bias = emit.load_row(emit.at(bias_p, args[12]), vectors)
            sums = [builder.fadd(s, bias[i % vectors]) for i, s in enumerate(sums)]

            def added() -> Values:
                return [
                    builder.fadd(value, other)
                    for p, write in enumerate(writes)
                    for value, other in zip(
                        sums[p * vectors : (p + 1) * vectors],
                        emit.load_row(emit.at(residual_p, write), vectors),
                        strict=True,
                    )
                ]

            sums = emit.either(args[14], added, sums)
            floor = emit.broadcast_value(args[15])
            for p, write in enumerate(writes):
                row = sums[p * vectors : (p + 1) * vectors]
                row = [emit.no_less(value, floor) for value in row]
                emit.store_row(row, emit.at(out_p, write))
            return context.get_dummy_value()

        return types.void(*arguments), generate

    return compiled_as(
        f"conv_micro_kernel_{rows}_{vectors}", micro_kernel, in_registers
    )


def make_grad_weight_micro_kernel(rows: int, vectors: int) -> Callable[..., None]:
    """Make a micro-kernel that sums up products of columns of `a` and rows of `b`.

    Called as ``micro_kernel(out, out_start, out_step, adds, a, a_start, segments,
    length, a_step, b, b_start, b_step)`` with flat arrays; for r < `rows`, and for the
    lanes of some vectors::

        out[out_start + r*out_step + lanes] = sum over segments s and l < length of
            a[a_start + segments[s] + l*a_step + r] * b[b_start + row*b_step + lanes]

    where row = s*length + l, or adds that if `adds` is true.
    """

    def micro_kernel(
        out,
        out_start,
        out_step,
        adds,
        a,
        a_start,
        segments,
        length,
        a_step,
        b,
        b_start,
        b_step,
    ):
        width = vectors * vector_lanes(out.dtype)
        total = np.zeros((rows, width), out.dtype)
        row = b_start
        for segment in segments:
            for step in range(length):
                begin = a_start + segment + step * a_step
                total += np.outer(a[begin : begin + rows], b[row : row + width])
                row += b_step
        for r in range(rows):
            begin = out_start + r * out_step
            before = out[begin : begin + width] if adds else 0
            out[begin : begin + width] = before + total[r]

    @intrinsic
    def in_registers(
        typing,
        out,
        out_start,
        out_step,
        adds,
        a,
        a_start,
        segments,
        length,
        a_step,
        b,
        b_start,
        b_step,
    ):
        whole = types.intp
        arguments = [out, whole, whole, types.boolean, a, whole, segments, whole, whole]
        arguments += [b, whole, whole]

        def generate(
            context: Any, builder: ir.IRBuilder, signature: Signature, args: Any
        ) -> Any:
            emit = Emitter(context, builder, signature.args[0])
            out_p, a_p, segments_p, b_p = (
                pointer(context, builder, signature.args[i], args[i])
                for i in (0, 4, 6, 9)
            )
            out_p, a_p, b_p = (
                emit.at(out_p, args[1]),
                emit.at(a_p, args[5]),
                emit.at(b_p, args[10]),
            )
            a_step, b_step = args[8], args[11]

            def segment(s: ir.Value, state: Values) -> Values:
                offset = builder.load(emit.at(segments_p, s))

                def element(_: ir.Value, state: Values) -> Values:
                    place, row, *sums = state
                    values = [emit.at(place, number(r)) for r in range(rows)]
                    sums = emit.add_products(values, emit.load_row(row, vectors), sums)
                    return [emit.at(place, a_step), emit.at(row, b_step), *sums]

                state = [emit.at(a_p, offset), *state]
                return emit.loop("element", args[7], element, state)[1:]

            array = context.make_array(signature.args[6])(context, builder, args[6])
            count = builder.extract_value(array.shape, 0)
            zeros = [emit.constant(0)] * (rows * vectors)
            sums = emit.loop("segment", count, segment, [b_p, *zeros])[1:]
            for r in range(rows):
                target = emit.at(out_p, args[2], number(r))
                for v, before in enumerate(emit.load_row(target, vectors)):
                    start = builder.select(args[3], before, emit.constant(0))
                    new = builder.fadd(start, sums[r * vectors + v])
                    emit.store(new, emit.at(target, number(v * emit.lanes)))
            return context.get_dummy_value()

        return types.void(*arguments), generate

    return compiled_as(
        f"grad_weight_micro_kernel_{rows}_{vectors}", micro_kernel, in_registers
    )


wide_conv = make_conv_micro_kernel(ROWS, 2)
narrow_conv = make_conv_micro_kernel(ROWS, 1)
wide_grad_weight = make_grad_weight_micro_kernel(GRAD_ROWS, 2)
narrow_grad_weight = make_grad_weight_micro_kernel(2 * GRAD_ROWS, 1)


@inlined
def conv_micro_kernel(wide, *arguments):
    """Compute two vectors of channels, or one."""
    if wide:
        wide_conv(*arguments)
    else:
        narrow_conv(*arguments)


@inlined
def grad_weight_micro_kernel(wide, *arguments):
    """Add to two vectors of channels, or to one of twice the rows."""
    if wide:
        wide_grad_weight(*arguments)
    else:
        narrow_grad_weight(*arguments)
