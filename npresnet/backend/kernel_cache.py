"""Where compiled kernels are kept, and which of what lies there is believed.

What is kept is machine code: who can write to it has whatever he likes run here, and
one flipped bit ends the process. A folder is therefore used only if nobody else may
write to it, and every file begins with a checksum of the rest. What does not fit is
compiled anew and replaced.
"""

from __future__ import annotations

import functools
import hashlib
import marshal
import os
import pkgutil
import shutil
import stat
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import suppress
from importlib.abc import InspectLoader
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from npresnet._notices import notice

_SUFFIX = ".nbc"
_KERNELS = "npresnet.backend.kernels"
_HEAD = b"npresnet kernel 1\n"  # then a SHA-256, then the code
_BEGIN = len(_HEAD) + hashlib.sha256().digest_size
# Numba's, that make other code of the same source. The processor is Numba's own care.
_SETTINGS = (
    "OPT",
    "LOOP_VECTORIZE",
    "SLP_VECTORIZE",
    "BOUNDSCHECK",
    "DEBUGINFO_DEFAULT",
)
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


class Choice(NamedTuple):
    """Where compiled kernels are kept."""

    folder: Path | None  # None: nowhere
    trouble: str  # why it is not where it should be, and what that means; or nothing


def cache_folder() -> Path | None:
    """Return the folder of compiled kernels, or None where there can be none.

    It is made in the first of these that is named: the environment variables
    ``NPRESNET_CACHE_DIR`` and ``NUMBA_CACHE_DIR``, and the user's cache folder. Where
    that cannot be used, a private folder among the system's temporary files takes its
    place, and a `Notice` says so, once in a process.
    """
    found = choice()
    if found.trouble:
        notice(found.trouble)
    return found.folder


@functools.cache
def choice() -> Choice:
    """Choose the folder of compiled kernels, without a warning."""
    name = f"kernels-{_fingerprint()[:16]}"
    root, trouble = _root()
    if root is not None:
        trouble = _why_not(root / name)
        if not trouble:
            return Choice(root / name, "")
    instead = _temporary()
    if instead is not None and not _why_not(instead / name):
        return Choice(
            instead / name, f"{trouble}; compiled kernels are kept in {instead} instead"
        )
    return Choice(
        None,
        f"{trouble}; every process compiles its kernels anew: name a folder of your "
        "own in NPRESNET_CACHE_DIR",
    )


def keeps_code(folder: Path) -> bool:
    """Tell whether anything compiled lies in a folder of compiled kernels."""
    return next(_files(folder), None) is not None


def is_kept(folder: Path, name: str) -> bool:
    """Tell whether something was saved under a name; it may turn out to be damaged."""
    return (folder / f"{name}{_SUFFIX}").is_file()


def load(folder: Path, name: str, key: str) -> bytes | None:
    """Read what was saved under this name for this key; None where it is not there.

    A file that is damaged, or that somebody else may have written, is as good as none.
    """
    kept = _read(folder / f"{name}{_SUFFIX}")
    begin = f"{key}\0".encode()
    if kept is None or not kept.startswith(begin):
        return None
    return kept[len(begin) :]


def save(folder: Path, name: str, key: str, code: bytes) -> None:
    """Keep some code, whole or not at all; where that is not possible, go on."""
    path = folder / f"{name}{_SUFFIX}"
    kept = f"{key}\0".encode() + code
    new = folder / f"{uuid.uuid4().hex}.tmp"
    try:
        _make(folder)  # somebody may have emptied the cache meanwhile
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
            with open(os.open(new, flags, 0o600), "wb") as file:
                file.write(_HEAD + hashlib.sha256(kept).digest() + kept)
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            os.replace(new, path)
        finally:
            with suppress(OSError):
                new.unlink()
    except OSError as error:
        if os.name == "nt" and isinstance(error, PermissionError):
            return  # another process has the file open, and kept the same
        notice(
            f"{folder}: compiled kernels cannot be kept there ({error.strerror}); "
            "every process compiles anew what is missing"
        )


def remove_damaged(folder: Path) -> tuple[int, int]:
    """Remove what would not be believed; count what stays, and what has gone."""
    whole = damaged = 0
    for path in _files(folder):
        if _read(path) is not None:
            whole += 1
            continue
        damaged += 1
        with suppress(OSError):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
    return whole, damaged


