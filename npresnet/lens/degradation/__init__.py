"""Degradation: plain and residual networks of several depths, trained alike."""

from npresnet.lens.degradation.measure import degradation
from npresnet.lens.degradation.result import Curve, Degradation, DegradationRow

__all__ = [
    "Curve",
    "Degradation",
    "DegradationRow",
    "degradation",
]
