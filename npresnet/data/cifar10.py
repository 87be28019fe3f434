"""CIFAR-10 in its official layouts: two kinds of folder, two archives."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npresnet.data import _archive, _official, _places
from npresnet.data.dataset import Dataset
from npresnet.untrusted.files import download_gone_wrong, read_bytes
from npresnet.untrusted.pickles import read_pickle
from npresnet.untrusted.text import RefusedFile, shown, shown_message

CLASSES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
# Of the training images scaled to [0, 1], over all pixels and images.
MEAN = (0.49140, 0.48216, 0.44653)
STD = (0.24703, 0.24348, 0.26159)

_RECORDS = 10_000  # images per batch file
_SHAPE = (3, 32, 32)
_PIXELS = 3 * 32 * 32
_PYTHON_LIMIT = 40_000_000  # bytes; an official Python batch has 31 million
_META_LIMIT = 65_536  # bytes

# A source of files: takes a name, gives its content, or None where there is none.
_Read = Callable[[str], bytes | None]


@dataclass(frozen=True)
class _Layout:
    """One of the two official ways to write CIFAR-10 down."""

    folder: str
    archive: str
    train: tuple[str, ...]
    test: str
    meta: str
    limit: int  # bytes; no file may be larger

    @property
    def batches(self) -> tuple[str, ...]:
        return (*self.train, self.test)


_BINARY = _Layout(
    folder="cifar-10-batches-bin",
    archive="cifar-10-binary.tar.gz",
    train=tuple(f"data_batch_{n}.bin" for n in range(1, 6)),
    test="test_batch.bin",
    meta="batches.meta.txt",
    limit=10_000 * (1 + _PIXELS),
)
_PYTHON = _Layout(
    folder="cifar-10-batches-py",
    archive="cifar-10-python.tar.gz",
    train=tuple(f"data_batch_{n}" for n in range(1, 6)),
    test="test_batch",
    meta="batches.meta",
    limit=_PYTHON_LIMIT,
)
_LAYOUTS = (_BINARY, _PYTHON)


def cifar10(
    data_dir: str | os.PathLike[str], download: bool = False
) -> tuple[Dataset, Dataset]:
    """Load CIFAR-10: 50,000 images for training and 10,000 for testing.

    Parameters
    ----------
    data_dir : path
        A folder that holds ``cifar-10-batches-bin`` or ``cifar-10-batches-py``, or
        one of the official archives ``cifar-10-binary.tar.gz`` and
        ``cifar-10-python.tar.gz``; looked for in this order. Or one of these
        four itself. Archives are read where they are: nothing is unpacked. They may
        also be a plain ``.tar`` or a ``.zip``, and their name may go on after
        ``cifar-10``; folders and archives may lie one folder deeper.
    download : bool, default False
        Whether to fetch the binary archive, 162 MiB, where `data_dir` has none of
        these (`download_cifar10`).

    Returns
    -------
    train, test : Dataset
        Images of shape (3, 32, 32), in the official order.

    Raises
    ------
    FileNotFoundError
        If `data_dir` holds no CIFAR-10, or only a part of it.
    ValueError
        If a file has the wrong size, a label outside 0 to 9, other class names
        than the official ones, or a content that is no CIFAR-10 at all; or if some
        batches are official to the byte and others are not.

    Notes
    -----
    A record of the binary layout is one label byte, then 1,024 red, 1,024 green and
    1,024 blue bytes, rows first. An official checksum is asked of what was
    downloaded here, and of all batches where one of them has it. A folder with none
    is another copy, and is believed if everything fits.

    References
    ----------
    .. [1] A. Krizhevsky (2009). Learning Multiple Layers of Features from Tiny
       Images. https://www.cs.toronto.edu/~kriz/cifar.html
    """
    try:
        return _load(*_source(_places.expanded(data_dir), download))
    except (FileNotFoundError, ValueError) as error:
        if str(error).isprintable() or getattr(error, "errno", None) is not None:
            raise
        # A folder, an archive or a member has a name that acts on a terminal.
        raise type(error)(shown_message(error)) from None


def _source(where: Path, download: bool) -> tuple[_Layout, Path, _Read]:
    """Find what is to be read, or fetch it."""
    found = _find(where)
    if found is None and download:
        from npresnet.data.download import download_cifar10

        found = _archive_source(download_cifar10(where))
    if found is None:
        raise FileNotFoundError(_nothing_found(where))
    return found


def _find(where: Path) -> tuple[_Layout, Path, _Read] | None:
    """Find the first complete folder, else an archive, else say what is missing.

    Looked for in `where` itself first, then in every folder in it.
    """
    if where.is_file() and not _is_batch(where):
        return _archive_source(where)
    if where.is_file():
        where = where.parent
    inside = _places.subfolders(where)
    candidates = [(layout, where / layout.folder) for layout in _LAYOUTS]
    candidates += [(layout, where) for layout in _LAYOUTS]
    for folder in inside:
        candidates += [(layout, folder / layout.folder) for layout in _LAYOUTS]
        candidates += [(layout, folder) for layout in _LAYOUTS]
    incomplete = ""
    for layout, folder in candidates:
        missing = [n for n in layout.batches if not os.path.isfile(folder / n)]
        if not missing:
            return layout, folder, _folder_reader(layout, folder)
        named = folder.name == layout.folder and folder != where
        named = named and os.path.isdir(folder)
        if not incomplete and (named or len(missing) < len(layout.batches)):
            incomplete = f"{folder}: missing {', '.join(missing)}"
    if (found := _first_archive([where, *inside])) is not None:
        return found
    if incomplete:
        raise FileNotFoundError(incomplete)
    return None


def _is_batch(path: Path) -> bool:
    return any(path.name in (*layout.batches, layout.meta) for layout in _LAYOUTS)


def _first_archive(folders: Iterable[Path]) -> tuple[_Layout, Path, _Read] | None:
    """Read the first archive that holds CIFAR-10; if none does, tell of the first.

    A download that was cut off may lie beside the one that came after it.
    """
    official = tuple(layout.archive for layout in _LAYOUTS)
    error: Exception | None = None
    for folder in folders:
        for archive in _places.archives(folder, official):
            try:
                return _archive_source(archive)
            except (ValueError, FileNotFoundError) as wrong:
                error = error or wrong
    if error is not None:
        raise error
    return None


def _nothing_found(where: Path) -> str:
    """Say what was looked for, and what there is that comes near."""
    near = _places.similar(where)
    if near:
        found = f"the nearest things there are {', '.join(near)}"
    elif where.is_dir():
        found = "nothing there is like it"
    else:
        found = "there is no such folder"
    return (
        f"{where}: no CIFAR-10 here; looked for {_BINARY.folder}/, {_PYTHON.folder}/, "
        f"{_BINARY.archive} and {_PYTHON.archive} (or .tar, or .zip), there and one "
        f"folder deeper; {found} (download=True fetches it)"
    )


def _folder_reader(layout: _Layout, folder: Path) -> _Read:
    def read(name: str) -> bytes | None:
        path = folder / name
        limit = _META_LIMIT if name == layout.meta else layout.limit
        return read_bytes(path, limit) if path.is_file() else None

    return read


def _archive_source(archive: Path) -> tuple[_Layout, Path, _Read]:
    """Read all that an archive has to offer, whichever layout and folder it is in."""
    limits = {
        name: limit
        for layout in _LAYOUTS
        for name, limit in (
            *((batch, layout.limit) for batch in layout.batches),
            (layout.meta, _META_LIMIT),
        )
    }
    files = _archive.read_members(archive, limits)
    folders = sorted({name.rpartition("/")[0] for name in files}, key=len)
    incomplete = ""
    for layout in _LAYOUTS:
        for folder in folders:
            prefix = f"{folder}/" if folder else ""
            missing = [n for n in layout.batches if prefix + n not in files]
            if not missing:
                return layout, archive, _member_reader(files, prefix)
            if not incomplete and len(missing) < len(layout.batches):
                inside = f" in {folder}" if folder else ""
                incomplete = f"{archive}: missing {', '.join(missing)}{inside}"
    if incomplete:
        raise FileNotFoundError(incomplete)
    raise ValueError(
        f"{archive}: not a CIFAR-10 archive, it has neither {_BINARY.folder} nor "
        f"{_PYTHON.folder}"
    )


def _member_reader(files: dict[str, bytes], prefix: str) -> _Read:
    def read(name: str) -> bytes | None:
        return files.pop(prefix + name, None)  # lets go of what has been used

    return read


def _load(layout: _Layout, where: Path, read: _Read) -> tuple[Dataset, Dataset]:
    _check_classes(layout, where, read)
    official: dict[Path, bool] = {}
    sets = []
    for names in (layout.train, (layout.test,)):
        images = np.empty((len(names) * _RECORDS, *_SHAPE), np.uint8)
        labels = np.empty(len(names) * _RECORDS, np.int64)
        for i, name in enumerate(names):
            part = slice(i * _RECORDS, (i + 1) * _RECORDS)
            content = _content(where / name, read)
            official[where / name] = _official.is_official(name, content)
            decode = _decode_binary if layout is _BINARY else _decode_python
            pixels, kinds = decode(content, where / name)
            _check_labels(kinds, where / name)
            images[part] = pixels.reshape(-1, *_SHAPE)
            labels[part] = kinds
        sets.append(
            Dataset(
                images=images,
                labels=labels,
                classes=CLASSES,
                mean=np.array(MEAN, np.float32),
                std=np.array(STD, np.float32),
                name="cifar10",
            )
        )
    _official.refuse_mixture(official)
    return sets[0], sets[1]


def _content(path: Path, read: _Read) -> bytes:
    """Read one batch, unless something stands in its place."""
    content = read(path.name)
    assert content is not None  # `_find` has seen it
    if (instead := download_gone_wrong(content[:512])) is not None:
        raise ValueError(f"{path}: not a batch of CIFAR-10: it is {instead}")
    return content


def _decode_binary(
    content: bytes, path: Path
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Take records apart: pixels (N, 3072) and labels (N,)."""
    record = 1 + _PIXELS
    if len(content) != _RECORDS * record:
        raise ValueError(
            f"{path}: {len(content):,} bytes, expected {_RECORDS * record:,}, "
            f"{_RECORDS:,} records of {record:,}"
        )
    records = np.frombuffer(content, np.uint8).reshape(_RECORDS, record)
    return records[:, 1:], records[:, 0].astype(np.int64)


