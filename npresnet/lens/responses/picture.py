"""Standard deviations of layer responses, in order and ranked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from npresnet.plots import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def responses(
    networks: Sequence[tuple[str, NDArray[np.floating[Any]]]],
    note: str = "",
    path: str | Path | None = None,
) -> Figure:
    """Draw the deviations twice, as He et al. (arXiv 1512.03385) do in Fig. 7.

    Parameters
    ----------
    networks : sequence of (str, ndarray of shape (layers,))
        Each network's name, and the standard deviation of every layer's response, in
        the order of the forward pass.
    note : str
        What it was measured on, for the caption.
    path : path, optional
        Where to write the picture; the suffix decides the format.

    Returns
    -------
    matplotlib.figure.Figure
        The picture.

    Raises
    ------
    ValueError
        If there is no network, or one without layers.
    """
    if not networks or not all(len(deviations) for _, deviations in networks):
        raise ValueError("networks: expected at least one, each with a layer or more")
    from matplotlib.ticker import MaxNLocator

    looks = style.series_of([name for name, _ in networks])
    with style.house_style():
        figure, (upper, lower) = style.new_figure(
            1, width=7.5, height=6.2, rows=2, sharex=True, sharey=True
        )
        for (name, deviations), look in zip(networks, looks, strict=True):
            layers = np.arange(1, len(deviations) + 1)
            keywords = look.keywords(len(layers))
            label = f"{name}: mean {deviations.mean():.2f}"
            upper.plot(layers, deviations, label=label, **keywords)
            lower.plot(layers, np.sort(deviations)[::-1], **keywords)
        upper.set(title="In the order of the forward pass", xlabel="3x3 layer")
        lower.set(title="Ranked, the largest first", xlabel="rank")
        upper.tick_params(labelbottom=True)
        for axes in (upper, lower):
            axes.set_ylabel("standard deviation")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        largest = max(deviations.max() for _, deviations in networks)
        upper.set_ylim(0, 1.08 * largest or 1)
        upper.legend(loc="best")
        style.title(figure, "Responses of the 3x3 layers")
        style.caption(
            figure,
            "A response is the output of the batch norm behind the convolution, before "
            f"the ReLU\nand the addition. {note}".rstrip(),
        )
        if path is not None:
            style.save(figure, path)
    return figure
