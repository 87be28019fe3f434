"""Watch one forward and one backward pass, and note every operation on the way.

The forward pass tells which operations there are and how they hang together; the
backward pass, which gradients came to each of them, and which it handed on.
"""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Callable, Container
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from npresnet.lens.cached_arrays import cached_arrays, own_arrays
from npresnet.lens.passes import has_shortcut
from npresnet.lens.stepper.copying import frozen
from npresnet.lens.stepper.operation import (
    WAYS,
    BlockCall,
    Operation,
    Way,
    connect,
)
from npresnet.lens.untouched import untouched
from npresnet.models import ResidualBlock
from npresnet.nn import (
    AdaptiveAvgPool2d,
    AvgPool2d,
    BatchNorm2d,
    Conv2d,
    CrossEntropyLoss,
    Linear,
    MaxPool2d,
    Module,
    ReLU,
    Sequential,
    ZeroPadShortcut,
    layer_by_layer,
    watching,
)

Array = NDArray[np.floating[Any]]

_NAMES: dict[type[Module], str] = {
    Conv2d: "conv2d",
    BatchNorm2d: "batch_norm",
    ReLU: "relu",
    MaxPool2d: "max_pool2d",
    AvgPool2d: "avg_pool2d",
    AdaptiveAvgPool2d: "adaptive_avg_pool2d",
    Linear: "linear",
    ZeroPadShortcut: "zero_pad_shortcut",
    CrossEntropyLoss: "cross_entropy",
    Sequential: "identity",  # an empty one; others are taken apart
}
# A gradient is mostly one that was noted a moment ago, at the latest before the branch
# of the block: so many are compared, rather than copied again.
_RECENT = 24


