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
# Memory is given back when so many requests have passed it by: some training steps.
_PATIENCE = 2000
_LINE = 64  # bytes
# References to a buffer that nobody uses: the list's, the loop variable's, and the
# argument of `sys.getrefcount`. An array made of it holds one more, and so does every
# view of that array, because NumPy lets views refer to the buffer itself.
_IDLE = 3


class _Buffers:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._buffers: list[NDArray[np.uint8]] = []
        self._last_use: dict[int, int] = {}  # id of a buffer -> number of a request
        self._requests = 0

    def take(self, size: int) -> NDArray[np.uint8]:
        """Return a buffer of `size` bytes, or of somewhat more."""
        with self._lock:
            self._requests += 1
            best = None
            for buffer in self._buffers:
                if size <= buffer.nbytes <= size + size // 8 and (
                    sys.getrefcount(buffer) == _IDLE
                ):
                    best = buffer
                    break
            if best is None:
                self._give_back()
                best = np.empty(size, np.uint8)
                self._buffers.append(best)
            self._last_use[id(best)] = self._requests
            return best

    def _give_back(self) -> None:
        """Let go of what has been idle for long."""
        kept = []
        for buffer in self._buffers:
            idle = self._requests - self._last_use[id(buffer)] > _PATIENCE
            if idle and sys.getrefcount(buffer) == _IDLE:
                del self._last_use[id(buffer)]
            else:
                kept.append(buffer)
        self._buffers = kept


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
