"""How a window moves over a plane: the numbers that a convolution or a pool needs."""

from __future__ import annotations

import functools
import operator
from typing import NamedTuple

from npresnet._arguments import shown

Pair = tuple[int, int]


def output_length(
    length: int, kernel_size: int, stride: int, padding: int, dilation: int
) -> int:
    """Count the places a window takes along one axis: PyTorch's floor formula.

    ``floor((length + 2*padding - dilation*(kernel_size - 1) - 1) / stride) + 1``;
    pixels that the last step cannot reach are left over.
    """
    reach = dilation * (kernel_size - 1) + 1
    return (length + 2 * padding - reach) // stride + 1


def pooled_length(
    length: int,
    kernel_size: int,
    stride: int,
    padding: int,
    dilation: int,
    ceil_mode: bool,
) -> int:
    """Count the places of a pooling window along one axis, rounded down or up.

    Rounded up, the pixels left over get a window as well, which reaches beyond the
    border; not if it would begin there, beyond the image, as in PyTorch.
    """
    places = output_length(length, kernel_size, stride, padding, dilation)
    reach = dilation * (kernel_size - 1) + 1
    left_over = (length + 2 * padding - reach) % stride > 0
    if ceil_mode and left_over and places * stride < length + padding:
        places += 1
    return places


class Geometry(NamedTuple):
    """Sizes and steps of a sliding window, each as (vertical, horizontal), in pixels.

    Attributes
    ----------
    input_size : tuple of int
        Height and width ``(H, W)`` of the plane, without padding.
    kernel_size, stride, padding, dilation : tuple of int
        As in PyTorch; the padding is added on both sides.
    output_size : tuple of int
        ``(OH, OW)``, see `output_length`.
    groups : int
        Number of groups into which a convolution's channels fall; 1 for a pool.
    """

    input_size: Pair
    kernel_size: Pair
    stride: Pair
    padding: Pair
    dilation: Pair
    output_size: Pair
    groups: int = 1

    @property
    def overhang(self) -> Pair:
        """By how many pixels the last window reaches beyond the border, if it does."""

        def beyond(axis: int) -> int:
            last = (self.output_size[axis] - 1) * self.stride[axis]
            end = last + self.dilation[axis] * (self.kernel_size[axis] - 1) + 1
            return max(0, end - self.input_size[axis] - 2 * self.padding[axis])

        return beyond(0), beyond(1)

    @classmethod
    def of(
        cls,
        input_size: Pair,
        kernel_size: int | Pair,
        stride: int | Pair = 1,
        padding: int | Pair = 0,
        dilation: int | Pair = 1,
        groups: int = 1,
        *,
        ceil_mode: bool = False,
    ) -> Geometry:
        """Work out the output size, and refuse numbers that make no sense.

        With `ceil_mode` it is rounded up: see `pooled_length`.

        Raises
        ------
        TypeError
            If a number is not an int or a pair of ints.
        ValueError
            If a number is out of range, or the window does not fit into the
            padded plane.
        """
        kernel_size = as_pair("kernel_size", kernel_size, least=1)
        stride = as_pair("stride", stride, least=1)
        padding = as_pair("padding", padding, least=0)
        dilation = as_pair("dilation", dilation, least=1)
        length = output_length
        if ceil_mode:
            length = functools.partial(pooled_length, ceil_mode=True)
        output_size = (
            length(input_size[0], kernel_size[0], stride[0], padding[0], dilation[0]),
            length(input_size[1], kernel_size[1], stride[1], padding[1], dilation[1]),
        )
        if min(output_size) < 1:
            raise ValueError(
                f"kernel_size {kernel_size} with dilation {dilation} does not fit into "
                f"an input of {input_size[0]}x{input_size[1]} pixels padded by "
                f"{padding}"
            )
        return cls(
            input_size, kernel_size, stride, padding, dilation, output_size, groups
        )


def as_pair(name: str, value: int | Pair, *, least: int) -> Pair:
    """Return `value` as (vertical, horizontal); a single int stands for both."""
    if type(value) is int and value >= least:
        return value, value
    if type(value) is tuple and len(value) == 2:
        first, second = value  # as everything is that has been here before
        if type(first) is type(second) is int and first >= least <= second:
            return value
    pair = tuple(value) if isinstance(value, tuple | list) else (value, value)
    try:
        vertical, horizontal = map(_as_int, pair)
    except (TypeError, ValueError):
        raise TypeError(
            f"{name} must be an int or a pair of ints, got {shown(value)}"
        ) from None
    if min(vertical, horizontal) < least:
        raise ValueError(f"{name} must be at least {least}, got {shown(value)}")
    return vertical, horizontal


def _as_int(value: object) -> int:
    if isinstance(value, bool):
        raise TypeError
    return operator.index(value)  # type: ignore[arg-type]
