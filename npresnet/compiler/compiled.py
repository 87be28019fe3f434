"""``compile``: a network, or a whole training step, run as a program."""

from __future__ import annotations

import copy
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from npresnet import _arguments
from npresnet._plain import plain
from npresnet.compiler.programs import Programs
from npresnet.nn import Gradient, Module, modes

if TYPE_CHECKING:
    from npresnet.compiler.program import Plan, Program

Array = NDArray[np.floating[Any]]


def compile(
    model: Module,
    criterion: Any = None,
    optimizer: Any = None,
) -> CompiledModel | CompiledStep:
    """Lay a network out as a program, or a whole step of its training.

    The program does what the network's own lines do, with the same bits, in fewer
    passes over memory and with no Python in between.

    Parameters
    ----------
    model : Module
        Made of the package's layers, in blocks of anybody's. Its parameters, gradients
        and buffers stay its own: what happens to them between calls is seen by the
        next call, and the other way round.
    criterion : Module, optional
        The loss, called as ``criterion(logits, labels)``; it runs as it is.
    optimizer : Optimizer, optional
        Of the model's parameters.

    Returns
    -------
    CompiledStep or CompiledModel
        With a criterion and an optimiser, a step: ``loss, logits = step(x, labels)``.
        Without, what is called like the model, and has its ``backward``.

    Raises
    ------
    TypeError
        If an argument is of another kind; when called first, if the model does more
        than hand arrays from layer to layer and add them: it says where.

    Notes
    -----
    A program is made when a shape, or a mode (``train()``, ``eval()``), is first met,
    and kept. Gradients are arrays that the next step writes anew: copy one to keep it.
    While somebody watches the modules (`npresnet.nn.watching`), with the reference
    backend, and where functions or methods of the package have been replaced, the
    model's own lines run instead.

    Examples
    --------
    >>> import numpy as np, npresnet as nr
    >>> model = nr.models.resnet8(seed=0)
    >>> optimizer = nr.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    >>> step = nr.compile(model, nr.nn.CrossEntropyLoss(), optimizer)
    >>> x = np.random.default_rng(0).standard_normal((4, 3, 32, 32), dtype=np.float32)
    >>> loss, logits = step(x, np.arange(4))
    >>> logits.shape
    (4, 10)
    """
    _arguments.instance("model", model, Module, "a Module")
    if (criterion is None) != (optimizer is None):
        raise TypeError(
            "criterion and optimizer must be given both (for a training step) or "
            "neither (for a model)"
        )
    if criterion is None or optimizer is None:
        return CompiledModel(model)
    _arguments.instance("criterion", criterion, Module, "a Module")
    if not hasattr(optimizer, "step_at_once"):
        raise TypeError(
            f"optimizer must be an Optimizer, got {_arguments.shown(optimizer)}"
        )
    return CompiledStep(model, criterion, optimizer)


