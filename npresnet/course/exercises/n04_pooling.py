"""Exercises of notebook 04: pooling."""

from __future__ import annotations

import numpy as np

from npresnet.course.exercise import Exercise, Mistake
from npresnet.course.judging import by_cases, by_value


def max_pool_backward(x, g, kernel_size, stride):
    grad_x = np.zeros(len(x))
    for u in range(len(g)):
        start = u * stride
        winner = start + x[start : start + kernel_size].argmax()  # the first of equals
        grad_x[winner] += g[u]
    return grad_x


def _last_window_only(x, g, kernel_size, stride):
    grad_x = np.zeros(len(x))
    for u in range(len(g)):
        start = u * stride
        grad_x[start + x[start : start + kernel_size].argmax()] = g[u]
    return grad_x


def _everybody(x, g, kernel_size, stride):
    grad_x = np.zeros(len(x))
    for u in range(len(g)):
        window = slice(u * stride, u * stride + kernel_size)
        grad_x[window] += g[u] * (x[window] == x[window].max())
    return grad_x


def _last_of_equals(x, g, kernel_size, stride):
    grad_x = np.zeros(len(x))
    for u in range(len(g)):
        start = u * stride
        window = x[start : start + kernel_size]
        grad_x[start + kernel_size - 1 - window[::-1].argmax()] += g[u]
    return grad_x


def _start_forgotten(x, g, kernel_size, stride):
    grad_x = np.zeros(len(x))
    for u in range(len(g)):
        grad_x[x[u * stride : u * stride + kernel_size].argmax()] += g[u]
    return grad_x


def _times_the_pixel(x, g, kernel_size, stride):
    return x * max_pool_backward(x, g, kernel_size, stride)


def average(x, kernel_size, stride, padding):
    places = (len(x) + 2 * padding - kernel_size) // stride + 1
    out = np.zeros(places)
    for u in range(places):
        start = u * stride - padding
        out[u] = x[max(start, 0) : start + kernel_size].mean()
    return out


def _border_counted(x, kernel_size, stride, padding):
    padded = np.pad(x, padding)
    return average(padded, kernel_size, stride, 0)


def _unpadded(x, kernel_size, stride, padding):
    return average(x, kernel_size, stride, 0)


def _padded_in_front(x, kernel_size, stride, padding):
    places = (len(x) + padding - kernel_size) // stride + 1
    return average(x, kernel_size, stride, padding)[:places]


def _sums(x, kernel_size, stride, padding):
    padded = np.pad(x, padding)
    return average(padded, kernel_size, stride, 0) * kernel_size


