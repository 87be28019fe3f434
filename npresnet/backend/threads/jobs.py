"""How a kernel reaches the threads of a pool without asking Python for its lock.

Waking a thread that sleeps, or handing Python's lock from one to another, takes longer
than many a kernel runs. A worker therefore stays in compiled code and spins: it looks
at a number in memory again and again. The caller leaves a job there, which is where the
kernel is and what it is called with; all threads take chunks until none are left.

The state that they share is an array of integers, on cache lines of their own::

    TICKET      job << 32 | chunks << 16 | chunks that are taken
    FINISHED    chunks that are done
    ADDRESS     of the job: a function, and behind it the arguments
    ITERATIONS  that the chunks make up
    FAILED      whether a chunk ended in an exception
    ACTIVE      workers that take chunks; those with higher numbers sleep
"""

from __future__ import annotations

import platform
import sys
import types as python_types
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.typing.templates import Signature
from numba.extending import intrinsic
from numpy.typing import NDArray

from npresnet import _signals as signals
from npresnet.backend.kernels.compile import inlined, kernel
from npresnet.backend.kernels.vectors import I32, I64, pointer

MOST_CHUNKS = 0xFFFF
_TICKET, _FINISHED, _ADDRESS, _ITERATIONS, _FAILED, ACTIVE = range(0, 48, 8)
BYTES = ir.IntType(8).as_pointer()
# A job's function: called with the job's address, and a range of iterations.
CHUNK = ir.FunctionType(I32, [BYTES, I64, I64])
_UNKNOWN = 2  # what a launch returns that was never told where its kernel is
# The instruction for it, as the compiler calls it, with its arguments.
_PAUSE = {
    "x86_64": ("llvm.x86.sse2.pause", ()),
    "amd64": ("llvm.x86.sse2.pause", ()),
    "aarch64": ("llvm.aarch64.hint", (1,)),
    "arm64": ("llvm.aarch64.hint", (1,)),
}.get(platform.machine().lower())
_PATIENCE = 1 << 12  # spins, before a thread offers its processor to others


def new_shared_state() -> NDArray[np.int64]:
    """Make the numbers that the threads of a pool share."""
    shared = np.zeros(48, np.int64)
    shared[ACTIVE] = MOST_CHUNKS
    return shared


class Launcher:
    """Has the threads of a pool run a kernel."""

    def __init__(self, compiled: Any) -> None:
        self._kernel = compiled
        self._launch = _copy_for(compiled)

    def __call__(
        self, shared: NDArray[np.int64], iterations: int, chunks: int, arguments: Any
    ) -> bool:
        """Run the kernel with some arguments; tell whether a chunk has failed."""
        result = self._launch(shared, iterations, chunks, 0, *arguments)
        if result == _UNKNOWN:
            with signals.held():
                address = address_of(self._kernel, arguments)
            result = self._launch(shared, iterations, chunks, address, *arguments)
        return bool(result)


def address_of(compiled: Any, arguments: Any) -> int:
    """Find the machine code of a kernel for arguments of these types."""
    kinds = (*map(numba.typeof, arguments), types.intp, types.intp)
    compiled.compile(kinds)  # or found, if it has been
    found = compiled.overloads[kinds]
    address: int = found.library.get_pointer_to_function(found.fndesc.llvm_func_name)
    return address


def _copy_for(compiled: Any) -> Any:
    """Make a copy of `_launch` for a kernel, which is a global variable of it."""
    # Compiled code is kept under the qualified name.
    name = f"launch_{compiled.__module__}_{compiled.__name__}".replace(".", "_")
    copy = python_types.FunctionType(
        _launch.__code__, {**globals(), "_kernel": compiled}, name
    )
    copy.__qualname__ = name
    return kernel(copy)


_kernel: Any = None  # of a copy


def _launch(shared, iterations, chunks, address, *arguments):
    """Return 0 if all went well, 1 if a chunk has failed, or that nothing was done.

    Nothing is done until the kernel's address has been given once in a process: code
    that holds the kernel itself would be as long as the kernel, and compiled again.
    """
    job = _job(_kernel, address, arguments)
    if job == 0:
        return _UNKNOWN
    return _run_job(shared, job, iterations, chunks)


