"""A notebook and its text: ``01_convolution.ipynb`` and ``01_convolution.py``.

The text is the source: cells in jupytext's percent format, without outputs. The
notebook adds outputs, and nothing that differs from one run to the next.

Jupyter's libraries take seconds to import: whoever needs one imports it there.
"""

from __future__ import annotations

import ast
import hashlib
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nbformat import NotebookNode

COURSE = Path(__file__).parents[1]
ROOT = COURSE.parent

_METADATA = {
    "kernelspec": {
        "display_name": "Python 3 (ipykernel)",
        "language": "python",
        "name": "python3",
    },
    "language_info": {
        "file_extension": ".py",
        "mimetype": "text/x-python",
        "name": "python",
        "pygments_lexer": "ipython3",
    },
}


def texts() -> list[Path]:
    """Return the texts of all notebooks, in the course's order."""
    return sorted(COURSE.glob("[0-9][0-9]_*.py"))


def read_text(path: Path) -> NotebookNode:
    """Make a notebook without outputs of a text: the same one each time."""
    import jupytext
    import nbformat

    notebook = jupytext.read(path, fmt="py:percent")
    notebook.update(nbformat=4, nbformat_minor=5)
    notebook.metadata = nbformat.from_dict(_METADATA)
    seen: Counter[str] = Counter()
    for cell in notebook.cells:
        name = hashlib.sha256(cell.source.encode()).hexdigest()[:8]
        seen[name] += 1
        cell.id = name if seen[name] == 1 else f"{name}-{seen[name]}"
        tags = cell.metadata.get("tags")
        cell.metadata = nbformat.from_dict({"tags": tags} if tags else {})
    return notebook


def read_notebook(path: Path) -> NotebookNode:
    """Read a notebook as it stands."""
    import nbformat

    return nbformat.read(path, as_version=4)


def write_notebook(notebook: NotebookNode, path: Path) -> None:
    """Write a notebook, with a note of the code that its outputs come from."""
    import nbformat

    notebook.metadata["npresnet"] = {"code": digest(notebook)}
    nbformat.validate(notebook)
    nbformat.write(notebook, path)


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    """Return the cells that are run."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def digest(notebook: NotebookNode) -> str:
    """Return a fingerprint of the code, cell by cell."""
    code = "\0".join(cell.source for cell in code_cells(notebook))
    return hashlib.sha256(code.encode()).hexdigest()


def claims(notebook: NotebookNode) -> int:
    """Count what the cells assert: a false one stops the notebook."""
    return sum(
        isinstance(node, ast.Assert)
        or (isinstance(node, ast.Attribute) and node.attr.startswith("assert_"))
        for cell in code_cells(notebook)
        for node in ast.walk(ast.parse(cell.source))
    )


def differences(text: NotebookNode, notebook: NotebookNode) -> list[str]:
    """Say where a notebook does not say the same as its text."""
    found = []
    if len(text.cells) != len(notebook.cells):
        found.append(
            f"the text has {len(text.cells)} cells, the notebook {len(notebook.cells)}"
        )
    for place, (a, b) in enumerate(zip(text.cells, notebook.cells, strict=False)):
        kept = ("id", "cell_type", "source", "metadata")
        if [a[key] for key in kept] != [b[key] for key in kept]:
            found.append(f"cell {place} differs: {_first_line(a.source)!r}")
    code = notebook.metadata.get("npresnet", {}).get("code")
    if code != digest(text):
        found.append("the outputs were made by other code")
    return found


def _first_line(source: str) -> str:
    return source.strip().partition("\n")[0][:60]
