"""Exercises of notebook 06: shortcuts and bottlenecks."""

from __future__ import annotations

import numpy as np

from npresnet.course.exercise import Exercise, Mistake
from npresnet.course.judging import by_cases, by_value


def bottleneck_parameters(in_channels, channels, projected):
    wide = 4 * channels
    convolutions = in_channels * channels + 9 * channels**2 + channels * wide
    norms = 2 * (channels + channels + wide)
    shortcut = in_channels * wide + 2 * wide if projected else 0
    return convolutions + norms + shortcut


def _norms_forgotten(in_channels, channels, projected):
    wide = 4 * channels
    shortcut = in_channels * wide if projected else 0
    return in_channels * channels + 9 * channels**2 + channels * wide + shortcut


def _norm_of_projection_forgotten(in_channels, channels, projected):
    whole = bottleneck_parameters(in_channels, channels, projected)
    return whole - (8 * channels if projected else 0)


def _not_expanded(in_channels, channels, projected):
    convolutions = in_channels * channels + 9 * channels**2 + channels**2
    shortcut = in_channels * channels + 2 * channels if projected else 0
    return convolutions + 6 * channels + shortcut


def _always_projected(in_channels, channels, projected):
    return bottleneck_parameters(in_channels, channels, True)


def _shortcut_forgotten(in_channels, channels, projected):
    return bottleneck_parameters(in_channels, channels, False)


def _with_biases(in_channels, channels, projected):
    biases = 6 * channels + (4 * channels if projected else 0)
    return bottleneck_parameters(in_channels, channels, projected) + biases


def branch_macs(in_channels, channels, size, stride, stride_in):
    small = size // stride
    first = small if stride_in == "1x1" else size
    return (
        in_channels * channels * first**2
        + 9 * channels**2 * small**2
        + channels * 4 * channels * small**2
    )


def _first_always_small(in_channels, channels, size, stride, stride_in):
    return branch_macs(in_channels, channels, size, stride, "1x1")


def _first_always_large(in_channels, channels, size, stride, stride_in):
    return branch_macs(in_channels, channels, size, stride, "3x3")


def _middle_large(in_channels, channels, size, stride, stride_in):
    right = branch_macs(in_channels, channels, size, stride, stride_in)
    if stride_in == "1x1":
        return right
    small = size // stride
    return right + 9 * channels**2 * (size**2 - small**2)


def _stride_ignored(in_channels, channels, size, stride, stride_in):
    return branch_macs(in_channels, channels, size, 1, stride_in)


def _halved_once(in_channels, channels, size, stride, stride_in):
    small = size * size // stride
    first = small if stride_in == "1x1" else size * size
    return in_channels * channels * first + 13 * channels**2 * small


def zero_pad(x, out_channels, stride):
    taken = x[:, :, ::stride, ::stride]
    N, C, OH, OW = taken.shape
    first = (out_channels - C) // 2
    out = np.zeros((N, out_channels, OH, OW))
    out[:, first : first + C] = taken
    return out


def _padded_behind(x, out_channels, stride):
    taken = x[:, :, ::stride, ::stride]
    out = np.zeros((len(x), out_channels, *taken.shape[2:]))
    out[:, : x.shape[1]] = taken
    return out


def _padded_in_front(x, out_channels, stride):
    taken = x[:, :, ::stride, ::stride]
    out = np.zeros((len(x), out_channels, *taken.shape[2:]))
    out[:, out_channels - x.shape[1] :] = taken
    return out


def _first_taken_last(x, out_channels, stride):
    shifted = np.roll(x, (1 - stride, 1 - stride), axis=(2, 3))
    return zero_pad(shifted, out_channels, stride)


