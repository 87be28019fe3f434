"""The two register tiles that everything heavy is made of.

A core multiplies and adds two vectors per instruction, but only if sums and factors
are in registers. A tile is a small matrix of sums that stays there: some numbers
(rows) times one or two vectors of neighbouring channels. At every step each number is
spread over a vector and multiplied with the step's vectors of channels: 16 loads for
28 vectors of products and sums, and every number may come from anywhere in memory.

The product tile is what convolutions and products of matrices are made of: rows are
pixels. The sum tile is for gradients by weights: rows are weights, steps are pixels,
and it adds to what is there. Each is first an ordinary Python function, which says what
it computes; the compiled version replaces it.
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
    """Sizes of the tiles; they follow the host's vector registers."""

    lanes: int  # elements of one vector register
    places: int  # rows of a product tile
    rows: int  # rows of `wide_sum`; `narrow_sum` has twice as many


# With 32 registers 28 sums leave room for the factors, with 16 registers 12 do. Sum
# tiles cannot overlap, so their size is a power of two.
PLACES, ROWS = (14, 8) if vector_registers() == 32 else (6, 4)


@functools.cache
def tile_shape(dtype: np.dtype[Any]) -> TileShape:
    """Return the sizes of the tiles for an element type."""
    return TileShape(vector_lanes(dtype), PLACES, ROWS)


def make_product_tile(places: int, vectors: int) -> Callable[..., None]:
    """Make a tile that multiplies rows of `a` with a matrix `b`.

    Called as ``tile(out, out_start, writes, a, a_start, reads, first, segments, length,
    b, b_start, bias, bias_start, addend, adds, floor)`` with flat arrays; for `places`
    numbers p from `first` on, and for the lanes of some vectors::

        out[out_start + writes[p] + lanes] = bias[bias_start + lanes]
            + sum over segments s and l < length of
              a[a_start + reads[p] + segments[s] + l] * b[b_start + row*width + lanes]

    where row = s*length + l, and width is the number of lanes; plus what lies in
    `addend` at the same place if `adds` is true, and no less than `floor`.
    """

    def tile(
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
        addend,
        adds,
        floor,
    ):
        width = vectors * vector_lanes(out.dtype)
        rows = b[b_start : b_start + len(segments) * length * width]
        for p in range(first, first + places):
            begin = a_start + reads[p]
            pieces = [a[begin + s : begin + s + length] for s in segments]
            total = np.concatenate(pieces) @ rows.reshape(-1, width)
            total += bias[bias_start : bias_start + width]
            begin = out_start + writes[p]
            if adds:
                total += addend[begin : begin + width]
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
        addend,
        adds,
        floor,
    ):
        whole = types.intp
        arguments = [out, whole, writes, a, whole, reads, whole, segments, whole]
        arguments += [b, whole, bias, whole, addend, types.boolean, out.dtype]

        def generate(
            context: Any, builder: ir.IRBuilder, signature: Signature, args: Any
        ) -> Any:
            emit = Emitter(context, builder, signature.args[0])
            out_p, writes_p, a_p, reads_p, segments_p, b_p, bias_p, addend_p = (
                pointer(context, builder, signature.args[i], args[i])
                for i in (0, 2, 3, 5, 7, 9, 11, 13)
            )
            out_p, a_p = emit.at(out_p, args[1]), emit.at(a_p, args[4])
            addend_p = emit.at(addend_p, args[1])
            numbers = [builder.add(args[6], number(p)) for p in range(places)]
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
            zeros = [emit.constant(0)] * (places * vectors)
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
                        emit.load_row(emit.at(addend_p, write), vectors),
                        strict=True,
                    )
                ]

            sums = emit.either(args[14], added, sums)
            floor = emit.spread_value(args[15])
            for p, write in enumerate(writes):
                row = sums[p * vectors : (p + 1) * vectors]
                row = [emit.no_less(value, floor) for value in row]
                emit.store_row(row, emit.at(out_p, write))
            return context.get_dummy_value()

        return types.void(*arguments), generate

    return compiled_as(f"product_tile_{places}_{vectors}", tile, in_registers)


def make_sum_tile(rows: int, vectors: int) -> Callable[..., None]:
    """Make a tile that adds products of columns of `a` with rows of `b` up.

    Called as ``tile(out, out_start, out_step, adds, a, a_start, segments, length,
    a_step, b, b_start, b_step)`` with flat arrays; for r < `rows`, and for the lanes of
    some vectors::

        out[out_start + r*out_step + lanes] = sum over segments s and l < length of
            a[a_start + segments[s] + l*a_step + r] * b[b_start + row*b_step + lanes]

    where row = s*length + l, or adds that if `adds` is true.
    """

    def tile(
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
            for place in range(length):
                begin = a_start + segment + place * a_step
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

    return compiled_as(f"sum_tile_{rows}_{vectors}", tile, in_registers)


wide_tile = make_product_tile(PLACES, 2)
narrow_tile = make_product_tile(PLACES, 1)
wide_sum = make_sum_tile(ROWS, 2)
narrow_sum = make_sum_tile(2 * ROWS, 1)


@inlined
def product_tile(wide, *arguments):
    """Compute a tile of two vectors of channels, or of one."""
    if wide:
        wide_tile(*arguments)
    else:
        narrow_tile(*arguments)


@inlined
def sum_tile(wide, *arguments):
    """Add a tile of two vectors of channels up, or of one with twice the rows."""
    if wide:
        wide_sum(*arguments)
    else:
        narrow_sum(*arguments)
