"""Shattered gradients: how alike are those at two images that lie close together."""

from npresnet.lens.shattered.measure import shattered
from npresnet.lens.shattered.result import Shattered, ShatteredRow

__all__ = [
    "Shattered",
    "ShatteredRow",
    "shattered",
]
