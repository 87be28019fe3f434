"""What docs/compiler.md quotes of programs, written anew: listing, totals, picture.

``python -m benchmarks.program_page`` lays programs out and runs nothing: a second.
"""

from __future__ import annotations

import re
from pathlib import Path

import npresnet as nr
from npresnet.compiler import CompiledModel
from npresnet.lens import Program

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "compiler.md"
PICTURE = ROOT / "docs" / "pictures" / "program.png"


def small() -> CompiledModel:
    """Lay out a block, whose lines the page lists."""
    step = nr.compile(nr.models.BasicBlock(16, 16, rng=0))
    assert isinstance(step, CompiledModel)
    step.lay_out((8, 16, 32, 32))
    return step


def large() -> Program:
    """Lay out a training step of ResNet-20, whose totals and memory the page shows."""
    return nr.lens.program(nr.models.resnet20(num_classes=10), (3, 32, 32))


def rewritten(page: str, listing: str, program: Program) -> str:
    """Return the page with today's listing and figures."""
    lines = [line or "<BLANKLINE>" for line in listing.splitlines()]
    more = 100 * (program.arena / program.most_at_once - 1)
    for pattern, text in (
        (r"(?<=>>> print\(step\)\n).*?(?=\n\n```)", "\n".join(lines)),
        (r"(?<=```text\n)\d+x3x32x32, .*?(?=\n```)", program.summary()),
        (r"(?<=takes )[\d.]+(?= % more)", f"{more:.1f}"),
    ):
        page, count = re.subn(pattern, lambda _, text=text: text, page, flags=re.S)
        if count != 1:
            raise ValueError(f"{PAGE.name}: {pattern!r} is there {count} times")
    return page


def main() -> None:
    """Write the page and its picture."""
    program = large()
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(rewritten(page, repr(small()), program), encoding="utf-8")
    program.save(PICTURE)


if __name__ == "__main__":
    main()