def _files(folder: Path) -> Iterator[Path]:
    return folder.glob(f"*{_SUFFIX}")


def _read(path: Path) -> bytes | None:
    """Return what follows a file's checksum, if it is what was written."""
    flags = os.O_RDONLY | getattr(os, "O_BINARY", 0)
    flags |= getattr(os, "O_NONBLOCK", 0)  # nobody may ever write to a pipe
    try:
        with open(os.open(path, flags), "rb") as file:
            about = os.fstat(file.fileno())
            if not stat.S_ISREG(about.st_mode) or _written_by_others(about):
                return None
            content = file.read()
    except OSError:
        return None
    kept = content[_BEGIN:]
    head = _HEAD + hashlib.sha256(kept).digest()
    return kept if content[:_BEGIN] == head else None


def _root() -> tuple[Path | None, str]:
    """Return the folder that is named for the purpose, or why there is none."""
    for variable, below in (
        ("NPRESNET_CACHE_DIR", ""),
        ("NUMBA_CACHE_DIR", "npresnet"),
    ):
        named = os.environ.get(variable, "").strip()
        if named:
            path = os.path.expanduser(named)
            if path.startswith("~"):
                return None, f"{variable}: {named}: no such home folder is known"
            return Path(path, below).absolute(), ""
    from platformdirs import user_cache_dir

    try:
        path = user_cache_dir("npresnet", appauthor=False)
    except (
        RuntimeError,
        OSError,
    ):  # no HOME, and a user whom the system has no name for
        path = "~"
    if not os.path.isabs(path):
        return None, "no folder for compiled kernels: HOME names none"
    return Path(path), ""


def _temporary() -> Path | None:
    """Return a folder that belongs to this user alone, for want of a better place."""
    user = f"-{os.geteuid()}" if hasattr(os, "geteuid") else ""  # else: it is private
    try:
        return Path(tempfile.gettempdir(), f"npresnet{user}")
    except OSError:
        return None


def _why_not(folder: Path) -> str:
    """Say why compiled code cannot be kept in a folder, or nothing; make the folder."""
    try:
        _make(folder)
        about = folder.stat()
    except OSError as error:
        return f"{folder.parent}: cannot be written ({error.strerror})"
    if _written_by_others(about):
        if about.st_mode & _OTHERS_WRITE:
            whose = f"others than you may write to it; chmod -R go-w {folder} helps"
        else:
            whose = f"it belongs to another user, number {about.st_uid}"
        return f"{folder}: holds code, but {whose}"
    # Code that is there already can be used all the same.
    if not os.access(folder, os.W_OK) and not keeps_code(folder):
        return f"{folder}: cannot be written"
    return ""


def _make(folder: Path) -> None:
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)


def _written_by_others(about: os.stat_result) -> bool:
    """Tell whether another user than this one and the system's own may write there."""
    if not hasattr(os, "geteuid"):
        return False
    owned = about.st_uid in (os.geteuid(), 0)
    return not owned or bool(about.st_mode & _OTHERS_WRITE)


def _fingerprint() -> str:
    """Return a checksum of everything that kernels are compiled from.

    Numba notices a change in the function that it compiles, but not in a helper that
    it takes from elsewhere.
    """
    import numba

    digest = hashlib.sha256(numba.__version__.encode())
    for name in _SETTINGS:
        digest.update(f"{name} {getattr(numba.config, name, None)!s}\n".encode())
    package = find_spec(_KERNELS)
    folders = package.submodule_search_locations if package is not None else None
    for module in pkgutil.iter_modules(folders or []):
        digest.update(_content(f"{_KERNELS}.{module.name}"))
    return digest.hexdigest()


def _content(module: str) -> bytes:
    """Return a module's source; where there is none (only .pyc, frozen), its code."""
    spec = find_spec(module)
    loader = spec.loader if spec is not None else None
    if not isinstance(loader, InspectLoader):
        return b""
    try:
        source = loader.get_source(module)
    except (ImportError, OSError):
        source = None
    if source is not None:
        return source.encode()
    # As of version 2: later ones write the same code in more than one way.
    return marshal.dumps(loader.get_code(module), 2)