def _decode_python(
    content: bytes, path: Path
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Read a pickled batch: pixels (N, 3072) and labels (N,)."""
    batch = _unpickled(content, path)
    pixels, labels = _entry(batch, "data"), _entry(batch, "labels")
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8:
        raise ValueError(f"{path}: expected data to be an array of uint8")
    if pixels.shape != (_RECORDS, _PIXELS):
        raise ValueError(
            f"{path}: data has shape {pixels.shape}, expected {(_RECORDS, _PIXELS)}"
        )
    if isinstance(labels, np.ndarray) and labels.dtype.kind in "iu":
        labels = labels.reshape(-1).tolist()
    if isinstance(labels, list):
        labels = [int(n) if isinstance(n, np.integer) else n for n in labels]
    if not isinstance(labels, list) or not all(type(one) is int for one in labels):
        raise ValueError(f"{path}: expected labels to be a list of integers")
    if len(labels) != _RECORDS:
        raise ValueError(f"{path}: {len(labels):,} labels, expected {_RECORDS:,}")
    # Nothing outside 0..255 needs to be told apart: it is wrong in any case.
    kinds = np.array([min(max(one, -1), 255) for one in labels], np.int64)
    return pixels, kinds


def _unpickled(content: bytes, path: Path) -> dict[Any, Any]:
    try:
        value, _ = read_pickle(content)
    except RefusedFile as error:
        raise ValueError(f"{path}: {error}") from None
    if not isinstance(value, dict):
        raise ValueError(f"{path}: expected a dict, got a {type(value).__name__}")
    return value


def _entry(batch: dict[Any, Any], key: str) -> Any:
    """Look up a key that may have been written as text or as bytes."""
    return batch.get(key, batch.get(key.encode()))


def _check_labels(labels: NDArray[np.int64], path: Path) -> None:
    wrong = np.flatnonzero((labels < 0) | (labels > 9))
    if len(wrong):
        raise ValueError(
            f"{path}: record {wrong[0]} has label {labels[wrong[0]]}, expected 0..9 "
            f"({len(wrong):,} of {len(labels):,} records are wrong)"
        )


def _check_classes(layout: _Layout, where: Path, read: _Read) -> None:
    """Compare the class names with the official ones, where a file has them."""
    path = where / layout.meta
    content = read(layout.meta)
    if content is None:
        return
    names: Any
    if layout is _BINARY:
        lines = content.decode("utf-8", errors="replace").split("\n")
        names = [line.strip() for line in lines if line.strip()]
    else:
        names = _entry(_unpickled(content, path), "label_names")
        if isinstance(names, list):
            names = [n.decode("latin-1") if isinstance(n, bytes) else n for n in names]
    if not isinstance(names, list) or len(names) != len(CLASSES):
        count = len(names) if isinstance(names, list) else "no"
        raise ValueError(f"{path}: {count} class names, expected {len(CLASSES)}")
    for label, (name, official) in enumerate(zip(names, CLASSES, strict=True)):
        if name != official:
            raise ValueError(
                f"{path}: class {label} is '{shown(name, 40)}', expected {official!r}"
            )