@intrinsic
def _job(typing, function, address, arguments):
    """Leave a function and its arguments in memory, until the caller returns.

    An address other than 0 is where the function is from now on; the job is 0 where
    none has ever been given.
    """
    called = function.get_call_type(typing, (*arguments, types.intp, types.intp), {})

    def generate(
        context: Any, builder: ir.IRBuilder, signature: Signature, args: Any
    ) -> Any:
        _, address, packed = args
        known = cgutils.add_global_variable(builder.module, I64, "address_of_kernel")
        known.initializer = ir.Constant(I64, 0)
        known.linkage = "internal"
        is_given = builder.icmp_unsigned("!=", address, ir.Constant(I64, 0))
        with builder.if_then(is_given):
            builder.store(address, known)
        kind = ir.LiteralStructType([CHUNK.as_pointer(), packed.type])
        job = cgutils.alloca_once(builder, kind)
        run = _job_function(
            context, builder.module, function, called, arguments, kind, known
        )
        builder.store(run, cgutils.gep_inbounds(builder, job, 0, 0))
        builder.store(packed, cgutils.gep_inbounds(builder, job, 0, 1))
        is_known = builder.icmp_unsigned("!=", builder.load(known), ir.Constant(I64, 0))
        where = builder.ptrtoint(job, I64)
        return builder.select(is_known, where, ir.Constant(I64, 0))

    return types.int64(function, types.int64, arguments), generate


def _job_function(
    context: Any,
    module: ir.Module,
    function: Any,
    called: Any,
    arguments: Any,
    kind: Any,
    known: ir.GlobalVariable,
) -> ir.Function:
    """Write the function of a job: unpack the arguments and call the kernel."""
    description = function.dispatcher.get_compile_result(called).fndesc
    run = ir.Function(module, CHUNK, f"chunk_of_{description.mangled_name}")
    run.linkage = "internal"
    builder = ir.IRBuilder(run.append_basic_block())
    address, first, last = run.args
    job = builder.bitcast(address, kind.as_pointer())
    packed = builder.load(cgutils.gep_inbounds(builder, job, 0, 1))
    values = cgutils.unpack_tuple(builder, packed, len(arguments))
    form = context.call_conv.get_function_type(
        description.restype, description.argtypes
    )
    kernel_function = builder.inttoptr(builder.load(known), form.as_pointer())
    status, _ = context.call_conv.call_function(
        builder,
        kernel_function,
        description.restype,
        description.argtypes,
        [*values, first, last],
    )
    builder.ret(builder.zext(status.is_error, I32))
    return run


@intrinsic
def _run_chunk(typing, address, first, last):
    """Run a range of iterations of a job; tell whether it failed."""

    def generate(
        context: Any, builder: ir.IRBuilder, signature: Signature, args: Any
    ) -> Any:
        job = builder.inttoptr(args[0], BYTES)
        function = builder.bitcast(job, CHUNK.as_pointer().as_pointer())
        failed = builder.call(builder.load(function), [job, args[1], args[2]])
        return builder.zext(failed, I64)

    return types.int64(types.int64, types.int64, types.int64), generate


def _element(
    context: Any, builder: ir.IRBuilder, signature: Signature, args: Any
) -> ir.Value:
    """Return where ``numbers[i]`` lies, for the first two arguments of an intrinsic."""
    begin = pointer(context, builder, signature.args[0], args[0])
    return builder.gep(begin, [args[1]])


@intrinsic
def _atomic_load(typing, numbers, i):
    """Read ``numbers[i]`` as it is now: no compiler may keep an older value."""

    def generate(
        context: Any, builder: ir.IRBuilder, signature: Signature, args: Any
    ) -> Any:
        element = _element(context, builder, signature, args)
        return builder.load_atomic(element, "seq_cst", 8)

    return types.int64(numbers, types.intp), generate


@intrinsic
def _atomic_store(typing, numbers, i, value):
    """Write ``numbers[i]``, after all that came before."""

    def generate(
        context: Any, builder: ir.IRBuilder, signature: Signature, args: Any
    ) -> Any:
        element = _element(context, builder, signature, args)
        builder.store_atomic(args[2], element, "seq_cst", 8)
        return context.get_dummy_value()

    return types.void(numbers, types.intp, types.int64), generate


@intrinsic
def _atomic_add(typing, numbers, i, value):
    """Add to ``numbers[i]`` in one step, whoever else does."""

    def generate(
        context: Any, builder: ir.IRBuilder, signature: Signature, args: Any
    ) -> Any:
        element = _element(context, builder, signature, args)
        builder.atomic_rmw("add", element, args[2], "seq_cst")
        return context.get_dummy_value()

    return types.void(numbers, types.intp, types.int64), generate


