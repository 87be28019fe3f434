"""The two register tiles that everything heavy is made of.

A core multiplies and adds two vectors per instruction, but only if both the sums
and the factors are in registers. Each tile is first an ordinary Python function,
which says what it computes; the compiled version replaces it.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.core.typing.templates import Signature
from numba.extending import intrinsic, overload

from npresnet.backend.kernels.vectors import (
    Emitter,
    Values,
    number,
    pointer,
    vector_bits,
    vector_lanes,
)


class TileShape(NamedTuple):
    """Sizes of the tiles, in elements; they follow the host's vector registers."""

    lanes: int  # elements of one vector register
    run: int  # half a register: what is read or written in one piece
    channels: int  # product tile: output channels, one row of sums each
    runs: int  # product tile: runs of places in a row of sums
    dot_channels: int  # dot tile: rows of the gradient
    dot_rows: int  # dot tile: rows of the column matrix


@functools.cache
def tile_shape(dtype: np.dtype[Any]) -> TileShape:
    """Choose sums to fill the registers: 32 with AVX-512 and on Arm, else 16."""
    lanes = vector_lanes(dtype)
    if vector_bits() == 512:
        return TileShape(lanes, lanes // 2, 8, 4, 4, 5)
    return TileShape(lanes, lanes // 2, 4, 4, 3, 4)


def product_tile(
    out,
    out_start,
    out_step,
    channels,
    writes,
    weight,
    weight_start,
    rows,
    rows_start,
    reads,
    offsets,
    first,
):
    """Set a tile of out to weights times rows, one row of `rows` per offset.

    ``out[m, run] = sum_r weight[r, m] * rows[r, run]`` for a few runs of places,
    from number `first` on: run q is read at ``rows_start + reads[q] + offsets[r]`` of
    `rows`, so rows may overlap, which is how a convolution reads its columns without
    writing them down, and written at ``writes[q]`` of channel m of `out`. Only the
    first `channels` channels are written.
    """
    shape = tile_shape(out.dtype)
    for q in range(first, first + shape.runs):
        for m in range(channels):
            total = np.zeros(shape.run, out.dtype)
            for r, offset in enumerate(offsets):
                begin = rows_start + reads[q] + offset
                factor = weight[weight_start + r * shape.channels + m]
                total += factor * rows[begin : begin + shape.run]
            begin = out_start + m * out_step + writes[q]
            out[begin : begin + shape.run] = total


def dot_tile(
    out,
    out_start,
    out_step,
    grad,
    grad_start,
    grad_step,
    grad_reads,
    rows,
    rows_start,
    reads,
    offsets,
    first,
    runs,
):
    """Add a tile of dot products, each over the places of `runs` runs, to out.

    ``out[m, r] += sum_q grad[m, q] * rows[r, q]``, where run q of the gradient
    begins at ``grad_reads[q]`` and run q of row r at ``rows_start + reads[q] +
    offsets[first + r]``. Runs come in pairs that are neighbours in the gradient.
    """
    shape = tile_shape(out.dtype)
    for m in range(shape.dot_channels):
        for r in range(shape.dot_rows):
            lanes = np.zeros(shape.lanes, out.dtype)
            for q in range(0, runs, 2):
                begin = grad_start + m * grad_step + grad_reads[q]
                for half in (0, 1):
                    x = rows_start + reads[q + half] + offsets[first + r]
                    g = begin + half * shape.run
                    product = grad[g : g + shape.run] * rows[x : x + shape.run]
                    lanes[half * shape.run : (half + 1) * shape.run] += product
            out[out_start + m * out_step + r] += lanes.sum()


# ------------------------------------------------------------ compiled versions


def _shape_of(array: Any) -> TileShape:
    return tile_shape(np.dtype(array.dtype.name))


@intrinsic
def _product_tile(
    typing,
    out,
    out_start,
    out_step,
    channels,
    writes,
    weight,
    weight_start,
    rows,
    rows_start,
    reads,
    offsets,
    first,
):
    arguments = (
        out,
        types.intp,
        types.intp,
        types.intp,
        writes,
        weight,
        types.intp,
        rows,
        types.intp,
        reads,
        offsets,
        types.intp,
    )

    def generate(
        context: Any, builder: ir.IRBuilder, signature: Signature, args: Any
    ) -> Any:
        out_p, writes_p, weight_p, rows_p, reads_p, offsets_p = (
            pointer(context, builder, signature.args[i], args[i])
            for i in (0, 4, 5, 7, 9, 10)
        )
        _, out_start, out_step, channels, _, _, weight_start, _, rows_start = args[:9]
        first = args[11]
        emit = Emitter(context, builder, signature.args[0])
        shape = _shape_of(signature.args[0])
        vectors = shape.runs // 2
        weights = emit.at(weight_p, weight_start)
        rows_p = emit.at(rows_p, rows_start)
        runs = [builder.add(first, number(q)) for q in range(shape.runs)]
        places = [emit.at(rows_p, builder.load(emit.at(reads_p, q))) for q in runs]

        def step(r: ir.Value, sums: Values) -> Values:
            offset = builder.load(emit.at(offsets_p, r))
            row = [emit.at(place, offset) for place in places]
            x = [emit.load_halves(row[2 * v], row[2 * v + 1]) for v in range(vectors)]
            factors = emit.at(weights, r, number(shape.channels))
            new = []
            for m in range(shape.channels):
                factor = emit.spread(emit.at(factors, number(m)))
                for v in range(vectors):
                    new.append(emit.multiply_add(factor, x[v], sums[m * vectors + v]))
            return new

        array = context.make_array(signature.args[10])(context, builder, args[10])
        depth = builder.extract_value(array.shape, 0)
        sums = emit.accumulate(depth, shape.channels * vectors, step)
        targets = [builder.load(emit.at(writes_p, q)) for q in runs]
        begin = emit.at(out_p, out_start)
        for m in range(shape.channels):
            with builder.if_then(builder.icmp_signed(">", channels, number(m))):
                channel = emit.at(begin, out_step, number(m))
                for q, target in enumerate(targets):
                    value = sums[m * vectors + q // 2]
                    emit.store_half(value, q % 2, emit.at(channel, target))
        return context.get_dummy_value()

    return types.void(*arguments), generate


@intrinsic
def _dot_tile(
    typing,
    out,
    out_start,
    out_step,
    grad,
    grad_start,
    grad_step,
    grad_reads,
    rows,
    rows_start,
    reads,
    offsets,
    first,
    runs,
):
    arguments = (
        out,
        types.intp,
        types.intp,
        grad,
        types.intp,
        types.intp,
        grad_reads,
        rows,
        types.intp,
        reads,
        offsets,
        types.intp,
        types.intp,
    )

    def generate(
        context: Any, builder: ir.IRBuilder, signature: Signature, args: Any
    ) -> Any:
        out_p, grad_p, grad_reads_p, rows_p, reads_p, offsets_p = (
            pointer(context, builder, signature.args[i], args[i])
            for i in (0, 3, 6, 7, 9, 10)
        )
        _, out_start, out_step, _, grad_start, grad_step, *_, first, runs = args
        rows_start = args[8]
        emit = Emitter(context, builder, signature.args[0])
        shape = _shape_of(signature.args[0])
        channels, row_count = shape.dot_channels, shape.dot_rows
        grad_rows = [
            emit.at(emit.at(grad_p, grad_start), grad_step, number(m))
            for m in range(channels)
        ]
        row_starts = [
            emit.at(
                rows_p,
                builder.add(
                    rows_start,
                    builder.load(emit.at(offsets_p, builder.add(first, number(r)))),
                ),
            )
            for r in range(row_count)
        ]

        def step(i: ir.Value, sums: Values) -> Values:
            q = builder.mul(i, number(2))
            place = builder.load(emit.at(grad_reads_p, q))
            low = builder.load(emit.at(reads_p, q))
            high = builder.load(emit.at(reads_p, builder.add(q, number(1))))
            g = [emit.load(emit.at(row, place)) for row in grad_rows]
            new = list(sums)
            for r, row in enumerate(row_starts):
                x = emit.load_halves(emit.at(row, low), emit.at(row, high))
                for m in range(channels):
                    n = m * row_count + r
                    new[n] = emit.multiply_add(g[m], x, sums[n])
            return new

        pairs = builder.sdiv(runs, number(2))
        sums = emit.accumulate(pairs, channels * row_count, step)
        for m in range(channels):
            begin = emit.at(emit.at(out_p, out_start), out_step, number(m))
            for r in range(row_count):
                place = emit.at(begin, number(r))
                total = emit.sum_lanes(sums[m * row_count + r])
                builder.store(builder.fadd(builder.load(place), total), place)
        return context.get_dummy_value()

    return types.void(*arguments), generate


@overload(product_tile, strict=False)
def _compiled_product_tile(*arguments):
    def implementation(*arguments):
        _product_tile(*arguments)

    return implementation


@overload(dot_tile, strict=False)
def _compiled_dot_tile(*arguments):
    def implementation(*arguments):
        _dot_tile(*arguments)

    return implementation
