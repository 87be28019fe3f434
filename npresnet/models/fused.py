"""The blocks' passes once more, with fewer passes over memory.

`blocks` is the code to read: the same layers in the same order, with the same caches.
Here batch norm, the addition and the ReLU behind it are one operation, which is what
training takes unless somebody watches the layers (`npresnet.nn.layer_by_layer`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from npresnet import backend
from npresnet.nn import Gradient, modes
from npresnet.nn.fused import forget_input, norm_relu, norm_relu_backward

if TYPE_CHECKING:
    from npresnet.models.blocks import ResidualBlock

Array = NDArray[np.floating[Any]]


def applies(block: ResidualBlock) -> bool:
    """Tell whether a block is as we wrote it, and nobody watches its layers."""
    if not modes.is_fusing() or type(block).__module__ != "npresnet.models.blocks":
        return False
    own = vars(block)  # somebody may have replaced a method
    return "branch_forward" not in own and "branch_backward" not in own


def forward(block: ResidualBlock, x: Array) -> Array:
    """Compute relu(F(x) + shortcut(x)), or relu(F(x)) without a shortcut."""
    (first_conv, bn), *others = block.layers()
    out = first_conv(x)
    for conv, next_bn in others:
        rectified = norm_relu(bn, block.relu, out)
        out = conv(rectified)
        forget_input(conv, bn, block.relu)
        bn = next_bn
    shortcut = block.shortcut_forward(x) if block.has_shortcut else None
    return norm_relu(bn, block.relu, out, shortcut)


def backward(block: ResidualBlock, grad_output: Array, input_grad: bool) -> Gradient:
    """Go backward along both ways, if there are two."""
    *first, (last_conv, last_bn) = block.layers()
    grad, grad_sum = norm_relu_backward(
        last_bn, block.relu, grad_output, added=block.has_shortcut
    )
    grad_branch = last_conv.backward(grad)
    for number, (conv, bn) in reversed(list(enumerate(first))):
        grad, _ = norm_relu_backward(bn, block.relu, grad_branch)
        grad_branch = conv.backward(grad, input_grad or number > 0)
    if grad_sum is None:
        return grad_branch
    grad_shortcut = block.shortcut_backward(grad_sum, input_grad)
    return backend.add(grad_branch, grad_shortcut) if input_grad else None
