"""Writing vector instructions: what Numba cannot say, in LLVM's own words.

LLVM turns plain loops into vector instructions only where it can prove that nothing
overlaps, and does not keep an array of sums in registers. The innermost loops are
therefore written with vector types, through the few words below.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import llvmlite.binding as llvm
import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils

I64 = ir.IntType(64)
I32 = ir.IntType(32)
Values = list[ir.Value]


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


def vector_lanes(dtype: np.dtype[Any]) -> int:
    """Count the elements that a vector register of the host holds."""
    return vector_bits() // (8 * dtype.itemsize)


class Emitter:
    """Writes vector instructions for one element type."""

    def __init__(self, context: Any, builder: ir.IRBuilder, array: Any) -> None:
        self.builder = builder
        self.lanes = vector_lanes(np.dtype(array.dtype.name))
        self.element = context.get_data_type(array.dtype)
        self.vector = ir.VectorType(self.element, self.lanes)
        self.half = ir.VectorType(self.element, self.lanes // 2)
        self.align = array.dtype.bitwidth // 8
        name = f"llvm.fmuladd.v{self.lanes}f{array.dtype.bitwidth}"
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
        return self.builder.shuffle_vector(*runs, self._indices(0, self.lanes))

    def store_half(self, value: ir.Value, half: int, pointer: ir.Value) -> None:
        """Store one run of a vector."""
        undefined = ir.Constant(self.vector, ir.Undefined)
        indices = self._indices(half * self.lanes // 2, self.lanes // 2)
        run = self.builder.shuffle_vector(value, undefined, indices)
        place = self.builder.bitcast(pointer, self.half.as_pointer())
        self.builder.store(run, place, align=self.align)

    def _no_unrolling(self) -> ir.MDValue:
        """Make the property of a loop that LLVM must not unroll it."""
        module = self.builder.module
        disable = module.add_metadata(
            [ir.MetaDataString(module, "llvm.loop.unroll.disable")]
        )
        loop = module.add_metadata([disable, I32(len(module.metadata))])
        loop.operands = (loop, disable)  # such a node begins with itself
        return loop

    def _indices(self, first: int, count: int) -> ir.Constant:
        vector = ir.VectorType(I32, count)
        return ir.Constant(vector, list(range(first, first + count)))

    def spread(self, pointer: ir.Value) -> ir.Value:
        """Load one element into every lane."""
        undefined = ir.Constant(self.vector, ir.Undefined)
        one = self.builder.insert_element(
            undefined, self.builder.load(pointer), ir.Constant(I32, 0)
        )
        zeros = ir.Constant(ir.VectorType(I32, self.lanes), None)
        return self.builder.shuffle_vector(one, undefined, zeros)

    def store(self, value: ir.Value, pointer: ir.Value) -> None:
        """Store a whole vector."""
        vectors = self.builder.bitcast(pointer, self.vector.as_pointer())
        self.builder.store(value, vectors, align=self.align)

    def weighted_sum(self, factors: Sequence[float], values: Values) -> ir.Value:
        """Add constant multiples up, not all zero; 1 and -1 cost no multiplication."""
        builder = self.builder
        terms = [(f, v) for f, v in zip(factors, values, strict=True) if f]
        terms.sort(key=lambda term: term[0] != 1)  # begin with a value as it is
        factor, total = terms[0]
        if factor != 1:
            total = builder.fmul(self.constant(factor), total)
        for factor, value in terms[1:]:
            if factor == 1:
                total = builder.fadd(total, value)
            elif factor == -1:
                total = builder.fsub(total, value)
            else:
                total = self.multiply_add(self.constant(factor), value, total)
        return total

    def constant(self, value: float) -> ir.Constant:
        """Put a number into every lane."""
        return ir.Constant(self.vector, [float(value)] * self.lanes)

    def multiply_add(self, a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
        """Compute a * b + c, rounded once where the host can."""
        return self.builder.call(self._fmuladd, [a, b, c])

    def sum_lanes(self, value: ir.Value) -> ir.Value:
        """Add the lanes up by halves, always in the same order."""
        lanes = self.lanes
        while lanes > 1:
            lanes //= 2
            undefined = ir.Constant(value.type, ir.Undefined)
            low, high = self._indices(0, lanes), self._indices(lanes, lanes)
            value = self.builder.fadd(
                self.builder.shuffle_vector(value, undefined, low),
                self.builder.shuffle_vector(value, undefined, high),
            )
        return self.builder.extract_element(value, ir.Constant(I32, 0))

    def accumulate(self, count: ir.Value, sums: int, body: Any) -> Values:
        """Loop `count` times, with `sums` vectors that never leave the registers.

        ``body(i, vectors)`` returns the vectors after step i; they start at zero.
        """
        builder, zero = self.builder, ir.Constant(self.vector, None)
        before = builder.block
        loop = builder.append_basic_block("tile")
        after = builder.append_basic_block("tile_done")
        builder.branch(loop)
        builder.position_at_end(loop)
        i = builder.phi(I64)
        i.add_incoming(ir.Constant(I64, 0), before)
        vectors = [builder.phi(self.vector) for _ in range(sums)]
        for vector in vectors:
            vector.add_incoming(zero, before)
        new = body(i, vectors)
        following = builder.add(i, ir.Constant(I64, 1))
        i.add_incoming(following, loop)
        for vector, value in zip(vectors, new, strict=True):
            vector.add_incoming(value, loop)
        more = builder.icmp_signed("<", following, count)
        branch = builder.cbranch(more, loop, after)
        # Two steps at a time would need twice the registers.
        branch.set_metadata("llvm.loop", self._no_unrolling())
        builder.position_at_end(after)
        return list(new)


def pointer(context: Any, builder: ir.IRBuilder, kind: Any, value: Any) -> ir.Value:
    """Return where an array's elements begin."""
    return context.make_array(kind)(context, builder, value).data


def number(value: int) -> ir.Constant:
    """Write an integer constant."""
    return ir.Constant(I64, value)
