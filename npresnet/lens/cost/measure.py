"""What a network costs: parameters, multiplications, bytes and time, layer by layer."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from statistics import median
from typing import Any, NamedTuple

import numpy as np

from npresnet.compiler import InferenceModel
from npresnet.lens.cost.peak import measured_peak
from npresnet.lens.cost.result import Cost, CostRow, share_of_peak
from npresnet.lens.shared.cached_arrays import cached_arrays, own_arrays
from npresnet.lens.shared.preserve_state import preserve_state
from npresnet.nn import (
    BatchNorm2d,
    Conv2d,
    Linear,
    Module,
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
        are not measured. Every layer is timed on what came to it in one pass of the
        whole model, with a random gradient of the output. The machine's peak is
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
    with preserve_state(model):
        model.eval()
        with no_grad(), watching(note):
            model(x)
        if repeats:
            times = _time_layers(model, list(seen), x, repeats)
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

    with preserve_state(model), watching(note):
        model.train()
        model(np.concatenate([x] * images))
    return {module: size // images for module, size in kept.items()}


class _Call(NamedTuple):
    """One call of a layer, to be repeated."""

    inputs: tuple[Any, ...]
    grad_outputs: tuple[Any, ...] | None  # None where it did not go backward


def _time_layers(
    model: Module, layers: list[Module], x: Any, repeats: int
) -> list[tuple[float, float | None]]:
    """Measure the seconds that passes spend in each layer, both ways; the medians.

    Each layer runs on what came to it in a pass of the whole model.
    """
    goes_backward = not isinstance(model, InferenceModel)
    calls = _calls(model, layers, x, goes_backward)
    forward: list[list[float]] = [[] for _ in layers]
    backward: list[list[float]] = [[] for _ in layers]
    with nullcontext() if goes_backward else no_grad():
        for _ in range(1 + repeats):
            for layer, there, back in zip(layers, forward, backward, strict=True):
                there.append(0.0)
                back.append(0.0)
                for inputs, grad_outputs in calls[layer]:
                    began = time.perf_counter()
                    layer(*inputs)
                    there[-1] += time.perf_counter() - began
                    if grad_outputs is not None:
                        began = time.perf_counter()
                        layer.backward(*grad_outputs)
                        back[-1] += time.perf_counter() - began
    # The first pass warmed up.
    return [
        (median(there[1:]), median(back[1:]) if goes_backward else None)
        for there, back in zip(forward, backward, strict=True)
    ]


def _calls(
    model: Module, layers: list[Module], x: Any, goes_backward: bool
) -> dict[Module, list[_Call]]:
    """Send an image through a model, and a random gradient back; note what came."""
    calls: dict[Module, list[_Call]] = {layer: [] for layer in layers}

    def note(module: Module, inputs: tuple[Any, ...], output: Any) -> None:
        if module in calls:
            calls[module].append(_Call(inputs, None))

    def note_gradient(module: Module, grad_outputs: Any, grad_inputs: Any) -> None:
        waiting = [
            i for i, call in enumerate(calls.get(module, [])) if not call.grad_outputs
        ]
        if waiting:  # the last call goes backward first
            last = calls[module][waiting[-1]]
            calls[module][waiting[-1]] = last._replace(grad_outputs=grad_outputs)

    if not goes_backward:
        with no_grad(), watching(note):
            model(x)
        return calls
    with watching(note, note_gradient):
        output = model(x)
        grad_output = np.random.default_rng(0).standard_normal(output.shape)
        model.backward(grad_output.astype(x.dtype))
    return calls


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
