"""Are a notebook's outputs those of its code? Texts must agree, numbers nearly."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from notebooks.make.pair import code_cells

if TYPE_CHECKING:
    from nbformat import NotebookNode

# Tags cells whose outputs may differ from run to run, as times do, or from one kind of
# processor to another, as what many steps of training lead to.
VARIES = "varies"
_NUMBER = re.compile(r"-?\d+\.?\d*(?:e[+-]?\d+)?")
_RELATIVE, _ROUNDING = 1e-3, 1e-6


def stale_outputs(committed: NotebookNode, fresh: NotebookNode) -> list[str]:
    """Say which outputs do not agree with those of a run just now.

    Pictures count by their presence: their bytes change with matplotlib's version.
    """
    found = []
    for old, new in zip(code_cells(committed), code_cells(fresh), strict=True):
        if VARIES in new.metadata.get("tags", []):
            continue
        was, now = _shown(old), _shown(new)
        if len(was) != len(now):
            found.append(f"{len(was)} outputs became {len(now)}: {old.source[:60]!r}")
        for a, b in zip(was, now, strict=False):
            if not agree(a, b):
                found.append(f"shown: {a}\nnow:   {b}")
    return found


def agree(a: str, b: str) -> bool:
    """Tell whether texts differ in nothing but the rounding of their numbers.

    Examples
    --------
    >>> agree("loss 2.30259", "loss 2.30258"), agree("3 of 4", "3 of 5")
    (True, False)
    >>> agree("error 3.1e-11", "error 7.9e-12"), agree("[1. 2.]", "[1.  2.]")
    (True, True)
    """
    if _NUMBER.sub("#", a).split() != _NUMBER.sub("#", b).split():
        return False
    pairs = zip(_NUMBER.findall(a), _NUMBER.findall(b), strict=True)
    return all(
        p == q
        or (
            not (p.isdigit() and q.isdigit())  # whole numbers count exactly
            and math.isclose(float(p), float(q), rel_tol=_RELATIVE, abs_tol=_ROUNDING)
        )
        for p, q in pairs
    )


def _shown(cell: NotebookNode) -> list[str]:
    texts = []
    for output in cell.outputs:
        if output.output_type == "stream":
            texts.append(output.text)
        else:
            data = output.get("data", {})
            kinds = [f"<{kind}>" for kind in sorted(data) if kind.startswith("image")]
            texts.append(data.get("text/markdown") or data.get("text/plain") or "")
            texts[-1] += " ".join(kinds)
    return texts
