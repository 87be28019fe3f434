"""Room for large arrays, used again and again.

Every page of memory that is new to a process has to be cleared and mapped first, which
takes longer than many a kernel takes to fill it. Training needs arrays of the same
sizes at every step, so their memory is kept and handed out again when nobody looks at
it any more.

NumPy asks Linux for huge pages for what has 4 MiB or more. Smaller arrays are cut from
arenas of that kind: with fewer pages, processors look less often for where one lies.

There is no lock: a thread that dies in a fork, or that a signal handler interrupts,
could not open it. A caller that wants memory takes a reference to it first, and keeps
it if nobody else has one: of two that come at once, one or both go away. What must not
be done twice at a time is a single instruction to Python, such as `list.pop`.
"""

from __future__ import annotations

import ctypes
import math
import sys
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from npresnet.backend.recording import here

# Smaller arrays are cheap: the C library keeps their memory anyway.
_LEAST_BYTES = 1 << 14
_STEP = 1 << 12  # sizes are rounded up to multiples of this
# Memory is given back when so many requests have passed it by: some training steps.
_PATIENCE = 3000
# And before that where more is kept than this many times of what has been in use at
# once, and an arena: batches of ever other sizes ask for ever other memory.
_MOST_KEPT = 1.25
# References to memory that nobody uses: the buffer's, that of the code that looks, and
# the argument of `sys.getrefcount`. An array made of it holds one more, and views hold
# that array.
_IDLE = 3
_LINE = 64  # bytes of a line of the cache
_HUGE_PAGE = 1 << 21
_ARENA = 16 * _HUGE_PAGE
_LEAST_ALONE = 1 << 22  # as NumPy asks for huge pages from here on


class _Buffer:
    """Memory, the arena that it is part of, and when it was used."""

    __slots__ = ("arena", "last_use", "memory")

    def __init__(self, arena: _Arena, size: int, last_use: int) -> None:
        self.memory = arena.cut(size)
        self.arena = arena
        self.last_use = last_use  # the number of the request


class _Arena:
    """Room for many buffers; it is given back when the last of them is."""

    def __init__(self, size: int, align: int) -> None:
        self.used = 0  # bytes; what has not been cut yet takes no memory
        self._whole = np.empty(size + align, np.uint8)
        self._begin = -self._whole.ctypes.data % align
        self._end = self._begin + size

    @property
    def rest(self) -> int:
        """Bytes that are left."""
        return self._end - self._begin

    def cut(self, size: int) -> Any:
        """Cut some bytes off the rest."""
        begin = self._begin
        self._begin += size
        self.used += size
        # Not a view: NumPy would let arrays made of it refer to the whole arena.
        return (ctypes.c_char * size).from_buffer(self._whole.data, begin)


class _Buffers:
    """Buffers by size."""

    def __init__(self) -> None:
        self._buffers: dict[int, list[_Buffer]] = {}
        # Those that may have room, and that nobody cuts from.
        self._arenas: list[_Arena] = []
        self._requests = 0  # roughly: two at once may count as one
        self._most_used = 0  # bytes at once, roughly

    def empty(
        self, shape: tuple[int, ...], dtype: np.dtype[Any], size: int
    ) -> NDArray[Any]:
        """Make an array, of so many bytes, of memory that nobody looks at."""
        size = -(-size // _STEP) * _STEP
        self._requests += 1
        for buffer in self._buffers.get(size, ()):
            memory = buffer.memory
            if sys.getrefcount(memory) == _IDLE:
                buffer.last_use = self._requests
                return np.ndarray(shape, dtype, memory)
        self._give_back(size)
        buffer = self._cut(size)
        memory = buffer.memory  # before others can find it
        self._buffers.setdefault(size, []).append(buffer)
        return np.ndarray(shape, dtype, memory)

    def borrow(
        self, shape: tuple[int, ...], dtype: np.dtype[Any], size: int
    ) -> NDArray[Any] | None:
        """Do as `empty` does with memory of any size that suffices, if some is idle."""
        for larger in sorted([other for other in list(self._buffers) if other >= size]):
            for buffer in self._buffers.get(larger, ()):
                memory = buffer.memory
                if sys.getrefcount(memory) == _IDLE:
                    self._requests += 1
                    buffer.last_use = self._requests
                    return np.ndarray(shape, dtype, memory)
        return None

    def _cut(self, size: int) -> _Buffer:
        if size >= _LEAST_ALONE:  # not a byte more
            return _Buffer(_Arena(size, _LINE), size, self._requests)
        try:
            arena = self._arenas.pop()
        except IndexError:
            arena = _Arena(_ARENA, _HUGE_PAGE)
        if arena.rest < size:
            arena = _Arena(_ARENA, _HUGE_PAGE)
        buffer = _Buffer(arena, size, self._requests)
        self._arenas.append(arena)
        return buffer

    def _give_back(self, wanted: int) -> None:
        """Let go of what has been idle for long, and of arenas if they are too many.

        Others may come and go meanwhile. What is counted may be wrong by that, and
        what they add may be forgotten; whoever uses memory keeps it all the same.
        """
        in_use = wanted  # bytes
        # When any buffer of an arena was used last; 0 if none of it is kept.
        latest: dict[_Arena, float] = dict.fromkeys(list(self._arenas), 0)
        for size in list(self._buffers):
            for buffer in list(self._buffers.get(size, ())):
                use: float = buffer.last_use
                if _is_used(buffer):
                    in_use += size
                    use = math.inf
                latest[buffer.arena] = max(use, latest.get(buffer.arena, 0))
        self._most_used = max(self._most_used, in_use)
        room = _MOST_KEPT * self._most_used + _ARENA - wanted
        given_back = set()
        for arena in sorted(latest, key=latest.__getitem__, reverse=True):
            room -= arena.used
            if room < 0 and latest[arena] < math.inf:
                given_back.add(arena)
        for arena in given_back:
            with suppress(ValueError):  # somebody cuts from it, or it has no room
                self._arenas.remove(arena)
        oldest = self._requests - _PATIENCE
        for size in list(self._buffers):
            same = self._buffers.get(size, [])
            same[:] = [
                buffer
                for buffer in list(same)
                if _is_used(buffer)
                or (buffer.last_use >= oldest and buffer.arena not in given_back)
            ]
            if not same and size != wanted:
                self._buffers.pop(size, None)


def _is_used(buffer: _Buffer) -> bool:
    memory = buffer.memory
    return sys.getrefcount(memory) != _IDLE


_buffers = _Buffers()


def empty(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """Make an array like `numpy.empty`, of memory used before unless it is small.

    It begins at a line of the cache, so that vectors never lie across two of them.
    """
    dtype = np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    if size < _LEAST_BYTES:
        return np.empty(shape, dtype)
    if here.recording is not None:
        return here.recording.allocate(shape, dtype)
    return _buffers.empty(shape, dtype, size)


def scratch(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """Make an array like `empty`, for an operation that needs it until its end only.

    If it is large, it may lie in memory that larger arrays have left idle: they are not
    missed for so short a time, and a network has many sizes of scratch.
    """
    dtype = np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    if size < _LEAST_ALONE or here.recording is not None:
        return empty(shape, dtype)
    borrowed = _buffers.borrow(shape, dtype, size)
    return empty(shape, dtype) if borrowed is None else borrowed
