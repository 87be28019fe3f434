"""Pictures of plain arrays. Matplotlib is loaded when a picture is asked for."""

from npresnet.plots.curves import curve_panels, learning_curves
from npresnet.plots.looks import looks
from npresnet.plots.planes import planes
from npresnet.plots.sliding_window import sliding_window
from npresnet.plots.svg import inline_svg
from npresnet.plots.tiles import tiles

__all__ = [
    "curve_panels",
    "inline_svg",
    "learning_curves",
    "looks",
    "planes",
    "sliding_window",
    "tiles",
]
