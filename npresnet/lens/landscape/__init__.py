"""The loss landscape around a network's weights."""

from npresnet.lens.landscape.measure import landscape
from npresnet.lens.landscape.result import Landscape, LandscapeRow

__all__ = [
    "Landscape",
    "LandscapeRow",
    "landscape",
]
