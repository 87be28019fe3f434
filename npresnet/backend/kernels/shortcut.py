"""The shortcut without parameters, a pixel's channels at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from npresnet.backend.kernels.channels_last import empty_images, pixels
from npresnet.backend.kernels.compile import kernel
from npresnet.backend.threads import parallel_for

Array = NDArray[np.floating[Any]]


def zero_pad_shortcut(x: Array, out_channels: int, first: int, stride: int) -> Array:
    """See `reference.zero_pad_shortcut`; exactly equal."""
    N, _, H, W = x.shape
    shape = N, out_channels, -(-H // stride), -(-W // stride)
    out = empty_images(shape, x.dtype)
    parallel_for(_take, N, pixels(out), pixels(x), first, stride)
    return out


def zero_pad_shortcut_grad(
    grad_output: Array, x_shape: tuple[int, ...], first: int, stride: int
) -> Array:
    """See `reference.zero_pad_shortcut_grad`; exactly equal."""
    grad_x = empty_images(x_shape, grad_output.dtype)
    arguments = (pixels(grad_x), pixels(grad_output), first, stride)
    parallel_for(_bring_back, len(grad_x), *arguments)
    return grad_x


@kernel
def _take(out, x, channel, stride, first, last):
    C = x.shape[3]
    for n in range(first, last):
        for h in range(out.shape[1]):
            for w in range(out.shape[2]):
                pixel, source = out[n, h, w], x[n, h * stride, w * stride]
                pixel[:channel] = 0
                taken = pixel[channel : channel + C]
                for c in range(C):
                    taken[c] = source[c]
                pixel[channel + C :] = 0


@kernel
def _bring_back(grad_x, grad_output, channel, stride, first, last):
    _, H, W, C = grad_x.shape
    for n in range(first, last):
        grad_x[n] = 0
        for h in range(0, H, stride):
            for w in range(0, W, stride):
                pixel = grad_x[n, h, w]
                source = grad_output[n, h // stride, w // stride, channel:]
                for c in range(C):
                    pixel[c] = source[c]
