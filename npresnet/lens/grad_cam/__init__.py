"""Grad-CAM: where in a layer's feature maps the evidence for a class lies."""

from npresnet.lens.grad_cam.measure import grad_cam
from npresnet.lens.grad_cam.result import GradCam

__all__ = [
    "GradCam",
    "grad_cam",
]
