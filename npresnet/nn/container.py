"""Modules in a row."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from npresnet import _arguments
from npresnet.nn.module import Gradient, Module

Array = NDArray[np.floating[Any]]


class Sequential(Module):
    """Modules one after the other, named ``0``, ``1``, ...

    An empty one is the identity: what goes in comes out, forward and backward.

    Parameters
    ----------
    *modules : Module
        In the order of the forward pass.

    Raises
    ------
    TypeError
        If one of them is no module.
    """

    def __init__(self, *modules: Module) -> None:
        super().__init__()
        for i, module in enumerate(modules):
            _arguments.instance(f"modules[{i}]", module, Module, "a Module")
            setattr(self, str(i), module)

    def forward(self, x: Array) -> Array:
        """Go through the modules from first to last."""
        for module in self:
            x = module(x)
        return x

    def backward(self, grad_output: Array, input_grad: bool = True) -> Gradient:
        """Go through the modules from last to first."""
        grad = grad_output
        for i, module in reversed(list(enumerate(self))):
            grad = module.backward(grad, input_grad=input_grad or i > 0)
        return grad

    def __iter__(self) -> Iterator[Module]:
        return self.children()

    def __len__(self) -> int:
        return len(self._modules)

    @overload
    def __getitem__(self, index: int) -> Module: ...

    @overload
    def __getitem__(self, index: slice) -> Sequential: ...

    def __getitem__(self, index: int | slice) -> Module:
        modules = list(self)
        if isinstance(index, slice):
            return Sequential(*modules[index])
        return modules[index]

    def is_printed(self) -> bool:
        """Leave an empty one out: torchvision's tree has no line for an identity."""
        return len(self) > 0
