"""Gradients of class scores by images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npresnet.lens.shared.looks import Looks

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True, repr=False, eq=False)
class Saliency(Looks):
    """The gradient of a class's score by every image; see `Looks` for the rest.

    Attributes
    ----------
    gradients : ndarray of shape (N, C, H, W)
        Of the score (a logit) by the normalised images.
    grey : bool
        Whether the channels were added up.
    """

    gradients: Array
    grey: bool

    title = "Saliency: the gradient of the score with respect to the image"
    over = False

    def method(self) -> str:
        """Say in a line what the maps are."""
        if self.grey:
            return "magnitude of d score / d pixel, the sum over the channels"
        return "magnitude of d score / d pixel, the largest over the channels"
