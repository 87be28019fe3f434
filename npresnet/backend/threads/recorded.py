"""Launches that have been recorded, done in order by one call of compiled code.

A job (see `jobs`) is the address of a function, and what it needs behind it. Here that
is a row of slots, eight bytes each: an integer, a float, a bool, or what there is to
know about an array. The function makes a kernel's arguments of them and calls it. It is
so short that it is written in LLVM's words: Numba would take longer over each of them
than over some kernels.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator
from typing import Any

import llvmlite.binding as llvm
import numba
import numpy as np
from llvmlite import ir
from numba.core import types
from numba.core.compiler_lock import global_compiler_lock
from numba.core.registry import cpu_target

from npresnet import _signals as signals
from npresnet.backend.kernels.ahead import Task, share
from npresnet.backend.kernels.compile import is_compiled
from npresnet.backend.kernels.vectors import I32, I64, number
from npresnet.backend.recording import Launch, here
from npresnet.backend.threads.jobs import CHUNK, address_of
from npresnet.backend.threads.pool import run_table

_SLOT = 8  # bytes
_LINE = 64  # bytes of a line of the cache

# Where a kernel's machine code for some types is called, and the code that it lies in.
_functions: dict[tuple[Any, ...], int] = {}
_engines: list[Any] = []


class Jobs:
    """Launches, laid out in memory for compiled code to do in order.

    Parameters
    ----------
    launches : list of Launch
        As recorded. Their arrays stay where they are for as long as this lives.
    """

    def __init__(self, launches: list[Launch]) -> None:
        self._launches = launches  # keeps the arrays
        functions = _functions_of(launches)
        jobs = [
            [function, *_slots(launch.arguments)]
            for function, launch in zip(functions, launches, strict=True)
        ]
        ends = np.cumsum([0, *(-(-len(job) * _SLOT // _LINE) * _LINE for job in jobs)])
        self._memory = np.zeros((int(ends[-1]) + _LINE) // _SLOT, np.int64)
        skip = -self._memory.ctypes.data % _LINE
        for job, end in zip(jobs, ends[:-1], strict=True):
            begin = (skip + int(end)) // _SLOT
            self._memory[begin : begin + len(job)] = job
        self._table = np.zeros((len(jobs), 3), np.int64)
        self._table[:, 0] = self._memory.ctypes.data + skip + ends[:-1]
        self._table[:, 1] = [launch.iterations for launch in launches]

    def __len__(self) -> int:
        return len(self._launches)

    def point_to(self, launch: int, argument: int, array: np.ndarray) -> None:
        """Put an array in the place of one that was recorded, of the same kind.

        Whoever calls keeps it until it has been run.
        """
        before = self._launches[launch].arguments[:argument]
        # The function's address, other arguments, and four slots of the array's own.
        place = int(self._table[launch, 0]) - self._memory.ctypes.data
        slot = place // _SLOT + 1 + sum(1 for _ in _slots(before)) + 4
        self._memory[slot] = array.ctypes.data

    def run(self) -> None:
        """Do all of them, on as many threads as are set."""
        failed = run_table(self._table)
        if failed >= 0:
            name = self._launches[failed].kernel.__name__
            raise MemoryError(f"{name}: no memory for the work of a thread")


def _slots(value: Any) -> Iterator[int]:
    """Return what `_argument` reads, as integers with the same bits.

    Arrays are as Numba describes them, but for their owner: whoever launches keeps
    them, and compiled code finds no count of references to keep.
    """
    if isinstance(value, np.ndarray):
        yield from (0, 0, value.size, value.itemsize, value.ctypes.data)
        yield from value.shape
        yield from value.strides
    elif isinstance(value, tuple):
        for member in value:
            yield from _slots(member)
    elif isinstance(value, np.float32):
        yield struct.unpack("i", struct.pack("f", value))[0]
    elif isinstance(value, float):
        yield struct.unpack("q", struct.pack("d", value))[0]
    else:
        yield int(value)


def prepare(launches: list[Launch]) -> None:
    """Compile, or load, all that jobs of these launches need."""
    _functions_of(launches)


def _functions_of(launches: list[Launch]) -> list[int]:
    """Return the addresses of jobs' functions, which are made if need be."""
    keys = [
        (launch.kernel, *map(numba.typeof, launch.arguments)) for launch in launches
    ]
    missing = {
        key: launch
        for key, launch in zip(keys, launches, strict=True)
        if key not in _functions
    }
    if missing:
        with signals.held(), global_compiler_lock:
            _write_functions(missing)
    return [_functions[key] for key in keys]


