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
_LEAST_BYTES = 1 << 20
_STEP = 1 << 16  # sizes are rounded up to multiples of this
_LINE = 64  # bytes
# Memory is given back when so many requests have passed it by: some training steps.
_PATIENCE = 2000
# References to a buffer that nobody uses: the list's, the loop variable's, and the
# argument of `sys.getrefcount`. An array made of it holds one more, and so does every
# view of that array, because NumPy lets views refer to the buffer itself.
_IDLE = 3


class _Buffers:
    """Buffers by size, with the number of the request that each last served."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._buffers: dict[int, list[NDArray[np.uint8]]] = {}
        self._last_use: dict[int, int] = {}  # by the buffer's id
        self._requests = 0

    def take(self, size: int) -> NDArray[np.uint8]:
        """Return a buffer of at least `size` bytes."""
        size = -(-size // _STEP) * _STEP
        with self._lock:
            self._requests += 1
            same = self._buffers.setdefault(size, [])
            for buffer in same:
                if sys.getrefcount(buffer) == _IDLE:
                    break
            else:
                self._give_back()
                buffer = np.empty(size, np.uint8)
                same.append(buffer)
            self._last_use[id(buffer)] = self._requests
            return buffer

    def _give_back(self) -> None:
        """Let go of what has been idle for long."""
        for same in self._buffers.values():
            for i in reversed(range(len(same))):
                buffer = same[i]
                idle = self._requests - self._last_use[id(buffer)] > _PATIENCE
                if idle and sys.getrefcount(buffer) == _IDLE:
                    del self._last_use[id(buffer)], same[i]


_buffers = _Buffers()


def empty(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """Make an array like `numpy.empty`, of memory used before if it is a large one.

    It begins at a line of the cache, so that vectors never lie across two of them.
    """
    dtype = np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    room = size + _LINE
    large = size >= _LEAST_BYTES
    buffer = _buffers.take(room) if large else np.empty(room, np.uint8)
    begin = -buffer.ctypes.data % _LINE
    return buffer[begin : begin + size].view(dtype).reshape(shape)
