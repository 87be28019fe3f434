"""Files that are either the old version or the new one, never half of each.

A folder is held open while files are written into it: they go where the folder goes,
not to whatever takes its name meanwhile. New files get names that nobody else has, and
no symbolic link in the folder is followed.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

# Whether files can be named within a folder that is open. Windows cannot do it; there,
# a folder is told from another by device and inode, before and after.
_CAN_HOLD = (
    {os.open, os.stat, os.rename, os.unlink} <= os.supports_dir_fd
    and os.listdir in os.supports_fd
    and hasattr(os, "O_DIRECTORY")
)
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)
# Bytes, not text; and no waiting for the other end of a FIFO.
_ALWAYS = getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
# What the system answers where there is nothing, or nothing that can be reached.
_GONE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}


class OpenFolder:
    """A folder that is held open, in a ``with`` block.

    Parameters
    ----------
    path : path
        A folder, or a symbolic link to one.

    Raises
    ------
    OSError
        If there is no such folder.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._name = os.path.abspath(path)  # whatever becomes the working directory
        self._descriptor: int | None = None
        if _CAN_HOLD:
            with suppress(PermissionError):  # may be written to, but not be read
                self._descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        at = path if self._descriptor is None else self._descriptor
        found = os.stat(at)
        if not stat.S_ISDIR(found.st_mode):
            raise NotADirectoryError(
                errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path)
            )
        self._identity = found.st_dev, found.st_ino

    def close(self) -> None:
        """Let go of the folder."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # ------------------------------------------------------------ where it is

    def is_in_place(self) -> bool:
        """Tell whether the path still names this folder."""
        try:
            return self._is_this(self._name)
        except OSError as error:
            return error.errno not in _GONE  # no answer is none

    def check_place(self) -> None:
        """Raise FileNotFoundError where the path does not name this folder any more."""
        if not self.is_in_place():
            text = "the folder was moved or removed"
            raise FileNotFoundError(errno.ENOENT, text, str(self.path))

    def whereabouts(self) -> Path | None:
        """Find out where the folder is now; None where it is gone, or nobody knows."""
        found = None
        with suppress(OSError):
            if self._descriptor is None:
                found = self._name
            elif sys.platform == "darwin":
                import fcntl

                answer = fcntl.fcntl(self._descriptor, fcntl.F_GETPATH, bytes(1024))
                found = os.fsdecode(answer.rstrip(b"\0"))
            else:
                found = os.readlink(f"/proc/self/fd/{self._descriptor}")
            # The name may be of the past: such as "runs/first (deleted)".
            if self._is_this(found):
                return Path(found)
        return None

    def _is_this(self, path: str) -> bool:
        found = os.stat(path)
        return (found.st_dev, found.st_ino) == self._identity

    # --------------------------------------------------------- files within it

    def names(self) -> list[str]:
        """List what is in the folder."""
        at = self._checked_name() if self._descriptor is None else self._descriptor
        return os.listdir(at)

    def exists(self, name: str) -> bool:
        """Tell whether the folder has something of that name, be it a broken link."""
        try:
            self.stat(name)
        except FileNotFoundError:
            return False
        return True

    def stat(self, name: str) -> os.stat_result:
        """Return what the system says of a name, be it that it is a link."""
        if self._descriptor is None:
            return os.lstat(self._within(name))
        return os.stat(name, dir_fd=self._descriptor, follow_symlinks=False)

    def open(self, name: str, flags: int) -> int:
        """Open a file in the folder and return its descriptor.

        Raises
        ------
        OSError
            If it is a symbolic link, which is not followed, or no file at all; or as
            ``os.open`` does.
        """
        if not _NO_FOLLOW or self._descriptor is None:
            with suppress(FileNotFoundError):
                self._refuse_all_but_files(name, self.stat(name))
        try:
            if self._descriptor is None:
                at = self._within(name)
                descriptor = os.open(at, flags | _NO_FOLLOW | _ALWAYS, 0o666)
            else:
                descriptor = os.open(
                    name, flags | _NO_FOLLOW | _ALWAYS, 0o666, dir_fd=self._descriptor
                )
        except (FileExistsError, FileNotFoundError):
            raise
        except OSError:  # as each system has it: a link, a folder, a device
            with suppress(FileNotFoundError):
                self._refuse_all_but_files(name, self.stat(name))
            raise
        try:
            opened = os.fstat(descriptor)
            self._refuse_all_but_files(name, opened)
            # A link may have come into the way since it was looked for.
            if not _NO_FOLLOW and not os.path.samestat(opened, self.stat(name)):
                raise self._refusal(name, "a symbolic link")
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def rename(self, old: str, new: str) -> None:
        """Give a file another name; one that had it is replaced."""
        here = self._descriptor
        if here is None:
            os.replace(self._within(old), self._within(new))
        else:
            os.replace(old, new, src_dir_fd=here, dst_dir_fd=here)

    def remove(self, name: str) -> None:
        """Remove a file, if it is there; of a link, the link."""
        with suppress(FileNotFoundError):
            if self._descriptor is None:
                os.unlink(self._within(name))
            else:
                os.unlink(name, dir_fd=self._descriptor)

    def sync(self) -> None:
        """Bring renames within the folder to the disk, where the system can."""
        if self._descriptor is None:
            sync_folder(self.path)
        else:
            with suppress(OSError):
                os.fsync(self._descriptor)

    @contextmanager
    def replacing(self, name: str, previous: str | None = None) -> Iterator[BinaryIO]:
        """Yield a new file; when the block ends, it takes the place of `name`.

        The new file is synced to the disk before it is renamed, and the folder after.
        Where the block fails, the new file is removed and the old one stays. An old
        one gets the name `previous`, if one is given.
        """
        new = f".new-{name}.{secrets.token_hex(8)}"
        descriptor = self.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        try:
            with os.fdopen(descriptor, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            if previous is not None and self.exists(name):
                self.rename(name, previous)
            self.rename(new, name)
        except BaseException:  # an interrupt, too
            with suppress(OSError):
                self.remove(new)
            raise
        self.sync()

    def _within(self, name: str) -> str:
        return os.path.join(self._checked_name(), name)

    def _checked_name(self) -> str:
        """Return the path, where the folder is known by nothing else."""
        self.check_place()
        return self._name

    def _refuse_all_but_files(self, name: str, found: os.stat_result) -> None:
        if stat.S_ISLNK(found.st_mode):
            raise self._refusal(name, "a symbolic link")
        if not stat.S_ISREG(found.st_mode):
            folder = stat.S_ISDIR(found.st_mode)
            raise self._refusal(name, "a folder" if folder else "no file")

    def _refusal(self, name: str, what: str) -> FileExistsError:
        text = f"expected a file or nothing, found {what}; it was left alone"
        return FileExistsError(errno.EEXIST, text, str(self.path / name))


@dataclass(frozen=True)
class FileIn:
    """A file's name in a folder that is held open."""

    folder: OpenFolder
    name: str


@contextmanager
def held(path: Path | FileIn) -> Iterator[FileIn]:
    """Hold a file's folder open within a ``with`` block, unless it is already."""
    if isinstance(path, FileIn):
        yield path
        return
    with OpenFolder(path.parent) as folder:
        yield FileIn(folder, path.name)


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Yield a new file that takes the place of `path`; see `OpenFolder.replacing`."""
    with held(path) as file_in, file_in.folder.replacing(file_in.name) as file:
        yield file


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8, its line ends as they are, whole or not at all."""
    with replacing(path) as file:
        file.write(text.encode("utf-8"))


def sync_folder(folder: Path) -> None:
    """Bring a rename within `folder` to the disk, where the system can."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
