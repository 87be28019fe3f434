"""ReLU over flat arrays, in pieces that threads share."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from npresnet.backend.kernels.compile import dense, kernel
from npresnet.backend.threads import share_out

Array = NDArray[np.floating[Any]]

_PIECE = 1 << 15  # elements of one block: a piece stays in the cache


def relu(x: Array) -> Array:
    """See `reference.relu`."""
    x = dense(x)
    out = np.empty_like(x)
    share_out(_relu, -(-x.size // _PIECE), out.reshape(-1), x.reshape(-1), _PIECE)
    return out


def relu_grad(grad_output: Array, out: Array) -> Array:
    """See `reference.relu_grad`."""
    grad_output, out = dense(grad_output), dense(out)
    grad_input = np.empty_like(grad_output)
    flat = (grad_input.reshape(-1), grad_output.reshape(-1), out.reshape(-1))
    share_out(_relu_grad, -(-out.size // _PIECE), *flat, _PIECE)
    return grad_input


@kernel
def _relu(out, x, piece, first, last):
    out = out[first * piece : last * piece]
    x = x[first * piece : last * piece]
    zero = x.dtype.type(0)
    for i in range(len(x)):
        out[i] = zero if x[i] <= zero else x[i]


@kernel
def _relu_grad(grad_input, grad_output, out, piece, first, last):
    grad_input = grad_input[first * piece : last * piece]
    grad_output = grad_output[first * piece : last * piece]
    out = out[first * piece : last * piece]
    zero = out.dtype.type(0)
    for i in range(len(out)):
        grad_input[i] = zero if out[i] <= zero else grad_output[i]
