"""Pictures as SVG inside a web page: sharp at any size, in the page's own colours."""

from __future__ import annotations

import io
import re
from html import escape
from typing import TYPE_CHECKING, Any

from npresnet.plots import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Variables of the page's style sheet, which may give other values in the dark.
_VARIABLES = {
    style.BLACK: "--ink",
    style.TICKS: "--ink",
    style.GREY: "--faint",
    style.GRID: "--rule",
    style.BLUE: "--train",
    style.GREEN: "--validation",
    style.VERMILION: "--test",
}
_SETTINGS: Any = {"svg.fonttype": "none", "svg.hashsalt": "npresnet"}


def inline_svg(figure: Figure, name: str, label: str) -> str:
    """Write a figure as an ``<svg>`` element for a page that holds several.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        The picture, in the house's style.
    name : str
        Letters; put before all ids, so that no two pictures share one.
    label : str
        What the picture shows, for those who cannot see it.

    Returns
    -------
    str
        Without width and height: it fills what holds it. Text stays text, in the
        page's font. The colours of `style` are variables of CSS with themselves as
        defaults: ``--ink``, ``--faint``, ``--rule``, ``--train``, ``--validation``
        and ``--test``; there is no background.
    """
    file = io.StringIO()
    with style.house_style(), style.matplotlib().rc_context(_SETTINGS):
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    text = file.getvalue()
    text = text[text.index("<svg") :]
    for element in ("metadata", "style"):
        text = re.sub(rf"\s*<{element}\b.*?</{element}>", "", text, flags=re.DOTALL)
    text = re.sub(r' (?:width|height)="[\d.]+pt"', "", text, count=2)
    text = re.sub(r'(\bid="|url\(#|href="#)', rf"\1{name}-", text)
    text = re.sub(r" ?font-family: [^;\"]*;?", "", text)
    text = re.sub(r'<text style="(?!fill)', f'<text style="fill: {style.BLACK}; ', text)
    for color, variable in _VARIABLES.items():
        text = re.sub(color, f"var({variable}, {color})", text, flags=re.IGNORECASE)
    opening = (
        f'<svg role="img" aria-label="{escape(label)}" '
        'style="stroke-linejoin: round; stroke-linecap: butt" '
    )
    return text.replace("<svg ", opening, 1).strip()
