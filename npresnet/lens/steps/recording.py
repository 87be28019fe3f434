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

from npresnet.lens.shared.cached_arrays import cached_arrays, own_arrays
from npresnet.lens.shared.passes import has_shortcut
from npresnet.lens.shared.preserve_state import preserve_state
from npresnet.lens.shared.stand_ins import exchange, like
from npresnet.lens.steps.copying import frozen
from npresnet.lens.steps.operation import (
    WAYS,
    BlockCall,
    Operation,
    Way,
    connect,
)
from npresnet.models import ResidualBlock
from npresnet.nn import (
    AdaptiveAvgPool2d,
    AvgPool2d,
    BatchNorm2d,
    Conv2d,
    CrossEntropyLoss,
    Gradient,
    Linear,
    MaxPool2d,
    Module,
    ReLU,
    Sequential,
    ZeroPadShortcut,
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
        self._operations = self._find_operations()
        self._copies = {
            module: frozen(module)
            for module, path in self._operations.items()
            if self._is_wanted(path)
        }
        self._line: list[Operation | BlockCall] = []
        self._forward_blocks: list[BlockCall] = []  # under way
        self._backward_blocks: list[BlockCall] = []
        self._plain_blocks: list[str] = []
        # With the number of caches that the module had after each call.
        self._calls: dict[Module, list[tuple[int, Operation]]] = defaultdict(list)
        self._recent: deque[Array] = deque(maxlen=_RECENT)
        self._own: set[int] = set()
        self._last_end = 0.0

    def run(self, x: Array, y: NDArray[np.integer[Any]]) -> None:
        """Go forward and backward, twice: the first time only to warm up."""
        model, criterion = self.model, self.criterion
        x = np.array(x)  # whoever called may write into theirs later
        with preserve_state(model):
            criterion(model(x), y)
            model.backward(criterion.backward())
        with preserve_state(model):
            model.zero_grad()
            self._own = own_arrays(model)
            blocks = {
                module: self._recorded(module, path)
                for path, module in model.named_modules()
                if isinstance(module, ResidualBlock) and not self._is_hidden(path)
            }
            model = exchange(model, blocks)
            with watching(self._note_forward, self._note_backward):
                self.loss = float(criterion(model(x), y))
                caches = [module.caches for module in (criterion, *model.modules())]
                self.cache_bytes = _bytes_of(caches, self._own)
                self._last_end = time.perf_counter()
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

    def _find_operations(self) -> dict[Module, str]:
        """Map layers, and modules of other kinds, to their paths.

        What is taken apart is none: the model, rows of modules, and blocks. What is
        inside of an operation is none, either.
        """
        found: dict[Module, str] = {self.criterion: "loss"}
        self._insides: list[str] = []
        for path, module in self.model.named_modules():
            is_row = isinstance(module, Sequential) and len(module) > 0
            if is_row or isinstance(module, ResidualBlock) or not path:
                continue
            if not self._is_hidden(path):
                found[module] = path
                if any(True for _ in module.children()):
                    self._insides.append(f"{path}.")
        return found

    def _is_hidden(self, path: str) -> bool:
        """Tell whether a module is inside of an operation."""
        return any(path.startswith(inside) for inside in self._insides)

    def _is_wanted(self, path: str) -> bool:
        within = self.within
        return within is None or path == within or path.startswith(f"{within}.")

    # ------------------------------------------------------------------- layers

    def _note_forward(
        self, module: Module, inputs: tuple[Any, ...], output: Any
    ) -> None:
        """Note a forward pass that is over."""
        path = self._operations.get(module)
        if path is None:
            return
        block = self._forward_blocks[-1] if self._forward_blocks else None
        plain = self._plain_blocks[-1] if self._plain_blocks else ""
        way: Way = "trunk"
        if block is not None and block.place in WAYS:
            way = block.place
        operation = Operation(
            path,
            _NAMES.get(type(module), type(module).__name__),
            way,
            plain if block is None else block.path,
            self._copies.get(module),
            inputs,
            (output,),
            _bytes_of([part.caches[-1:] for part in module.modules()], self._own),
        )
        self._calls[module].append((len(module.caches), operation))
        (self._line if block is None else getattr(block, block.place)).append(operation)

    def _note_backward(
        self,
        module: Module,
        grad_outputs: tuple[Any, ...],
        grad_inputs: tuple[Any, ...],
    ) -> None:
        """Note a backward pass that is over, and what it took since the last one."""
        end = time.perf_counter()
        path = self._operations.get(module)
        if path is None:
            return
        operation = self._call_of(module)
        operation.seconds = end - self._last_end
        given = grad_outputs[0] if grad_outputs else np.ones((), self._dtype)
        operation.received = [self._kept(np.asarray(given), path)]
        operation.handed = [self._kept(grad_inputs[0], path)]
        if self._is_wanted(path):
            operation.parameter_grads = {
                name: _read_only(np.array(parameter.grad))
                for name, parameter in module.named_parameters()
                if parameter.grad is not None
            }
        module.zero_grad()  # the next call's own are wanted
        self._last_end = time.perf_counter()

    def _call_of(self, module: Module) -> Operation:
        """Tell which forward pass has gone backward: that whose cache is gone.

        Of a module that keeps nothing itself: the last one that has not yet.
        """
        calls = self._calls[module]
        before = len(module.caches) + 1
        found = [call for kept, call in calls if kept == before]
        waiting = [call for _, call in calls if call.received[0] is None]
        return (found or waiting or [calls[-1][1]])[-1]

    @property
    def _dtype(self) -> np.dtype[Any]:
        return next(self.model.parameters()).dtype

    # ------------------------------------------------------------------- blocks

    def _recorded(self, block: ResidualBlock, path: str) -> ResidualBlock:
        """Make a block like another that tells what goes along its ways.

        Its ways are no modules, and so nobody can watch them.
        """
        kind = type(block)
        calls: list[BlockCall] = []

        def plain_forward(this: ResidualBlock, x: Array) -> Array:
            self._plain_blocks.append(path)
            try:
                return kind.forward(this, x)
            finally:
                self._plain_blocks.pop()

        def forward(this: ResidualBlock, x: Array) -> Array:
            call = BlockCall(path, x)
            if self._forward_blocks:
                outer = self._forward_blocks[-1].path
                raise ValueError(f"{path}: a block inside of {outer} is not understood")
            self._forward_blocks.append(call)
            try:
                call.output = kind.forward(this, x)
            finally:
                self._forward_blocks.pop()
            if len(call.way_outputs) < 2:
                raise ValueError(
                    f"{path}: expected its forward pass to call branch_forward and "
                    "shortcut_forward"
                )
            calls.append(call)
            self._line.append(call)
            return call.output

        def backward(
            this: ResidualBlock, grad_output: Array, input_grad: bool = True
        ) -> Gradient:
            call = calls.pop()
            call.grad_output = self._kept(grad_output, path)
            self._backward_blocks.append(call)
            try:
                grad_input = kind.backward(this, grad_output, input_grad)
            finally:
                self._backward_blocks.pop()
            call.fork_seconds = time.perf_counter() - self._last_end
            call.grad_input = self._kept(grad_input, path)
            return grad_input

        if not has_shortcut(block):
            return like(block, forward=plain_forward)
        ways = {
            name: method
            for way in WAYS
            for name, method in self._recorded_way(kind, way, path).items()
        }
        return like(block, forward=forward, backward=backward, **ways)

    def _recorded_way(
        self, kind: type[ResidualBlock], way: Literal["branch", "shortcut"], path: str
    ) -> dict[str, Callable[..., Any]]:
        """Return the two methods of a way, which say what goes in and comes out."""
        own_forward = getattr(kind, f"{way}_forward")
        own_backward = getattr(kind, f"{way}_backward")

        def forward(this: ResidualBlock, x: Array) -> Array:
            call = self._forward_blocks[-1]
            call.place = way
            call.way_inputs[way] = x
            output: Array = own_forward(this, x)
            call.way_outputs[way] = output
            operations = getattr(call, way)
            call.way_ends[way] = operations[-1] if operations else None
            if len(call.way_outputs) == 2:
                call.place = "after"
            return output

        def backward(
            this: ResidualBlock, grad_sum: Array, input_grad: bool = True
        ) -> Gradient:
            call = self._backward_blocks[-1]
            if not call.handed:
                call.addition_seconds = time.perf_counter() - self._last_end
                self._last_end = time.perf_counter()
            call.handed[way] = self._kept(grad_sum, path)
            returned = own_backward(this, grad_sum, input_grad)
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
