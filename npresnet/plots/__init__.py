"""Pictures of plain arrays. Matplotlib is loaded when a picture is asked for."""

from npresnet.plots.curves import curve_panels, learning_curves
from npresnet.plots.svg import inline_svg

__all__ = ["curve_panels", "inline_svg", "learning_curves"]
