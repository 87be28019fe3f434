"""Residual blocks gone wrong: the addition, the fork, the ReLU behind it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from npresnet.functional.shortcut import ZeroPadShortcutCache
from npresnet.functional.shortcut import zero_pad_shortcut_backward as right_backward
from npresnet.lens.bugs.registry import bug
from npresnet.models.blocks import ResidualBlock
from npresnet.nn import Gradient

Array = NDArray[np.floating[Any]]

_FORWARD = "npresnet.models.blocks:ResidualBlock.forward"
_BACKWARD = "npresnet.models.blocks:ResidualBlock.backward"


@bug(
    _BACKWARD,
    seen_in="common: addition is thought to need no backward pass",
    symptom="a residual network that trains like a plain one: gradients fade with "
    "depth",
)
def shortcut_gradient_forgotten(
    self: ResidualBlock, grad_output: Array, input_grad: bool = True
) -> Gradient:
    """Return the branch's gradient alone."""
    grad_sum = self.relu.backward(grad_output)
    grad_branch = self.branch_backward(grad_sum, input_grad)
    self.shortcut_backward(grad_sum, input_grad)
    return grad_branch


@bug(
    _BACKWARD,
    seen_in="a textbook slip: the gradient of x + F(x) taken for that of x",
    symptom="gradients of all blocks are alike; the first layers learn what the last "
    "one should",
)
def branch_gradient_forgotten(
    self: ResidualBlock, grad_output: Array, input_grad: bool = True
) -> Gradient:
    """Return the shortcut's gradient alone."""
    grad_sum = self.relu.backward(grad_output)
    self.branch_backward(grad_sum, input_grad)
    return self.shortcut_backward(grad_sum, input_grad)


@bug(
    _BACKWARD,
    seen_in="a textbook slip: a fork's gradients add",
    symptom="gradients halve with every block: those of the first of n blocks are "
    "2**n times too small",
)
def fork_gradient_averaged(
    self: ResidualBlock, grad_output: Array, input_grad: bool = True
) -> Gradient:
    """Average the gradients of branch and shortcut instead of adding them."""
    grad_sum = self.relu.backward(grad_output)
    grad_branch = self.branch_backward(grad_sum, input_grad)
    grad_shortcut = self.shortcut_backward(grad_sum, input_grad)
    return (grad_branch + grad_shortcut) / 2 if input_grad else None


@bug(
    _BACKWARD,
    seen_in="RESNET_NUMPY: grad += output_grad, on an array with a second name",
    symptom="the branch's gradient counts twice; gradients grow with depth",
)
def aliased_gradient_counts_branch_twice(
    self: ResidualBlock, grad_output: Array, input_grad: bool = True
) -> Gradient:
    """Add to the gradient in place and use the changed array as the shortcut's."""
    grad_sum = self.relu.backward(grad_output)
    grad = grad_sum  # a second name, not a copy
    grad_branch = self.branch_backward(grad_sum, input_grad)
    if input_grad:
        grad += grad_branch if grad_branch.shape == grad.shape else 0
    grad_shortcut = self.shortcut_backward(grad_sum, input_grad)
    return grad_branch + grad_shortcut if input_grad else None


@bug(
    _FORWARD,
    seen_in="RESNET_NUMPY aliases its buffers; `out += identity` in many others",
    symptom="the right output, but wrong weight gradients in the branch's first "
    "convolution, whose kept input has changed",
)
def in_place_addition_corrupts_cache(self: ResidualBlock, x: Array) -> Array:
    """Add the branch to the shortcut in place, and so to the x that was kept."""
    branch = self.branch_forward(x)
    shortcut = self.shortcut_forward(x)
    shortcut += branch  # where the shortcut is the identity, this is x
    out: Array = self.relu(shortcut)
    return out


@bug(
    _BACKWARD,
    seen_in="common: the ReLU after the addition belongs to no list of layers",
    symptom="gradients pass where the block's output was cut off: they are too large "
    "and many",
)
def relu_after_sum_forgotten(
    self: ResidualBlock, grad_output: Array, input_grad: bool = True
) -> Gradient:
    """Go backward as if there were no ReLU after the addition."""
    self.relu.pop_cache()
    grad_branch = self.branch_backward(grad_output, input_grad)
    grad_shortcut = self.shortcut_backward(grad_output, input_grad)
    return grad_branch + grad_shortcut if input_grad else None


@bug(
    _BACKWARD,
    seen_in="a textbook slip: the shortcut is taken to begin behind the ReLU",
    symptom="the shortcut carries gradients that the ReLU should have stopped",
)
def relu_masks_the_branch_only(
    self: ResidualBlock, grad_output: Array, input_grad: bool = True
) -> Gradient:
    """Send the branch through the last ReLU, but not the shortcut."""
    grad_branch = self.branch_backward(self.relu.backward(grad_output), input_grad)
    grad_shortcut = self.shortcut_backward(grad_output, input_grad)
    return grad_branch + grad_shortcut if input_grad else None


def _backward_of_relu_first(
    self: ResidualBlock, grad_output: Array, input_grad: bool = True
) -> Gradient:
    grad_branch = self.branch_backward(self.relu.backward(grad_output), input_grad)
    grad_shortcut = self.shortcut_backward(grad_output, input_grad)
    return grad_branch + grad_shortcut if input_grad else None


@bug(
    _FORWARD,
    seen_in="common; numpy-ml's module has its activation before batch norm",
    symptom="gradient checks pass, for the two passes agree, but it is another "
    "network: blocks can only add, and foreign weights give nonsense",
    also={_BACKWARD: _backward_of_relu_first},
)
def relu_before_the_addition(self: ResidualBlock, x: Array) -> Array:
    """Compute relu(F(x)) + x instead of relu(F(x) + x)."""
    branch: Array = self.relu(self.branch_forward(x))
    return branch + self.shortcut_forward(x)


@bug(
    "npresnet.functional.shortcut:_first_channel",
    seen_in="common; the paper does not say, akamaster pads both sides",
    symptom="trains as well as any, but akamaster's weights give nonsense",
)
def option_a_pads_behind_only(channels: int, out_channels: int) -> int:
    """Put all channels of zeros behind the input's instead of half in front."""
    return 0


@bug(
    "npresnet.functional.shortcut:zero_pad_shortcut_backward",
    seen_in="a textbook slip: upsampling taken for the transpose of subsampling",
    symptom="pixels that were left out get gradients: four times too much in all",
)
def option_a_gradient_repeated(
    grad_output: Array, cache: ZeroPadShortcutCache
) -> Array:
    """Repeat each gradient over the pixels that were skipped, where 0 belongs."""
    grad_x = right_backward(grad_output, cache)
    step = cache.stride
    taken = grad_x[:, :, ::step, ::step]
    repeated = taken.repeat(step, axis=2).repeat(step, axis=3)
    return repeated[:, :, : grad_x.shape[2], : grad_x.shape[3]]
