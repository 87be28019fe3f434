"""Arrays beside memory that nobody may touch: a step too far ends the process."""

import ctypes
import functools
import mmap

import numpy as np

_NO_ACCESS = 0  # PROT_NONE


def guarded_empty(shape, dtype, *, at):
    """Make an array like `numpy.empty`, with a guard page right at its begin or end."""
    dtype = np.dtype(dtype)
    size = int(np.prod(shape)) * dtype.itemsize
    room = -(-max(size, 1) // mmap.PAGESIZE) * mmap.PAGESIZE
    memory = mmap.mmap(-1, room + 2 * mmap.PAGESIZE)
    begin = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    for page in (begin, begin + mmap.PAGESIZE + room):
        _protect(page)
    offset = mmap.PAGESIZE + (room - size if at == "end" else 0)
    return np.ndarray(shape, dtype, memory, offset)


def guarded(array, *, at):
    """Copy an array to such a place."""
    copy = guarded_empty(array.shape, array.dtype, at=at)
    copy[...] = array
    return copy


def _protect(page):
    if _mprotect()(page, mmap.PAGESIZE, _NO_ACCESS) != 0:
        raise OSError(ctypes.get_errno(), "mprotect")


@functools.cache
def _mprotect():
    mprotect = ctypes.CDLL(None, use_errno=True).mprotect
    mprotect.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
    return mprotect
