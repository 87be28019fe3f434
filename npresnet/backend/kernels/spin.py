"""Waiting for another thread without going to sleep.

Waking a thread that sleeps takes longer than many a kernel runs. Between kernels,
threads therefore look at a number in memory again and again, for a while, outside of
Python's lock.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.core.typing.templates import Signature
from numba.extending import intrinsic

from npresnet.backend.kernels.compile import kernel
from npresnet.backend.kernels.vectors import pointer


@intrinsic
def _load(typing, numbers, i):
    """Read ``numbers[i]`` as it is now: no compiler may keep an older value."""

    def generate(
        context: Any, builder: ir.IRBuilder, signature: Signature, args: Any
    ) -> Any:
        begin = pointer(context, builder, signature.args[0], args[0])
        return builder.load_atomic(builder.gep(begin, [args[1]]), "seq_cst", 8)

    return types.int64(numbers, types.intp), generate


@intrinsic
def _store(typing, numbers, i, value):
    """Write ``numbers[i]`` before anything that follows."""

    def generate(
        context: Any, builder: ir.IRBuilder, signature: Signature, args: Any
    ) -> Any:
        begin = pointer(context, builder, signature.args[0], args[0])
        place = builder.gep(begin, [args[1]])
        builder.store_atomic(args[2], place, "seq_cst", 8)
        return context.get_dummy_value()

    return types.void(numbers, types.intp, types.int64), generate


@kernel
def post(numbers, i, value):
    """Write ``numbers[i]`` for other threads to see."""
    _store(numbers, i, value)


@kernel
def announce(numbers, i, value, answer, refusal, patience, pause):
    """Write ``numbers[i]``, and wait until ``numbers[answer]`` is at least as large.

    Then wait a little more, until whoever answered has let go of Python's lock: to
    queue for it takes longer. Give up if ``numbers[refusal]`` is not zero.
    """
    _store(numbers, i, value)
    for _ in range(patience):
        if _load(numbers, answer) >= value:
            for _ in range(pause):
                _load(numbers, answer)
            return
        if _load(numbers, refusal) != 0:
            return


@kernel
def report(numbers, i, value, j, next_value, patience):
    """Write ``numbers[i]``, then wait as `reaches` does, never taking Python's lock."""
    _store(numbers, i, value)
    for _ in range(patience):
        if _load(numbers, j) >= next_value:
            return True
    return False


@kernel
def reaches(numbers, i, value, patience):
    """Wait until ``numbers[i]`` is at least `value`; tell whether it came to that."""
    for _ in range(patience):
        if _load(numbers, i) >= value:
            return True
    return False
