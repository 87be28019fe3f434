"""Writing vector instructions: what Numba cannot say, in LLVM's own words.

LLVM turns plain loops into vector instructions only where it can prove that nothing
overlaps, and does not keep an array of sums in registers. The innermost loops are
therefore written with vector types, through the few words below.
"""

from __future__ import annotations

import functools
import platform
from collections.abc import Callable, Sequence
from typing import Any

import llvmlite.binding as llvm
import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils
from numba.extending import overload

I64 = ir.IntType(64)
I32 = ir.IntType(32)
Values = list[ir.Value]
_ARM = ("aarch64", "arm64", "ARM64")


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


def vector_registers() -> int:
    """Count the host's vector registers."""
    return 32 if vector_bits() == 512 or platform.machine() in _ARM else 16


class Emitter:
    """Writes vector instructions for one element type."""

    def __init__(self, context: Any, builder: ir.IRBuilder, array: Any) -> None:
        self.builder = builder
        self.lanes = vector_lanes(np.dtype(array.dtype.name))
        self.element = context.get_data_type(array.dtype)
        self.vector = ir.VectorType(self.element, self.lanes)
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

    def _no_unrolling(self) -> ir.MDValue:
        """Make the property of a loop that LLVM must not unroll it."""
        module = self.builder.module
        disable = module.add_metadata(
            [ir.MetaDataString(module, "llvm.loop.unroll.disable")]
        )
        loop = module.add_metadata([disable, I32(len(module.metadata))])
        loop.operands = (loop, disable)  # such a node begins with itself
        return loop

    def broadcast(self, pointer: ir.Value) -> ir.Value:
        """Load one element into every lane."""
        return self.broadcast_value(self.builder.load(pointer))

    def broadcast_value(self, value: ir.Value) -> ir.Value:
        """Put a number into every lane."""
        undefined = ir.Constant(self.vector, ir.Undefined)
        one = self.builder.insert_element(undefined, value, ir.Constant(I32, 0))
        zeros = ir.Constant(ir.VectorType(I32, self.lanes), None)
        return self.builder.shuffle_vector(one, undefined, zeros)

    def no_less(self, value: ir.Value, floor: ir.Value) -> ir.Value:
        """Replace what is at most `floor` by it; what is not a number stays."""
        low = self.builder.fcmp_ordered("<=", value, floor)
        return self.builder.select(low, floor, value)

    def either(
        self, condition: ir.Value, body: Callable[[], Values], otherwise: Values
    ) -> Values:
        """Compute `body` if a condition holds."""
        builder = self.builder
        before = builder.block
        then, after = (builder.append_basic_block(name) for name in ("then", "after"))
        builder.cbranch(condition, then, after)
        builder.position_at_end(then)
        computed = body()
        builder.branch(after)
        builder.position_at_end(after)
        values = []
        for one, other in zip(computed, otherwise, strict=True):
            value = builder.phi(one.type)
            value.add_incoming(one, then)
            value.add_incoming(other, before)
            values.append(value)
        return values

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

    def load_row(self, pointer: ir.Value, vectors: int) -> Values:
        """Load some vectors that follow each other."""
        return [
            self.load(self.at(pointer, number(v * self.lanes))) for v in range(vectors)
        ]

    def store_row(self, values: Values, pointer: ir.Value) -> None:
        """Store vectors one behind the other."""
        for v, value in enumerate(values):
            self.store(value, self.at(pointer, number(v * self.lanes)))

    def add_products(self, pointers: Values, row: Values, sums: Values) -> Values:
        """Add each number that is pointed to, times each vector, to the sums."""
        new = []
        for p, pointer in enumerate(pointers):
            value = self.broadcast(pointer)
            for v, factor in enumerate(row):
                new.append(self.multiply_add(value, factor, sums[p * len(row) + v]))
        return new

    def loop(self, name: str, count: ir.Value, body: Any, state: Values) -> Values:
        """Loop `count` times, at least once, with a state that stays in registers.

        ``body(i, state)`` returns the state after step i.
        """
        builder = self.builder
        before = builder.block
        start = builder.append_basic_block(name)
        after = builder.append_basic_block(f"{name}_done")
        builder.branch(start)
        builder.position_at_end(start)
        i = builder.phi(I64)
        i.add_incoming(number(0), before)
        variables = [builder.phi(value.type) for value in state]
        for variable, value in zip(variables, state, strict=True):
            variable.add_incoming(value, before)
        new = body(i, list(variables))
        following = builder.add(i, number(1))
        end = builder.block  # the body may have loops of its own
        i.add_incoming(following, end)
        for variable, value in zip(variables, new, strict=True):
            variable.add_incoming(value, end)
        more = builder.icmp_signed("<", following, count)
        branch = builder.cbranch(more, start, after)
        # Two steps at a time would need twice the registers.
        branch.set_metadata("llvm.loop", self._no_unrolling())
        builder.position_at_end(after)
        return list(new)


def compiled_as(
    name: str, function: Callable[..., None], written: Any
) -> Callable[..., None]:
    """Let compiled code run what is `written` in place of a plain function.

    `name` must belong to this function alone; see `named`.
    """

    @overload(function, strict=False)
    def compiled(*arguments):
        def implementation(*arguments):
            written(*arguments)

        return named(name, implementation)

    return function


def named(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a function that was made inside of another one a name of its own.

    Numba tells functions that share a name apart by counting them, anew in every
    process. Code that two processes have left in the cache can then bear one name and
    be two things, of which the linker takes the first.
    """
    function.__name__ = function.__qualname__ = name
    return function


def pointer(context: Any, builder: ir.IRBuilder, kind: Any, value: Any) -> ir.Value:
    """Return where an array's elements begin."""
    return context.make_array(kind)(context, builder, value).data


def number(value: int) -> ir.Constant:
    """Write an integer constant."""
    return ir.Constant(I64, value)
