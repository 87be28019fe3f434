"""Fetching CIFAR-10, checked before anything is used."""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path

from npresnet.data import _places

URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
MD5 = "c32a1d4ab5d03f1284b67883e8d87530"
ARCHIVE = "cifar-10-binary.tar.gz"

_TIMEOUT = 30  # seconds without a byte


def download_cifar10(
    data_dir: str | os.PathLike[str], *, progress: bool = True
) -> Path:
    """Download the official binary archive of CIFAR-10, 162 MiB.

    Parameters
    ----------
    data_dir : path
        The folder to put it in; made if it is not there.
    progress : bool, default True
        Whether to show a bar on standard error.

    Returns
    -------
    Path
        The archive, whose MD5 is the official one. It gets its name only once that
        is certain; after a failure nothing of it is left behind.

    Raises
    ------
    FileExistsError
        If there is a file of that name already, and it is another one.
    ConnectionError
        If the archive cannot be fetched; the message says how to do it by hand.
    ValueError
        If what was fetched is not the official archive.
    """
    folder = _places.expanded(data_dir)
    target = folder / ARCHIVE
    if target.exists():
        if target.is_file() and _md5(target) == MD5:
            return target
        raise FileExistsError(
            f"{target}: not the official archive (its MD5 is not {MD5}); "
            "move it away to download another"
        )
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _fetch(target, progress)
    except BaseException:
        for one in missing:  # the deepest first; one that is in use stays
            with contextlib.suppress(OSError):
                one.rmdir()
        raise
    return target


def _fetch(target: Path, progress: bool) -> None:
    import pooch

    def download(url: str, output_file: str, _pooch: object) -> None:
        _stream(url, output_file, progress)

    logger = pooch.get_logger()
    level = logger.level
    try:
        logger.setLevel("WARNING")  # the bar says enough
        # pooch names a temporary file beside `target`, checks it, and renames it.
        pooch.retrieve(
            URL,
            known_hash=f"md5:{MD5}",
            fname=target.name,
            path=target.parent,
            downloader=download,
        )
    except OSError as error:
        if error.errno is not None:  # the disk's, not the network's
            raise
        raise ConnectionError(
            f"cannot download {URL} ({type(error).__name__}); fetch it by hand and "
            f"put it at {target}"
        ) from error
    except ValueError as error:
        raise ValueError(
            f"{URL}: what came is not the official archive (its MD5 is not {MD5}); "
            "nothing was kept"
        ) from error
    finally:
        logger.setLevel(level)


def _stream(url: str, output_file: str, progress: bool) -> None:
    """Write what an address sends; pooch's own way leaves failed connections open."""
    import requests
    from tqdm import tqdm

    with (
        requests.get(
            url,
            headers={"Accept-Encoding": "identity"},
            stream=True,
            timeout=_TIMEOUT,
        ) as response,
        open(output_file, "wb") as file,
    ):
        response.raise_for_status()
        size = int(response.headers.get("Content-Length", 0)) or None
        with tqdm(
            total=size,
            desc=ARCHIVE,
            unit="B",
            unit_scale=True,
            disable=not progress,
        ) as bar:
            for chunk in response.iter_content(1 << 16):
                file.write(chunk)
                bar.update(len(chunk))


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()
