"""Copies of the notebooks for a reader, who may write in them.

A list beside the copies remembers what was handed out. A copy that is still as it
was is brought up to date the next time; one that the reader changed is left alone.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

from npresnet._files import write_text
from npresnet.untrusted import json_text
from npresnet.untrusted.files import read_bytes

# A notebook with its pictures has up to a megabyte; a reader's may have more.
_MOST_BYTES = 256 << 20

LIST = ".npresnet-course.json"
_LINK = re.compile(r"\[(?P<text>[^\]]+)\]\(\.\./(?P<path>[^)#\s]+)(?P<rest>[^)]*)\)")


@dataclass(frozen=True)
class Copies:
    """What became of each notebook, by file name, in order.

    Attributes
    ----------
    folder : Path
        Where they are.
    new, updated, unchanged : tuple of str
        Written for the first time; brought up to date; already up to date.
    kept : tuple of str
        The reader's: changed since they were handed out, or there before.
    """

    folder: Path
    new: tuple[str, ...]
    updated: tuple[str, ...]
    unchanged: tuple[str, ...]
    kept: tuple[str, ...]

    @property
    def first(self) -> Path:
        """The notebook to begin with."""
        names = [*self.new, *self.updated, *self.unchanged, *self.kept]
        return self.folder / min(names)


def originals() -> list[Path]:
    """Return the notebooks that came with this package, in the course's order.

    Raises
    ------
    FileNotFoundError
        If there are none: the package is not whole.
    """
    inside = Path(__file__).parent / "notebooks"
    checkout = Path(__file__).parents[2] / "notebooks"
    for folder in (inside, checkout):
        found = sorted(folder.glob("[0-9][0-9]_*.ipynb"))
        if found:
            return found
    raise FileNotFoundError(f"{inside}: the course's notebooks are missing")


def hand_out(folder: Path) -> Copies:
    """Copy the notebooks into a folder, and leave what the reader changed.

    Parameters
    ----------
    folder : Path
        Made if it does not exist.

    Raises
    ------
    OSError
        If it cannot be written to.
    ValueError
        If the list of what was handed out cannot be read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    given = _read_list(folder / LIST)
    fates: dict[str, list[str]] = {
        "new": [],
        "updated": [],
        "unchanged": [],
        "kept": [],
    }
    for original in originals():
        name, text = original.name, _for_readers(original)
        fate = _fate(folder / name, text, given.get(name))
        fates[fate].append(name)
        if fate in ("new", "updated"):
            write_text(folder / name, text)
        if fate != "kept":
            given[name] = _digest(text.encode())
            _write_list(folder / LIST, given)
    return Copies(folder, **{fate: tuple(names) for fate, names in fates.items()})


def _fate(copy: Path, text: str, given: str | None) -> str:
    if copy.is_symlink():
        return "kept"  # the reader's: what it leads to is none of our copies
    if not copy.exists():
        return "new"
    now = read_bytes(copy, _MOST_BYTES)
    if now == text.encode():
        return "unchanged"
    return "updated" if _digest(now) == given else "kept"


def _for_readers(original: Path) -> str:
    """Turn links into the repository, which a copy cannot follow, into file names."""
    notebook = json.loads(original.read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            text = "".join(cell["source"])
            cell["source"] = _LINK.sub(_named, text).splitlines(keepends=True)
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def _named(link: re.Match[str]) -> str:
    lines = re.match(r"#L(\d+)(?:-L(\d+))?", link["rest"])
    place = f", line {lines[1]}" if lines else ""
    return f"{link['text']} (`{link['path']}`{place})"


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _read_list(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    try:
        given = json_text.read(path)
        return {str(name): str(digest) for name, digest in given.items()}
    except (ValueError, AttributeError) as error:
        raise ValueError(
            f"{path}: cannot be read; remove it, and no notebook in the folder will "
            "be changed"
        ) from error


def _write_list(path: Path, given: dict[str, str]) -> None:
    write_text(path, json.dumps(given, indent=1) + "\n")
