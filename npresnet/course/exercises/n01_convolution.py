"""Exercises of notebook 01: convolution by definition."""

from __future__ import annotations

import numpy as np

from npresnet.course.exercise import Exercise, Mistake
from npresnet.course.judging import by_cases, by_value


def output_length(length, kernel_size, stride, padding, dilation):
    reach = dilation * (kernel_size - 1) + 1
    return (length + 2 * padding - reach) // stride + 1


def _rounded_up(length, kernel_size, stride, padding, dilation):
    reach = dilation * (kernel_size - 1) + 1
    return -(-(length + 2 * padding - reach) // stride) + 1


def _padded_on_one_side(length, kernel_size, stride, padding, dilation):
    return output_length(length + padding, kernel_size, stride, 0, dilation)


def _without_dilation(length, kernel_size, stride, padding, dilation):
    return output_length(length, kernel_size, stride, padding, 1)


def _without_the_first(length, kernel_size, stride, padding, dilation):
    return output_length(length, kernel_size, stride, padding, dilation) - 1


def _dilated_kernel(length, kernel_size, stride, padding, dilation):
    return output_length(length, dilation * kernel_size, stride, padding, 1)


def left_over(length, kernel_size, stride, padding):
    return (length + 2 * padding - kernel_size) % stride


def _left_over_unpadded(length, kernel_size, stride, padding):
    return (length - kernel_size) % stride


def _left_over_of_the_stride(length, kernel_size, stride, padding):
    return (length + 2 * padding) % stride


def receptive_field(layers):
    size, step = 1, 1  # of one output pixel; image pixels between neighbours
    for kernel_size, stride in layers:
        size += (kernel_size - 1) * step
        step *= stride
    return size


def _strides_ignored(layers):
    return 1 + sum(kernel_size - 1 for kernel_size, _ in layers)


def _own_stride_first(layers):
    size, step = 1, 1
    for kernel_size, stride in layers:
        step *= stride
        size += (kernel_size - 1) * step
    return size


def _kernels_added(layers):
    return sum(kernel_size for kernel_size, _ in layers)


def _tap(row, column):
    kernel = np.zeros((3, 3))
    kernel[row, column] = 1
    return kernel


EXERCISES = (
    Exercise(
        "01.1",
        solution=(113, 112),
        judge=by_value(),
        hints=(
            "Height and width go through the formula one after the other.",
            "Height: (225 + 2*3 - 7)/2 = 112 exactly, and the first place counts, too.",
        ),
        because="floor((225 + 6 - 7)/2) + 1 = 113, floor((224 + 6 - 7)/2) + 1 = 112.",
        mistakes=(
            Mistake(
                (112, 112), "one pixel more of height has room for one more place."
            ),
            Mistake((113, 113), "the width is rounded down: 223/2 is no whole number."),
            Mistake((112, 113), "the first number is the height, OH."),
            Mistake((112, 111), "the place where the window starts counts, too: + 1."),
            Mistake((110, 109), "the border of 3 is on both sides."),
        ),
    ),
    Exercise(
        "01.2",
        solution=output_length,
        judge=by_cases(
            [
                (7, 3, 1, 0, 1),
                (8, 3, 2, 1, 1),
                (7, 3, 2, 1, 1),
                (224, 7, 2, 3, 1),
                (9, 3, 1, 2, 2),
                (5, 1, 2, 0, 1),
                (13, 4, 3, 2, 3),
            ]
        ),
        hints=(
            "From its first to its last tap a window covers "
            "dilation*(kernel_size - 1) + 1 pixels.",
            "It starts at 0 and moves by stride while its last pixel is inside. How "
            "often? In Python, // rounds down.",
        ),
        because="The start, and as many whole steps as what is left has room for.",
        mistakes=(
            Mistake(_rounded_up, "a last step that does not fit is not taken."),
            Mistake(_padded_on_one_side, "the padding is on both sides."),
            Mistake(_without_dilation, "it is right only without dilation."),
            Mistake(_without_the_first, "it is one too few: the start is a place."),
            Mistake(
                _dilated_kernel,
                "a dilated window ends at its last tap; there is no gap after that.",
            ),
        ),
    ),
    Exercise(
        "01.3",
        solution=73_728,
        judge=by_value(),
        hints=(
            "What is the shape of the weight?",
            "(K, C, KH, KW) = (128, 64, 3, 3).",
        ),
        because="128 kernels, each with 3x3 weights for each of 64 channels in.",
        mistakes=(
            Mistake(1_152, "each kernel has weights of its own for every channel in."),
            Mistake(576, "that is one kernel; there is one for each channel out."),
            Mistake(73_856, "that counts 128 biases, and there are none."),
            Mistake(8_192, "that would be 1x1."),
        ),
    ),
    Exercise(
        "01.4",
        solution=left_over,
        judge=by_cases(
            [(7, 3, 2, 0), (8, 3, 2, 0), (8, 3, 2, 1), (10, 3, 4, 1), (11, 5, 3, 2)]
        ),
        hints=(
            "Where does the last window end?",
            "It starts at stride*(OH - 1) and covers kernel_size pixels, of length + "
            "2*padding. Or: what remains of a division?",
        ),
        because="All steps that fit are taken, so less than one stride remains.",
        mistakes=(
            Mistake(_left_over_unpadded, "the window moves over the padded row."),
            Mistake(
                _left_over_of_the_stride,
                "the first window covers kernel_size pixels before any step.",
            ),
        ),
    ),
    Exercise(
        "01.5",
        solution=_tap(1, 0),
        judge=by_value(),
        hints=(
            "out[u, v] must be image[u, v - 1].",
            "With padding 1, tap (i, j) reads image[u + i - 1, v + j - 1].",
        ),
        because="Only tap (1, 0) reads: the left neighbour. The kernel is not turned.",
        mistakes=(
            Mistake(
                _tap(1, 2),
                "this takes the right neighbour, and the picture moves to the left. It "
                "would be right if the kernel were turned.",
            ),
            Mistake(_tap(1, 1), "this leaves the picture where it is."),
            Mistake(_tap(0, 1), "this moves it down."),
            Mistake(_tap(2, 1), "this moves it up."),
        ),
    ),
    Exercise(
        "01.6",
        solution=receptive_field,
        judge=by_cases(
            [
                ([(3, 1)],),
                ([(3, 1), (3, 1)],),
                ([(3, 2), (3, 1)],),
                ([(7, 2), (3, 2), (3, 1), (3, 1)],),
                ([(1, 2), (3, 1), (1, 1)],),
            ]
        ),
        hints=(
            "Two 3x3 layers see 5x5. Begin with one pixel, and let each layer add.",
            "A layer adds (kernel_size - 1) steps; after strides, one step of its is "
            "several pixels of the image.",
        ),
        because="A step of a layer is as many image pixels as all strides before it "
        "multiply to.",
        mistakes=(
            Mistake(
                _strides_ignored,
                "right without strides. After a stride of 2, neighbours in the feature "
                "map are two image pixels apart.",
            ),
            Mistake(
                _own_stride_first,
                "a layer's own stride moves its window; it does not spread its taps.",
            ),
            Mistake(_kernels_added, "windows of neighbours overlap: 3x3, 3x3 see 5."),
        ),
    ),
)
