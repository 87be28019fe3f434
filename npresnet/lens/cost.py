"""What a network costs: parameters, multiplications, bytes and time, layer by layer."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import chain
from statistics import median
from typing import Any

import numpy as np

from npresnet.lens.cached_arrays import cached_arrays, own_arrays
from npresnet.lens.cost_result import Cost, CostRow, share_of_peak
from npresnet.lens.peak import measured_peak
from npresnet.lens.untouched import untouched
from npresnet.models import InferenceModel
from npresnet.nn import (
    BatchNorm2d,
    Conv2d,
    Linear,
    Module,
    layer_by_layer,
    no_grad,
    watching,
)


def cost(model: Module, input_shape: tuple[int, int, int], *, repeats: int = 0) -> Cost:
    """Send one black image through a model and note what each layer does.

    Parameters
    ----------
    model : Module
        Looked at in evaluation mode, but for what it keeps for the backward pass, and
        left as it was.
    input_shape : tuple of int
        ``(C, H, W)``.
    repeats : int
        Forward and backward passes to time, after one that warms up; by default times
        are not measured. The gradient by the output is random. The machine's peak is
        measured along with them, in less than a second.

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
            None,
            None,
        )

    peak = None
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
    if repeats:
        peak = measured_peak(x.dtype)
        for (module, row), (forward, backward) in zip(
            list(seen.items()), times, strict=True
        ):
            seen[module] = replace(
                row,
                seconds=forward,
                backward_seconds=backward,
                peak_share=share_of_peak(row.macs, forward, peak),
            )
    if not isinstance(model, InferenceModel):
        kept = _kept_bytes(model, seen, x)
        seen = {
            module: replace(row, kept_bytes=kept[module])
            for module, row in seen.items()
        }
    return Cost(tuple(input_shape), tuple(seen.values()), peak)


def _kept_bytes(
    model: Module, layers: Mapping[Module, CostRow], x: Any
) -> dict[Module, int]:
    """Measure what layers' caches hold of an image after a pass in training mode."""
    # Batch norm refuses a single value per channel; of two images, each has a half.
    single = any(
        isinstance(module, BatchNorm2d) and math.prod(row.output_shape[1:]) == 1
        for module, row in layers.items()
    )
    images = 2 if single else 1
    kept = dict.fromkeys(layers, 0)
    counted = own_arrays(model)

    def note(module: Module, inputs: tuple[Any, ...], output: Any) -> None:
        if module in kept:
            new = cached_arrays(module.caches[-1:], counted)
            kept[module] += sum(new.values())
            counted.update(new)

    with untouched(model), layer_by_layer(), watching(note):
        model.train()
        model(np.concatenate([x] * images))
    return {module: size // images for module, size in kept.items()}


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
