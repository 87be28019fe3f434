"""A program's memory over its lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from npresnet.plots.program_memory import program_memory

if TYPE_CHECKING:
    from npresnet.lens.program.result import Program
    from npresnet.plots.style import Figure


def memory(result: Program) -> Figure:
    """Draw what lies where in the arena, line by line, and how much is needed.

    Parameters
    ----------
    result : Program
        A training step.

    Returns
    -------
    matplotlib.figure.Figure
        The picture; that of `npresnet.compile`'s ``step.plan.plot()``.

    Raises
    ------
    ValueError
        If nothing lies in the arena.
    """
    return program_memory(*result.account.drawn())
