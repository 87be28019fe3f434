"""Training loss and test error by depth, plain networks against residual ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from npresnet.plots import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from npresnet.lens.degradation.result import Curve, Degradation

_LOOKS = {"plain": style.PLAIN, "resnet": style.RESIDUAL}
_NAMES = {"plain": "Plain nets", "resnet": "Residual nets"}
_DASHES = ("-", "--", "-.", ":")


def degradation(result: Degradation) -> Figure:
    """Draw what came out by depth, and how it came about.

    Parameters
    ----------
    result : Degradation
        Runs of one kind and depth differ by their seed: points are single runs, lines
        are means.

    Returns
    -------
    matplotlib.figure.Figure
        The picture.

    Raises
    ------
    ValueError
        If there is no training run.
    """
    if not result.rows:
        raise ValueError("result: expected at least one training run, got none")
    rows, runs = result.rows, result.curves
    kinds = [kind for kind in _NAMES if any(row.kind == kind for row in rows)]
    with style.house_style():
        figure, (loss, error, *curves) = style.new_figure(
            2, width=9.5, height=7, rows=2
        )
        for kind in kinds:
            ours = [row for row in rows if row.kind == kind]
            _by_depth(loss, kind, [(row.depth, row.train_loss) for row in ours])
            _by_depth(error, kind, [(row.depth, 100 * row.test_error) for row in ours])
        loss.set(title="Training loss, last epoch", ylabel="cross entropy (nats)")
        error.set(title="Test error", ylabel="images wrong (%)")
        loss.legend(loc="best")
        for axes in (loss, error):
            axes.set_xlabel("depth: layers with weights")
            axes.set_xticks(sorted({row.depth for row in rows}))
            axes.set_ylim(bottom=0)
        for axes, kind in zip(curves, kinds, strict=False):
            _curves(axes, [one for one in runs if one.kind == kind])
            axes.set(title=f"{_NAMES[kind]}, epoch by epoch", xlabel="epoch")
            axes.set_ylabel("training loss (nats)")
        losses = [value for one in runs for value in one.train_loss]
        for axes in curves[: len(kinds)]:
            axes.set_yscale("log")
            axes.set_ylim(max(min(losses), 1e-6) / 1.5, 1.5 * max(losses))
            axes.yaxis.set_major_formatter("{x:g}")
        for axes in curves[len(kinds) :]:
            axes.set_visible(False)
        style.title(figure, "Deeper networks, trained alike")
        style.caption(
            figure, f"{result.subject()}. Points: single seeds; lines: their means."
        )
    return figure


def _by_depth(axes: Axes, kind: str, points: Sequence[tuple[int, float]]) -> None:
    look = _LOOKS[kind]
    depths = sorted({depth for depth, _ in points})
    means = [np.mean([v for depth, v in points if depth == at]) for at in depths]
    keywords = look.keywords(1) | {"markevery": []}  # a marker in the legend alone
    axes.plot(depths, means, label=_NAMES[kind], **keywords)
    axes.plot(
        [depth for depth, _ in points],
        [value for _, value in points],
        look.marker,
        color=look.color,
        alpha=0.8,
    )


def _curves(axes: Axes, runs: Sequence[Curve]) -> None:
    """Draw the mean curve of every depth: the deeper, the darker."""
    from matplotlib import colormaps
    from matplotlib.ticker import MaxNLocator

    depths = sorted({one.depth for one in runs})
    shades = colormaps[style.SEQUENTIAL](np.linspace(0.85, 0, len(depths)))
    for place, depth in enumerate(depths):
        curves = [one.train_loss for one in runs if one.depth == depth]
        mean = np.mean(np.array(curves), axis=0)
        axes.plot(
            np.arange(1, len(mean) + 1),
            mean,
            color=shades[place],
            ls=_DASHES[place % len(_DASHES)],
            label=f"{depth} layers: {mean[-1]:.3f}",
        )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.legend(loc="lower left")  # curves come from above
