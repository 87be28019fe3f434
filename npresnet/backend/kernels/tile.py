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
    run: int  # half a register: what is read or written in one piece
    channels: int  # product tile: output channels, one row of sums each
    runs: int  # product tile: runs of places in a row of sums
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
        self.half = ir.VectorType(self.element, self.shape.run)
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
        """Load a whole vector."""
        vectors = self.builder.bitcast(pointer, self.vector.as_pointer())
        return self.builder.load(vectors, align=self.align)

    def load_halves(self, low: ir.Value, high: ir.Value) -> ir.Value:
        """Load two runs that need not be neighbours into one vector."""
        runs = [
            self.builder.load(
                self.builder.bitcast(pointer, self.half.as_pointer()), align=self.align
            )
            for pointer in (low, high)
        ]
        return self.builder.shuffle_vector(*runs, self._indices(0, self.shape.lanes))

    def store_half(self, value: ir.Value, half: int, pointer: ir.Value) -> None:
        """Store one run of a vector."""
        undefined = ir.Constant(self.vector, ir.Undefined)
        indices = self._indices(half * self.shape.run, self.shape.run)
        run = self.builder.shuffle_vector(value, undefined, indices)
        place = self.builder.bitcast(pointer, self.half.as_pointer())
        self.builder.store(run, place, align=self.align)

    def _no_unrolling(self) -> ir.MDValue:
        """Make the property of a loop that LLVM must not unroll it."""
        module = self.builder.module
        disable = module.add_metadata(
            [ir.MetaDataString(module, "llvm.loop.unroll.disable")]
        )
        loop = module.add_metadata([disable, _I32(len(module.metadata))])
        loop.operands = (loop, disable)  # such a node begins with itself
        return loop

    def _indices(self, first: int, count: int) -> ir.Constant:
        vector = ir.VectorType(_I32, count)
        return ir.Constant(vector, list(range(first, first + count)))

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
            low, high = self._indices(0, lanes), self._indices(lanes, lanes)
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
        branch = builder.cbranch(more, loop, after)
        # Two steps at a time would need twice the registers.
        branch.set_metadata("llvm.loop", self._no_unrolling())
        builder.position_at_end(after)
        return list(new)


def _pointer(context: Any, builder: ir.IRBuilder, kind: Any, value: Any) -> ir.Value:
    return context.make_array(kind)(context, builder, value).data


def _number(value: int) -> ir.Constant:
    return ir.Constant(_I64, value)


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
            _pointer(context, builder, signature.args[i], args[i])
            for i in (0, 4, 5, 7, 9, 10)
        )
        _, out_start, out_step, channels, _, _, weight_start, _, rows_start = args[:9]
        first = args[11]
        emit = _Emitter(context, builder, signature.args[0])
        vectors = emit.shape.runs // 2
        weights = emit.at(weight_p, weight_start)
        rows_p = emit.at(rows_p, rows_start)
        runs = [builder.add(first, _number(q)) for q in range(emit.shape.runs)]
        places = [emit.at(rows_p, builder.load(emit.at(reads_p, q))) for q in runs]

        def step(r: ir.Value, sums: _Values) -> _Values:
            offset = builder.load(emit.at(offsets_p, r))
            row = [emit.at(place, offset) for place in places]
            x = [emit.load_halves(row[2 * v], row[2 * v + 1]) for v in range(vectors)]
            factors = emit.at(weights, r, _number(emit.shape.channels))
            new = []
            for m in range(emit.shape.channels):
                factor = emit.spread(emit.at(factors, _number(m)))
                for v in range(vectors):
                    new.append(emit.multiply_add(factor, x[v], sums[m * vectors + v]))
            return new

        array = context.make_array(signature.args[10])(context, builder, args[10])
        depth = builder.extract_value(array.shape, 0)
        sums = emit.accumulate(depth, emit.shape.channels * vectors, step)
        targets = [builder.load(emit.at(writes_p, q)) for q in runs]
        begin = emit.at(out_p, out_start)
        for m in range(emit.shape.channels):
            with builder.if_then(builder.icmp_signed(">", channels, _number(m))):
                channel = emit.at(begin, out_step, _number(m))
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
            _pointer(context, builder, signature.args[i], args[i])
            for i in (0, 3, 6, 7, 9, 10)
        )
        _, out_start, out_step, _, grad_start, grad_step, *_, first, runs = args
        rows_start = args[8]
        emit = _Emitter(context, builder, signature.args[0])
        channels, row_count = emit.shape.dot_channels, emit.shape.dot_rows
        grad_rows = [
            emit.at(emit.at(grad_p, grad_start), grad_step, _number(m))
            for m in range(channels)
        ]
        row_starts = [
            emit.at(
                rows_p,
                builder.add(
                    rows_start,
                    builder.load(emit.at(offsets_p, builder.add(first, _number(r)))),
                ),
            )
            for r in range(row_count)
        ]

        def step(i: ir.Value, sums: _Values) -> _Values:
            q = builder.mul(i, _number(2))
            place = builder.load(emit.at(grad_reads_p, q))
            low = builder.load(emit.at(reads_p, q))
            high = builder.load(emit.at(reads_p, builder.add(q, _number(1))))
            g = [emit.load(emit.at(row, place)) for row in grad_rows]
            new = list(sums)
            for r, row in enumerate(row_starts):
                x = emit.load_halves(emit.at(row, low), emit.at(row, high))
                for m in range(channels):
                    n = m * row_count + r
                    new[n] = emit.multiply_add(g[m], x, sums[n])
            return new

        pairs = builder.sdiv(runs, _number(2))
        sums = emit.accumulate(pairs, channels * row_count, step)
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
    def implementation(
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
        _product_tile(
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
        )

    return implementation


@overload(dot_tile)
def _compiled_dot_tile(
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
    def implementation(
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
        _dot_tile(
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
        )

    return implementation
