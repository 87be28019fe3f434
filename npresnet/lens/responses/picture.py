"""Standard deviations of layer responses, in order and ranked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from npresnet.lens.shared.passes import images_note
from npresnet.plots import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from npresnet.lens.responses.result import Responses


def responses(networks: Sequence[Responses]) -> Figure:
    """Draw the deviations twice, as He et al. (arXiv 1512.03385) do in Fig. 7.

    Parameters
    ----------
    networks : sequence of Responses
        Of one or more networks.

    Returns
    -------
    matplotlib.figure.Figure
        The picture.

    Raises
    ------
    ValueError
        If there is no network, or one without layers.
    """
    if not networks or not all(one.rows for one in networks):
        raise ValueError("networks: expected at least one, each with a layer or more")
    from matplotlib.ticker import MaxNLocator

    looks = style.series_of([one.network for one in networks])
    with style.house_style():
        figure, (upper, lower) = style.new_figure(
            1, width=7.5, height=6.2, rows=2, sharex=True, sharey=True
        )
        for one, look in zip(networks, looks, strict=True):
            deviations = one.deviations
            layers = np.arange(1, len(deviations) + 1)
            keywords = look.keywords(len(layers))
            label = f"{one.network}: mean {deviations.mean():.2f}"
            upper.plot(layers, deviations, label=label, **keywords)
            lower.plot(layers, np.sort(deviations)[::-1], **keywords)
        upper.set(title="In the order of the forward pass", xlabel="3x3 layer")
        lower.set(title="Ranked, the largest first", xlabel="rank")
        upper.tick_params(labelbottom=True)
        for axes in (upper, lower):
            axes.set_ylabel("standard deviation")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        largest = max(one.deviations.max() for one in networks)
        upper.set_ylim(0, 1.08 * largest or 1)
        upper.legend(loc="best")
        style.title(figure, "Responses of the 3x3 layers")
        notes = {images_note(one.images, one.training) for one in networks}
        note = f"Measured on {notes.pop()}." if len(notes) == 1 else ""
        style.caption(
            figure,
            "A response is the output of the batch norm behind the convolution, before "
            f"the ReLU\nand the addition. {note}".rstrip(),
        )
    return figure
