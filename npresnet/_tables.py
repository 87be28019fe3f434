"""Rows of text in columns: the one way in which tables are printed."""

from __future__ import annotations

import io
from collections.abc import Sequence

# Of the widest column, on a terminal: narrower than this it would be a ribbon.
_LEAST_WRAPPED = 20


def columns(
    rows: Sequence[Sequence[str]],
    to_right: Sequence[bool],
    *,
    least: Sequence[int] = (),
    gap: int = 2,
    width: int | None = None,
) -> str:
    """Lay rows out in columns, without lines between them.

    Parameters
    ----------
    rows : sequence of sequence of str
        The cells; a head is a row like the others.
    to_right : sequence of bool
        Which columns stand to the right, such as those of numbers.
    least : sequence of int
        Letters that a column takes at least; 0 where none is given.
    gap : int
        Spaces between columns.
    width : int, optional
        Letters that a terminal has in a line: where that is too few, the cells of the
        widest column go on below. Nothing is ever cut off, and for a file or a pipe,
        which have no width, nothing is wrapped.

    Returns
    -------
    str
        Lines without spaces at their ends. Letters that take two places on a terminal
        count as two.

    Examples
    --------
    >>> print(columns([("layer", "MACs"), ("conv1", "442,368")], (False, True)))
    layer     MACs
    conv1  442,368
    """
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    if not rows:
        return ""
    needed = [max(map(cell_len, texts)) for texts in zip(*rows, strict=True)]
    needed = [max(sizes) for sizes in zip(needed, _filled(least, needed), strict=True)]
    total = sum(needed) + gap * (len(needed) - 1)
    widest = needed.index(max(needed))
    if width is None or total - width > needed[widest] - _LEAST_WRAPPED:
        width = total
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, gap, 0, 0))
    for column, (right, size) in enumerate(zip(to_right, needed, strict=True)):
        table.add_column(
            justify="right" if right else "left",
            width=size - max(0, total - width) if column == widest else size,
            no_wrap=width == total,
            overflow="fold",
        )
    for row in rows:
        table.add_row(*map(Text, row))
    # Neither a notebook's display nor colours: text, and nothing about where it goes.
    text = io.StringIO()
    console = Console(
        file=text, width=max(width, 1), color_system=None, force_jupyter=False
    )
    console.print(table)
    lines = text.getvalue().split("\n")[:-1]
    return "\n".join(line.rstrip() for line in lines)


def _filled(least: Sequence[int], needed: Sequence[int]) -> list[int]:
    return [*least, *[0] * (len(needed) - len(least))]
