"""Module: state around the functions, and the way forward and back."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from npresnet._plain import plain
from npresnet.nn import doors, modes, state
from npresnet.nn.modes import here
from npresnet.nn.parameter import Parameter

Array = NDArray[np.floating[Any]]
# What a backward pass returns: an ndarray, or None where it was spared. Not a union,
# so that whoever did not spare it need not ask.
Gradient = Any


class _Stacks(weakref.WeakKeyDictionary[modes.Thread, list[Any]]):
    """Caches by the thread that keeps them; a copy has none."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _Stacks, ()

    def __deepcopy__(self, memo: dict[int, Any]) -> _Stacks:
        return _Stacks()


class Module:
    """Something with parameters that computes forward and backward.

    A subclass sets parameters and other modules as attributes (which registers
    them, in that order) and defines ``forward(x)`` and ``backward(grad_output,
    input_grad=True)``. Call the module itself, not its `forward`.

    Forward passes keep caches on a stack, backward passes take them off it: a
    module that is called twice goes backward twice, in reverse order. A new
    outermost call discards what an unfinished one left, unless it is one under
    ``no_grad``, which leaves the stacks alone.

    Every thread has stacks of its own: a pass goes backward in the thread in which it
    went forward, whatever others do with the module meanwhile. Copies of a module,
    and pickled ones, begin with empty stacks.

    Attributes
    ----------
    training : bool
        Whether the module is in training mode; a new one is.
    """

    training: bool

    def __init__(self) -> None:
        self._parameters: dict[str, Parameter] = {}
        self._modules: dict[str, Module] = {}
        self._buffers: list[str] = []
        self._stacks = _Stacks()
        self.training = True

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, Parameter):
            self._parameters[name] = value
        elif isinstance(value, Module):
            self._modules[name] = value
        super().__setattr__(name, value)

    def register_buffer(self, name: str, value: NDArray[Any] | None) -> None:
        """Set an attribute that is saved with the module but does not learn.

        One that is None is not there, and not saved.
        """
        if value is not None and name not in self._buffers:
            self._buffers.append(name)
        setattr(self, name, value)

    # -------------------------------------------------- forward and backward

    def __call__(self, *inputs: Any) -> Any:
        """Run the forward pass."""
        outermost = here.outermost
        if outermost is self:  # by a signal handler, or by somebody who watches
            with modes.no_grad():  # the caches are those of the pass under way
                return self.forward(*map(_plain, inputs))
        try:
            inputs = tuple(map(_plain, inputs))
            if outermost is None:
                here.outermost = self
                if modes.is_keeping():
                    self.discard_caches()
            output = self.forward(*inputs)
        except (TypeError, ValueError) as error:
            _name_the_layer(error, self)
            raise
        finally:
            # No call of a function before this: Ctrl-C may strike at any call.
            here.outermost = outermost
        doors.report_forward(self, inputs, output)
        return output

    def forward(self, *inputs: Any, **options: Any) -> Any:
        """Compute the output; a subclass says how."""
        raise TypeError(f"{type(self).__name__} does not define forward(x)")

    def backward(self, *gradients: Any, **options: Any) -> Any:
        """Turn the gradient with respect to the output into that of the input.

        Parameters' gradients are added to on the way. A subclass says how.
        """
        raise TypeError(
            f"{type(self).__name__} does not define backward(grad_output, "
            "input_grad=True)"
        )

    @property
    def caches(self) -> list[Any]:
        """What this thread's forward passes have kept, the latest last."""
        stack = self._stacks.get(here.thread)
        if stack is None:
            stack = self._stacks[here.thread] = []
        return stack

    @caches.setter
    def caches(self, caches: list[Any]) -> None:
        self._stacks[here.thread] = caches

    def push_cache(self, cache: Any) -> None:
        """Put what the backward pass needs onto the stack."""
        if modes.is_keeping():
            self.caches.append(cache)

    def pop_cache(self) -> Any:
        """Take the latest cache off the stack.

        Raises
        ------
        RuntimeError
            If there is none: no forward pass, or one under ``no_grad`` or in another
            thread, or already gone backward.
        """
        caches = self.caches
        if not caches:
            raise RuntimeError(
                f"backward of {type(self).__name__} needs a forward pass before it "
                "(one that keeps caches: not under no_grad; and in this thread), and "
                "each forward pass goes backward once"
            )
        return caches.pop()

    def discard_caches(self) -> None:
        """Forget what this thread's unfinished passes have left."""
        thread = here.thread
        for module in self.modules():
            stack = module._stacks.get(thread)
            if stack:
                stack.clear()

    def __getstate__(self) -> dict[str, Any]:
        """Return all attributes, but no caches: for `copy` and `pickle`."""
        return {**self.__dict__, "_stacks": _Stacks()}

    # ------------------------------------------------------------- inventory

    def children(self) -> Iterator[Module]:
        """Go through the modules directly inside this one."""
        yield from self._modules.values()

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Go through the modules directly inside this one, with their names."""
        yield from self._modules.items()

    def named_modules(self, *, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """Go through this module and all inside it; names as in ``layer1.0.bn1``."""
        yield prefix, self
        for name, module in self._modules.items():
            yield from module.named_modules(
                prefix=f"{prefix}.{name}" if prefix else name
            )

    def modules(self) -> Iterator[Module]:
        """Go through this module and all inside it."""
        found: list[Module] = [self]
        while found:
            module = found.pop()
            yield module
            found.extend(reversed(module._modules.values()))

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Go through all parameters, with names as in ``layer1.0.conv1.weight``."""
        for path, module in self.named_modules():
            for name, parameter in module._parameters.items():
                yield f"{path}.{name}" if path else name, parameter

    def parameters(self) -> Iterator[Parameter]:
        """Go through all parameters."""
        for module in self.modules():
            yield from module._parameters.values()

    def named_buffers(self) -> Iterator[tuple[str, NDArray[Any]]]:
        """Go through all buffers, with names as in ``bn1.running_mean``."""
        for path, module in self.named_modules():
            for name, buffer in module._own_buffers():
                yield f"{path}.{name}" if path else name, buffer

    def _own_buffers(self) -> Iterator[tuple[str, NDArray[Any]]]:
        for name in self._buffers:
            buffer = getattr(self, name)
            if buffer is not None:
                yield name, buffer

    # ----------------------------------------------------------------- state

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """Copy all parameters and buffers: name -> ndarray, in PyTorch's order."""
        return {name: np.array(value) for name, value in self._named_state()}

    def _named_state(self) -> Iterator[tuple[str, NDArray[Any]]]:
        for path, module in self.named_modules():
            start = f"{path}." if path else ""
            for name, parameter in module._parameters.items():
                yield start + name, parameter.data
            for name, buffer in module._own_buffers():
                yield start + name, buffer

    @np.errstate(under="ignore")  # what is too small for a float is zero, no error
    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True
    ) -> LoadResult:
        """Take parameters and buffers over, all or none of them.

        Parameters
        ----------
        state_dict : mapping of str to array
            As `state_dict` gives it. Also understood: the same inside a checkpoint
            (under ``state_dict``, ``model`` or ``net``), names with ``module.`` in
            front, ``shortcut.`` for ``downsample.``, ``linear.`` for ``fc.``, and
            an absent ``num_batches_tracked``.
        strict : bool
            Whether missing and unexpected names are errors; wrong shapes always
            are.

        Returns
        -------
        LoadResult
            The names that were missing and those that were not expected.

        Raises
        ------
        ValueError
            If names or shapes do not fit; nothing has been changed then.
        """
        own = dict(self._named_state())
        given = state.translate(state_dict, own)
        missing, unexpected = state.compare(given, own, strict=strict)
        for path, module in self.named_modules():
            start = f"{path}." if path else ""
            for name, parameter in module._parameters.items():
                if start + name in given:
                    value = given[start + name]
                    parameter.data = np.array(value, parameter.dtype)
            for name, buffer in module._own_buffers():
                if start + name in given:
                    value = np.array(given[start + name], buffer.dtype)
                    setattr(module, name, value)
        return LoadResult(missing, unexpected)

    def train(self, mode: bool = True) -> Self:
        """Switch this module and all inside it to training mode."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """Switch this module and all inside it to evaluation mode."""
        return self.train(False)

    def zero_grad(self) -> None:
        """Forget all parameters' gradients."""
        for parameter in self.parameters():
            parameter.zero_grad()

    # ------------------------------------------------------------- printing

    def extra_repr(self) -> str:
        """Say in PyTorch's words how the module was made."""
        return ""

    def is_printed(self) -> bool:
        """Tell whether the tree around this module has a line for it."""
        return True

    def __repr__(self) -> str:
        lines = [
            f"  ({name}): " + repr(child).replace("\n", "\n  ")
            for name, child in self._modules.items()
            if child.is_printed()
        ]
        inside = "\n" + "\n".join(lines) + "\n" if lines else ""
        return f"{type(self).__name__}({self.extra_repr()}{inside})"


def _name_the_layer(error: Exception, outer: Module) -> None:
    """Put the path of the layer that failed before the message of its error.

    Called for every module that the error passes on its way out, each of which knows
    more of the path. The layer is kept as a number: errors outlive modules.
    """
    known = vars(error).get("_layer")
    if known is None:
        if len(error.args) == 1 and isinstance(error.args[0], str):
            vars(error)["_layer"] = id(outer), type(outer).__name__, error.args[0]
        return
    layer, kind, message = known
    for path, module in outer.named_modules():
        if id(module) == layer and path:
            error.args = (f"{path} ({kind}): {message}",)
            return


def _plain(value: Any) -> Any:
    """See an array of a subclass of ndarray as a plain one, leave all else."""
    return plain("x", value) if isinstance(value, np.ndarray) else value


class LoadResult(NamedTuple):
    """What `Module.load_state_dict` did not find, and what it could not place."""

    missing: list[str]
    unexpected: list[str]


doors.hang_doors(Module)