def bins(length, count):
    return [
        (u * length // count, -(-(u + 1) * length // count))  # -(-a // b) rounds up
        for u in range(count)
    ]


def _tiles(length, count):
    return [(u * length // count, (u + 1) * length // count) for u in range(count)]


def _rounded_up_both(length, count):
    return [
        (-(-u * length // count), -(-(u + 1) * length // count)) for u in range(count)
    ]


def _equal_windows(length, count):
    size = length // count
    return [(u * size, (u + 1) * size) for u in range(count)]


def _equal_windows_rounded_up(length, count):
    size = -(-length // count)
    return [(u * size, min((u + 1) * size, length)) for u in range(count)]


def _last_included(length, count):
    return [(start, stop - 1) for start, stop in bins(length, count)]


EXERCISES = (
    Exercise(
        "04.1",
        solution=(57, 56),
        judge=by_value(),
        hints=(
            "The formula is that of a convolution.",
            "floor((113 + 2 - 3)/2) + 1, and the same with 112.",
        ),
        because="floor(112/2) + 1 = 57 and floor(111/2) + 1 = 56.",
        mistakes=(
            Mistake((56, 56), "an odd size is halved upwards here."),
            Mistake((57, 57), "the width is even, and 111/2 is rounded down."),
            Mistake((56, 57), "the first number is the height, OH."),
            Mistake((56, 55), "there is a border of 1 on both sides."),
            Mistake((113, 112), "the stride is 2."),
            Mistake((37, 37), "the step is the stride, 2, not the window, 3."),
        ),
    ),
    Exercise(
        "04.2",
        solution=max_pool_backward,
        judge=by_cases(
            [
                (np.array([1.0, 4.0, 9.0, 3.0, 2.0]), np.array([1.0, 10.0]), 3, 2),
                (np.zeros(6), np.array([2.0, 3.0]), 3, 3),
                (
                    np.array([5.0, 5.0, 1.0, 7.0, 2.0, 7.0, 7.0]),
                    np.array([1.0, 2.0, 4.0, 8.0, 16.0]),
                    3,
                    1,
                ),
            ]
        ),
        hints=(
            "For every window: where does it start, and which of its pixels wins?",
            "x[start : start + kernel_size].argmax() counts from the window's start. A "
            "pixel may win more than one window.",
        ),
        because="Each window's gradient goes to one pixel; what meets there adds up.",
        mistakes=(
            Mistake(
                _last_window_only,
                "a pixel that wins two windows gets the sum: += instead of =.",
            ),
            Mistake(_everybody, "of equal pixels only the first gets the gradient."),
            Mistake(_last_of_equals, "of equal pixels the first wins, not the last."),
            Mistake(
                _start_forgotten,
                "argmax counts from the window's start, which moves by stride.",
            ),
            Mistake(
                _times_the_pixel,
                "the output is the pixel itself: its slope is 1, whatever its value.",
            ),
        ),
    ),
    Exercise(
        "04.3",
        solution=average,
        judge=by_cases(
            [
                (np.array([3.0, 6.0, 9.0]), 3, 1, 1),
                (np.array([1.0, 2.0, 4.0, 8.0, 16.0, 32.0]), 3, 2, 1),
                (np.array([1.0, 5.0, 2.0, 7.0, 3.0, 9.0, 4.0]), 4, 3, 2),
            ]
        ),
        hints=(
            "Window u starts at pixel u*stride - padding, which may be before the row.",
            "A slice that ends behind the row ends with the row; one that starts at a "
            "negative number does not start at 0. max(start, 0) does.",
        ),
        because="Cut the window at both ends of the row, and average what is left.",
        mistakes=(
            Mistake(
                _border_counted,
                "that divides by kernel_size, zeros and all: divide by what is inside.",
            ),
            Mistake(_unpadded, "the window starts before the row, by padding."),
            Mistake(_padded_in_front, "the border is at both ends."),
            Mistake(_sums, "that is the sum; divide by the number of pixels inside."),
        ),
    ),
    Exercise(
        "04.4",
        solution=bins,
        judge=by_cases([(5, 3), (8, 4), (7, 3), (3, 5), (10, 1), (7, 5)]),
        hints=(
            "Bin u would go from u*length/count to (u + 1)*length/count. In pixels?",
            "Starts are rounded down, ends up. -(-a // b) rounds a/b up.",
        ),
        because="Every pixel that a bin touches belongs to it.",
        mistakes=(
            Mistake(
                _tiles,
                "the starts are right. Ends are rounded up: bins share pixels, and "
                "with more bins than pixels none is empty.",
            ),
            Mistake(_rounded_up_both, "the ends are right; starts are rounded down."),
            Mistake(_equal_windows, "that leaves pixels over at the end."),
            Mistake(
                _equal_windows_rounded_up,
                "bins are spread evenly over the row; here the last ones get what is "
                "left, or nothing.",
            ),
            Mistake(_last_included, "stop is the first pixel behind the bin."),
        ),
    ),
    Exercise(
        "04.5",
        solution=(10, 15),
        judge=by_value(),
        hints=(
            "Five times halved. In which direction is an odd size rounded?",
            "300 becomes 150, 75, 38 ... and 450 becomes 225, 113 ...",
        ),
        because="300, 150, 75, 38, 19, 10 and 450, 225, 113, 57, 29, 15: rounded up.",
        mistakes=(
            Mistake((9, 14), "rounded up, not down, at every step."),
            Mistake((15, 10), "the first number is the height."),
            Mistake((19, 29), "that is one stage too early: five steps halve."),
            Mistake((1, 1), "that is behind the global average."),
            Mistake((7, 7), "that would be an image of 224x224."),
        ),
    ),
    Exercise(
        "04.6",
        solution=(0.02, 0.005),
        judge=by_value(),
        hints=(
            "How many pixels has the last feature map, and who gets how much?",
            "32x32 becomes 8x8, and the gradient is shared evenly.",
        ),
        because="1.28/64 and 1.28/256: the more pixels, the less for each.",
        mistakes=(
            Mistake((1.28, 1.28), "each pixel is only a part of the average."),
            Mistake((0.02, 0.02), "the last feature map grows with the image."),
            Mistake((0.16, 0.08), "a plane of 8x8 has 64 pixels."),
            Mistake(
                (0.00125, 0.0003125), "the network halves twice before the average."
            ),
            Mistake(
                (0.02, 0.01), "twice as high and twice as wide: four times as many."
            ),
        ),
    ),
)
