"""Many small pictures side by side: filters, feature maps."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from npresnet._plain import plain_like
from npresnet.plots import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_GAP, _LABEL = 0.1, 0.24  # beside and above a tile, in widths of a tile
_ACROSS = 16  # tiles in a row, at most

Array = NDArray[np.floating[Any]]


def tiles(
    pictures: Array,
    labels: Sequence[str],
    subject: str,
    note: str,
    *,
    values: str = "",
    path: str | Path | None = None,
) -> Figure:
    """Draw small pictures in rows.

    Parameters
    ----------
    pictures : ndarray of shape (K, h, w, 1) or (K, h, w, 3)
        From 0 (black) to 1 (white), in colour or in grey; or any numbers (K, h, w, 1)
        where `values` says what they are.
    labels : sequence of str
        What stands above each.
    subject : str
        What is shown.
    note : str
        What was measured, and how it is drawn.
    values : str
        What the numbers are, for a colour bar; all tiles share its scale, which
        begins at 0 if no number is negative, and else has 0 in its middle.
    path : path, optional
        Where to write the picture; the suffix decides the format.

    Returns
    -------
    matplotlib.figure.Figure
        The picture.

    Raises
    ------
    ValueError
        If there are no pictures, or of another shape, or not one label for each.
    """
    from matplotlib.patches import Rectangle

    pictures = plain_like("pictures", pictures)
    channels = (1,) if values else (1, 3)
    if pictures.ndim != 4 or not pictures.size or pictures.shape[3] not in channels:
        raise ValueError(
            f"pictures: expected shape (K, h, w, C) with C in {channels}, got "
            f"{pictures.shape}"
        )
    K, h, w, C = pictures.shape
    if len(labels) != K:
        raise ValueError(f"labels: expected {K}, one per picture, got {len(labels)}")
    across = min(_ACROSS, math.ceil(math.sqrt(1.6 * K)))
    down = -(-K // across)
    wide, high = 1 + _GAP, h / w + _LABEL
    size = max(5.5, 0.62 * across * wide) / (across * wide)  # inches a tile
    with style.house_style():
        figure, (axes,) = style.new_figure(
            1,
            width=size * across * wide + 0.8 * bool(values),
            height=size * down * high + 0.95,
        )
        colours = _scale(pictures) if values else {"cmap": "gray", "vmin": 0, "vmax": 1}
        for k, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
            row, col = divmod(k, across)
            left, top = col * wide, -row * high
            image = axes.imshow(
                picture if C == 3 else picture[..., 0],
                extent=(left, left + 1, top - h / w, top),
                **colours,
            )
            edge = Rectangle((left, top - h / w), 1, h / w, fill=False, linewidth=0.6)
            edge.set_edgecolor(style.GRID)  # white tiles, too, have an edge
            axes.add_patch(edge)
            axes.text(left, top + 0.03, label, size=6.5, color=style.GREY)
        axes.set_xlim(-0.01, across * wide - _GAP + 0.01)
        axes.set_ylim(-down * high + _LABEL - 0.01, _LABEL)
        axes.set_axis_off()
        if values:
            figure.colorbar(image, ax=axes, label=values, shrink=0.9, pad=0.02)
        style.title(figure, subject)
        width = int(15 * figure.get_figwidth())
        style.caption(figure, textwrap.fill(note, width))
        if path is not None:
            style.save(figure, path)
    return figure


def _scale(numbers: Array) -> dict[str, Any]:
    """Choose colours: from 0 upwards, or from both sides of 0."""
    low, high = float(numbers.min()), float(numbers.max())
    if low >= 0:
        return {"cmap": style.SEQUENTIAL, "vmin": 0, "vmax": high or 1}
    far = max(-low, high)
    return {"cmap": style.DIVERGING, "vmin": -far, "vmax": far}
