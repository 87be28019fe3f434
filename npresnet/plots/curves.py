"""Learning curves: loss, accuracy and learning rate, epoch by epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from npresnet.plots import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SERIES = {"train": style.TRAIN, "validation": style.VALIDATION, "test": style.TEST}

# Losses that differ by more than this factor need a logarithmic axis to be seen.
_WIDE = 30


def learning_curves(
    history: Sequence[Mapping[str, float | None]],
    path: str | Path | BinaryIO | None = None,
) -> Figure:
    """Draw the learning curves of a run.

    Parameters
    ----------
    history : sequence of mapping
        One row per epoch, as ``Run.history`` and ``metrics.csv`` have them:
        ``epoch``, ``lr``, and ``<set>_loss`` (nats) and ``<set>_accuracy`` (0 to 1)
        for the sets ``train``, ``validation`` and ``test``, as far as measured.
    path : path or binary file, optional
        Where to write the picture; the suffix decides the format. An open file gets
        a PNG.

    Returns
    -------
    matplotlib.figure.Figure
        The picture.

    Raises
    ------
    ValueError
        If the history is empty.
    """
    _check(history)
    with style.house_style():
        figure, axes = style.new_figure(3, width=11.5, height=3.7)
        for panel, draw in zip(axes, _PANELS.values(), strict=True):
            draw(panel, history)
        if path is not None:
            style.save(figure, path)
    return figure


def curve_panels(history: Sequence[Mapping[str, float | None]]) -> dict[str, Figure]:
    """Draw the same curves as pictures of their own, for pages of any width.

    Parameters
    ----------
    history : sequence of mapping
        As for `learning_curves`.

    Returns
    -------
    dict of str to matplotlib.figure.Figure
        Under ``"accuracy"``, ``"loss"`` and ``"lr"``.

    Raises
    ------
    ValueError
        If the history is empty.
    """
    _check(history)
    figures = {}
    with style.house_style():
        for name, draw in _PANELS.items():
            figure, (axes,) = style.new_figure(1, width=4.4, height=3.3)
            draw(axes, history)
            figures[name] = figure
    return figures


def _check(history: Sequence[Mapping[str, float | None]]) -> None:
    if not history:
        raise ValueError("history: expected at least one epoch, got none")


def _draw_accuracy(axes: Axes, history: Sequence[Mapping[str, float | None]]) -> None:
    _draw(axes, history, "accuracy", 100.0)
    axes.set(title="Accuracy", ylabel="images right (%)")
    axes.set_ylim(top=100.5)
    _count_epochs(axes, len(history))


def _draw_loss(axes: Axes, history: Sequence[Mapping[str, float | None]]) -> None:
    _draw(axes, history, "loss", 1.0)
    axes.set(title="Loss", ylabel="cross entropy (nats)")
    values = [v for name in _SERIES for v in _column(history, f"{name}_loss")[1]]
    if max(values) > _WIDE * min(values) > 0:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
    else:
        axes.set_ylim(bottom=0)
    _count_epochs(axes, len(history))


def _draw_rate(axes: Axes, history: Sequence[Mapping[str, float | None]]) -> None:
    epochs, rates = _column(history, "lr")
    axes.plot(epochs, rates, **{**style.NEUTRAL.keywords(1), "marker": "."})
    axes.set(title="Learning rate", ylabel="learning rate at the epoch's end")
    axes.set_ylim(bottom=0)
    _count_epochs(axes, len(history))


# From left to right.
_PANELS = {"accuracy": _draw_accuracy, "loss": _draw_loss, "lr": _draw_rate}


def _draw(
    axes: Axes,
    history: Sequence[Mapping[str, float | None]],
    what: str,
    scale: float,
) -> None:
    for name, series in _SERIES.items():
        epochs, values = _column(history, f"{name}_{what}")
        if not values:
            continue
        values = [value * scale for value in values]
        label = f"{name}: {_last(values[-1], what)}"
        axes.plot(epochs, values, label=label, **series.keywords(len(values)))
    axes.legend(loc="best")


def _last(value: float, what: str) -> str:
    return f"{value:.2f} %" if what == "accuracy" else f"{value:.3f}"


def _column(
    history: Sequence[Mapping[str, float | None]], name: str
) -> tuple[list[float], list[float]]:
    """Return the epochs at which a value was measured, and the values."""
    pairs = [(row["epoch"], row.get(name)) for row in history]
    known = [(e, value) for e, value in pairs if e is not None and value is not None]
    return [epoch for epoch, _ in known], [value for _, value in known]


def _count_epochs(axes: Axes, epochs: int) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel("epoch")
    axes.set_xlim(0.5, epochs + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