class _Compiled:
    """What has programs."""

    _input_grad: bool

    def __init__(self, model: Module) -> None:
        self.model = model
        self._programs = Programs(model, input_grad=self._input_grad)
        self._lock = threading.RLock()

    @property
    def plan(self) -> Plan:
        """The program that was used last: its lines, and where its arrays lie.

        Raises
        ------
        RuntimeError
            If there is none yet.
        """
        plan = self._programs.latest
        if plan is None:
            raise RuntimeError(
                "no shape has been met yet: call it, or lay_out((N, C, H, W))"
            )
        return plan

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy, and pickle, what it was made of."""
        return type(self), self._made_of()

    def _made_of(self) -> tuple[Any, ...]:
        return (self.model,)

    def _optimizer(self) -> Any:
        return None

    def lay_out(self, shape: tuple[int, ...]) -> Plan:
        """Lay the program for an input of a shape out, without running it.

        Raises
        ------
        TypeError
            If the model cannot be compiled.
        ValueError
            If the model does not take such an input.
        """
        from npresnet.compiler.tracing import Mismatch

        shape = _arguments.wholes("shape", shape)
        with self._lock:
            try:
                return self._programs.lay_out(shape)
            except Mismatch:
                name = type(self.model).__name__
                raise ValueError(f"shape: {name} takes no input of {shape}") from None

    def prepare(self, shape: tuple[int, ...]) -> Plan:
        """Do as `lay_out` does, and compile or load all that the program needs."""
        plan = self.lay_out(shape)
        with self._lock:
            self._programs.bind(plan)
        return plan

    def __repr__(self) -> str:
        from npresnet.compiler.listing import listing

        with self._lock:
            plan = self._programs.latest
            return f"{type(self).__name__}({type(self.model).__name__})" + (
                ": no shape has been met yet"
                if plan is None
                else "\n" + listing(plan, self._optimizer())
            )


class CompiledModel(_Compiled):
    """What `compile` makes of a model: called like it, and goes backward like it.

    Attributes
    ----------
    model : Module
        The model.
    """

    _input_grad = True

    def __init__(self, model: Module) -> None:
        super().__init__(model)
        # What the last forward pass was, for the way back.
        self._last: Program | None = None
        self._in_layers = False

    def __call__(self, x: Array) -> Array:
        """Run the forward pass."""
        x = plain("x", x)
        with self._lock, self._programs.use(x) as program:
            self._last, self._in_layers = None, False
            if program is None or not program.run_forward(x):
                self._in_layers = True
                return self.model(x)  # type: ignore[no-any-return]
            program.move_statistics()
            if modes.is_keeping():
                self._last = program
            out: Array = _copy(program.out)
            return out

    def backward(self, grad_output: Array, input_grad: bool = True) -> Gradient:
        """Carry the gradient of the output back; add to the parameters' gradients.

        Raises
        ------
        RuntimeError
            If there was no forward pass, or it has already gone backward.
        """
        with self._lock:
            if self._in_layers:
                return self.model.backward(grad_output, input_grad)
            program, self._last = self._last, None
            if program is None:
                raise RuntimeError(
                    "backward needs a forward pass before it (not under no_grad), and "
                    "each forward pass goes backward once"
                )
            out = program.out
            grad_output = plain("grad_output", grad_output)
            if (grad_output.shape, grad_output.dtype) != (out.shape, out.dtype):
                raise ValueError(
                    f"grad_output must be {out.dtype} of shape {out.shape}, got "
                    f"{grad_output.dtype} of shape {grad_output.shape}"
                )
            if not program.run_backward(grad_output):
                return _go_back_in_layers(self.model, program, grad_output, input_grad)
            for parameter, gradients in program.gradients:
                for gradient in gradients:
                    parameter.accumulate(gradient.copy())
            return _copy(program.grad_x) if input_grad else None


class CompiledStep(_Compiled):
    """What `compile` makes of a training step.

    Attributes
    ----------
    model, criterion, optimizer
        What it was made of.
    """

    _input_grad = False

    def __init__(self, model: Module, criterion: Any, optimizer: Any) -> None:
        super().__init__(model)
        self.criterion, self.optimizer = criterion, optimizer
        self._was_program = False  # what made the gradients that are there

    def _made_of(self) -> tuple[Any, ...]:
        return self.model, self.criterion, self.optimizer

    def _optimizer(self) -> Any:
        return self.optimizer

    def prepare(self, shape: tuple[int, ...]) -> Plan:
        """Do as `lay_out` does, and compile or load all that a step needs."""
        plan = super().prepare(shape)
        optimizer = copy.deepcopy(self.optimizer)
        for group in optimizer.groups:
            for parameter in group["params"]:
                parameter.grad = np.zeros_like(parameter.data)
        optimizer.step()  # the first step makes what the others find
        optimizer.step_at_once()
        return plan

    def __call__(self, x: Array, labels: NDArray[np.integer[Any]]) -> tuple[Any, Array]:
        """Take a step: forward, loss, backward, update.

        Parameters
        ----------
        x : ndarray of shape (N, C, H, W)
            Images.
        labels : ndarray of int of shape (N,)
            Their labels.

        Returns
        -------
        loss : floating scalar
            What the criterion gave, before the update.
        logits : ndarray of shape (N, classes)
            What the model gave, before the update; the caller's own.
        """
        with self._lock:
            loss, logits = self.gradients(x, labels)
            self.update()
            return loss, logits

    def gradients(
        self, x: Array, labels: NDArray[np.integer[Any]]
    ) -> tuple[Any, Array]:
        """Do all of a step but the update: see `__call__`."""
        x = plain("x", x)
        with self._lock, self._programs.use(x) as program:
            self._was_program = False
            if program is None or not program.run_forward(x):
                return self._in_layers(x, labels)
            logits = _copy(program.out)
            loss = self.criterion(logits, labels)
            grad_logits = self.criterion.backward()
            program.move_statistics()
            self.model.zero_grad()
            if not program.run_backward(grad_logits):
                _go_back_in_layers(self.model, program, grad_logits, False)
                return loss, logits
            for parameter, (gradient,) in program.gradients:
                parameter.grad = gradient
            self._was_program = True
            return loss, logits

    def _in_layers(
        self, x: Array, labels: NDArray[np.integer[Any]]
    ) -> tuple[Any, Array]:
        logits = self.model(x)
        loss = self.criterion(logits, labels)
        self.model.zero_grad()
        self.model.backward(self.criterion.backward(), input_grad=False)
        return loss, logits

    def update(self) -> None:
        """Move the parameters along the gradients that are there."""
        with self._lock:
            if self._was_program:
                self.optimizer.step_at_once()
            else:
                self.optimizer.step()


def _go_back_in_layers(
    model: Module, program: Program, grad_output: Array, input_grad: bool
) -> Gradient:
    """Go back layer by layer, where kernels had sums that are not finite.

    The way forward is repeated for it; running statistics have moved already.
    """
    buffers = {name: value.copy() for name, value in model.named_buffers()}
    model(_copy(program.x))
    gradient = model.backward(grad_output, input_grad)
    model.load_state_dict(buffers, strict=False)
    return gradient


def _copy(array: Any) -> Any:
    """Copy an array, and how it is laid out."""
    return array.copy(order="K")
