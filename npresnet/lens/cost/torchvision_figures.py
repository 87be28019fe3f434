"""What torchvision's documentation says about its ResNets."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """A network's figures in torchvision's documentation, for an image of 3x224x224.

    Attributes
    ----------
    name : str
        The network.
    parameters : int
        Numbers that learn, with 1,000 classes.
    gmacs : float
        Billions of multiply-adds, which torchvision calls GFLOPS.
    top1 : float
        Per cent of ImageNet's validation images that its weights ``IMAGENET1K_V1``
        classify correctly.
    source : str
        Where the figures stand.
    """

    name: str
    parameters: int
    gmacs: float
    top1: float
    source: str = "torchvision's documentation, weights IMAGENET1K_V1"


FIGURES = (
    Published("resnet18", 11_689_512, 1.814, 69.758),
    Published("resnet34", 21_797_672, 3.664, 73.314),
    Published("resnet50", 25_557_032, 4.089, 76.130),
    Published("resnet101", 44_549_160, 7.801, 77.374),
    Published("resnet152", 60_192_808, 11.514, 78.312),
)


def published(parameters: int, input_shape: tuple[int, ...]) -> Published | None:
    """Find the network with so many parameters, for images of that shape, if any."""
    if input_shape != (3, 224, 224):
        return None
    return next((one for one in FIGURES if one.parameters == parameters), None)