def _averaged(x, out_channels, stride):
    N, C, H, W = x.shape
    OH, OW = -(-H // stride), -(-W // stride)
    pooled = np.zeros((N, C, OH, OW))
    for u in range(OH):
        for v in range(OW):
            window = x[:, :, u * stride : (u + 1) * stride]
            window = window[..., v * stride : (v + 1) * stride]
            pooled[:, :, u, v] = window.mean(axis=(2, 3))
    return zero_pad(pooled, out_channels, 1)


def _size_kept(x, out_channels, stride):
    return zero_pad(x, out_channels, 1)


def zero_pad_backward(g, x_shape, stride):
    C = x_shape[1]
    first = (g.shape[1] - C) // 2
    grad_x = np.zeros(x_shape)
    grad_x[:, :, ::stride, ::stride] = g[:, first : first + C]
    return grad_x


def _repeated(g, x_shape, stride):
    C, H, W = x_shape[1:]
    first = (g.shape[1] - C) // 2
    taken = g[:, first : first + C]
    return taken.repeat(stride, axis=2).repeat(stride, axis=3)[:, :, :H, :W]


def _shared_out(g, x_shape, stride):
    return _repeated(g, x_shape, stride) / stride**2


def _first_channels(g, x_shape, stride):
    grad_x = np.zeros(x_shape)
    grad_x[:, :, ::stride, ::stride] = g[:, : x_shape[1]]
    return grad_x


def _zeros_divided_by_the_stride(g, x_shape, stride):
    return zero_pad_backward(g, x_shape, stride) / stride**2


def _images():
    rng = np.random.default_rng(6)
    return [
        (rng.standard_normal((N, C, H, W)), K, stride)
        for N, C, H, W, K, stride in [
            (2, 2, 4, 4, 4, 2),
            (1, 3, 5, 6, 6, 2),
            (2, 1, 6, 6, 4, 3),
        ]
    ]


def _gradients():
    rng = np.random.default_rng(7)
    return [
        (rng.standard_normal((N, K, -(-H // S), -(-W // S))), (N, C, H, W), S)
        for N, C, H, W, K, S in [
            (2, 2, 4, 4, 4, 2),
            (1, 3, 5, 6, 6, 2),
            (2, 1, 6, 6, 4, 3),
        ]
    ]


EXERCISES = (
    Exercise(
        "06.1",
        solution=132_096,
        judge=by_value(),
        hints=(
            "A projection is a 1x1 convolution without bias, and batch norm.",
            "The convolution has (K, C, 1, 1) weights, batch norm two per channel out.",
        ),
        because="256 * 512 weights, and 2 * 512 of batch norm.",
        mistakes=(
            Mistake(131_072, "batch norm has parameters, too."),
            Mistake(131_584, "batch norm has two for each channel."),
            Mistake(132_608, "the convolution has no bias: batch norm follows."),
            Mistake(1_180_672, "that would be 3x3."),
            Mistake(0, "that is the identity, or shortcut A."),
        ),
    ),
    Exercise(
        "06.2",
        solution=bottleneck_parameters,
        judge=by_cases(
            [(64, 64, True), (256, 64, False), (256, 128, True), (2048, 512, False)]
        ),
        hints=(
            "Three convolutions without bias, a batch norm behind each.",
            "1x1 from in_channels to channels, 3x3 from channels to channels, 1x1 from "
            "channels to 4*channels. A projection goes from in_channels to 4*channels.",
        ),
        because="(64, 64, True) and (256, 64, False) are the first two blocks of "
        "ResNet-50: 75,008 and 70,400.",
        mistakes=(
            Mistake(_norms_forgotten, "batch norms have parameters: two a channel."),
            Mistake(
                _norm_of_projection_forgotten,
                "right without a projection. A projection has a batch norm, too.",
            ),
            Mistake(_not_expanded, "the last 1x1 makes four times as many channels."),
            Mistake(_always_projected, "an identity has no parameters."),
            Mistake(_shortcut_forgotten, "right without a projection; where is it?"),
            Mistake(_with_biases, "no convolution has a bias: batch norm follows."),
        ),
    ),
    Exercise(
        "06.3",
        solution=branch_macs,
        judge=by_cases(
            [
                (256, 128, 56, 2, "3x3"),
                (256, 128, 56, 2, "1x1"),
                (256, 64, 56, 1, "3x3"),
                (1024, 512, 14, 2, "3x3"),
            ]
        ),
        hints=(
            "MACs are weights times places *out*.",
            "All layers behind the stride have (size // stride)**2 places. Which one "
            "has the stride?",
        ),
        because="A layer with a stride computes at the places that are left, so it is "
        "cheap already itself.",
        mistakes=(
            Mistake(_first_always_small, "in v1.5 the first 1x1 sees the whole plane."),
            Mistake(_first_always_large, "in v1 the first 1x1 has the stride."),
            Mistake(
                _middle_large,
                "behind the stride there are fewer places, and only places out cost.",
            ),
            Mistake(_stride_ignored, "right where the stride is 1."),
            Mistake(_halved_once, "the stride halves height *and* width."),
        ),
    ),
    Exercise(
        "06.4",
        solution=zero_pad,
        judge=by_cases(_images),
        hints=(
            "x[:, :, ::stride, ::stride], put into an array of zeros.",
            "It begins at channel (out_channels - C) // 2.",
        ),
        because="No arithmetic at all: pixels are picked, zeros are added around.",
        mistakes=(
            Mistake(_padded_behind, "the zeros go on both sides, half in front."),
            Mistake(_padded_in_front, "the zeros go on both sides, half behind."),
            Mistake(_first_taken_last, "the first pixel is taken, then every next."),
            Mistake(_averaged, "pixels are taken as they are; nothing is averaged."),
            Mistake(_size_kept, "the plane becomes smaller by the stride."),
        ),
    ),
    Exercise(
        "06.5",
        solution=zero_pad_backward,
        judge=by_cases(_gradients),
        hints=(
            "Which numbers of g belong to pixels of x, and to which?",
            "Zeros everywhere; then assign to grad_x[:, :, ::stride, ::stride].",
        ),
        because="What came to the channels of zeros is lost, and pixels that were left "
        "out get nothing.",
        mistakes=(
            Mistake(_repeated, "pixels that were left out get 0."),
            Mistake(_shared_out, "nothing is shared out: one pixel was taken."),
            Mistake(_first_channels, "x does not begin at channel 0 of the output."),
            Mistake(_zeros_divided_by_the_stride, "pixels were taken as they were."),
        ),
    ),
    Exercise(
        "06.6",
        solution=231_211_008,
        judge=by_value(),
        hints=(
            "Only the first 1x1 of blocks with stride 2 differs. How many are there?",
            "Three. Each has C*K*H*W MACs in v1.5 and a quarter of these in v1.",
        ),
        because="3 * (256 * 128 * 56**2) * 3/4: stages 2, 3 and 4 cost the same, for "
        "channels double when height and width halve.",
        mistakes=(
            Mistake(77_070_336, "that is one block; three stages begin with one."),
            Mistake(
                308_281_344,
                "a third too much: in v1 the first 1x1 still costs a quarter, and the "
                "first of the four stages has no stride.",
            ),
            Mistake(102_760_448, "that is one such layer in v1.5, not the difference."),
        ),
    ),
)
