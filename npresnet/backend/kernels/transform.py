"""Multiplication of six rows, or four, with a small matrix of constants."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.core.typing.templates import Signature
from numba.extending import intrinsic, overload

from npresnet.backend.kernels.vectors import Emitter, number, pointer, vector_lanes

Matrix = tuple[tuple[float, ...], ...]


def constant_product(matrix: Matrix) -> Callable[..., None]:
    """Make a function that multiplies `matrix` with rows of numbers.

    Its arguments are ``(rows, start, step, out, out_start, out_step, count)``: row j
    begins at ``start + j*step`` of the flat array `rows`, row i of the product at
    ``out_start + i*out_step`` of `out`, and `count`, the length of all rows, is a
    multiple of the vector's lanes.
    """

    def product(rows, start, step, out, out_start, out_step, count):
        columns = [
            rows[start + j * step : start + j * step + count]
            for j in range(len(matrix[0]))
        ]
        products = np.array(matrix, rows.dtype) @ np.array(columns)
        for i, row in enumerate(products):
            begin = out_start + i * out_step
            out[begin : begin + count] = row

    @intrinsic
    def one_vector(typing, rows, start, step, out, out_start, out_step):
        arguments = (rows, *[types.intp] * 2, out, *[types.intp] * 2)

        def generate(
            context: Any, builder: ir.IRBuilder, signature: Signature, args: Any
        ) -> Any:
            emit = Emitter(context, builder, signature.args[0])
            rows_p, out_p = (
                pointer(context, builder, signature.args[i], args[i]) for i in (0, 3)
            )
            _, start, step, _, out_start, out_step = args
            source, target = emit.at(rows_p, start), emit.at(out_p, out_start)
            columns = [
                emit.load(emit.at(source, step, number(j)))
                for j in range(len(matrix[0]))
            ]
            for i, factors in enumerate(matrix):
                total = emit.weighted_sum(factors, columns)
                emit.store(total, emit.at(target, out_step, number(i)))
            return context.get_dummy_value()

        return types.void(*arguments), generate

    @overload(product)
    def compiled(rows, start, step, out, out_start, out_step, count):
        lanes = vector_lanes(np.dtype(rows.dtype.name))

        def implementation(rows, start, step, out, out_start, out_step, count):
            for t in range(0, count, lanes):
                one_vector(rows, start + t, step, out, out_start + t, out_step)

        return implementation

    return product
