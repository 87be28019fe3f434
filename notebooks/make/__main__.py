"""``python -m notebooks.make``: builds what changed, or checks without running."""

from __future__ import annotations

import argparse
import re
import sys
import time
from pathlib import Path

from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode

from notebooks.make.contents import README, with_contents
from notebooks.make.form import faults
from notebooks.make.links import relink
from notebooks.make.pair import (
    claims,
    code_cells,
    digest,
    read_notebook,
    read_text,
    texts,
    write_notebook,
)
from notebooks.make.run import NotRepeatable, run

_COLOURS = re.compile(r"\x1b\[[\d;]*m")  # of tracebacks


def main() -> int:
    """Build or check; the status is 1 where a check finds a fault."""
    parser = argparse.ArgumentParser(
        prog="python -m notebooks.make", description=__doc__
    )
    parser.add_argument(
        "numbers",
        nargs="*",
        metavar="NN",
        help="notebooks to run; by default those whose code changed",
    )
    parser.add_argument(
        "--relink", action="store_true", help="line numbers only; run nothing"
    )
    parser.add_argument(
        "--check", action="store_true", help="say what is wrong; write nothing"
    )
    options = parser.parse_args()
    chosen = [
        p for p in texts() if not options.numbers or p.name[:2] in options.numbers
    ]
    if options.numbers and len(chosen) != len(options.numbers):
        parser.error(f"expected numbers of notebooks, got {options.numbers}")
    if options.check:
        return _check(chosen)
    for path in chosen:
        _build(path, again=bool(options.numbers), may_run=not options.relink)
    README.write_text(with_contents(README.read_text("utf-8")), "utf-8")
    return 0


def _build(path: Path, *, again: bool, may_run: bool) -> None:
    prose = path.read_text("utf-8")
    if (linked := relink(prose)) != prose:
        path.write_text(linked, "utf-8")
    built = path.with_suffix(".ipynb")
    text = read_text(path)
    old = read_notebook(built) if built.exists() else None
    same_code = old is not None and old.metadata.get("npresnet", {}).get(
        "code"
    ) == digest(text)
    if old is not None and same_code and not (again and may_run):
        _take_outputs(text, old)
        print(f"{path.stem}: text only")
    elif may_run:
        begin = time.perf_counter()
        try:
            text = run(text)
        except (CellExecutionError, NotRepeatable) as error:
            sys.exit(f"{path.stem}: {_COLOURS.sub('', str(error))}")
        seconds = time.perf_counter() - begin
        print(f"{path.stem}: {claims(text)} claims hold, {seconds:.0f} s")
    else:
        print(f"{path.stem}: its code changed; build it")
        return
    write_notebook(text, built)


def _take_outputs(text: NotebookNode, old: NotebookNode) -> None:
    for new, was in zip(code_cells(text), code_cells(old), strict=True):
        new.outputs = was.outputs


def _check(chosen: list[Path]) -> int:
    found = [f"{path.stem}: {fault}" for path in chosen for fault in faults(path)]
    if with_contents(README.read_text("utf-8")) != README.read_text("utf-8"):
        found.append("README.md: the list is old: python -m notebooks.make")
    print("\n".join(found) or f"{len(chosen)} notebooks are in order")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
