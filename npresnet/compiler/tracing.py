"""Walking a model: its own lines, forward and back, with symbols in place of arrays.

Blocks and networks say in Python how their layers follow one another, on the way
forward and on the way back. Here those very lines run, but what reaches a layer is a
`Symbol`, and the layer is only noted down. What comes out is the list of everything
that a pass does, in order; nothing here knows what a residual block is.
"""

from __future__ import annotations

import os
import random
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from npresnet.backend import using_backend
from npresnet.backend.geometry import Geometry, as_pair
from npresnet.compiler.as_written import is_as_written
from npresnet.compiler.folded_layers import FusedConv2d
from npresnet.compiler.symbols import CannotCompile, Symbol, Value
from npresnet.functional import (
    avg_pool2d_forward,
    max_pool2d_forward,
    zero_pad_shortcut_forward,
)
from npresnet.nn import (
    AdaptiveAvgPool2d,
    AvgPool2d,
    BatchNorm2d,
    Conv2d,
    Linear,
    MaxPool2d,
    Module,
    Parameter,
    ReLU,
    ZeroPadShortcut,
)
from npresnet.nn.doors import standing_in


@dataclass(eq=False)
class Node:
    """One thing that a pass does.

    Attributes
    ----------
    kind : str
        ``"conv2d"``, ``"add"`` and so on; the way back of a layer is another kind,
        ``"conv2d_backward"``.
    path : str
        Name of the layer, or nothing for what stands between layers.
    layer : Module or None
        The layer.
    inputs, outputs : list of Value
        What comes and what goes.
    forward : Node or None
        On the way back: what it is the way back of.
    facts : dict
        What else there is to know, such as a convolution's geometry.
    """

    kind: str
    path: str
    layer: Any
    inputs: list[Value]
    outputs: list[Value]
    forward: Node | None = None
    facts: dict[str, Any] = field(default_factory=dict)


class Mismatch(Exception):
    """An array does not fit a layer: the layer itself says it better."""


@dataclass
class Trace:
    """What a model's passes do.

    Attributes
    ----------
    forward, backward : list of Node
        In order.
    x, out : Value
        What goes into the model, and what comes out.
    grad_out, grad_x : Value or None
        The same on the way back; None where it is spared.
    gradients : list of (Parameter, list of Value)
        What is added up to each parameter's gradient, in that order.
    """

    x: Value
    out: Value
    forward: list[Node]
    backward: list[Node]
    grad_out: Value | None
    grad_x: Value | None
    gradients: list[tuple[Parameter, list[Value]]]


def trace(
    model: Module,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    *,
    backward: bool,
    input_grad: bool,
) -> Trace:
    """Walk a model, forward and perhaps backward, for an input of a shape.

    Raises
    ------
    CannotCompile
        If the model does more than hand arrays from layer to layer and add them.
    Mismatch
        If the input does not fit.
    """
    return _Walk(model).walk(shape, dtype, backward=backward, input_grad=input_grad)


