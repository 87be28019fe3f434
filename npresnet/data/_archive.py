"""Reading a few files out of a .tar.gz, with nothing written to disk."""

from __future__ import annotations

import os
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from npresnet.untrusted.files import kind_of, opened
from npresnet.untrusted.text import RefusedFile, shown, shown_message

if TYPE_CHECKING:
    import gzip
    import tarfile

# Either official CIFAR-10 archive unpacks to less than 187 million bytes.
_TOTAL_LIMIT = 256 * 1024 * 1024  # bytes
_MEMBER_LIMIT = 64  # members
_OTHER_LIMIT = 1024 * 1024  # bytes of a file that nobody asked for, like readme.html
_HEADER_LIMIT = 4096  # bytes of a member's long name, or of its other attributes


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
    with opened(path) as file:
        head = file.read(512)
        file.seek(0)
        try:
            with gzip.open(file, "rb") as unzipped:
                return _read_from(unzipped, limits)
        except (
            tarfile.TarError,
            EOFError,
            RecursionError,  # tarfile's, over a chain of headers
            zlib.error,
            gzip.BadGzipFile,
        ) as error:
            what = shown_message(error)
            if isinstance(error, gzip.BadGzipFile) and (kind := kind_of(head)):
                what = f"it is {kind}"
            raise RefusedFile(f"damaged or not a .tar.gz ({what})") from None
        except ValueError as error:
            raise RefusedFile(f"refused: {error}") from None


def _read_from(unzipped: gzip.GzipFile, limits: dict[str, int]) -> dict[str, bytes]:
    import tarfile

    class Member(tarfile.TarInfo):
        """A member whose headers are looked at before tarfile reads what they say."""

        def _proc_member(self, tar: tarfile.TarFile) -> tarfile.TarInfo:
            if self.type in headers and self.size > _HEADER_LIMIT:
                raise ValueError(
                    f"has a header of {self.size:,} bytes, expected no more than "
                    f"{_HEADER_LIMIT:,}"
                )
            return super()._proc_member(tar)  # type: ignore[misc, no-any-return]

        def _refuse_sparse(self, *args: object) -> NoReturn:
            raise ValueError("has a member with holes")

        # In all its forms: the lists of holes may be as long as a file likes.
        _proc_sparse = _refuse_sparse
        _proc_gnusparse_00 = _proc_gnusparse_01 = _proc_gnusparse_10 = _refuse_sparse

    headers = (
        tarfile.XHDTYPE,
        tarfile.XGLTYPE,
        tarfile.SOLARIS_XHDTYPE,
        tarfile.GNUTYPE_LONGNAME,
        tarfile.GNUTYPE_LONGLINK,
    )

    stream = _Limited(unzipped, _TOTAL_LIMIT)
    # "r|": from the front to the back, so nothing is unpacked twice.
    with tarfile.open(fileobj=stream, mode="r|", tarinfo=Member) as tar:  # type: ignore[call-overload]
        files = _chosen_files(tar, limits)
    while stream.read(65_536):
        pass  # only at its end does gzip compare the checksum
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
                f"member '{shown(name)}' has {member.size:,} bytes, expected no more "
                f"than {limit:,}"
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
    named = f"member '{shown(member.name)}'"
    if not (member.isreg() or member.isdir()):
        kind = "link" if member.issym() or member.islnk() else "device or special file"
        raise ValueError(f"{named} is a {kind}")
    parts = member.name.replace("\\", "/").split("/")
    if not parts[0] or ".." in parts or ":" in parts[0]:
        raise ValueError(f"{named} leads out of the archive")
    return "/".join(part for part in parts if part not in ("", "."))
