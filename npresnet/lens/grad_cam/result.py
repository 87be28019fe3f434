"""Class activation maps of a layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npresnet.lens.shared.looks import Looks

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True, repr=False, eq=False)
class GradCam(Looks):
    """Class activation maps of one layer; see `Looks` for the rest.

    Attributes
    ----------
    layer : str
        Whose feature maps were weighed.
    coarse : ndarray of shape (N, h, w)
        The maps as large as the layer's; `maps` are these, enlarged bilinearly.
    weights : ndarray of shape (N, channels)
        What each feature map counts for: the mean of the score's gradient with
        respect to it.
    """

    layer: str
    coarse: Array
    weights: Array

    title = "Grad-CAM: what speaks for the class"
    over = True

    def method(self) -> str:
        """Say in a line what the maps are."""
        _, h, w = self.coarse.shape
        return f"Grad-CAM of {self.layer}, {h}x{w} pixels, enlarged bilinearly"
