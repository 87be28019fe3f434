"""Where the files of a data set may lie: as published, or as people keep them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

# A folder of data has some folders in it; one with more is something else.
_MOST_FOLDERS = 200
_MOST_NAMED = 5

# "cifar-10-python (1).tar.gz", "cifar-10-python.tar (1).gz", "cifar10.zip"; not
# CIFAR-100's, and not the one for MATLAB.
_ARCHIVE = re.compile(
    r"cifar[-_ ]?10(?!\d)(?!.*matlab).*\.(gz|tgz|tar|zip)", re.IGNORECASE
)
_SIMILAR = re.compile(r"cifar|data_batch|test_batch|batches\.meta", re.IGNORECASE)


def expanded(path: str | os.PathLike[str]) -> Path:
    """Return a path with ``~`` replaced: a shell does so in few places only."""
    try:
        return Path(path).expanduser()
    except RuntimeError:  # there is no such user, or no home: a name like any other
        return Path(path)


def subfolders(where: Path) -> list[Path]:
    """List the folders in a folder, those that are named after the data set first."""
    found = islice(
        (one for one in _entries(where) if os.path.isdir(one)), _MOST_FOLDERS
    )
    return sorted(found, key=lambda one: ("cifar" not in one.name.lower(), one.name))


def archives(where: Path, official: tuple[str, ...]) -> list[Path]:
    """List the archives of CIFAR-10 in a folder, those with an official name first."""
    found = [
        one
        for one in _entries(where)
        if _ARCHIVE.fullmatch(one.name) and os.path.isfile(one)
    ]
    return sorted(found, key=lambda one: (one.name not in official, one.name))


def similar(where: Path) -> list[str]:
    """Name a few things in a folder that may be what was looked for."""
    found = [
        f"{one.name}/" if os.path.isdir(one) else one.name
        for one in _entries(where)
        if _SIMILAR.search(one.name)
    ]
    return sorted(found)[:_MOST_NAMED]


def _entries(where: Path) -> Iterator[Path]:
    """Go through a folder; one that is not there, or not for us, has nothing in it."""
    try:
        with os.scandir(where) as entries:
            for entry in entries:
                yield where / entry.name
    except OSError:
        return
