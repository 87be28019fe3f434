"""What each layer of a network costs, in the order of the forward pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from npresnet.plots import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def costs(
    names: Sequence[str],
    columns: Mapping[str, Sequence[float]],
    subject: str,
    path: str | Path | None = None,
) -> Figure:
    """Draw one row of bars per kind of cost, a bar per layer.

    Parameters
    ----------
    names : sequence of str
        The layers, as in ``layer1.0.conv1``: what stands before the first dot is the
        stage.
    columns : mapping of str to sequence of float
        What is counted, with its unit, and how much each layer takes of it.
    subject : str
        What was looked at.
    path : path, optional
        Where to write the picture; the suffix decides the format.

    Returns
    -------
    matplotlib.figure.Figure
        The picture.

    Raises
    ------
    ValueError
        If there is no layer, or not one number for each.
    """
    if not names or not columns:
        raise ValueError("names, columns: expected at least one of each")
    for title, values in columns.items():
        if len(values) != len(names):
            raise ValueError(
                f"{title}: expected {len(names)} numbers, one per layer, got "
                f"{len(values)}"
            )
    from matplotlib.ticker import EngFormatter

    stages = [name.partition(".")[0] for name in names]
    starts = [i for i, stage in enumerate(stages) if stage not in stages[:i]]
    spans = list(zip(starts, [*starts[1:], len(names)], strict=True))
    with style.house_style():
        figure, every = style.new_figure(
            1,
            width=9.0,
            height=0.9 + 1.5 * len(columns),
            rows=len(columns),
            sharex=True,
        )
        for axes, (title, values) in zip(every, columns.items(), strict=True):
            axes.bar(range(len(names)), values, 0.85, color=style.BLUE)
            axes.set_ylabel(title)
            axes.yaxis.set_major_formatter(EngFormatter(sep="\N{THIN SPACE}"))
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
        last.set_xlabel(f"{len(names)} layers, from the images to the logits")
        figure.align_ylabels(np.array(every))
        style.title(figure, subject)
        if path is not None:
            style.save(figure, path)
    return figure