class _Walk:
    """A walk under way."""

    def __init__(self, model: Module) -> None:
        self.model = model
        self.paths: dict[Module, str] = {}
        for path, module in model.named_modules():
            self.paths.setdefault(module, path)
        self.nodes: list[Node] = []
        # As on modules' stacks: layers that went forward, and not yet backward.
        self.under_way: dict[Module, list[Node]] = {}
        self.gradients: dict[Parameter, list[Value]] = {}
        self.where = [model]

    def walk(
        self,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        *,
        backward: bool,
        input_grad: bool,
    ) -> Trace:
        x = Value(shape, dtype, "x")
        grad_out = grad_x = None
        before = _memory(self.model)
        try:
            with standing_in(self._stand_in):
                out = self._values(self.model(Symbol(x, self._between)))
                forward, self.nodes = self.nodes, []
                if backward:
                    grad_out = Value(out.shape, out.dtype, "gradient of the output")
                    gradient = self.model.backward(
                        Symbol(grad_out, self._between), input_grad
                    )
                    if input_grad:
                        grad_x = self._values(gradient)
        except Mismatch:
            raise
        except (TypeError, ValueError, AttributeError, RuntimeError) as error:
            raise CannotCompile(self._explained(error)) from error
        finally:
            self.model.discard_caches()  # blocks may have kept symbols
        if not _is_same(before, _memory(self.model)):
            raise CannotCompile(
                f"{type(self.model).__name__} cannot be compiled: its passes draw "
                "random numbers or set attributes, and a program would do so but once"
            )
        return Trace(
            x, out, forward, self.nodes, grad_out, grad_x, list(self.gradients.items())
        )

    def _explained(self, error: Exception) -> str:
        """Say in one line what cannot be compiled, and where it is written."""
        what = str(error) if isinstance(error, CannotCompile) else f"fails: {error}"
        name = type(self.model).__name__
        ours = os.path.dirname(__file__)
        for frame in reversed(traceback.extract_tb(error.__traceback__)):
            if os.path.dirname(frame.filename) != ours and frame.line is not None:
                file = os.path.basename(frame.filename)
                return (
                    f"{name} cannot be compiled: {frame.name} (line {frame.lineno} of "
                    f"{file}) {what}; programs are made of layers and additions"
                )
        return f"{name} cannot be compiled: {what}"

    def _values(self, symbol: Any) -> Value:
        if not isinstance(symbol, Symbol):
            what = type(symbol).__name__
            raise CannotCompile(f"{type(self.model).__name__} returns a {what}")
        return symbol.value

    # ------------------------------------------------------------ between layers

    def _between(
        self,
        kind: str,
        *symbols: Symbol,
        shape: tuple[int, ...] | None = None,
        **facts: Any,
    ) -> Symbol:
        first = symbols[0].value
        out = Value(first.shape if shape is None else shape, first.dtype)
        return self._note(kind, "", None, symbols, out, **facts)

    def _note(
        self,
        kind: str,
        path: str,
        layer: Any,
        symbols: tuple[Symbol, ...],
        *outputs: Value,
        forward: Node | None = None,
        **facts: Any,
    ) -> Symbol:
        inputs = [symbol.value for symbol in symbols]
        node = Node(kind, path, layer, inputs, list(outputs), forward, facts)
        self.nodes.append(node)
        if layer is not None and forward is None:
            self.under_way.setdefault(layer, []).append(node)
        return Symbol(outputs[0], self._between)

    # ------------------------------------------------------------------- layers

    def _stand_in(self, module: Any, name: str) -> Callable[..., Any] | None:
        layer = _LAYERS.get(type(module))
        if layer is None or not is_as_written(module):
            return None
        path = self.paths.get(module, type(module).__name__)

        def forward(*inputs: Any) -> Symbol:
            given = tuple(one for one in inputs if one is not None)
            if not all(isinstance(one, Symbol) for one in given):
                raise CannotCompile(f"{path}: is given an array of the network's own")
            out, facts = layer.shape(module, *given)
            value = Value(out, given[0].dtype, path)
            return self._note(layer.kind, path, module, given, value, **facts)

        def backward(grad: Any, input_grad: bool = True) -> Symbol | None:
            kept = self.under_way.get(module)
            if not kept:
                raise CannotCompile(f"{path}: goes backward more often than forward")
            if not isinstance(grad, Symbol):
                raise CannotCompile(f"{path}: is given a gradient of another kind")
            node = kept.pop()
            if grad.shape != node.outputs[0].shape:
                raise CannotCompile(
                    f"{path}: is given a gradient of shape {grad.shape}, not "
                    f"{node.outputs[0].shape}"
                )
            source = node.inputs[0]
            gradients = [
                (parameter, Value(parameter.shape, parameter.dtype, f"{path}.{own}"))
                for own, parameter in module._parameters.items()
            ]
            for parameter, value in gradients:
                self.gradients.setdefault(parameter, []).append(value)
            grad_x = Value(source.shape, source.dtype, f"gradient at {path}")
            symbol = self._note(
                f"{layer.kind}_backward",
                path,
                module,
                (grad,),
                grad_x,
                *(value for _, value in gradients),
                forward=node,
                input_grad=input_grad,
            )
            return symbol if input_grad else None

        return forward if name == "forward" else backward


def _memory(model: Module) -> list[Any]:
    """Return all that a pass could leave for the next one: attributes, and dice."""
    memory: list[Any] = []
    for module in model.modules():
        for value in vars(module).values():
            dice = isinstance(value, np.random.Generator)
            memory.append(repr(value.bit_generator.state) if dice else value)
    # np.random's own, as it is called without a Generator
    state = np.random.get_state(legacy=True)  # noqa: NPY002
    return [*memory, repr(state), repr(random.getstate())]


def _is_same(before: list[Any], after: list[Any]) -> bool:
    return len(before) == len(after) and all(
        old is new or (isinstance(old, str) and old == new)
        for old, new in zip(before, after, strict=True)
    )


