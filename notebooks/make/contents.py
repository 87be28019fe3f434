"""The list of notebooks in README.md, written from the notebooks' heads."""

from __future__ import annotations

import re

from notebooks.make.form import head
from notebooks.make.pair import COURSE, texts

README = COURSE / "README.md"
_BEGIN, _END = "<!-- written by python -m notebooks.make -->", "<!-- end -->"


def with_contents(page: str) -> str:
    """Return the page with the list of today's notebooks."""
    lines = ["| | notebook | what it answers |", "|---|---|---|"]
    for path in texts():
        title, question = head(path)
        link = f"[{title}]({path.with_suffix('.ipynb').name})"
        lines.append(f"| {path.name[:2]} | {link} | {question} |")
    table = "\n".join(lines)
    pattern = re.compile(f"{re.escape(_BEGIN)}.*{re.escape(_END)}", re.DOTALL)
    return pattern.sub(lambda _: f"{_BEGIN}\n\n{table}\n\n{_END}", page)
