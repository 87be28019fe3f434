"""The register tile that everything heavy is made of.

A core multiplies and adds two vectors per instruction, but only if sums and factors
are in registers. A tile is a small matrix of sums that stays there: some places (rows)
times one or two vectors of neighbouring channels. At every step one number per place
is spread over a vector and multiplied with the step's vectors of channels: 30 loads,
from any addresses at all, for 28 vectors of products and sums.

Convolutions, their gradients and the products of Winograd's algorithm differ only in
what the numbers, the vectors and the steps are; see `make_tile`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.core.typing.templates import Signature
from numba.extending import intrinsic, overload

from npresnet.backend.kernels.vectors import (
    Emitter,
    number,
    pointer,
    vector_lanes,
    vector_registers,
)


class TileShape(NamedTuple):
    """Sizes of the tiles; they follow the host's vector registers."""

    lanes: int  # elements of one vector register
    places: int  # of `wide_tile` and `narrow_tile`
    rows: int  # of `wide_sum`; `narrow_sum` has twice as many


# With 32 registers 28 sums leave room for the factors, with 16 registers 12 do. Tiles
# that add to what is there already cannot overlap, so their size is a power of two.
_PLACES, _ROWS = (14, 8) if vector_registers() == 32 else (6, 4)


@functools.cache
def tile_shape(dtype: np.dtype[Any]) -> TileShape:
    """Return the sizes of the tiles for an element type."""
    return TileShape(vector_lanes(dtype), _PLACES, _ROWS)


def make_tile(places: int, vectors: int, *, adding: bool) -> Callable[..., None]:
    """Make a tile of `places` times `vectors` sums.

    It is called as ``tile(out, out_start, writes, a, a_start, reads, first, segments,
    length, a_step, b, b_start, b_step)`` with flat arrays, and computes, for the
    places p from number `first` on and for some vectors of neighbours::

        out[out_start + writes[p] + lanes] = sum over segments s and l < length of
            a[a_start + reads[p] + segments[s] + l*a_step]
            * b[b_start + (s*length + l)*b_step + lanes]

    In a convolution places are pixels, segments kernel rows, `a` the image and `b` the
    weights. In the weights' gradient places are weights, segments rows of pixels, and
    `b` is the gradient by the output. An `adding` tile adds to what is in `out`.
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
        a_step,
        b,
        b_start,
        b_step,
    ):
        width = vectors * vector_lanes(out.dtype)
        for p in range(first, first + places):
            begin = out_start + writes[p]
            total = np.zeros(width, out.dtype)
            if adding:
                total += out[begin : begin + width]
            row = b_start
            for segment in segments:
                for place in range(length):
                    value = a[a_start + reads[p] + segment + place * a_step]
                    total += value * b[row : row + width]
                    row += b_step
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
        a_step,
        b,
        b_start,
        b_step,
    ):
        whole = types.intp
        arguments = (out, whole, writes, a, whole, reads, whole, segments)
        arguments += (whole, whole, b, whole, whole)

        def generate(
            context: Any, builder: ir.IRBuilder, signature: Signature, args: Any
        ) -> Any:
            _generate(context, builder, signature, args, places, vectors, adding)
            return context.get_dummy_value()

        return types.void(*arguments), generate

    @overload(tile, strict=False)
    def compiled(*arguments):
        def implementation(*arguments):
            in_registers(*arguments)

        return implementation

    return tile


def _generate(
    context: Any,
    builder: ir.IRBuilder,
    signature: Signature,
    args: Any,
    places: int,
    vectors: int,
    adding: bool,
) -> None:
    """Write the loop over segments, and in it the loop over their elements."""
    emit = Emitter(context, builder, signature.args[0])
    out_p, writes_p, a_p, reads_p, segments_p, b_p = (
        pointer(context, builder, signature.args[i], args[i])
        for i in (0, 2, 3, 5, 7, 10)
    )
    _, out_start, _, _, a_start, _, first, _, length, a_step, _, b_start, b_step = args
    segments = context.make_array(signature.args[7])(context, builder, args[7])
    segment_count = builder.extract_value(segments.shape, 0)

    numbers = [builder.add(first, number(p)) for p in range(places)]
    out_p, a_p = emit.at(out_p, out_start), emit.at(a_p, a_start)
    reads = [emit.at(a_p, builder.load(emit.at(reads_p, p))) for p in numbers]
    writes = [emit.at(out_p, builder.load(emit.at(writes_p, p))) for p in numbers]
    targets = [
        emit.at(write, number(v * emit.lanes))
        for write in writes
        for v in range(vectors)
    ]
    if adding:
        sums = [emit.load(target) for target in targets]
    else:
        sums = [emit.constant(0)] * len(targets)

    def segment(s: ir.Value, state: list[ir.Value]) -> list[ir.Value]:
        row, *sums = state
        offset = builder.load(emit.at(segments_p, s))
        starts = [emit.at(read, offset) for read in reads]
        state = emit.loop("element", length, element, [row, *starts, *sums])
        return [state[0], *state[1 + places :]]

    def element(_: ir.Value, state: list[ir.Value]) -> list[ir.Value]:
        row, values, sums = state[0], state[1 : 1 + places], state[1 + places :]
        factors = [
            emit.load(emit.at(row, number(v * emit.lanes))) for v in range(vectors)
        ]
        new = []
        for p, value in enumerate(values):
            spread = emit.spread(value)
            for v, factor in enumerate(factors):
                new.append(emit.multiply_add(spread, factor, sums[p * vectors + v]))
        values = [emit.at(value, a_step) for value in values]
        return [emit.at(row, b_step), *values, *new]

    row = emit.at(b_p, b_start)
    _, *sums = emit.loop("segment", segment_count, segment, [row, *sums])
    for target, total in zip(targets, sums, strict=True):
        emit.store(total, target)


wide_tile = make_tile(_PLACES, 2, adding=False)
narrow_tile = make_tile(_PLACES, 1, adding=False)
wide_sum = make_tile(_ROWS, 2, adding=True)
narrow_sum = make_tile(2 * _ROWS, 1, adding=True)
