"""Pictures of plain arrays. Matplotlib is loaded when a picture is asked for."""

from npresnet.plots.autocorrelations import Trace, autocorrelations
from npresnet.plots.costs import costs
from npresnet.plots.curves import curve_panels, learning_curves
from npresnet.plots.landscapes import Slice, landscapes
from npresnet.plots.over_time import Panel, over_time
from npresnet.plots.path_lengths import path_lengths
from npresnet.plots.river import Course, river
from npresnet.plots.svg import inline_svg

__all__ = [
    "Course",
    "Panel",
    "Slice",
    "Trace",
    "autocorrelations",
    "costs",
    "curve_panels",
    "inline_svg",
    "landscapes",
    "learning_curves",
    "over_time",
    "path_lengths",
    "river",
]
