"""The two register tiles that everything heavy is made of.

A core multiplies and adds two vectors per instruction, but only if both the sums
and the factors are in registers. LLVM does not keep an array of sums in registers
by itself, so the innermost loops are written with its vector types. Each tile is
first an ordinary Python function, which says what it computes; the compiled
version replaces it.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import llvmlite.binding as llvm
import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.typing.templates import Signature
from numba.extending import intrinsic, overload


class TileShape(NamedTuple):
    """Sizes of the tiles, in elements; they follow the host's vector registers."""

    lanes: int  # elements of one vector register
    channels: int  # product tile: output channels, one row of sums each
    width: int  # product tile: positions, a multiple of lanes
    dot_channels: int  # dot tile: rows of the gradient
    dot_rows: int  # dot tile: rows of the column matrix


@functools.cache
def vector_bits() -> int:
    """Width of the host's vector registers, as Numba is told to use them."""
    features = numba.config.CPU_FEATURES
    if features is None:
        features = llvm.get_host_cpu_features().flatten()
    enabled = set(features.split(","))
    if "+avx512f" in enabled:
        return 512
    return 256 if "+avx" in enabled else 128


@functools.cache
def tile_shape(dtype: np.dtype[Any]) -> TileShape:
    """Choose sums to fill the registers: 32 with AVX-512 and on Arm, else 16."""
    lanes = vector_bits() // (8 * dtype.itemsize)
    if vector_bits() == 512:
        return TileShape(lanes, 8, 2 * lanes, 4, 6)
    return TileShape(lanes, 4, 2 * lanes, 3, 4)


def product_tile(out, out_start, out_step, weight, weight_start, rows, start, offsets):
    """Set a tile of out to weights times rows, one row of `rows` per offset.

    ``out[m, :] = sum_r weight[r, m] * rows[r]``, where row r begins at
    ``start + offsets[r]``: rows may overlap, which is how a convolution reads its
    columns without writing them down.
    """
    shape = tile_shape(out.dtype)
    for m in range(shape.channels):
        total = np.zeros(shape.width, out.dtype)
        for r, offset in enumerate(offsets):
            row = rows[start + offset : start + offset + shape.width]
            total += weight[weight_start + r * shape.channels + m] * row
        begin = out_start + m * out_step
        out[begin : begin + shape.width] = total


def dot_tile(
    out, out_start, out_step, grad, grad_start, grad_step, rows, offsets, first, length
):
    """Add a tile of dot products, each over `length` positions, to out.

    ``out[m, r] += sum_p grad[m, p] * rows[r, p]``, where row r begins at
    ``offsets[first + r]``; `length` is a multiple of the lanes.
    """
    shape = tile_shape(out.dtype)
    for m in range(shape.dot_channels):
        begin = grad_start + m * grad_step
        grad_row = grad[begin : begin + length]
        for r in range(shape.dot_rows):
            offset = offsets[first + r]
            lanes = (grad_row * rows[offset : offset + length]).reshape(-1, shape.lanes)
            out[out_start + m * out_step + r] += lanes.sum(axis=0).sum()


# ------------------------------------------------------------ compiled versions

_I64 = ir.IntType(64)
_I32 = ir.IntType(32)
_Values = list[ir.Value]


