"""ReLU gone wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from npresnet.backend.reference import packed
from npresnet.lens.bugs.registry import bug

Array = NDArray[np.floating[Any]]


@bug(
    "npresnet.backend:relu",
    seen_in="ASGDLO",
    symptom="nothing on random inputs; gradients leak through padding, dead channels "
    "and a batch norm whose gamma starts at 0",
)
def relu_gradient_one_at_zero(x: Array) -> tuple[Array, NDArray[np.uint8]]:
    """Let the gradient through at exactly 0."""
    return np.where(x < 0, x.dtype.type(0), x), packed(~(x < 0))


@bug(
    "npresnet.backend:relu_grad",
    seen_in="a textbook slip that has become a method: deconvnet saliency maps",
    symptom="all gradients that pass are positive; maps look crisp and weights learn "
    "nothing true",
)
def relu_masked_by_gradient(grad_output: Array, mask: NDArray[np.uint8]) -> Array:
    """Stop negative gradients instead of those that belong to negative inputs."""
    return np.where(grad_output <= 0, grad_output.dtype.type(0), grad_output)
