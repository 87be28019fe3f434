"""An axis along which a network's layers stand, stage by stage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def stage_axis(every: Sequence[Axes], names: Sequence[str], label: str) -> None:
    """Shade every other stage, and name the stages under the last axes.

    Parameters
    ----------
    every : sequence of Axes
        One below the other; layer i stands at x = i.
    names : sequence of str
        The layers, as in ``layer1.0.conv1``: what stands before the first dot is the
        stage.
    label : str
        What the axis counts.
    """
    stages = [name.partition(".")[0] for name in names]
    starts = [i for i, stage in enumerate(stages) if stage not in stages[:i]]
    spans = list(zip(starts, [*starts[1:], len(names)], strict=True))
    for axes in every:
        axes.grid(visible=False, axis="x")
        for start, end in spans[1::2]:
            axes.axvspan(start - 0.5, end - 0.5, color="#F0F2F4", zorder=0)
    last = every[-1]
    last.set_xlim(-0.7, len(names) - 0.3)
    # Single layers between the stages have no room for their names.
    wide = [span for span in spans if span[1] - span[0] > len(names) / 20]
    middles = [(start + end - 1) / 2 for start, end in wide]
    last.set_xticks(middles, [stages[start] for start, _ in wide])
    last.tick_params(axis="x", length=0)
    last.set_xlabel(label)
