"""Reading a few files out of a .tar.gz, with nothing written to disk."""

from __future__ import annotations

import os
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import gzip
    import tarfile

# Either official CIFAR-10 archive unpacks to less than 187 million bytes.
_TOTAL_LIMIT = 256 * 1024 * 1024  # bytes
_MEMBER_LIMIT = 64  # members
_OTHER_LIMIT = 1024 * 1024  # bytes of a file that nobody asked for, like readme.html


class _Limited:
    """A stream that ends in an error rather than in an endless unpacking."""

    def __init__(self, stream: gzip.GzipFile, limit: int) -> None:
        self.stream, self.left = stream, limit

    def read(self, size: int) -> bytes:
        data = self.stream.read(min(size, self.left + 1))
        self.left -= len(data)
        if self.left < 0:
            raise ValueError(f"unpacks to more than {_TOTAL_LIMIT:,} bytes")
        return data


def read_members(
    archive: str | os.PathLike[str], limits: dict[str, int]
) -> dict[str, bytes]:
    """Read the named files of a gzipped tar archive into memory.

    Parameters
    ----------
    archive : path
        A ``.tar.gz``.
    limits : dict of str to int
        The files to read, and how many bytes each may have. Others are passed over.

    Returns
    -------
    dict of str to bytes
        Those of the files that are there.

    Raises
    ------
    ValueError
        If the archive is damaged, or has a member that a data set has no business
        with: a name that leads out of the archive, a link, a device, a second file
        of the same name, a file that is too large.
    """
    import gzip
    import tarfile

    path = Path(archive)
    try:
        with gzip.open(path, "rb") as unzipped:
            stream = _Limited(unzipped, _TOTAL_LIMIT)
            # "r|": from the front to the back, so nothing is unpacked twice.
            with tarfile.open(fileobj=stream, mode="r|") as tar:  # type: ignore[call-overload]
                files = _chosen_files(tar, limits)
            while stream.read(65_536):
                pass  # only at its end does gzip compare the checksum
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        what = " ".join(str(error).split())
        raise ValueError(f"{path}: damaged or not a .tar.gz ({what})") from None
    except ValueError as error:
        raise ValueError(f"{path}: refused: {error}") from None
    return files


def _chosen_files(tar: tarfile.TarFile, limits: dict[str, int]) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    for count, member in enumerate(tar):
        if count >= _MEMBER_LIMIT:
            raise ValueError(f"has more than {_MEMBER_LIMIT} members")
        name = _checked_name(member)
        limit = limits.get(name, _OTHER_LIMIT)
        if member.size > limit:
            raise ValueError(
                f"member {name!r} has {member.size:,} bytes, expected no more than "
                f"{limit:,}"
            )
        if name not in limits:
            continue
        if name in files:
            raise ValueError(f"member {name!r} is there twice")
        if (content := tar.extractfile(member)) is None:
            raise ValueError(f"member {name!r} is not a file")
        files[name] = content.read()
    return files


def _checked_name(member: tarfile.TarInfo) -> str:
    """Return a member's name without a leading "./", if it may be there at all."""
    shown = member.name[:80]
    if not (member.isreg() or member.isdir()):
        kind = "link" if member.issym() or member.islnk() else "device or special file"
        raise ValueError(f"member {shown!r} is a {kind}")
    parts = member.name.replace("\\", "/").split("/")
    if not parts[0] or ".." in parts or ":" in parts[0]:
        raise ValueError(f"member {shown!r} leads out of the archive")
    return "/".join(part for part in parts if part not in ("", "."))