class _Emitter:
    """Writes vector instructions for one element type."""

    def __init__(self, context: Any, builder: ir.IRBuilder, array: Any) -> None:
        self.builder = builder
        self.shape = tile_shape(np.dtype(array.dtype.name))
        self.element = context.get_data_type(array.dtype)
        self.vector = ir.VectorType(self.element, self.shape.lanes)
        self.align = array.dtype.bitwidth // 8
        name = f"llvm.fmuladd.v{self.shape.lanes}f{array.dtype.bitwidth}"
        self._fmuladd = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(self.vector, [self.vector] * 3), name
        )

    def at(self, pointer: ir.Value, *steps: ir.Value) -> ir.Value:
        """Move a pointer on by the product of `steps` elements."""
        step = functools.reduce(self.builder.mul, steps)
        return self.builder.gep(pointer, [step])

    def load(self, pointer: ir.Value) -> ir.Value:
        vectors = self.builder.bitcast(pointer, self.vector.as_pointer())
        return self.builder.load(vectors, align=self.align)

    def store(self, value: ir.Value, pointer: ir.Value) -> None:
        vectors = self.builder.bitcast(pointer, self.vector.as_pointer())
        self.builder.store(value, vectors, align=self.align)

    def spread(self, pointer: ir.Value) -> ir.Value:
        """Load one element into every lane."""
        undefined = ir.Constant(self.vector, ir.Undefined)
        one = self.builder.insert_element(
            undefined, self.builder.load(pointer), ir.Constant(_I32, 0)
        )
        zeros = ir.Constant(ir.VectorType(_I32, self.shape.lanes), None)
        return self.builder.shuffle_vector(one, undefined, zeros)

    def multiply_add(self, a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
        return self.builder.call(self._fmuladd, [a, b, c])

    def sum_lanes(self, value: ir.Value) -> ir.Value:
        """Add the lanes up by halves, always in the same order."""
        lanes = self.shape.lanes
        while lanes > 1:
            lanes //= 2
            undefined = ir.Constant(value.type, ir.Undefined)
            vector = ir.VectorType(_I32, lanes)
            low = ir.Constant(vector, list(range(lanes)))
            high = ir.Constant(vector, list(range(lanes, 2 * lanes)))
            value = self.builder.fadd(
                self.builder.shuffle_vector(value, undefined, low),
                self.builder.shuffle_vector(value, undefined, high),
            )
        return self.builder.extract_element(value, ir.Constant(_I32, 0))

    def accumulate(self, count: ir.Value, sums: int, body: Any) -> _Values:
        """Loop `count` times, with `sums` vectors that never leave the registers.

        ``body(i, vectors)`` returns the vectors after step i; they start at zero.
        """
        builder, zero = self.builder, ir.Constant(self.vector, None)
        before = builder.block
        loop = builder.append_basic_block("tile")
        after = builder.append_basic_block("tile_done")
        builder.branch(loop)
        builder.position_at_end(loop)
        i = builder.phi(_I64)
        i.add_incoming(ir.Constant(_I64, 0), before)
        vectors = [builder.phi(self.vector) for _ in range(sums)]
        for vector in vectors:
            vector.add_incoming(zero, before)
        new = body(i, vectors)
        following = builder.add(i, ir.Constant(_I64, 1))
        i.add_incoming(following, loop)
        for vector, value in zip(vectors, new, strict=True):
            vector.add_incoming(value, loop)
        more = builder.icmp_signed("<", following, count)
        builder.cbranch(more, loop, after)
        builder.position_at_end(after)
        return list(new)


def _pointer(context: Any, builder: ir.IRBuilder, kind: Any, value: Any) -> ir.Value:
    return context.make_array(kind)(context, builder, value).data


def _number(value: int) -> ir.Constant:
    return ir.Constant(_I64, value)


@intrinsic
def _product_tile(
    typing, out, out_start, out_step, weight, weight_start, rows, start, offsets
):
    arguments = (
        out,
        types.intp,
        types.intp,
        weight,
        types.intp,
        rows,
        types.intp,
        offsets,
    )

    def generate(
        context: Any, builder: ir.IRBuilder, signature: Signature, args: Any
    ) -> Any:
        out_p, weight_p, rows_p, offsets_p = (
            _pointer(context, builder, signature.args[i], args[i]) for i in (0, 3, 5, 7)
        )
        _, out_start, out_step, _, weight_start, _, start, _ = args
        emit = _Emitter(context, builder, signature.args[0])
        channels, lanes = emit.shape.channels, emit.shape.lanes
        vectors = emit.shape.width // lanes
        weights = emit.at(weight_p, weight_start)
        places = [
            emit.at(rows_p, builder.add(start, _number(v * lanes)))
            for v in range(vectors)
        ]

        def step(r: ir.Value, sums: _Values) -> _Values:
            offset = builder.load(emit.at(offsets_p, r))
            row = [emit.load(emit.at(place, offset)) for place in places]
            factors = emit.at(weights, r, _number(channels))
            new = []
            for m in range(channels):
                factor = emit.spread(emit.at(factors, _number(m)))
                for v in range(vectors):
                    new.append(emit.multiply_add(factor, row[v], sums[m * vectors + v]))
            return new

        array = context.make_array(signature.args[7])(context, builder, args[7])
        depth = builder.extract_value(array.shape, 0)
        sums = emit.accumulate(depth, channels * vectors, step)
        for m in range(channels):
            begin = emit.at(emit.at(out_p, out_start), out_step, _number(m))
            for v in range(vectors):
                place = emit.at(begin, _number(v * lanes))
                emit.store(sums[m * vectors + v], place)
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
    rows,
    offsets,
    first,
    length,
):
    arguments = (
        out,
        types.intp,
        types.intp,
        grad,
        types.intp,
        types.intp,
        rows,
        offsets,
        types.intp,
        types.intp,
    )

    def generate(
        context: Any, builder: ir.IRBuilder, signature: Signature, args: Any
    ) -> Any:
        out_p, grad_p, rows_p, offsets_p = (
            _pointer(context, builder, signature.args[i], args[i]) for i in (0, 3, 6, 7)
        )
        _, out_start, out_step, _, grad_start, grad_step, _, _, first, length = args
        emit = _Emitter(context, builder, signature.args[0])
        channels, row_count = emit.shape.dot_channels, emit.shape.dot_rows
        lanes = _number(emit.shape.lanes)
        grad_rows = [
            emit.at(emit.at(grad_p, grad_start), grad_step, _number(m))
            for m in range(channels)
        ]
        row_starts = [
            emit.at(
                rows_p,
                builder.load(emit.at(offsets_p, builder.add(first, _number(r)))),
            )
            for r in range(row_count)
        ]

        def step(i: ir.Value, sums: _Values) -> _Values:
            g = [emit.load(emit.at(row, i, lanes)) for row in grad_rows]
            x = [emit.load(emit.at(row, i, lanes)) for row in row_starts]
            return [
                emit.multiply_add(g[m], x[r], sums[m * row_count + r])
                for m in range(channels)
                for r in range(row_count)
            ]

        sums = emit.accumulate(builder.sdiv(length, lanes), channels * row_count, step)
        for m in range(channels):
            begin = emit.at(emit.at(out_p, out_start), out_step, _number(m))
            for r in range(row_count):
                place = emit.at(begin, _number(r))
                total = emit.sum_lanes(sums[m * row_count + r])
                builder.store(builder.fadd(builder.load(place), total), place)
        return context.get_dummy_value()

    return types.void(*arguments), generate


@overload(product_tile)
def _compiled_product_tile(
    out, out_start, out_step, weight, weight_start, rows, start, offsets
):
    def implementation(
        out, out_start, out_step, weight, weight_start, rows, start, offsets
    ):
        _product_tile(
            out, out_start, out_step, weight, weight_start, rows, start, offsets
        )

    return implementation


@overload(dot_tile)
def _compiled_dot_tile(
    out, out_start, out_step, grad, grad_start, grad_step, rows, offsets, first, length
):
    def implementation(
        out,
        out_start,
        out_step,
        grad,
        grad_start,
        grad_step,
        rows,
        offsets,
        first,
        length,
    ):
        _dot_tile(
            out,
            out_start,
            out_step,
            grad,
            grad_start,
            grad_step,
            rows,
            offsets,
            first,
            length,
        )

    return implementation
