"""Learning curves: loss, accuracy and learning rate, epoch by epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from npresnet.plots import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SERIES = {"train": style.TRAIN, "validation": style.VALIDATION, "test": style.TEST}


def learning_curves(
    history: Sequence[Mapping[str, float | None]], path: str | Path | None = None
) -> Figure:
    """Draw the learning curves of a run.

    Parameters
    ----------
    history : sequence of mapping
        One row per epoch, as ``Run.history`` and ``metrics.csv`` have them:
        ``epoch``, ``lr``, and ``<set>_loss`` (nats) and ``<set>_accuracy`` (0 to 1)
        for the sets ``train``, ``validation`` and ``test``, as far as measured.
    path : path, optional
        Where to write the picture; the suffix decides the format.

    Returns
    -------
    matplotlib.figure.Figure
        The picture.

    Raises
    ------
    ValueError
        If the history is empty.
    """
    if not history:
        raise ValueError("history: expected at least one epoch, got none")
    with style.house_style():
        figure, (loss, accuracy, rate) = style.new_figure(3, width=11.5, height=3.7)
        _draw(loss, history, "loss", 1.0)
        loss.set(title="Loss", ylabel="cross entropy (nats)")
        loss.set_ylim(bottom=0)
        _draw(accuracy, history, "accuracy", 100.0)
        accuracy.set(title="Accuracy", ylabel="images right (%)")
        accuracy.set_ylim(top=100.5)

        epochs, rates = _column(history, "lr")
        rate.plot(epochs, rates, **{**style.NEUTRAL.keywords(1), "marker": "."})
        rate.set(title="Learning rate", ylabel="learning rate at the epoch's end")
        rate.set_ylim(bottom=0)
        for axes in (loss, accuracy, rate):
            _count_epochs(axes, len(history))
        if path is not None:
            style.save(figure, path)
    return figure


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
