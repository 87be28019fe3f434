"""From what a network's passes do to the lines of a program, several layers in one.

A line names an operation of the backend, the arrays that it reads and those that it
writes. Which layers are put into one line, `fusions` decides. The statistics of batch
norm are lines of their own, and so are the short vectors that follow from them.

Every line does the arithmetic of the layers in their order, so that programs and layers
leave the same bits.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from npresnet import backend
from npresnet.backend import between, fused
from npresnet.compiler.fusions import Fusions
from npresnet.compiler.symbols import Value
from npresnet.compiler.tracing import Node, Trace


@dataclass(eq=False)
class Line:
    """One line of a program.

    Attributes
    ----------
    operation : str
        Of the backend.
    layers : tuple of str
        Paths of the layers whose work it does.
    reads, writes : tuple of Value
        Arrays.
    run : callable
        Takes the arrays that are read, returns those that are written, as a tuple.
    macs : int
        Multiplications with additions.
    on_host : bool
        Whether it is NumPy's work: such a line is called in between.
    """

    operation: str
    layers: tuple[str, ...]
    reads: tuple[Value, ...]
    writes: tuple[Value, ...]
    run: Callable[..., tuple[Any, ...]]
    macs: int = 0
    on_host: bool = False


@dataclass(eq=False)
class Lines:
    """A program that has not been given memory yet.

    Attributes
    ----------
    forward, statistics, backward : list of Line
        In order; `statistics` moves the running ones on.
    sources : dict of Value to callable
        Arrays that belong to the model, and where they are found.
    gradients : list of (Parameter, list of Value)
        What the way back leaves: what is added to each parameter's gradient, in order.
    """

    trace: Trace
    forward: list[Line] = field(default_factory=list)
    statistics: list[Line] = field(default_factory=list)
    backward: list[Line] = field(default_factory=list)
    sources: dict[Value, Callable[[], Any]] = field(default_factory=dict)
    gradients: list[tuple[Any, list[Value]]] = field(default_factory=list)


def lower(trace: Trace, *, adds_up: bool) -> Lines:
    """Turn what passes do into lines.

    With `adds_up`, what several uses of a parameter give is added up by lines, too.
    """
    return _Lowering(trace, adds_up).lines


class _Norm:
    """What is known about one call of a batch norm on its way through the program."""

    def __init__(self, node: Node) -> None:
        self.node, self.layer = node, node.layer
        self.x = node.inputs[0]
        self.training: bool = node.facts["training"]
        C, dtype = self.x.shape[1], self.x.dtype

        def vector(name: str) -> Value:
            return Value((C,), dtype, f"{node.path}: {name}")

        self.mean, self.variance = vector("mean"), vector("variance")
        self.inverse_std = vector("1 / std")
        self.weight, self.bias = vector("weight"), vector("bias")
        self.total, self.total_x_hat = vector("sum"), vector("sum with x_hat")

    @property
    def affine(self) -> tuple[Value, ...]:
        return self.mean, self.inverse_std, self.weight, self.bias

    @property
    def count(self) -> int:
        N, _, H, W = self.x.shape
        return N * H * W


class _Lowering:
    def __init__(self, trace: Trace, adds_up: bool) -> None:
        self.trace = trace
        self.lines = Lines(trace)
        self.norms = {
            node: _Norm(node) for node in trace.forward if node.kind == "batch_norm"
        }
        self.fusions = Fusions(trace)
        self.weights: dict[Any, Value] = {}
        self.masks: dict[Node, Value] = {}
        self.out = self.lines.forward
        for node in trace.forward:
            if node not in self.fusions.absorbed:
                getattr(self, f"_{node.kind}")(node)
            elif node in self.norms:
                self._statistics(self.norms[node])
        self.out = self.lines.backward
        # Batch norms whose sums the line of the ReLU above them has made.
        self.summed: set[_Norm] = set()
        for node in trace.backward:
            getattr(self, f"_{node.kind}")(node)
        self.lines.gradients = [
            (parameter, self._added_up(values) if adds_up else values)
            for parameter, values in trace.gradients
        ]

    # ------------------------------------------------------------------- lines

    def _add_line(
        self,
        operation: str,
        layers: str | Iterable[str],
        reads: Iterable[Value],
        writes: Iterable[Value],
        run: Callable[..., Any],
        **facts: Any,
    ) -> None:
        paths = (layers,) if isinstance(layers, str) else tuple(layers)
        writes = tuple(writes)

        def tuple_of(*arrays: Any) -> tuple[Any, ...]:
            results = run(*arrays)
            if not writes:
                return ()
            return results if isinstance(results, tuple) else (results,)

        self.out.append(Line(operation, paths, tuple(reads), writes, tuple_of, **facts))

    def _parameter(self, parameter: Any, name: str) -> Value:
        if parameter not in self.weights:
            value = Value(parameter.shape, parameter.dtype, name)
            self.weights[parameter] = value
            self.lines.sources[value] = lambda: parameter.data
        return self.weights[parameter]

    def _conv2d(self, node: Node) -> None:
        geometry, layer = node.facts["geometry"], node.layer
        weight = self._parameter(layer.weight, f"{node.path}.weight")

        def run(x: Any, weight: Any) -> Any:
            return backend.conv2d(x, weight, geometry)

        reads = node.inputs[0], weight
        self._add_line("conv2d", node.path, reads, node.outputs, run, macs=_macs(node))
        if layer.bias is not None:
            bias = self._parameter(layer.bias, f"{node.path}.bias")

            def add_bias(out: Any, bias: Any) -> None:
                out += bias[:, None, None]

            self._add_line(
                "add bias",
                node.path,
                (node.outputs[0], bias),
                (),
                add_bias,
                on_host=True,
            )

    def _conv2d_backward(self, node: Node) -> None:
        assert node.forward is not None
        layer, (grad,) = node.layer, node.inputs
        geometry, x = node.forward.facts["geometry"], node.forward.inputs[0]
        x = self._computed_again(x)
        weight = self._parameter(layer.weight, f"{node.path}.weight")
        grad_x, grad_weight, *grad_bias = node.outputs
        macs = _macs(node.forward)

        def weight_run(grad: Any, x: Any) -> Any:
            return backend.conv2d_grad_weight(grad, x, geometry)

        self._add_line(
            "conv2d_grad_weight",
            node.path,
            (grad, x),
            (grad_weight,),
            weight_run,
            macs=macs,
        )
        if node.facts["input_grad"] and node not in self.fusions.delayed:

            def input_run(grad: Any, weight: Any) -> Any:
                return backend.conv2d_grad_input(grad, weight, geometry)

            self._add_line(
                "conv2d_grad_input",
                node.path,
                (grad, weight),
                (grad_x,),
                input_run,
                macs=macs,
            )

        if grad_bias:

            def bias_run(grad: Any) -> Any:
                return grad.sum(axis=(0, 2, 3))

            self._add_line("sum", node.path, (grad,), grad_bias, bias_run, on_host=True)

    def _rectified(self, relu: Node) -> tuple[_Norm, Value | None]:
        """Return the batch norm in a ReLU's line, and what is added in it."""
        norm, residual = self.fusions.rectified[relu]
        return self.norms[norm], residual

    def _computed_again(self, value: Value) -> Value:
        """Return a value, computed anew where it follows from what is kept anyway.

        What a ReLU gives follows from batch norm's input in one pass over memory; kept,
        it would take as much room until then.
        """
        relu = self.fusions.producers.get(value)
        if relu is None or relu not in self.fusions.rectified:
            return value
        norm, residual = self._rectified(relu)
        if residual is not None or value is self.trace.out:
            return value
        again = Value(value.shape, value.dtype, f"{relu.path}, again")
        self._add_line(
            "batch_norm_relu",
            (norm.node.path, relu.path, "again"),
            (norm.x, *norm.affine),
            (again,),
            fused.batch_norm_relu,
        )
        return again

    def _fused_conv2d(self, node: Node) -> None:
        geometry, layer = node.facts["geometry"], node.layer
        weight, bias = (
            Value(getattr(layer, own).shape, layer.weight.dtype, f"{node.path}.{own}")
            for own in ("weight", "bias")
        )
        self.lines.sources[weight] = lambda: layer.weight
        self.lines.sources[bias] = lambda: layer.bias
        rectify = layer.rectify

        def run(x: Any, weight: Any, bias: Any, residual: Any = None) -> Any:
            return fused.fused_conv2d(x, weight, bias, residual, rectify, geometry)

        x, *residual = node.inputs
        reads = x, weight, bias, *residual
        self._add_line(
            "fused_conv2d", node.path, reads, node.outputs, run, macs=_macs(node)
        )

    # -------------------------------------------------------------- batch norm

    def _statistics(self, norm: _Norm) -> None:
        """Add the lines that find the mean and 1/std to normalise with."""
        layer, path = norm.layer, norm.node.path
        sources = self.lines.sources
        C, dtype = norm.x.shape[1], norm.x.dtype
        for own, value, default in (
            ("weight", norm.weight, np.ones(C, dtype)),
            ("bias", norm.bias, np.zeros(C, dtype)),
        ):
            parameter = getattr(layer, own)
            if parameter is None:
                sources[value] = functools.partial(_same, default)
            else:
                value.name = f"{path}.{own}"
                sources[value] = functools.partial(_data_of, parameter)
        if norm.training:
            self._add_line(
                "batch_norm_statistics",
                path,
                (norm.x,),
                (norm.mean, norm.variance),
                backend.batch_norm_statistics,
            )
        else:
            norm.mean.name, norm.variance.name = (
                f"{path}.running_mean",
                f"{path}.running_var",
            )
            sources[norm.mean] = lambda: layer.running_mean
            sources[norm.variance] = lambda: layer.running_var
        self._add_line(
            "inverse_std",
            path,
            (norm.variance,),
            (norm.inverse_std,),
            lambda variance: between.inverse_std(variance, layer.eps),
        )
        tracks = layer.track_running_stats and layer.running_mean is not None
        if norm.training and layer.training and tracks:
            self._move_statistics(norm)

    def _move_statistics(self, norm: _Norm) -> None:
        layer, path = norm.layer, norm.node.path
        sources = self.lines.sources
        running = []
        for own in ("running_mean", "running_var", "num_batches_tracked"):
            array = getattr(layer, own)
            find: Callable[[], Any] = functools.partial(getattr, layer, own)
            if array is None:  # nobody counts
                find = functools.partial(_same, np.zeros((), np.int64))
                array = find()
            value = Value(array.shape, array.dtype, f"{path}.{own}")
            sources[value] = find
            running.append(value)
        # A plain average of all batches weighs each by how many there have been.
        share = layer.momentum
        if share is None and layer.num_batches_tracked is None:
            share = 0.0

        def move(mean: Any, var: Any, tracked: Any, new: Any, variance: Any) -> None:
            between.move_running_statistics(
                mean, var, tracked, new, variance, norm.count, share
            )

        line, self.out = self.out, self.lines.statistics
        reads = *running, norm.mean, norm.variance
        self._add_line("move_running_statistics", path, reads, (), move)
        self.out = line

    def _batch_norm(self, node: Node) -> None:
        norm = self.norms[node]
        self._statistics(norm)
        self._add_line(
            "batch_norm_normalize",
            node.path,
            (norm.x, *norm.affine),
            node.outputs,
            backend.batch_norm_normalize,
        )

    def _batch_norm_backward(self, node: Node) -> None:
        assert node.forward is not None
        norm = self.norms[node.forward]
        (grad,), path = node.inputs, node.path
        grad_x, *gradients = node.outputs
        if norm not in self.summed:
            self._add_line(
                "batch_norm_grad_sums",
                path,
                (grad, norm.x, norm.mean, norm.inverse_std),
                (norm.total, norm.total_x_hat),
                backend.batch_norm_grad_sums,
            )
        # In the layer's own order: the bias' gradient is the first sum.
        own = [name for name in ("weight", "bias") if getattr(norm.layer, name)]
        for name, value in zip(own, gradients, strict=True):
            total = norm.total_x_hat if name == "weight" else norm.total
            self._add_line("copy", path, (total,), (value,), lambda total: total)
        if not node.facts["input_grad"]:
            return
        if not norm.training:

            def frozen(grad: Any, inverse_std: Any, weight: Any) -> Any:
                zero = np.zeros_like(weight)
                return backend.batch_norm_normalize(
                    grad, zero, inverse_std, weight, zero
                )

            reads = grad, norm.inverse_std, norm.weight
            self._add_line("batch_norm_normalize", path, reads, (grad_x,), frozen)
            return
        scale, mean_grad, mean_grad_x_hat = (
            Value(norm.mean.shape, norm.x.dtype, f"{path}: {name}")
            for name in ("scale", "mean gradient", "mean gradient with x_hat")
        )
        factors = scale, mean_grad, mean_grad_x_hat
        self._add_line(
            "batch_norm_grad_factors",
            path,
            (norm.weight, norm.inverse_std, norm.total, norm.total_x_hat),
            factors,
            lambda weight, inverse_std, total, total_x_hat: (
                between.batch_norm_grad_factors(
                    weight, inverse_std, total, total_x_hat, norm.count
                )
            ),
        )
        if grad in self.fusions.unwritten:
            above, relu = self.fusions.unwritten[grad]
            self._add_line(
                "rectified_batch_norm_grad_input",
                (path, relu),
                (above, norm.x, *norm.affine, mean_grad, mean_grad_x_hat),
                (grad_x,),
                fused.rectified_batch_norm_grad_input,
            )
            return
        self._add_line(
            "batch_norm_grad_input",
            path,
            (grad, norm.x, norm.mean, norm.inverse_std, *factors),
            (grad_x,),
            backend.batch_norm_grad_input,
        )

    # -------------------------------------------------------- ReLU and addition

    def _relu(self, node: Node) -> None:
        if node not in self.fusions.rectified:
            mask = self.masks[node] = Value(
                (-(-int(np.prod(node.outputs[0].shape)) // 8),),
                np.dtype(np.uint8),
                f"{node.path}: mask",
            )
            writes = node.outputs[0], mask
            self._add_line("relu", node.path, node.inputs, writes, backend.relu)
            return
        norm, residual = self._rectified(node)
        added = () if residual is None else (residual,)
        layers = norm.node.path, *(("+",) if added else ()), node.path
        self._add_line(
            "batch_norm_relu",
            layers,
            (norm.x, *norm.affine, *added),
            node.outputs,
            fused.batch_norm_relu,
        )

    def _relu_backward(self, node: Node) -> None:
        forward, (grad,), (masked,) = node.forward, node.inputs, node.outputs
        assert forward is not None
        if not node.facts["input_grad"]:
            return
        if forward not in self.fusions.rectified:
            reads = grad, self.masks[forward]
            self._add_line("relu_grad", node.path, reads, (masked,), backend.relu_grad)
            return
        norm, _ = self._rectified(forward)
        layers = norm.node.path, node.path
        if masked in self.fusions.unwritten:
            self.summed.add(norm)
            self._add_line(
                "rectified_batch_norm_grad_sums",
                layers,
                (grad, norm.x, *norm.affine),
                (norm.total, norm.total_x_hat),
                fused.rectified_batch_norm_grad_sums,
            )
        elif self._goes_on_to(masked, norm):
            self.summed.add(norm)
            self._add_line(
                "batch_norm_relu_grad_sums",
                layers,
                (grad, forward.outputs[0], norm.x, norm.mean, norm.inverse_std),
                (masked, norm.total, norm.total_x_hat),
                fused.batch_norm_relu_grad_sums,
            )
        else:
            reads = grad, forward.outputs[0]
            self._add_line(
                "relu_grad_below", node.path, reads, (masked,), fused.relu_grad_below
            )

    def _goes_on_to(self, masked: Value, norm: _Norm) -> bool:
        """Tell whether a gradient goes on to a batch norm, once and as it is."""
        readers = [
            node
            for node in self.trace.backward
            if masked in node.inputs and node.forward is norm.node
        ]
        return len(readers) == 1 and norm not in self.summed

    def _add(self, node: Node) -> None:
        conv = self.fusions.additions.get(node)
        if conv is None:
            self._add_line("add", "+", node.inputs, node.outputs, backend.add)
            return
        assert conv.forward is not None
        geometry = conv.forward.facts["geometry"]
        weight = self._parameter(conv.layer.weight, f"{conv.path}.weight")
        (other,) = (value for value in node.inputs if value is not conv.outputs[0])

        def run(grad: Any, weight: Any, other: Any) -> Any:
            return fused.conv2d_grad_input_add(grad, weight, other, geometry)

        self._add_line(
            "conv2d_grad_input_add",
            (conv.path, "+"),
            (conv.inputs[0], weight, other),
            node.outputs,
            run,
            macs=_macs(conv.forward),
        )

    def _view(self, node: Node) -> None:
        key = node.facts["key"]
        self._add_line("view", "", node.inputs, node.outputs, lambda array: array[key])

    # ------------------------------------------------------- pools and the rest

    def _max_pool2d(self, node: Node) -> None:
        geometry = node.facts["geometry"]
        winners = self.masks[node] = Value(
            node.outputs[0].shape, np.dtype(np.int32), f"{node.path}: winners"
        )
        self._add_line(
            "max_pool2d",
            node.path,
            node.inputs,
            (node.outputs[0], winners),
            lambda x: backend.max_pool2d(x, geometry),
        )

    def _max_pool2d_backward(self, node: Node) -> None:
        assert node.forward is not None
        geometry = node.forward.facts["geometry"]
        self._add_input_grad(
            node,
            (node.inputs[0], self.masks[node.forward]),
            "max_pool2d_grad",
            lambda grad, winners: backend.max_pool2d_grad(grad, winners, geometry),
        )

    def _avg_pool2d(self, node: Node) -> None:
        geometry, divisor = node.facts["geometry"], node.facts["divisor"]
        self._add_line(
            "avg_pool2d",
            node.path,
            node.inputs,
            node.outputs,
            lambda x: backend.avg_pool2d(x, divisor, geometry),
        )

    def _avg_pool2d_backward(self, node: Node) -> None:
        assert node.forward is not None
        facts = node.forward.facts
        geometry, divisor = facts["geometry"], facts["divisor"]
        self._add_input_grad(
            node,
            node.inputs,
            "avg_pool2d_grad",
            lambda grad: backend.avg_pool2d_grad(grad, divisor, geometry),
        )

    def _adaptive_avg_pool2d(self, node: Node) -> None:
        size = node.facts["size"]
        self._add_line(
            "adaptive_avg_pool2d",
            node.path,
            node.inputs,
            node.outputs,
            lambda x: backend.adaptive_avg_pool2d(x, size),
        )

    def _adaptive_avg_pool2d_backward(self, node: Node) -> None:
        _, _, H, W = node.outputs[0].shape
        self._add_input_grad(
            node,
            node.inputs,
            "adaptive_avg_pool2d_grad",
            lambda grad: backend.adaptive_avg_pool2d_grad(grad, (H, W)),
        )

    def _zero_pad_shortcut(self, node: Node) -> None:
        layer, first = node.layer, node.facts["first"]
        self._add_line(
            "zero_pad_shortcut",
            node.path,
            node.inputs,
            node.outputs,
            lambda x: backend.zero_pad_shortcut(
                x, layer.out_channels, first, layer.stride
            ),
        )

    def _zero_pad_shortcut_backward(self, node: Node) -> None:
        assert node.forward is not None
        stride, first = node.layer.stride, node.forward.facts["first"]
        shape = node.outputs[0].shape
        self._add_input_grad(
            node,
            node.inputs,
            "zero_pad_shortcut_grad",
            lambda grad: backend.zero_pad_shortcut_grad(grad, shape, first, stride),
        )

    def _add_input_grad(
        self, node: Node, reads: Iterable[Value], operation: str, run: Any
    ) -> None:
        if node.facts["input_grad"]:
            self._add_line(operation, node.path, reads, node.outputs, run)

    def _linear(self, node: Node) -> None:
        layer, path = node.layer, node.path
        weight = self._parameter(layer.weight, f"{path}.weight")
        (x,), outputs = node.inputs, node.outputs
        macs = x.shape[0] * layer.in_features * layer.out_features
        self._add_line("linear", path, (x, weight), outputs, backend.linear, macs=macs)
        if layer.bias is not None:
            bias = self._parameter(layer.bias, f"{path}.bias")
            self._add_line("add_row", path, (outputs[0], bias), (), between.add_row)

    def _linear_backward(self, node: Node) -> None:
        assert node.forward is not None
        layer, path, (grad,) = node.layer, node.path, node.inputs
        (x,) = node.forward.inputs
        weight = self._parameter(layer.weight, f"{path}.weight")
        grad_x, grad_weight, *grad_bias = node.outputs
        macs = x.shape[0] * layer.in_features * layer.out_features
        if node.facts["input_grad"]:
            self._add_line(
                "linear_grad_input",
                path,
                (grad, weight),
                (grad_x,),
                backend.linear_grad_input,
                macs=macs,
            )
        self._add_line(
            "linear_grad_weight",
            path,
            (grad, x),
            (grad_weight,),
            backend.linear_grad_weight,
            macs=macs,
        )
        if grad_bias:
            self._add_line("sum_rows", path, (grad,), grad_bias, between.sum_rows)

    def _added_up(self, values: list[Value]) -> list[Value]:
        """Add arrays up, in the order of the passes."""
        total, *others = values
        for other in others:
            both = Value(total.shape, total.dtype, total.name)
            self._add_line("add", total.name, (total, other), (both,), _flat_sum)
            total = both
        return [total]


def _flat_sum(a: Any, b: Any) -> Any:
    return backend.add(a.reshape(-1), b.reshape(-1)).reshape(a.shape)


def _macs(node: Node) -> int:
    N, K, OH, OW = node.outputs[0].shape
    _, C, KH, KW = node.layer.weight.shape
    return int(N * K * OH * OW * C * KH * KW)


def _same(array: Any) -> Any:
    return array


def _data_of(parameter: Any) -> Any:
    return parameter.data
