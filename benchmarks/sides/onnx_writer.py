"""A network's twin for inference as an ONNX graph, for engines to run.

Batch norm is folded in already, with the weights that npresnet itself computes with;
fusing the addition and the ReLU with a convolution is the engine's part.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from npresnet.compiler import InferenceModel
from npresnet.compiler.folding import FusedBlock, FusedConv2d
from npresnet.nn import Linear, MaxPool2d, Sequential

_OPSET = 17


def write(twin: InferenceModel, shape: Sequence[int]) -> bytes:
    """Write the graph for images of one shape: (N, C, H, W) to (N, classes).

    Raises
    ------
    TypeError
        If the network has a module that is not written here.
    """
    graph = _Graph()
    x = graph.module(twin.conv1, "images")
    x = graph.module(twin.maxpool, x)
    for name in twin.stage_names:
        x = graph.module(getattr(twin, name), x)
    x = graph.node("GlobalAveragePool", x)
    x = graph.node("Flatten", x)  # (N, C)
    logits = graph.module(twin.fc, x)
    classes = twin.fc.weight.data.shape[0]

    def value(name: str, shape: Sequence[int]) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "npresnet",
            [value("images", shape)],
            [value(logits, [shape[0], classes])],
            graph.weights,
        ),
        opset_imports=[helper.make_opsetid("", _OPSET)],
        ir_version=helper.find_min_ir_version_for([helper.make_opsetid("", _OPSET)]),
    )
    return model.SerializeToString()  # type: ignore[no-any-return]


class _Graph:
    """Nodes and weights, in the order in which they are met."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.weights: list[Any] = []

    def node(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add an operation; return the name of its output."""
        out = f"{operator}-{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [out], **attributes))
        return out

    def weight(self, array: np.ndarray) -> str:
        """Add an array that stays; return its name."""
        name = f"weight-{len(self.weights)}"
        array = np.ascontiguousarray(array)
        self.weights.append(numpy_helper.from_array(array, name))
        return name

    def module(self, module: Any, x: str) -> str:
        """Add a module that x goes through."""
        if isinstance(module, Sequential):
            for part in module:
                x = self.module(part, x)
            return x
        if isinstance(module, FusedConv2d):
            return self.convolution(module, x)
        if isinstance(module, FusedBlock):
            return self.block(module, x)
        if isinstance(module, MaxPool2d):
            return self.node(
                "MaxPool",
                x,
                kernel_shape=_pair(module.kernel_size),
                strides=_pair(module.stride),
                pads=_pair(module.padding) * 2,
            )
        if isinstance(module, Linear):
            weight, bias = (
                self.weight(module.weight.data),
                self.weight(module.bias.data),
            )
            return self.node("Gemm", x, weight, bias, transB=1)
        raise TypeError(f"{type(module).__name__} is not written as ONNX here")

    def block(self, block: FusedBlock, x: str) -> str:
        """Add relu(F(x) + shortcut(x))."""
        shortcut = self.module(block.downsample, x) if block.adds else None
        *first, last = block.convs
        for conv in first:
            x = self.module(conv, x)
        return self.convolution(last, x, shortcut)

    def convolution(
        self, conv: FusedConv2d, x: str, residual: str | None = None
    ) -> str:
        """Add a convolution, and the addition and the ReLU after it."""
        x = self.node(
            "Conv",
            x,
            self.weight(conv.weight),
            self.weight(conv.bias),
            strides=_pair(conv.stride),
            pads=_pair(conv.padding) * 2,  # top, left, bottom, right
            dilations=_pair(conv.dilation),
            group=conv.groups,
        )
        if residual is not None:
            x = self.node("Add", x, residual)
        return self.node("Relu", x) if conv.rectify else x


def _pair(value: int | tuple[int, int]) -> list[int]:
    return list(value) if isinstance(value, tuple) else [value, value]
