"""What a network costs: parameters, multiplications and sizes, layer by layer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from npresnet.lens.result import Result, column
from npresnet.lens.untouched import untouched
from npresnet.nn import Conv2d, Linear, Module, no_grad, watching


@dataclass(frozen=True)
class CostRow:
    """The cost of one layer, for one image.

    Attributes
    ----------
    name : str
        Path in the model, as in ``layer1.0.conv1``.
    kind : str
        Class of the layer.
    output_shape : tuple of int
        ``(C, H, W)`` or ``(features,)``, of the last call if there are several.
    parameters : int
        Numbers that learn.
    macs : int
        Multiply-adds of convolutions and linear layers, as papers count them.
    calls : int
        How often one forward pass calls the layer.
    """

    name: str = column("layer")
    kind: str = column("type")
    output_shape: tuple[int, ...] = column("output")
    parameters: int = column("parameters")
    macs: int = column("MACs")
    calls: int = column("calls")


@dataclass(frozen=True, repr=False)
class Cost(Result):
    """The cost of a network, for one image.

    Attributes
    ----------
    input_shape : tuple of int
        ``(C, H, W)``.
    rows : tuple of CostRow
        Layers in the order of the forward pass.
    """

    input_shape: tuple[int, ...]
    rows: tuple[CostRow, ...]

    @property
    def parameters(self) -> int:
        """Numbers that learn."""
        return sum(row.parameters for row in self.rows)

    @property
    def macs(self) -> int:
        """Multiply-adds of all convolutions and linear layers."""
        return sum(row.macs for row in self.rows)

    def summary(self) -> str:
        """Say what the layers come to."""
        return (
            f"one image of {'x'.join(map(str, self.input_shape))}: "
            f"{self.parameters:,} parameters, {self.macs:,} MACs "
            f"({self.macs / 1e9:.3f} G)"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return everything, with the totals, as plain data."""
        totals = {"parameters": self.parameters, "macs": self.macs}
        return {**super().to_dict(), **totals}


def cost(model: Module, input_shape: tuple[int, int, int]) -> Cost:
    """Send one black image through a model and note what each layer does.

    Parameters
    ----------
    model : Module
        Left as it was: mode, running statistics, gradients.
    input_shape : tuple of int
        ``(C, H, W)``.

    Returns
    -------
    Cost
        With ``.rows``, ``.parameters`` and ``.macs``.

    Raises
    ------
    ValueError
        If the model does not take images of that shape.
    """
    names = {module: name for name, module in model.named_modules()}
    seen: dict[Module, CostRow] = {}

    def note(module: Module, inputs: tuple[Any, ...], output: Any) -> None:
        if any(True for _ in module.children()) or module not in names:
            return
        if module not in seen and not module.is_printed():
            return  # an identity: no layer at all
        before = seen.get(module)
        seen[module] = CostRow(
            names[module],
            type(module).__name__,
            output.shape[1:],
            sum(parameter.size for parameter in module.parameters()),
            _macs(module, output.shape[1:]) + (before.macs if before else 0),
            1 + (before.calls if before else 0),
        )

    dtype = next(model.parameters()).dtype
    with untouched(model), no_grad(), watching(note):
        model.eval()
        model(np.zeros((1, *input_shape), dtype))
    return Cost(tuple(input_shape), tuple(seen.values()))


def _macs(module: Module, output_shape: tuple[int, ...]) -> int:
    if isinstance(module, Conv2d):
        per_output = module.in_channels // module.groups * math.prod(module.kernel_size)
        return math.prod(output_shape) * per_output
    if isinstance(module, Linear):
        return module.in_features * module.out_features
    return 0
