"""Saliency: which pixels, changed a little, would change a class's score most."""

from npresnet.lens.saliency.measure import saliency
from npresnet.lens.saliency.result import Saliency

__all__ = [
    "Saliency",
    "saliency",
]
