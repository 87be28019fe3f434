"""Optimisers gone wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npresnet.lens.bugs.registry import bug
from npresnet.optim import SGD, AdamW, Optimizer
from npresnet.optim.groups import HasNamedParameters
from npresnet.optim.groups import parameter_groups as right_parameter_groups

Array = NDArray[Any]
Slots = dict[str, Array]
Group = Mapping[str, Any]

right_sgd = SGD._update
right_adamw = AdamW._update


@bug(
    "npresnet.optim.sgd:SGD._update",
    seen_in="common: decoupled decay where PyTorch's SGD couples it",
    symptom="other weights than PyTorch's from the second step on, wherever there is "
    "momentum",
)
def weight_decay_after_momentum(
    self: SGD, data: Array, grad: Array, slots: Slots, group: Group
) -> None:
    """Add the decay to the step instead of to the gradient: momentum misses it."""
    decay = float(group["weight_decay"]) * data
    right_sgd(self, data, grad, slots, {**group, "weight_decay": 0.0})
    data -= self.lr * decay


@bug(
    "npresnet.optim.sgd:SGD._update",
    seen_in="a textbook slip: the look-ahead is computed before the velocity",
    symptom="Nesterov behaves like momentum that is one step late",
)
def nesterov_looks_back(
    self: SGD, data: Array, grad: Array, slots: Slots, group: Group
) -> None:
    """Look ahead along the velocity of the step before."""
    if not group["nesterov"]:
        right_sgd(self, data, grad, slots, group)
        return
    momentum = float(group["momentum"])
    grad = grad + float(group["weight_decay"]) * data
    before = slots.get("momentum_buffer", np.zeros_like(data))
    slots["momentum_buffer"] = momentum * before + grad
    data -= self.lr * (grad + momentum * before)


@bug(
    "npresnet.optim.sgd:SGD._update",
    seen_in="common: momentum as a running mean, as in Adam",
    symptom="steps are 1 - momentum times as large as with PyTorch: ten times too "
    "small with 0.9",
)
def momentum_is_a_running_mean(
    self: SGD, data: Array, grad: Array, slots: Slots, group: Group
) -> None:
    """Weigh the new gradient with 1 - momentum."""
    right_sgd(self, data, grad, slots, {**group, "dampening": group["momentum"]})


@bug(
    "npresnet.optim.sgd:SGD._update",
    seen_in="a textbook slip: buffer = grad, without a copy",
    symptom="the first gradient's part of the momentum vanishes when gradients are "
    "zeroed, and gradients change under the user's hands",
)
def momentum_buffer_is_the_gradient(
    self: SGD, data: Array, grad: Array, slots: Slots, group: Group
) -> None:
    """Start the momentum with the gradient's own array."""
    if group["momentum"] and not slots and not group["weight_decay"]:
        slots["momentum_buffer"] = grad
        nesterov = float(group["momentum"]) if group["nesterov"] else 0.0
        data -= self.lr * (grad + nesterov * grad)
    else:
        right_sgd(self, data, grad, slots, group)


@bug(
    "npresnet.optim.optimizer:Optimizer.zero_grad",
    seen_in="common: the forgotten line of a training loop",
    symptom="every step follows the sum of all gradients so far; the loss falls, then "
    "explodes",
)
def optimizer_forgets_to_zero(self: Optimizer) -> None:
    """Leave the gradients of the step before in place, to be added to."""


@bug(
    "npresnet.optim.adamw:AdamW._update",
    seen_in="a textbook slip: algorithm 1 without its last two lines",
    symptom="the first steps are about three times too large, then all is well",
)
def adam_bias_correction_forgotten(
    self: AdamW, data: Array, grad: Array, slots: Slots, group: Group
) -> None:
    """Use the running means as they are, although they start at 0."""
    beta1, beta2 = group["betas"]
    mean = slots.setdefault("exp_avg", np.zeros_like(data))
    square = slots.setdefault("exp_avg_sq", np.zeros_like(data))
    mean += (1 - beta1) * (grad - mean)
    square += (1 - beta2) * (grad * grad - square)
    data *= 1 - self.lr * float(group["weight_decay"])
    data -= self.lr * mean / (np.sqrt(square) + float(group["eps"]))


@bug(
    "npresnet.optim.adamw:AdamW._update",
    seen_in="common: what most libraries called Adam with weight decay before arXiv "
    "1711.05101",
    symptom="weights with large gradients are hardly decayed; results are worse "
    "than AdamW's",
)
def adamw_decays_through_the_gradient(
    self: AdamW, data: Array, grad: Array, slots: Slots, group: Group
) -> None:
    """Add the decay to the gradient, where Adam's scaling undoes it."""
    decayed = grad + float(group["weight_decay"]) * data
    right_adamw(self, data, decayed, slots, {**group, "weight_decay": 0.0})


@bug(
    "npresnet.optim.groups:parameter_groups",
    seen_in="common: fast recipes spare batch norm and biases, the paper decays all "
    "(mxnet PR #2046)",
    symptom="a paper's result is missed by a little",
)
def weight_decay_spares_norm_unasked(
    model: HasNamedParameters, weight_decay: float, spare_norm_and_bias: bool = False
) -> list[dict[str, Any]]:
    """Leave batch norm and biases without decay although all was asked for."""
    return right_parameter_groups(model, weight_decay, spare_norm_and_bias=True)
