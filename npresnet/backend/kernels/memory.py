"""Room for large arrays, used again and again.

Every page of memory that is new to a process has to be cleared and mapped first, which
takes longer than many a kernel takes to fill it. Training needs arrays of the same
sizes at every step, so their memory is kept and handed out again when nobody looks at
it any more.
"""

from __future__ import annotations

import math
import sys
import threading
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

# Smaller arrays are cheap: the C library keeps their memory anyway.
_LEAST_BYTES = 1 << 14
_STEP = 1 << 12  # sizes are rounded up to multiples of this
_LINE = 64  # bytes
# Memory is given back when so many requests have passed it by: some training steps.
_PATIENCE = 3000
# References to memory that nobody uses: its buffer's and the argument of
# `sys.getrefcount`. An array made of it holds one more, and so does every view of that
# array, because NumPy lets views refer to the memory itself.
_IDLE = 2


class _Buffer:
    """Memory, where its first whole line of the cache begins, and when it was used."""

    __slots__ = ("begin", "last_use", "memory")

    def __init__(self, size: int) -> None:
        self.memory = np.empty(size + _LINE, np.uint8)
        self.begin = -self.memory.ctypes.data % _LINE
        self.last_use = 0  # the number of the request


class _Buffers:
    """Buffers by size."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._buffers: dict[int, list[_Buffer]] = {}
        self._requests = 0

    def empty(
        self, shape: tuple[int, ...], dtype: np.dtype[Any], size: int
    ) -> NDArray[Any]:
        """Make an array, of so many bytes, of memory that nobody looks at."""
        size = -(-size // _STEP) * _STEP
        with self._lock:
            self._requests += 1
            same = self._buffers.get(size)
            if same is None:
                same = self._buffers[size] = []
            for buffer in same:
                if sys.getrefcount(buffer.memory) == _IDLE:
                    break
            else:
                self._give_back()
                buffer = _Buffer(size)
                same.append(buffer)
            buffer.last_use = self._requests
            return np.ndarray(shape, dtype, buffer.memory, buffer.begin)

    def _give_back(self) -> None:
        """Let go of what has been idle for long."""
        for same in self._buffers.values():
            same[:] = [
                buffer
                for buffer in same
                if sys.getrefcount(buffer.memory) != _IDLE
                or self._requests - buffer.last_use <= _PATIENCE
            ]


_buffers = _Buffers()


def empty(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """Make an array like `numpy.empty`, of memory used before unless it is small.

    It begins at a line of the cache, so that vectors never lie across two of them.
    """
    dtype = np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    if size < _LEAST_BYTES:
        return np.empty(shape, dtype)
    return _buffers.empty(shape, dtype, size)
