"""Pictures of plain arrays. Matplotlib is loaded when a picture is asked for."""

from npresnet.plots.costs import costs
from npresnet.plots.curves import curve_panels, learning_curves
from npresnet.plots.over_time import Panel, over_time
from npresnet.plots.path_lengths import path_lengths
from npresnet.plots.river import Course, river
from npresnet.plots.steps import gradient_steps
from npresnet.plots.svg import inline_svg
from npresnet.plots.tiles import Tiles, largest_of, tiles

__all__ = [
    "Course",
    "Panel",
    "Tiles",
    "costs",
    "curve_panels",
    "gradient_steps",
    "inline_svg",
    "largest_of",
    "learning_curves",
    "over_time",
    "path_lengths",
    "river",
    "tiles",
]
