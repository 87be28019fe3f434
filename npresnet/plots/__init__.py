"""Pictures of plain arrays. Matplotlib is loaded when a picture is asked for."""

from npresnet.plots.activations import activations
from npresnet.plots.autocorrelations import Trace, autocorrelations
from npresnet.plots.costs import costs
from npresnet.plots.curves import curve_panels, learning_curves
from npresnet.plots.degradation import Training, degradation
from npresnet.plots.landscapes import Slice, landscapes
from npresnet.plots.lesions import Patient, lesions
from npresnet.plots.looks import looks
from npresnet.plots.over_time import Panel, over_time
from npresnet.plots.path_lengths import PathLengths, path_lengths
from npresnet.plots.planes import planes
from npresnet.plots.responses import responses
from npresnet.plots.river import Course, river
from npresnet.plots.sliding_window import sliding_window
from npresnet.plots.steps import gradient_steps
from npresnet.plots.svg import inline_svg
from npresnet.plots.thumbnails import Thumbnails, largest_of, thumbnails
from npresnet.plots.tiles import tiles

__all__ = [
    "Course",
    "Panel",
    "PathLengths",
    "Patient",
    "Slice",
    "Thumbnails",
    "Trace",
    "Training",
    "activations",
    "autocorrelations",
    "costs",
    "curve_panels",
    "degradation",
    "gradient_steps",
    "inline_svg",
    "landscapes",
    "largest_of",
    "learning_curves",
    "lesions",
    "looks",
    "over_time",
    "path_lengths",
    "planes",
    "responses",
    "river",
    "sliding_window",
    "thumbnails",
    "tiles",
]
