"""Modules gone wrong: caches, gradients and modes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from npresnet.lens.bugs.registry import bug
from npresnet.nn import Gradient, Module, Parameter, Sequential, modes

Array = NDArray[np.floating[Any]]

right_pop = Module.pop_cache


@bug(
    "npresnet.nn.module:Module.pop_cache",
    seen_in="a textbook slip: pop(0) for pop()",
    symptom="right until a module is called twice, as torchvision's one ReLU per "
    "block is; then masks are mixed up",
)
def cache_is_a_queue(self: Module) -> Any:
    """Take the oldest cache instead of the latest."""
    if len(self.caches) < 2:
        return right_pop(self)
    return self.caches.pop(0)


@bug(
    "npresnet.nn.module:Module.pop_cache",
    seen_in="common: a cache that is read and never cleared",
    symptom="a backward pass too many goes unnoticed, memory is held until the next "
    "step, and a module that is called twice uses one cache twice",
)
def cache_not_popped(self: Module) -> Any:
    """Look at the latest cache and leave it where it is."""
    cache = right_pop(self)
    self.caches.append(cache)
    return cache


@bug(
    "npresnet.nn.module:Module.push_cache",
    seen_in="common: self.cache = ..., as in most hand-written layers",
    symptom="right until a module is called twice; its first call is then forgotten",
)
def cache_has_room_for_one(self: Module, cache: Any) -> None:
    """Keep the latest call's cache only."""
    if modes.is_keeping():
        self.caches[:] = [cache]


@bug(
    "npresnet.nn.parameter:Parameter.accumulate",
    seen_in="common: param.grad = grad",
    symptom="right until a gradient comes from two places or in two parts: shared "
    "weights and accumulated batches lose all but the last",
)
def gradients_overwritten(self: Parameter, grad: Array | None) -> None:
    """Set the gradient instead of adding to it."""
    if grad is not None and not modes.is_replaying():
        self.grad = grad


@bug(
    "npresnet.nn.parameter:Parameter.accumulate",
    seen_in="RESNET_NUMPY aliases gradients and adds to them in place",
    symptom="an array that somebody else holds changes when the next gradient comes",
)
def gradients_added_in_place(self: Parameter, grad: Array | None) -> None:
    """Keep the first gradient without a copy and add later ones into it."""
    if grad is None or modes.is_replaying():
        return
    if self.grad is None:
        self.grad = grad
    else:
        self.grad += grad


@bug(
    "npresnet.nn.module:Module.zero_grad",
    seen_in="common: the loop over one's own parameters forgets one's children's",
    symptom="gradients of all batches so far add up; the loss falls, then explodes",
)
def zero_grad_misses_children(self: Module) -> None:
    """Forget the gradients of this module's own parameters only."""
    for parameter in self._parameters.values():
        parameter.zero_grad()


@bug(
    "npresnet.nn.module:Module.train",
    seen_in="resnet-numpy-cifar10 never reaches its batch norms",
    symptom="model.eval() changes nothing: results depend on the batch, and "
    "evaluating moves the running statistics",
)
def modes_stay_at_the_top(self: Module, mode: bool = True) -> Module:
    """Switch this module's mode and not that of the modules inside."""
    self.training = mode
    return self


@bug(
    "npresnet.nn.module:Module.state_dict",
    seen_in="common: best = model.state_dict(), kept while training goes on",
    symptom="the best epoch's weights turn out to be the last epoch's",
)
def state_dict_shares_memory(self: Module) -> dict[str, NDArray[Any]]:
    """Return the arrays themselves instead of copies."""
    return dict(self._named_state())


@bug(
    "npresnet.nn.container:Sequential.backward",
    seen_in="a textbook slip: for layer in layers, both ways",
    symptom="an error if shapes differ; nonsense if they do not",
)
def backward_in_forward_order(
    self: Sequential, grad_output: Array, input_grad: bool = True
) -> Gradient:
    """Go backward through the modules from first to last."""
    grad = grad_output
    for module in self:
        grad = module.backward(grad)
    return grad if input_grad else None
