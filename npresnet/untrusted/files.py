"""Opening a file that somebody else may have put there, and naming what it is."""

from __future__ import annotations

import codecs
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from npresnet.untrusted.text import RefusedFile, shown

Path = str | os.PathLike[str]

# A path is shown longer than other texts: its end says more than its beginning.
_LONGEST_PATH = 1000

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def shown_path(path: Path) -> str:
    """Return a path as it may be shown."""
    return shown(os.fspath(path), _LONGEST_PATH)


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """Open a file for reading, if it is one.

    A pipe would be waited for, a device may never end, and opening some devices does
    something: so the kind is looked at before, and again once the file is open, and
    opening waits for nobody.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is a folder, a pipe, a socket or a device, or cannot be read. The
        message is one line that begins with the path. What the ``with`` block raises
        as `RefusedFile`, as an error of the system or for lack of memory becomes
        such a line, too.
    """
    name = shown_path(path)
    try:
        _refuse_other_kinds(os.stat(path).st_mode)
        with open(path, "rb", opener=_open_without_waiting) as file:
            _refuse_other_kinds(os.fstat(file.fileno()).st_mode)
            yield file
    except FileNotFoundError:
        raise FileNotFoundError(f"{name}: there is no such file") from None
    except OSError as error:
        raise ValueError(
            f"{name}: cannot be read: {error.strerror or shown(error)}"
        ) from None
    except MemoryError:
        raise ValueError(f"{name}: needs more memory than there is") from None
    except RefusedFile as error:
        raise ValueError(f"{name}: {error}") from None


def read_bytes(path: Path, limit: int) -> bytes:
    """Return what a file holds, if that is no more than `limit` bytes.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        As for `opened`, and if there are more bytes.
    """
    with opened(path) as file:
        size = os.fstat(file.fileno()).st_size
        content = file.read(min(size, limit) + 1)  # it may have grown
        if len(content) > limit:
            size = max(size, len(content))
            raise RefusedFile(f"{size:,} bytes, expected no more than {limit:,}")
    return content


def _open_without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _refuse_other_kinds(mode: int) -> None:
    if not stat.S_ISREG(mode):
        kind = next((name for test, name in _KINDS if test(mode)), "something else")
        raise RefusedFile(f"is {kind}, not a file")


# How files begin that people name .pth, .npz or .tar.gz by mistake.
_BEGINNINGS = (
    (b"\x1f\x8b", "a file compressed by gzip; unpack it first"),
    (b"BZh", "a file compressed by bzip2; unpack it first"),
    (b"\xfd7zXZ\0", "a file compressed by xz; unpack it first"),
    (b"\x28\xb5\x2f\xfd", "a file compressed by zstd; unpack it first"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive; unpack it first"),
    (b"Rar!\x1a\x07", "a rar archive; unpack it first"),
    (b"PK\3\4", "a zip archive"),
    (b"PK\5\6", "a zip archive"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file (weights of Keras or TensorFlow)"),
    (b"\x93NUMPY", "a single array of NumPy (.npy)"),
    (b"GGUF", "a GGUF file (of llama.cpp)"),
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"GIF8", "a GIF picture"),
    (b"%PDF", "a PDF document"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
)
_LFS = b"version https://git-lfs.github.com/spec/"
_MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")  # UTF-8, UTF-16


def kind_of(head: bytes) -> str | None:
    """Say what a file is by how it begins; None where that is nothing known.

    Parameters
    ----------
    head : bytes
        Its first 512 bytes, or all there are.

    Examples
    --------
    >>> kind_of(b"<!DOCTYPE html><title>404</title>")
    'a page of HTML, perhaps an error message in the place of a download'
    """
    if not head:
        return "empty"
    for beginning, kind in _BEGINNINGS:
        if head.startswith(beginning):
            return kind
    if head[257:262] == b"ustar":
        return "a tar archive"
    if _is_onnx(head):
        return "an ONNX model"
    if head[:1] == b"\x80" and head[1:2] in (b"\2", b"\3", b"\4", b"\5"):
        return "a bare pickle"
    text = _text_of(head)
    if text is None:
        return None
    if (instead := download_gone_wrong(head)) is not None:
        return instead
    start = text.lstrip().lower()
    if start.startswith("<"):
        return "a text in XML"
    if start.startswith("{") and '"weight_map"' in start:
        return "an index of weights that are in several files, not the weights"
    line = next(iter(text.strip().splitlines()), "")
    return f"a text that begins with '{shown(line, 40)}'"


def download_gone_wrong(head: bytes) -> str | None:
    """Say what stands in the place of a file that was not downloaded, if anything."""
    if head.startswith(_LFS):
        return (
            "a pointer of Git LFS, which stands for a file that was not downloaded; "
            "git lfs pull fetches it"
        )
    if head.lstrip()[:14].lower().startswith((b"<!doctype html", b"<html", b"<head")):
        return "a page of HTML, perhaps an error message in the place of a download"
    return None


def _text_of(head: bytes) -> str | None:
    """Return the text that a file begins with, if it is one."""
    if head.startswith(_MARKS[1:]):
        return codecs.utf_16_decode(head[: len(head) // 2 * 2], "replace")[0]
    head = head.removeprefix(_MARKS[0])
    if any(byte < 32 and byte not in b"\t\n\f\r" for byte in head):
        return None
    for cut in range(4):  # the last character may be cut off
        try:
            return head[: len(head) - cut].decode("utf-8")
        except UnicodeDecodeError:
            continue
    return None


def _is_onnx(head: bytes) -> bool:
    """Tell whether a protobuf begins with an IR version, then who produced it."""
    # ModelProto: 1 = ir_version (a small varint), 2 = producer_name (a text)
    if head[:1] != b"\x08" or not 0 < int.from_bytes(head[1:2], "big") < 32:
        return False
    length = int.from_bytes(head[3:4], "big")
    producer = head[4 : 4 + length]
    return head[2:3] == b"\x12" and bool(producer) and producer.isascii()
