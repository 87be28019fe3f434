"""A lock on a folder: it dies with the process that holds it, however that ends."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_NAME = ".lock"
# What a file system answers that has no locks.
_WITHOUT = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL}


@contextmanager
def locked(folder: Path) -> Iterator[bool]:
    """Keep other processes, and other threads, out within a ``with`` block.

    Yields
    ------
    bool
        False where the file system has no locks, and nobody is kept out.

    Raises
    ------
    BlockingIOError
        If somebody else holds the lock.
    OSError
        If the folder cannot be written to.

    Notes
    -----
    The lock is the system's, on the open file: a process that is killed lets go of
    it, and the file that it leaves behind means nothing.
    """
    path = folder / _NAME
    descriptor, held = _take(path)
    try:
        with suppress(OSError):  # a full disk; the lock holds without it
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f"{os.getpid()}\n".encode())
        yield held
    finally:
        # Removed while it is still held (see `_take`), but Windows cannot remove a
        # file that is open.
        if sys.platform == "win32":
            os.close(descriptor)
        with suppress(OSError):
            path.unlink()
        if sys.platform != "win32":
            os.close(descriptor)


def _take(path: Path) -> tuple[int, bool]:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            held = _lock(descriptor)
            # Whoever held it before may have removed the file since it was opened:
            # then a third process would lock another one of the same name.
            if not held or _is_still(path, descriptor):
                return descriptor, held
        except BlockingIOError:
            holder = os.read(descriptor, 20).strip()
            os.close(descriptor)
            who = f" (process {holder.decode()})" if holder.isdigit() else ""
            raise BlockingIOError(
                f"{path.parent}: another run is under way in this folder{who}"
            ) from None
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _is_still(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


if sys.platform == "win32":
    import msvcrt

    _BEYOND = 1 << 30  # bytes: locked ones cannot be read, so take none that are there

    def _lock(descriptor: int) -> bool:
        os.lseek(descriptor, _BEYOND, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError as error:
            raise BlockingIOError(errno.EWOULDBLOCK, str(error)) from None
        finally:
            os.lseek(descriptor, 0, os.SEEK_SET)
        return True

else:
    import fcntl

    def _lock(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise
        except OSError as error:
            if error.errno not in _WITHOUT:
                raise
            return False
        return True
