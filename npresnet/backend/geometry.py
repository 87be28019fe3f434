"""How a window moves over a plane: the numbers that a convolution or a pool needs."""

from __future__ import annotations

from typing import NamedTuple

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

    @classmethod
    def of(
        cls,
        input_size: Pair,
        kernel_size: int | Pair,
        stride: int | Pair = 1,
        padding: int | Pair = 0,
        dilation: int | Pair = 1,
        groups: int = 1,
    ) -> Geometry:
        """Work out the output size, and refuse numbers that make no sense.

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
        output_size = (
            output_length(
                input_size[0], kernel_size[0], stride[0], padding[0], dilation[0]
            ),
            output_length(
                input_size[1], kernel_size[1], stride[1], padding[1], dilation[1]
            ),
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
    pair = (value, value) if not isinstance(value, tuple | list) else tuple(value)
    if len(pair) != 2 or not all(_is_int(v) for v in pair):
        raise TypeError(f"{name} must be an int or a pair of ints, got {value!r}")
    if min(pair) < least:
        raise ValueError(f"{name} must be at least {least}, got {value!r}")
    return int(pair[0]), int(pair[1])


def _is_int(value: object) -> bool:
    return hasattr(value, "__index__") and not isinstance(value, bool)
