"""Reading a few files out of a .tar.gz, .tar or .zip; nothing is written to disk."""

from __future__ import annotations

import os
import stat
import zlib
from typing import IO, TYPE_CHECKING, NoReturn

from npresnet.untrusted.files import kind_of, opened
from npresnet.untrusted.text import RefusedFile, brief, shown_message

if TYPE_CHECKING:
    import gzip
    import tarfile

# Either official CIFAR-10 archive unpacks to less than 187 million bytes.
_TOTAL_LIMIT = 256 * 1024 * 1024  # bytes
_MEMBER_LIMIT = 64  # members
_OTHER_LIMIT = 1024 * 1024  # bytes of a file that nobody asked for, like readme.html
_HEADER_LIMIT = 4096  # bytes of a member's long name, or of its other attributes
_ZIP_END = 22  # bytes of the record that ends a zip


class _Limited:
    """A stream that ends in an error rather than in an endless unpacking."""

    def __init__(self, stream: gzip.GzipFile | IO[bytes], limit: int) -> None:
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
    """Read the named files of an archive into memory, whatever folder they are in.

    Parameters
    ----------
    archive : path
        A ``.tar.gz``, ``.tar`` or ``.zip``: what is in it decides, not its name.
    limits : dict of str to int
        The files to read, without their folders, and how many bytes each may have.
        Others are passed over.

    Returns
    -------
    dict of str to bytes
        Those of the files that are there, under their names with folders.

    Raises
    ------
    ValueError
        If the archive is damaged, or has a member that a data set has no business
        with: a name that leads out of the archive, a link, a device, a second file
        of the same name, a file that is too large.
    """
    import gzip
    import tarfile
    import zipfile

    damage = (
        tarfile.TarError,
        zipfile.BadZipFile,
        gzip.BadGzipFile,
        zlib.error,
        EOFError,
        NotImplementedError,  # a zip's way to compress
        RuntimeError,  # a zip that asks for a password; tarfile in a chain of headers
    )
    with opened(archive) as file:
        head = file.read(512)
        file.seek(0)
        try:
            if head[:4] == b"PK\x03\x04":
                return _zip_files(file, limits)
            if head[:2] == b"\x1f\x8b":
                with gzip.open(file, "rb") as unzipped:
                    return _tar_files(unzipped, limits)
            return _tar_files(file, limits)
        except damage as error:
            what = shown_message(error)
            if isinstance(error, RecursionError):
                what = "header follows header, and no file"
            elif head[:2] != b"\x1f\x8b" and (kind := kind_of(head)) is not None:
                what = f"it is {kind}"
            raise RefusedFile(
                f"damaged or not a .tar.gz, .tar or .zip ({what})"
            ) from None
        except ValueError as error:
            raise RefusedFile(f"refused: {error}") from None


def _tar_files(
    unpacked: gzip.GzipFile | IO[bytes], limits: dict[str, int]
) -> dict[str, bytes]:
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
    stream = _Limited(unpacked, _TOTAL_LIMIT)
    # "r|": from the front to the back, so nothing is unpacked twice.
    with tarfile.open(fileobj=stream, mode="r|", tarinfo=Member) as tar:  # type: ignore[call-overload]
        files = _chosen_files(tar, limits)
    while stream.read(65_536):
        pass  # only at its end does gzip compare the checksum
    return files


def _zip_files(packed: IO[bytes], limits: dict[str, int]) -> dict[str, bytes]:
    import zipfile

    _check_zip_directory(packed)
    files: dict[str, bytes] = {}
    left = _TOTAL_LIMIT
    with zipfile.ZipFile(packed) as archive:
        for member in archive.infolist():
            mode = member.external_attr >> 16
            _check_kind(
                member.filename,
                not stat.S_IFMT(mode) or stat.S_ISREG(mode) or stat.S_ISDIR(mode),
                stat.S_ISLNK(mode),
            )
            name = _checked_name(member.filename)
            limit = _checked_limit(name, member.file_size, limits)
            if limit is None or member.is_dir():
                continue
            if name in files:
                raise ValueError(f"member {brief(name)} is there twice")
            left -= member.file_size
            if left < 0:
                raise ValueError(f"unpacks to more than {_TOTAL_LIMIT:,} bytes")
            with archive.open(member) as file:  # reads no more than it says it has
                files[name] = file.read()
    return files


def _check_zip_directory(file: IO[bytes]) -> None:
    """Refuse a zip with many members before its directory is read into memory."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _ZIP_END - 0xFFFF))  # what may follow is a comment
    end = file.read()
    at = end.rfind(b"PK\x05\x06")
    members = int.from_bytes(end[at + 10 : at + 12], "little")
    # Larger numbers than fit there stand in a record of their own.
    if at >= 0 and (members > _MEMBER_LIMIT or b"PK\x06\x07" in end[at - 20 : at]):
        raise ValueError(f"has more than {_MEMBER_LIMIT} members")
    file.seek(0)


def _chosen_files(tar: tarfile.TarFile, limits: dict[str, int]) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    for count, member in enumerate(tar):
        if count >= _MEMBER_LIMIT:
            raise ValueError(f"has more than {_MEMBER_LIMIT} members")
        _check_kind(
            member.name,
            member.isreg() or member.isdir(),
            member.issym() or member.islnk(),
        )
        name = _checked_name(member.name)
        if _checked_limit(name, member.size, limits) is None:
            continue
        if name in files:
            raise ValueError(f"member {brief(name)} is there twice")
        if (content := tar.extractfile(member)) is None:
            raise ValueError(f"member {brief(name)} is not a file")
        files[name] = content.read()
    return files


def _check_kind(name: str, is_ordinary: bool, is_link: bool) -> None:
    """Refuse a member that is neither a file nor a folder."""
    if not is_ordinary:
        kind = "link" if is_link else "device or special file"
        raise ValueError(f"member {brief(name)} is a {kind}")


def _checked_limit(name: str, size: int, limits: dict[str, int]) -> int | None:
    """Refuse a member that is too large; return None for one that nobody asked for."""
    limit = limits.get(name.rpartition("/")[2])
    allowed = _OTHER_LIMIT if limit is None else limit
    if size > allowed:
        raise ValueError(
            f"member {brief(name)} has {size:,} bytes, expected no more than "
            f"{allowed:,}"
        )
    return limit


def _checked_name(name: str) -> str:
    """Return a member's name without a leading "./", if it may be there at all."""
    parts = name.replace("\\", "/").split("/")
    if not parts[0] or ".." in parts or ":" in parts[0]:
        raise ValueError(f"member {brief(name)} leads out of the archive")
    return "/".join(part for part in parts if part not in ("", "."))
