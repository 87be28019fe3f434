"""Links to source lines that do not rot.

A link such as ``[text](../npresnet/functional/conv.py#L42-L113 "conv2d_forward")``
names what it points at in its title; the lines are those that the name has now.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

from notebooks.make.pair import COURSE

_LINK = re.compile(
    r"\]\((?P<path>\.\./[^)#\s]+\.py)(?P<lines>#[L\d-]*)?\s+\"(?P<name>[\w.]+)\"\)"
)
_ANY = re.compile(
    r"\]\((?P<path>[^)#\s:]+)(?P<anchor>#[^)\s]*)?(?P<title>(?:\s[^)]*)?)\)"
)


def relink(text: str) -> str:
    """Return a text whose links have the lines that their titles stand for.

    Raises
    ------
    ValueError
        If a title names nothing in its file.
    """

    def with_lines(link: re.Match[str]) -> str:
        path, name = link["path"], link["name"]
        first, last = lines_of(COURSE / path, name)
        return f']({path}#L{first}-L{last} "{name}")'

    return _LINK.sub(with_lines, text)


def lines_of(path: Path, name: str) -> tuple[int, int]:
    """Return the first and last line of a function or class, by its dotted name.

    Raises
    ------
    ValueError
        If the file has none of that name.
    """
    node: ast.AST = ast.parse(path.read_text(encoding="utf-8"))
    for part in name.split("."):
        for child in getattr(node, "body", []):
            if getattr(child, "name", None) == part:
                node = child
                break
        else:
            raise ValueError(f"{path.name} has no {name!r}")
    assert isinstance(node, ast.FunctionDef | ast.ClassDef)
    return node.lineno, node.end_lineno or node.lineno


def broken_links(text: str) -> list[str]:
    """Say which relative links lead nowhere, or to other lines than they say."""
    found = []
    for link in _ANY.finditer(text):
        if not (COURSE / link["path"]).exists():
            found.append(f"{link['path']} does not exist")
        elif (link["anchor"] or "").startswith("#L") and not link["title"].strip():
            found.append(
                f"{link['path']}{link['anchor']} needs a title: what is there?"
            )
    try:
        if relink(text) != text:
            found.append("line numbers are old: python -m notebooks.make --relink")
    except (ValueError, OSError) as error:
        found.append(str(error))
    return found
