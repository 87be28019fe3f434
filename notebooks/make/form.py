"""The form that every notebook of the course has."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from notebooks.make.links import broken_links
from notebooks.make.pair import (
    claims,
    code_cells,
    differences,
    read_notebook,
    read_text,
)
from npresnet.course import find_exercises

if TYPE_CHECKING:
    from nbformat import NotebookNode

_HEAD = re.compile(r"# (?P<number>\d\d) · (?P<title>.+)\n\n(?P<question>[^\n]+)")
_CHECK = re.compile(r"nr\.course\.check\(\"(?P<number>[\d.]+)\"")


def head(path: Path) -> tuple[str, str]:
    """Return a notebook's title and its question, in one line each.

    Raises
    ------
    ValueError
        If it does not begin with ``# NN · Title`` and, below, a question.
    """
    first = read_text(path).cells[0].source
    found = _HEAD.match(first)
    question = " ".join(first.split("\n\n")[1].split()).strip("*") if found else ""
    if not found or found["number"] != path.name[:2] or not question.endswith("?"):
        raise ValueError(
            f"{path.name} must begin with '# {path.name[:2]} · Title' and a question"
        )
    return found["title"], question


def faults(path: Path) -> list[str]:
    """Say what keeps a notebook, given by its text, from being as it must."""
    text, built = read_text(path), path.with_suffix(".ipynb")
    if not built.exists():
        return [f"{built.name} is missing: python -m notebooks.make"]
    notebook = read_notebook(built)
    found = differences(text, notebook)
    prose = "\n".join(c.source for c in text.cells if c.cell_type == "markdown")
    found += broken_links(prose)
    try:
        head(path)
    except ValueError as error:
        found.append(str(error))
    if not claims(text):
        found.append("nothing is asserted")
    found += _exercise_faults(path.name[:2], text)
    for cell in code_cells(notebook):
        kinds = [set(output.get("data", {})) for output in cell.outputs]
        for one, below in pairwise([*kinds, set()]):
            if "image/png" in one and "text/markdown" not in below:
                found.append(f"a picture has no caption: {cell.source[:60]!r}")
    return found


def _exercise_faults(number: str, text: NotebookNode) -> list[str]:
    asked = _CHECK.findall("\n".join(cell.source for cell in code_cells(text)))
    try:
        known = [exercise.number for exercise in find_exercises(number)]
    except ValueError:
        return [f"npresnet/course/exercises/ has no file n{number}_*.py"]
    if asked != known:
        return [f"the notebook checks exercises {asked}, there are {known}"]
    if not 3 <= len(known) <= 6:
        return [f"{len(known)} exercises; a notebook has three to six"]
    return []
