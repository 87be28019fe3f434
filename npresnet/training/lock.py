"""A lock on a folder: it dies with the process that holds it, however that ends.

The lock itself is `filelock.lock_descriptor`. Its `FileLock` takes a path, and cannot
keep what a run is promised: it locks whatever folder has the path's name by now, takes
a FIFO or another file's second name for a lock, leaves its file behind, does not say
who holds it, and makes folders that are missing. What stands here is about the file:
that it is the one in the folder that is held open, whose it is, and when it is removed.
"""

from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from npresnet._files import OpenFolder

_NAME = ".lock"
# Where the number of the process stands: on Windows nobody else can read the byte that
# is locked, the first.
_START = 1 if sys.platform == "win32" else 0
_NUMBER = re.compile(rb"\s?(\d{1,20})\s?")
# What a file system answers that has no locks.
_WITHOUT = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL}

_descriptors: set[int] = set()  # of the locks that this process holds


def _let_go_in_child() -> None:
    """Close what a forked child has inherited: it would hold the lock as well.

    Its parent's lock is not released by that.
    """
    while _descriptors:
        os.close(_descriptors.pop())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go_in_child)


@contextmanager
def locked(folder: Path | OpenFolder) -> Iterator[bool]:
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
        If the folder cannot be written to, or its ``.lock`` is a link or no file.

    Notes
    -----
    The lock is the system's, on the open file: a process that is killed lets go of
    it, and the file that it leaves behind means nothing. A child that is forked within
    the block does not hold it: neither does it keep the lock when its parent is gone,
    nor does it let go when it leaves the block itself.
    """
    with ExitStack() as stack:
        if not isinstance(folder, OpenFolder):
            folder = stack.enter_context(OpenFolder(folder))
        descriptor, held, keep = _take(folder)
        _descriptors.add(descriptor)
        try:
            with suppress(OSError):  # a full disk; the lock holds without it
                os.ftruncate(descriptor, 0)
                os.write(descriptor, b" " * _START + f"{os.getpid()}\n".encode())
            yield held
        finally:
            if descriptor in _descriptors:  # else this is a child
                _descriptors.remove(descriptor)
                _leave(folder, descriptor, keep)


def refuse_foreign(folder: Path) -> None:
    """Raise FileExistsError where ``.lock`` is none that a process left behind."""
    if not folder.is_dir():
        return
    with OpenFolder(folder) as opened:
        if not opened.exists(_NAME):
            return
        descriptor = opened.open(_NAME, os.O_RDONLY)
    try:
        text = os.read(descriptor, 64)
    except PermissionError:  # Windows: it is held just now
        return
    finally:
        os.close(descriptor)
    if text and not _NUMBER.fullmatch(text):
        raise FileExistsError(
            f"{folder / _NAME}: expected the lock of a run, found a file of somebody "
            "else's; name another folder, or move it away"
        )


def _take(folder: OpenFolder) -> tuple[int, bool, bool]:
    """Open and lock the file; tell whether it is locked, and whether it is to stay."""
    while True:
        try:
            created = True
            descriptor = folder.open(_NAME, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        except FileExistsError:
            created = False
            try:
                descriptor = folder.open(_NAME, os.O_RDWR)
            except FileNotFoundError:  # its holder has just removed it
                continue
        try:
            found = os.fstat(descriptor)
            if found.st_nlink > 1:
                raise FileExistsError(
                    errno.EEXIST,
                    "expected the lock of a run, found a file that has other names, "
                    "too; it was left alone",
                    str(folder.path / _NAME),
                )
            held = _lock(descriptor)
            # Whoever held it before may have removed the file since it was opened:
            # then a third process would lock another one of the same name.
            if not held or _is_still(folder, descriptor):
                # An empty one is not ours: a lock says who holds it, or did. In a run's
                # folder it is that of a process that was killed before it said so.
                empty = not created and not found.st_size
                return descriptor, held, empty and not folder.exists("config.json")
        except BlockingIOError:
            holder = _holder(descriptor)
            os.close(descriptor)
            who = f" (process {holder})" if holder else ""
            raise BlockingIOError(
                f"{folder.path}: another run is under way in this folder{who}"
            ) from None
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _leave(folder: OpenFolder, descriptor: int, keep: bool) -> None:
    """Remove the file, or leave it as it was found; let go of the lock."""
    if keep:
        with suppress(OSError):
            os.ftruncate(descriptor, 0)
        os.close(descriptor)
        return
    # Removed while it is still held (see `_take`), but Windows cannot remove a file
    # that is open.
    ours = _is_still(folder, descriptor)
    if sys.platform == "win32":
        os.close(descriptor)
    if ours:
        with suppress(OSError):
            folder.remove(_NAME)
    if sys.platform != "win32":
        os.close(descriptor)


def _holder(descriptor: int) -> str:
    with suppress(OSError):
        os.lseek(descriptor, _START, os.SEEK_SET)
        if number := _NUMBER.fullmatch(os.read(descriptor, 24)):
            return number[1].decode()
    return ""


def _is_still(folder: OpenFolder, descriptor: int) -> bool:
    try:
        return os.path.samestat(folder.stat(_NAME), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _lock(descriptor: int) -> bool:
    """Lock an open file, or raise BlockingIOError; False where there are no locks."""
    from filelock import lock_descriptor

    try:
        if not lock_descriptor(descriptor, blocking=False):
            raise BlockingIOError(errno.EWOULDBLOCK, "locked by another")
    except OSError as error:
        if error.errno not in _WITHOUT:
            raise
        return False
    return True