def _write_functions(missing: dict[tuple[Any, ...], Launch]) -> None:
    """Compile kernels for some types, and write the functions that call them."""
    context = cpu_target.target_context
    module = context.create_module("npresnet jobs")
    names = {}
    _compile([(key[0], (*key[1:], types.intp, types.intp)) for key in missing])
    for count, (key, launch) in enumerate(missing.items()):
        kernel, *kinds = key
        names[key] = f"npresnet_job_{len(_functions) + count}"
        address = address_of(kernel, launch.arguments)
        _write_function(context, module, names[key], tuple(kinds), address)
    # Without optimising: what they do is over at once, and so is this.
    machine = llvm.Target.from_default_triple().create_target_machine(opt=0)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(str(module)), machine)
    engine.finalize_object()
    _engines.append(engine)
    for key, name in names.items():
        _functions[key] = engine.get_function_address(name)


def _compile(tasks: list[Task]) -> None:
    """Compile what is neither here nor kept, on two processors where there are."""
    tasks = [
        (kernel, kinds) for kernel, kinds in tasks if not is_compiled(kernel, kinds)
    ]
    share(tasks)
    for done, (kernel, kinds) in enumerate(tasks):
        if here.compiling is not None:
            here.compiling(done, len(tasks))
        kernel.compile(kinds)
    if tasks and here.compiling is not None:
        here.compiling(len(tasks), len(tasks))


def _write_function(
    context: Any, module: ir.Module, name: str, kinds: tuple[Any, ...], address: int
) -> None:
    """Write the function of a job: make arguments of the slots, call the kernel."""
    function = ir.Function(module, CHUNK, name)
    builder = ir.IRBuilder(function.append_basic_block())
    job, first, last = function.args
    slots = builder.bitcast(job, I64.as_pointer())
    numbers = itertools.count(1)  # behind the function's own address
    arguments = [_argument(context, builder, kind, slots, numbers) for kind in kinds]
    all_kinds = (*kinds, types.intp, types.intp)
    form = context.call_conv.get_function_type(types.none, all_kinds)
    kernel = builder.inttoptr(ir.Constant(I64, address), form.as_pointer())
    status, _ = context.call_conv.call_function(
        builder, kernel, types.none, all_kinds, [*arguments, first, last]
    )
    builder.ret(builder.zext(status.is_error, I32))


def _argument(
    context: Any, builder: ir.IRBuilder, kind: Any, slots: Any, numbers: Iterator[int]
) -> Any:
    """Read an argument of a kind from the next slots."""
    if isinstance(kind, types.containers.BaseTuple) and not _fills_slots(kind):
        members = [_argument(context, builder, one, slots, numbers) for one in kind]
        return context.make_tuple(builder, kind, members)
    place = builder.gep(slots, [number(next(numbers))])
    for _ in range(_count(kind) - 1):
        next(numbers)
    if isinstance(kind, types.Boolean):
        truth = builder.load(builder.bitcast(place, ir.IntType(8).as_pointer()))
        return builder.trunc(truth, context.get_value_type(kind))
    form = context.get_value_type(kind)
    return builder.load(builder.bitcast(place, form.as_pointer()))


def _fills_slots(kind: Any) -> bool:
    """Tell whether all that makes a value of a kind up takes eight bytes."""
    if isinstance(kind, types.containers.BaseTuple):
        return all(map(_fills_slots, kind))
    return isinstance(kind, types.Array) or getattr(kind, "bitwidth", 0) == 8 * _SLOT


def _count(kind: Any) -> int:
    """Count the slots of a value of a kind."""
    if isinstance(kind, types.Array):
        return 5 + 2 * int(kind.ndim)
    if isinstance(kind, types.containers.BaseTuple):
        return sum(map(_count, kind))
    return 1
