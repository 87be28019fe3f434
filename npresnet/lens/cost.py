"""What a network costs: parameters, multiplications, bytes and time, layer by layer."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import chain
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from npresnet.lens.result import Result, column
from npresnet.lens.untouched import untouched
from npresnet.models import InferenceModel
from npresnet.nn import Conv2d, Linear, Module, layer_by_layer, no_grad, watching

if TYPE_CHECKING:
    from npresnet.plots.style import Figure


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
    parameter_bytes : int
        Memory of the parameters.
    output_bytes : int
        Memory of the outputs of all calls.
    im2col_bytes : int
        Memory of the columns into which im2col would copy a convolution's input, of
        all calls; they are not written down here.
    seconds : float or None
        Median time of a forward pass that is spent in the layer; None where it was
        not measured.
    backward_seconds : float or None
        Likewise of a backward pass, which computes all gradients, the images' too;
        None also where the model has no backward pass.
    """

    name: str = column("layer")
    kind: str = column("type")
    output_shape: tuple[int, ...] = column("output")
    parameters: int = column("parameters")
    macs: int = column("MACs")
    calls: int = column("calls")
    parameter_bytes: int = column("parameters, bytes")
    output_bytes: int = column("outputs, bytes")
    im2col_bytes: int = column("im2col, bytes")
    seconds: float | None = column("seconds", ".1e")
    backward_seconds: float | None = column("backward, seconds", ".1e")


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

    @property
    def parameter_bytes(self) -> int:
        """Memory of the parameters."""
        return sum(row.parameter_bytes for row in self.rows)

    @property
    def output_bytes(self) -> int:
        """Memory of all layers' outputs, which a backward pass would need."""
        return sum(row.output_bytes for row in self.rows)

    @property
    def im2col_bytes(self) -> int:
        """Memory of all columns, if im2col wrote them and a backward pass kept them."""
        return sum(row.im2col_bytes for row in self.rows)

    @property
    def seconds(self) -> float | None:
        """Time spent in layers; None where it was not measured."""
        return _total([row.seconds for row in self.rows])

    @property
    def backward_seconds(self) -> float | None:
        """Time that layers take to go backward; None where it was not measured."""
        return _total([row.backward_seconds for row in self.rows])

    def summary(self) -> str:
        """Say what the layers come to."""
        timed = "" if self.seconds is None else f", {1000 * self.seconds:.3g} ms"
        if self.backward_seconds is not None:
            timed += f" and backward {1000 * self.backward_seconds:.3g} ms"
        return (
            f"one image of {'x'.join(map(str, self.input_shape))}: "
            f"{self.parameters:,} parameters ({self.parameter_bytes / 2**20:.2f} MiB), "
            f"{self.macs:,} MACs ({self.macs / 1e9:.3f} G), "
            f"outputs of {self.output_bytes / 2**20:.2f} MiB, "
            f"im2col would write {self.im2col_bytes / 2**20:.2f} MiB{timed}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return everything, with the totals, as plain data."""
        totals = {
            "parameters": self.parameters,
            "macs": self.macs,
            "parameter_bytes": self.parameter_bytes,
            "output_bytes": self.output_bytes,
            "im2col_bytes": self.im2col_bytes,
            "seconds": self.seconds,
            "backward_seconds": self.backward_seconds,
        }
        return {**super().to_dict(), **totals}

    def plot(self) -> Figure:
        """Draw what every layer costs, from the first to the last."""
        from npresnet.plots import costs

        columns: dict[str, list[float]] = {
            "parameters": [row.parameters for row in self.rows],
            "MACs": [row.macs for row in self.rows],
            "outputs (bytes)": [row.output_bytes for row in self.rows],
        }
        if self.seconds is not None:
            columns["time (s)"] = [row.seconds or 0.0 for row in self.rows]
        if self.backward_seconds is not None:
            columns["backward (s)"] = [row.backward_seconds or 0.0 for row in self.rows]
        shape = "x".join(map(str, self.input_shape))
        names = [row.name for row in self.rows]
        return costs(names, columns, f"What each layer costs, one image of {shape}")


def cost(model: Module, input_shape: tuple[int, int, int], *, repeats: int = 0) -> Cost:
    """Send one black image through a model and note what each layer does.

    Parameters
    ----------
    model : Module
        Looked at in evaluation mode, and left as it was.
    input_shape : tuple of int
        ``(C, H, W)``.
    repeats : int
        Forward and backward passes to time, after one that warms up; by default times
        are not measured. The gradient by the output is random.

    Returns
    -------
    Cost
        With ``.rows``, ``.parameters``, ``.macs``, ``.output_bytes`` and
        ``.seconds``.

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
        parameters = sum(parameter.size for parameter in module.parameters())
        seen[module] = CostRow(
            names[module],
            type(module).__name__,
            output.shape[1:],
            parameters,
            _macs(module, output.shape[1:]) + (before.macs if before else 0),
            1 + (before.calls if before else 0),
            parameters * output.itemsize,
            output.nbytes + (before.output_bytes if before else 0),
            _im2col_bytes(module, output) + (before.im2col_bytes if before else 0),
            None,
            None,
        )

    x = np.zeros((1, *input_shape), next(model.parameters()).dtype)
    with untouched(model), layer_by_layer():
        model.eval()
        with no_grad(), watching(note):
            output = model(x)
        if repeats:
            grad_output = np.random.default_rng(0).standard_normal(output.shape)
            times = _time_layers(
                model, list(seen), x, grad_output.astype(x.dtype), repeats
            )
            seen = {
                module: replace(row, seconds=forward, backward_seconds=backward)
                for (module, row), (forward, backward) in zip(
                    seen.items(), times, strict=True
                )
            }
    return Cost(tuple(input_shape), tuple(seen.values()))


def _time_layers(
    model: Module, layers: list[Module], x: Any, grad_output: Any, repeats: int
) -> list[tuple[float, float | None]]:
    """Measure the seconds that passes spend in each layer, both ways; the medians."""
    ways = ["forward"] if isinstance(model, InferenceModel) else ["forward", "backward"]
    spent: dict[str, list[list[float]]] = {way: [[] for _ in layers] for way in ways}

    def timed(layer: Module, way: str, passes: list[float]) -> Callable[..., Any]:
        own = getattr(layer, way)

        def run(*inputs: Any, **options: Any) -> Any:
            began = time.perf_counter()
            output = own(*inputs, **options)
            passes[-1] += time.perf_counter() - began
            return output

        return run

    for way in ways:
        for layer, passes in zip(layers, spent[way], strict=True):
            setattr(layer, way, timed(layer, way, passes))
    for _ in range(1 + repeats):
        for passes in chain.from_iterable(spent.values()):
            passes.append(0.0)
        if "backward" in ways:
            model(x)
            model.backward(grad_output)
        else:
            with no_grad():
                model(x)
    # The first pass warmed up.
    forward = [median(passes[1:]) for passes in spent["forward"]]
    backward: list[float | None] = [None] * len(layers)
    if "backward" in ways:
        backward = [median(passes[1:]) for passes in spent["backward"]]
    return list(zip(forward, backward, strict=True))


def _total(times: list[float | None]) -> float | None:
    return None if None in times else sum(filter(None, times))


def _im2col_bytes(module: Module, output: Any) -> int:
    """Count, for each pixel of the output, the numbers that it is computed from."""
    if not isinstance(module, Conv2d):
        return 0
    pixels: int = math.prod(output.shape[2:])
    row = module.in_channels * math.prod(module.kernel_size)  # of all groups
    return pixels * row * int(output.itemsize)


def _macs(module: Module, output_shape: tuple[int, ...]) -> int:
    if isinstance(module, Conv2d):
        per_output = module.in_channels // module.groups * math.prod(module.kernel_size)
        return math.prod(output_shape) * per_output
    if isinstance(module, Linear):
        return module.in_features * module.out_features
    return 0
