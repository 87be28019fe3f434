"""Activations: how large what flows through a network is, and what never opens."""

from npresnet.lens.activations.measure import activations
from npresnet.lens.activations.result import ActivationRow, Activations

__all__ = [
    "ActivationRow",
    "Activations",
    "activations",
]