@intrinsic
def _compare_and_swap(typing, numbers, i, old, new):
    """Write ``numbers[i]`` if it is still the old one; tell whether it was."""

    def generate(
        context: Any, builder: ir.IRBuilder, signature: Signature, args: Any
    ) -> Any:
        element = _element(context, builder, signature, args)
        found = builder.cmpxchg(element, args[2], args[3], "seq_cst", "seq_cst")
        return builder.extract_value(found, 1)

    return types.boolean(numbers, types.intp, types.int64, types.int64), generate


@intrinsic
def _pause(typing):
    """Leave the core to its other thread for some cycles, where it runs two."""
    # Two processors may be one core, which a thread that spins
    # shares with the one that it waits for. Makers of processors ask for this.

    def generate(
        context: Any, builder: ir.IRBuilder, signature: Signature, args: Any
    ) -> Any:
        if _PAUSE is not None:
            name, numbers = _PAUSE
            kind = ir.FunctionType(ir.VoidType(), [I32] * len(numbers))
            function = builder.module.declare_intrinsic(name, fnty=kind)
            builder.call(function, [ir.Constant(I32, n) for n in numbers])
        return context.get_dummy_value()

    return types.void(), generate


@intrinsic
def _yield_processor(typing):
    """Let another thread have the processor, if one waits for it."""

    def generate(
        context: Any, builder: ir.IRBuilder, signature: Signature, args: Any
    ) -> Any:
        if sys.platform != "win32":  # where this is in no library that is always there
            kind = ir.FunctionType(I32, [])
            module = builder.module
            builder.call(
                cgutils.get_or_insert_function(module, kind, "sched_yield"), []
            )
        return context.get_dummy_value()

    return types.void(), generate


@inlined
def _take_chunk(shared):
    """Do the next chunk, if there is one; tell whether there may be more."""
    ticket = _atomic_load(shared, _TICKET)
    chunks, chunk = (ticket >> 16) & MOST_CHUNKS, ticket & MOST_CHUNKS
    if chunk >= chunks:
        return False
    # These belong to the ticket if it is still there when it is exchanged: they are
    # not written before all chunks of the last job are done.
    address = _atomic_load(shared, _ADDRESS)
    iterations = _atomic_load(shared, _ITERATIONS)
    if _compare_and_swap(shared, _TICKET, ticket, ticket + 1):
        first = chunk * iterations // chunks
        last = (chunk + 1) * iterations // chunks
        if _run_chunk(address, first, last) != 0:
            _atomic_store(shared, _FAILED, 1)
        _atomic_add(shared, _FINISHED, 1)
    return True


@inlined
def _run_job(shared, address, iterations, chunks):
    """Have a job done by the caller, and by whichever workers look for one."""
    _atomic_store(shared, _ADDRESS, address)
    _atomic_store(shared, _ITERATIONS, iterations)
    _atomic_store(shared, _FINISHED, 0)
    _atomic_store(shared, _FAILED, 0)
    job = ((_atomic_load(shared, _TICKET) >> 32) + 1) & 0x7FFFFFFF
    _atomic_store(shared, _TICKET, job << 32 | chunks << 16)
    while _take_chunk(shared):
        pass
    spins = 0
    while _atomic_load(shared, _FINISHED) < chunks:
        _pause()
        spins += 1
        if spins > _PATIENCE:
            _yield_processor()
    return _atomic_load(shared, _FAILED)


@kernel
def run_jobs(shared, jobs):
    """Do jobs one after the other; return the number of one that failed, or -1.

    Each is a row: where it lies, its iterations, and the chunks that they fall into.
    What is one chunk is done here, without telling anybody.
    """
    for i in range(len(jobs)):
        address, iterations, chunks = jobs[i, 0], jobs[i, 1], jobs[i, 2]
        if chunks == 1:
            failed = _run_chunk(address, 0, iterations)
        else:
            failed = _run_job(shared, address, iterations, chunks)
        if failed != 0:
            return i
    return -1


@kernel
def serve(shared, number, asleep, spins):
    """Do chunks until there have been none for so many spins; then fall asleep.

    asleep[0] says so. A worker that has set it looks once more, so that a caller who
    leaves a job and then finds it 0 can count on being seen. A worker that is not
    active any more falls asleep at once.
    """
    _atomic_store(asleep, 0, 0)
    idle = 0
    while True:
        if number >= _atomic_load(shared, ACTIVE):
            _atomic_store(asleep, 0, 1)
            return
        if _take_chunk(shared):
            _atomic_store(asleep, 0, 0)
            idle = 0
        _pause()
        idle += 1
        if idle > _PATIENCE and idle & 63 == 0:  # rarely: it takes as long as 10 spins
            _yield_processor()
        if idle == spins:
            _atomic_store(asleep, 0, 1)
        elif idle > spins:
            return