class Recorder:
    """Send a batch through a model and back, and keep what was seen.

    Parameters
    ----------
    model : Module
        Left as it was.
    within : str or None
        Path of a module: arrays are kept for the operations inside it only.

    Attributes
    ----------
    operations : list of (int, Operation)
        With their numbers, in the order of the backward pass.
    loss : float
        Mean cross entropy, in nats.
    cache_bytes : int
        What the forward pass kept; what two operations share counts once.
    """

    def __init__(self, model: Module, within: str | None = None) -> None:
        self.model, self.within = model, within
        self.criterion = CrossEntropyLoss()
        self.operations: list[tuple[int, Operation]] = []
        self.loss = 0.0
        self.cache_bytes = 0
        self._paths = {module: path for path, module in model.named_modules()}
        self._paths[self.criterion] = "loss"
        self._originals: dict[Module, Module] = {}
        self._line: list[Operation | BlockCall] = []
        self._forward_blocks: list[BlockCall] = []  # under way
        self._backward_blocks: list[BlockCall] = []
        self._plain_blocks: list[str] = []
        self._hidden = 0  # how many modules are under way whose inside does not count
        self._calls: dict[Module, list[Operation]] = defaultdict(list)
        self._block_calls: dict[Module, list[BlockCall]] = defaultdict(list)
        self._recent: deque[Array] = deque(maxlen=_RECENT)
        self._own: set[int] = set()
        self._last_end = 0.0

    def run(self, x: Array, y: NDArray[np.integer[Any]]) -> None:
        """Go forward and backward, twice: the first time only to warm up."""
        model, criterion = self.model, self.criterion
        x = np.array(x)  # whoever called may write into theirs later
        with untouched(model), layer_by_layer():
            criterion(model(x), y)
            model.backward(criterion.backward())
        with untouched(model), layer_by_layer():
            model.zero_grad()
            for module in list(self._paths):
                if self._is_operation(module):
                    self._watch_operation(module)
                elif isinstance(module, ResidualBlock):
                    self._watch_block(module)
            self._own = own_arrays(model)
            with watching(self._note_call):
                self.loss = float(criterion(model(x), y))
            caches = [module.caches for module in self._paths]
            self.cache_bytes = _bytes_of(caches, self._own)
            model.backward(criterion.backward())
        numbered = list(enumerate(connect(self._line)))
        wanted = [pair for pair in numbered if self._is_wanted(pair[1].path)]
        for _, operation in wanted:
            seen = (*operation.received, *operation.handed)
            if any(gradient is None for gradient in seen):
                raise ValueError(
                    f"{operation.path}: the model's backward pass has left it out"
                )
            operation.inputs = tuple(map(_read_only, operation.inputs))
            operation.outputs = tuple(map(_read_only, operation.outputs))
        self.operations = wanted

    def _is_operation(self, module: Module) -> bool:
        """Tell a layer, or a module of another kind, from what is taken apart."""
        if isinstance(module, Sequential):
            return len(module) == 0
        return module is not self.model and not isinstance(module, ResidualBlock)

    def _is_wanted(self, path: str) -> bool:
        within = self.within
        return within is None or path == within or path.startswith(f"{within}.")

    # ------------------------------------------------------------------- layers

    def _watch_operation(self, module: Module) -> None:
        """Have a layer's backward pass noted; and its inside, if any, left alone."""
        path, own_forward, own_backward = (
            self._paths[module],
            module.forward,
            module.backward,
        )
        if self._is_wanted(path):
            self._originals[module] = frozen(module)

        def forward(*inputs: Any, **options: Any) -> Any:
            self._hidden += 1
            try:
                return own_forward(*inputs, **options)
            finally:
                self._hidden -= 1

        def backward(*gradients: Any, **options: Any) -> Any:
            if self._hidden:
                return own_backward(*gradients, **options)
            operation = self._call_of(module)
            given = gradients[0] if gradients else np.ones((), self._dtype)
            operation.received = [self._kept(np.asarray(given), path)]
            sums = [(parameter, parameter.grad) for parameter in module.parameters()]
            module.zero_grad()
            self._hidden += 1
            began = time.perf_counter()
            try:
                grad_input = own_backward(*gradients, **options)
            finally:
                self._hidden -= 1
            operation.seconds = time.perf_counter() - began
            for name, parameter in module.named_parameters():
                if parameter.grad is not None and self._is_wanted(path):
                    grad = np.array(parameter.grad)
                    operation.parameter_grads[name] = _read_only(grad)
            for parameter, before in sums:  # as if nobody had taken them apart
                own = parameter.grad
                if before is not None:
                    parameter.grad = before if own is None else before + own
            operation.handed = [self._kept(grad_input, path)]
            self._last_end = time.perf_counter()
            return grad_input

        if any(True for _ in module.children()):
            module.forward = forward  # type: ignore[method-assign]
        module.backward = backward  # type: ignore[method-assign]

    def _note_call(self, module: Module, inputs: tuple[Any, ...], output: Any) -> None:
        """Note a forward pass that is over."""
        if self._hidden or module not in self._paths or not self._is_operation(module):
            return
        block = self._forward_blocks[-1] if self._forward_blocks else None
        plain = self._plain_blocks[-1] if self._plain_blocks else ""
        way: Way = "trunk"
        if block is not None and block.place in WAYS:
            way = block.place
        path = self._paths[module]
        operation = Operation(
            path,
            _NAMES.get(type(module), type(module).__name__),
            way,
            plain if block is None else block.path,
            self._originals.get(module),
            inputs,
            (output,),
            _bytes_of([part.caches[-1:] for part in module.modules()], self._own),
        )
        self._calls[module].append(operation)
        (self._line if block is None else getattr(block, block.place)).append(operation)

    def _call_of(self, module: Module) -> Operation:
        """Tell which forward pass is going backward: that of the topmost cache."""
        calls = self._calls[module]
        kept = len(module.caches)
        if 0 < kept <= len(calls):
            return calls[kept - 1]
        waiting = [call for call in calls if call.received[0] is None]
        return waiting[-1] if waiting else calls[-1]

    @property
    def _dtype(self) -> np.dtype[Any]:
        return next(self.model.parameters()).dtype

    # ------------------------------------------------------------------- blocks

    def _watch_block(self, block: ResidualBlock) -> None:
        """Have a block's ways noted, where there are two."""
        path, own_forward, own_backward = (
            self._paths[block],
            block.forward,
            block.backward,
        )

        def plain_forward(x: Array) -> Array:
            self._plain_blocks.append(path)
            try:
                return own_forward(x)
            finally:
                self._plain_blocks.pop()

        def forward(x: Array) -> Array:
            call = BlockCall(path, x)
            if self._forward_blocks:
                outer = self._forward_blocks[-1].path
                raise ValueError(f"{path}: a block inside of {outer} is not understood")
            self._forward_blocks.append(call)
            try:
                call.output = own_forward(x)
            finally:
                self._forward_blocks.pop()
            if len(call.way_outputs) < 2:
                raise ValueError(
                    f"{path}: expected its forward pass to call branch_forward and "
                    "shortcut_forward"
                )
            self._block_calls[block].append(call)
            self._line.append(call)
            return call.output

        def backward(grad_output: Array, input_grad: bool = True) -> Any:
            call = self._block_calls[block].pop()
            call.grad_output = self._kept(grad_output, path)
            self._backward_blocks.append(call)
            try:
                grad_input = own_backward(grad_output, input_grad)
            finally:
                self._backward_blocks.pop()
            call.fork_seconds = time.perf_counter() - self._last_end
            call.grad_input = self._kept(grad_input, path)
            return grad_input

        methods: dict[str, Callable[..., Any]] = {"forward": plain_forward}
        if has_shortcut(block):
            methods = {"forward": forward, "backward": backward}
            for way in WAYS:
                methods |= self._watched_way(block, way)
        for name, method in methods.items():
            setattr(block, name, method)

    def _watched_way(
        self, block: ResidualBlock, way: Literal["branch", "shortcut"]
    ) -> dict[str, Callable[..., Any]]:
        """Return the two methods of a way, which say what goes in and comes out."""
        path = self._paths[block]
        own_forward = getattr(block, f"{way}_forward")
        own_backward = getattr(block, f"{way}_backward")

        def forward(x: Array) -> Array:
            call = self._forward_blocks[-1]
            call.place = way
            call.way_inputs[way] = x
            output: Array = own_forward(x)
            call.way_outputs[way] = output
            operations = getattr(call, way)
            call.way_ends[way] = operations[-1] if operations else None
            if len(call.way_outputs) == 2:
                call.place = "after"
            return output

        def backward(grad_sum: Array, input_grad: bool = True) -> Any:
            call = self._backward_blocks[-1]
            if not call.handed:
                call.addition_seconds = time.perf_counter() - self._last_end
            call.handed[way] = self._kept(grad_sum, path)
            returned = own_backward(grad_sum, input_grad)
            call.returned[way] = self._kept(returned, path)
            return returned

        return {f"{way}_forward": forward, f"{way}_backward": backward}

    # ------------------------------------------------------------------- arrays

    def _kept(self, gradient: Any, path: str) -> Any:
        """Keep the numbers of a gradient, for arrays may be written into later."""
        if gradient is None or not self._is_wanted(path):
            return None
        for kept in reversed(self._recent):
            if (
                kept.dtype == gradient.dtype
                and kept.shape == gradient.shape
                and np.array_equal(kept, gradient, equal_nan=True)
            ):
                return kept
        kept = _read_only(np.array(gradient))
        self._recent.append(kept)
        return kept


def _read_only(array: Array) -> Array:
    """Return a view that nobody can write into by mistake."""
    view = np.asarray(array).view()
    view.flags.writeable = False
    return view


def _bytes_of(caches: Any, without: Container[int]) -> int:
    """Count the bytes of all arrays in caches, but for those at some addresses."""
    return sum(cached_arrays(caches, without).values())
