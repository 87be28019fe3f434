"""Pictures of plain arrays. Matplotlib is loaded when a picture is asked for."""

from npresnet.plots.costs import costs
from npresnet.plots.curves import curve_panels, learning_curves
from npresnet.plots.degradation import Training, degradation
from npresnet.plots.lesions import Patient, lesions
from npresnet.plots.over_time import Panel, over_time
from npresnet.plots.path_lengths import path_lengths
from npresnet.plots.responses import responses
from npresnet.plots.river import Course, river
from npresnet.plots.svg import inline_svg

__all__ = [
    "Course",
    "Panel",
    "Patient",
    "Training",
    "costs",
    "curve_panels",
    "degradation",
    "inline_svg",
    "learning_curves",
    "lesions",
    "over_time",
    "path_lengths",
    "responses",
    "river",
]