@dataclass(frozen=True)
class _Layer:
    """What is known of a kind of layer."""

    kind: str
    # From the layer and its inputs to the shape of the output, and the facts.
    shape: Callable[..., tuple[tuple[int, ...], dict[str, Any]]]


def _images(layer: Any, x: Symbol, channels: int | None = None) -> tuple[int, ...]:
    if x.ndim != 4 or (channels is not None and x.shape[1] != channels):
        raise Mismatch
    return x.shape


def _of_dtype(parameter: Any, x: Symbol) -> None:
    if parameter is not None and parameter.dtype != x.dtype:
        raise Mismatch


def _conv2d(
    layer: Conv2d | FusedConv2d, x: Symbol, residual: Symbol | None = None
) -> Any:
    K, C, KH, KW = layer.weight.shape
    N, _, H, W = _images(layer, x, C * layer.groups)
    _of_dtype(layer.weight, x)
    try:
        geometry = Geometry.of(
            (H, W),
            (KH, KW),
            layer.stride,
            layer.padding,
            layer.dilation,
            layer.groups,
        )
    except ValueError:
        raise Mismatch from None
    shape = (N, K, *geometry.output_size)
    if residual is not None and residual.shape != shape:
        raise Mismatch
    return shape, {"geometry": geometry}


def _batch_norm(layer: BatchNorm2d, x: Symbol) -> Any:
    N, _, H, W = _images(layer, x, layer.num_features)
    training = layer.training or layer.running_mean is None
    if layer.affine:
        _of_dtype(layer.weight, x)
    if training and N * H * W < 2:
        raise Mismatch
    return x.shape, {"training": training}


def _plane(x: Symbol) -> Any:
    """Return one plane of images like x, to ask a layer's own function about."""
    _, _, H, W = _images(None, x)
    return np.zeros((1, 1, H, W), x.dtype)


def _max_pool(layer: MaxPool2d, x: Symbol) -> Any:
    window = layer.kernel_size, layer.stride, layer.padding
    try:
        with using_backend("reference"):
            _, cache = max_pool2d_forward(
                _plane(x), *window, dilation=layer.dilation, ceil_mode=layer.ceil_mode
            )
    except ValueError:
        raise Mismatch from None
    geometry = cache.geometry
    return (*x.shape[:2], *geometry.output_size), {"geometry": geometry}


def _avg_pool(layer: AvgPool2d, x: Symbol) -> Any:
    try:
        with using_backend("reference"):
            _, cache = avg_pool2d_forward(
                _plane(x),
                layer.kernel_size,
                layer.stride,
                layer.padding,
                ceil_mode=layer.ceil_mode,
                count_include_pad=layer.count_include_pad,
                divisor_override=layer.divisor_override,
            )
    except ValueError:
        raise Mismatch from None
    facts = {"geometry": cache.geometry, "divisor": cache.divisor}
    return (*x.shape[:2], *cache.geometry.output_size), facts


def _adaptive(layer: AdaptiveAvgPool2d, x: Symbol) -> Any:
    N, C, *_ = _images(layer, x)
    size = as_pair("output_size", layer.output_size, least=1)
    return (N, C, *size), {"size": size}


def _linear(layer: Linear, x: Symbol) -> Any:
    if x.ndim != 2 or x.shape[1] != layer.in_features:
        raise Mismatch
    _of_dtype(layer.weight, x)
    return (x.shape[0], layer.out_features), {}


def _zero_pad(layer: ZeroPadShortcut, x: Symbol) -> Any:
    N, C, H, W = _images(layer, x)
    image = np.zeros((1, C, H, W), x.dtype)
    try:
        with using_backend("reference"):
            _, cache = zero_pad_shortcut_forward(
                image, layer.out_channels, layer.stride
            )
    except ValueError:
        raise Mismatch from None
    return (N, *cache.out_shape[1:]), {"first": cache.first}


_LAYERS: dict[type, _Layer] = {
    Conv2d: _Layer("conv2d", _conv2d),
    FusedConv2d: _Layer("fused_conv2d", _conv2d),
    BatchNorm2d: _Layer("batch_norm", _batch_norm),
    ReLU: _Layer("relu", lambda layer, x: (x.shape, {})),
    MaxPool2d: _Layer("max_pool2d", _max_pool),
    AvgPool2d: _Layer("avg_pool2d", _avg_pool),
    AdaptiveAvgPool2d: _Layer("adaptive_avg_pool2d", _adaptive),
    Linear: _Layer("linear", _linear),
    ZeroPadShortcut: _Layer("zero_pad_shortcut", _zero_pad),
}
