"""Every network by its name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from npresnet._arguments import shown
from npresnet.models import cifar, imagenet, pooled
from npresnet.nn import Module

IMAGENET: dict[str, Callable[..., Module]] = {
    builder.__name__: builder
    for builder in (
        imagenet.resnet18,
        imagenet.resnet34,
        imagenet.resnet50,
        imagenet.resnet101,
        imagenet.resnet152,
    )
}
CIFAR: dict[str, Callable[..., Module]] = {
    builder.__name__: builder
    for builder in (
        cifar.resnet8,
        cifar.resnet14,
        cifar.resnet20,
        cifar.resnet32,
        cifar.resnet44,
        cifar.resnet56,
        cifar.resnet110,
        cifar.resnet1202,
        cifar.plain8,
        cifar.plain14,
        cifar.plain20,
        cifar.plain32,
        cifar.plain44,
        cifar.plain56,
        cifar.plain110,
        cifar.plain1202,
    )
}
POOLED: dict[str, Callable[..., Module]] = {
    builder.__name__: builder for builder in (pooled.resnet11, pooled.resnet11_narrow)
}
_BUILDERS = IMAGENET | CIFAR | POOLED


def names() -> list[str]:
    """List the names that `create` knows: the ImageNet family, CIFAR's, pooled nets."""
    return list(_BUILDERS)


def create(name: str, **options: Any) -> Module:
    """Make a network by name.

    Parameters
    ----------
    name : str
        One of `names()`.
    **options
        What its builder takes: ``num_classes``, ``in_channels``, ``dtype``, ``seed``;
        ``shortcut`` for CIFAR's ResNets; ``zero_init_residual`` and ``stride_in``
        for ImageNet's.

    Raises
    ------
    ValueError
        If there is no network of that name.
    TypeError
        If the name is no text, or the network does not take an option.
    """
    return _builder(name)(**options)


def input_shape(name: str) -> tuple[int, int, int]:
    """Return the image shape (C, H, W) that a network was designed for.

    Raises
    ------
    ValueError
        If there is no network of that name.
    """
    _builder(name)
    return (3, 224, 224) if name in IMAGENET else (3, 32, 32)


def _builder(name: str) -> Callable[..., Module]:
    if not isinstance(name, str):
        raise TypeError(f"name must be the name of a model, got {shown(name)}")
    if name not in _BUILDERS:
        known = ", ".join(names())
        raise ValueError(f"name: no model is named {name!r}; there are {known}")
    return _BUILDERS[name]
