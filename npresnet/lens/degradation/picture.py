"""Training loss and test error by depth, plain networks against residual ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from npresnet.plots import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LOOKS = {"plain": style.PLAIN, "resnet": style.RESIDUAL}
_NAMES = {"plain": "Plain nets", "resnet": "Residual nets"}
_DASHES = ("-", "--", "-.", ":")


@dataclass(frozen=True)
class Training:
    """One training run.

    Attributes
    ----------
    kind : {"plain", "resnet"}
        Of the network.
    depth : int
        Layers with weights.
    train_loss : sequence of float
        Epoch by epoch, in nats.
    test_error : float
        In the end, from 0 to 1.
    """

    kind: str
    depth: int
    train_loss: Sequence[float]
    test_error: float


def degradation(
    trainings: Sequence[Training], subject: str, path: str | Path | None = None
) -> Figure:
    """Draw what came out by depth, and how it came about.

    Parameters
    ----------
    trainings : sequence of Training
        Several of one kind and depth differ by their seed: points are single runs,
        lines are means.
    subject : str
        What was trained on, and how.
    path : path, optional
        Where to write the picture; the suffix decides the format.

    Returns
    -------
    matplotlib.figure.Figure
        The picture.

    Raises
    ------
    ValueError
        If there is no training.
    """
    if not trainings:
        raise ValueError("trainings: expected at least one, got none")
    kinds = [kind for kind in _NAMES if any(one.kind == kind for one in trainings)]
    with style.house_style():
        figure, (loss, error, *curves) = style.new_figure(
            2, width=9.5, height=7, rows=2
        )
        for kind in kinds:
            ours = [one for one in trainings if one.kind == kind]
            _by_depth(loss, kind, [(one.depth, one.train_loss[-1]) for one in ours])
            _by_depth(error, kind, [(one.depth, 100 * one.test_error) for one in ours])
        loss.set(title="Training loss, last epoch", ylabel="cross entropy (nats)")
        error.set(title="Test error", ylabel="images wrong (%)")
        loss.legend(loc="best")
        for axes in (loss, error):
            axes.set_xlabel("depth: layers with weights")
            axes.set_xticks(sorted({one.depth for one in trainings}))
            axes.set_ylim(bottom=0)
        for axes, kind in zip(curves, kinds, strict=False):
            _curves(axes, [one for one in trainings if one.kind == kind])
            axes.set(title=f"{_NAMES[kind]}, epoch by epoch", xlabel="epoch")
            axes.set_ylabel("training loss (nats)")
        losses = [value for one in trainings for value in one.train_loss]
        for axes in curves[: len(kinds)]:
            axes.set_yscale("log")
            axes.set_ylim(max(min(losses), 1e-6) / 1.5, 1.5 * max(losses))
            axes.yaxis.set_major_formatter("{x:g}")
        for axes in curves[len(kinds) :]:
            axes.set_visible(False)
        style.title(figure, "Deeper networks, trained alike")
        style.caption(figure, f"{subject}. Points: single seeds; lines: their means.")
        if path is not None:
            style.save(figure, path)
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


def _curves(axes: Axes, trainings: Sequence[Training]) -> None:
    """Draw the mean curve of every depth: the deeper, the darker."""
    from matplotlib import colormaps
    from matplotlib.ticker import MaxNLocator

    depths = sorted({one.depth for one in trainings})
    shades = colormaps[style.SEQUENTIAL](np.linspace(0.85, 0, len(depths)))
    for place, depth in enumerate(depths):
        curves = [one.train_loss for one in trainings if one.depth == depth]
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
