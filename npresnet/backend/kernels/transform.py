"""Multiplication of small matrices of vectors by constants from both sides."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.core.typing.templates import Signature
from numba.extending import intrinsic, overload

from npresnet.backend.kernels.vectors import (
    Emitter,
    named,
    number,
    pointer,
    vector_lanes,
)

Matrix = tuple[tuple[float, ...], ...]


def two_sided_product(matrix: Matrix) -> Callable[..., None]:
    """Make a function that computes M x M^T, for many square matrices x at a time.

    Its arguments are ``(x, start, row_step, column_step, out, out_start, out_row_step,
    out_column_step, count)``: element (i, j) of all `count` matrices lies at
    ``start + i*row_step + j*column_step`` of the flat array `x`, one matrix behind the
    other, and likewise in `out`. `count` is a multiple of the vector's lanes.
    """
    size = range(len(matrix[0]))
    name = "two_sided_product_" + hashlib.sha256(repr(matrix).encode()).hexdigest()[:16]

    def product(x, start, row_step, column_step, out, begin, out_row, out_column, n):
        offsets = start + np.arange(len(size))[:, None] * row_step
        offsets = offsets + np.arange(len(size)) * column_step
        m = np.array(matrix, x.dtype)
        result = np.einsum("ia,abn,jb->ijn", m, x[offsets[..., None] + np.arange(n)], m)
        for i, row in enumerate(result):
            for j, values in enumerate(row):
                offset = begin + i * out_row + j * out_column
                out[offset : offset + n] = values

    @intrinsic
    def one_vector(typing, x, start, row_step, column_step, out, begin, row, column):
        whole = types.intp
        arguments = (x, whole, whole, whole, out, whole, whole, whole)

        def generate(
            context: Any, builder: ir.IRBuilder, signature: Signature, args: Any
        ) -> Any:
            emit = Emitter(context, builder, signature.args[0])
            x_p, out_p = (
                pointer(context, builder, signature.args[i], args[i]) for i in (0, 4)
            )
            source, target = emit.at(x_p, args[1]), emit.at(out_p, args[5])
            half = []  # columns of M x
            for b in size:
                first = emit.at(source, args[3], number(b))
                column = [emit.load(emit.at(first, args[2], number(a))) for a in size]
                half.append([emit.weighted_sum(row, column) for row in matrix])
            for i in range(len(matrix)):
                row = [column[i] for column in half]
                first = emit.at(target, args[6], number(i))
                for j, factors in enumerate(matrix):
                    value = emit.weighted_sum(factors, row)
                    emit.store(value, emit.at(first, args[7], number(j)))
            return context.get_dummy_value()

        return types.void(*arguments), generate

    @overload(product)
    def compiled(x, start, row_step, column_step, out, begin, out_row, out_column, n):
        lanes = vector_lanes(np.dtype(x.dtype.name))

        def implementation(
            x, start, row_step, column_step, out, begin, out_row, out_column, n
        ):
            for i in range(0, n, lanes):
                offset, target = start + i, begin + i
                one_vector(
                    x, offset, row_step, column_step, out, target, out_row, out_column
                )

        return named(name, implementation)

    return product
