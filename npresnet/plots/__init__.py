"""Pictures of plain arrays. Matplotlib is loaded when a picture is asked for."""

from npresnet.plots.costs import costs
from npresnet.plots.curves import curve_panels, learning_curves
from npresnet.plots.over_time import Panel, over_time
from npresnet.plots.path_lengths import path_lengths
from npresnet.plots.planes import planes
from npresnet.plots.river import Course, river
from npresnet.plots.sliding_window import sliding_window
from npresnet.plots.svg import inline_svg

__all__ = [
    "Course",
    "Panel",
    "costs",
    "curve_panels",
    "inline_svg",
    "learning_curves",
    "over_time",
    "path_lengths",
    "planes",
    "river",
    "sliding_window",
]
