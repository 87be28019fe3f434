"""Exercises of notebook 12: from seven loops to the limit of the machine."""

from __future__ import annotations

import numpy as np

from npresnet.course.exercise import Exercise, Mistake
from npresnet.course.judging import by_cases


def place_in_memory(shape, n, c, h, w):
    _, C, H, W = shape
    return ((n * H + h) * W + w) * C + c


def _channel_by_channel(shape, n, c, h, w):
    _, C, H, W = shape
    return ((n * C + c) * H + h) * W + w


def _columns_first(shape, n, c, h, w):
    _, C, H, W = shape
    return ((n * W + w) * H + h) * C + c


def _bytes_before(shape, n, c, h, w):
    return 4 * place_in_memory(shape, n, c, h, w)


def _one_too_many(shape, n, c, h, w):
    return place_in_memory(shape, n, c, h, w) + 1


def conv_intensity(shape, K, kernel):
    N, C, H, W = shape
    operations = 2 * N * K * H * W * C * kernel**2
    numbers = N * C * H * W + K * C * kernel**2 + N * K * H * W
    return operations / (4 * numbers)


def _products_only(shape, K, kernel):
    return conv_intensity(shape, K, kernel) / 2


def _per_number(shape, K, kernel):
    return conv_intensity(shape, K, kernel) * 4


def _weights_forgotten(shape, K, kernel):
    N, C, H, W = shape
    operations = 2 * N * K * H * W * C * kernel**2
    return operations / (4 * (N * C * H * W + N * K * H * W))


def _output_forgotten(shape, K, kernel):
    N, C, H, W = shape
    operations = 2 * N * K * H * W * C * kernel**2
    return operations / (4 * (N * C * H * W + K * C * kernel**2))


def _with_columns(shape, K, kernel):
    N, C, H, W = shape
    operations = 2 * N * K * H * W * C * kernel**2
    columns = N * C * H * W * kernel**2
    return operations / (4 * (columns + K * C * kernel**2 + N * K * H * W))


def attainable(intensity, peak, bandwidth):
    return min(peak, intensity * bandwidth)


def _memory_only(intensity, peak, bandwidth):
    return intensity * bandwidth


def _larger_one(intensity, peak, bandwidth):
    return max(peak, intensity * bandwidth)


def _upside_down(intensity, peak, bandwidth):
    return min(peak, bandwidth / intensity)


def winograd_saving(m, r):
    return (m * r) ** 2 / (m + r - 1) ** 2


def _one_direction(m, r):
    return m * r / (m + r - 1)


def _inverted(m, r):
    return (m + r - 1) ** 2 / (m * r) ** 2


def _patch_too_large(m, r):
    return (m * r) ** 2 / (m + r) ** 2


def _one_output(m, r):
    return r**2 / (m + r - 1) ** 2


def grad_by_outer_products(windows, gradients):
    total = np.zeros((len(gradients), len(windows)))
    for place in range(windows.shape[1]):
        total += np.outer(gradients[:, place], windows[:, place])
    return total


def _overwritten(windows, gradients):
    return np.outer(gradients[:, -1], windows[:, -1])


def _turned_over(windows, gradients):
    return grad_by_outer_products(windows, gradients).T


def _averaged(windows, gradients):
    return grad_by_outer_products(windows, gradients) / windows.shape[1]


def _sums_first(windows, gradients):
    return np.outer(gradients.sum(axis=1), windows.sum(axis=1))


def _random_places():
    rng = np.random.default_rng(3)
    sizes = [(9, 4, 6), (5, 2, 7), (3, 6, 2)]
    return [
        (rng.standard_normal((taps, places)), rng.standard_normal((K, places)))
        for taps, K, places in sizes
    ]


EXERCISES = (
    Exercise(
        "12.1",
        solution=place_in_memory,
        judge=by_cases(
            [
                ((2, 3, 4, 5), 0, 2, 0, 0),
                ((2, 3, 4, 5), 1, 0, 0, 0),
                ((2, 3, 4, 5), 1, 2, 3, 4),
                ((4, 16, 7, 9), 2, 5, 6, 1),
            ]
        ),
        hints=(
            "In memory the order of the axes is (N, H, W, C).",
            "A pixel has C numbers, a row W pixels, an image H rows.",
        ),
        because="The next channel is the neighbour, the next pixel C numbers on.",
        mistakes=(
            Mistake(
                _channel_by_channel,
                "that is channel by channel: there pixels are neighbours.",
            ),
            Mistake(_columns_first, "rows one below the other: w runs before h."),
            Mistake(_bytes_before, "numbers were asked for, not bytes."),
            Mistake(_one_too_many, "before the first number there are none."),
        ),
    ),
    Exercise(
        "12.2",
        solution=conv_intensity,
        judge=by_cases(
            [
                ((2, 64, 28, 28), 64, 3),
                ((1, 16, 32, 32), 32, 1),
                ((8, 512, 7, 7), 512, 3),
                ((1, 3, 5, 4), 2, 5),
            ]
        ),
        hints=(
            "Two operations for each of N*K*H*W*C*kernel*kernel products.",
            "What moves: the images, the weights, the output; 4 bytes a number.",
        ),
        because="1x1 has little of it, 3x3 nine times the operations for hardly more "
        "bytes.",
        mistakes=(
            Mistake(_products_only, "a product with its addition is two operations."),
            Mistake(_per_number, "per byte: a float32 has four."),
            Mistake(_weights_forgotten, "weights have to come from memory, too."),
            Mistake(_output_forgotten, "the output has to be written, too."),
            Mistake(
                _with_columns, "without im2col the images move once, not repeated."
            ),
        ),
    ),
    Exercise(
        "12.3",
        solution=attainable,
        judge=by_cases(
            [(0.5, 200.0, 10.0), (50.0, 200.0, 10.0), (20.0, 200.0, 10.0), (1, 7, 3)]
        ),
        hints=(
            "Two limits; whichever is lower holds.",
            "GB/s times operations per byte are GFLOP/s.",
        ),
        because="The bend is at peak / bandwidth operations per byte.",
        mistakes=(
            Mistake(_memory_only, "no core computes faster than its peak."),
            Mistake(_larger_one, "both limits hold, so the lower one decides."),
            Mistake(
                _upside_down,
                "the more operations per byte, the faster it can be. Mind the units.",
            ),
        ),
    ),
    Exercise(
        "12.4",
        solution=winograd_saving,
        judge=by_cases([(4, 3), (2, 3), (6, 3), (4, 5), (1, 3)]),
        hints=(
            "By definition: r*r products for each of m*m outputs.",
            "Winograd's: one for each pixel of the patch.",
        ),
        because="F(2x2, 3x3) saves 2.25, F(4x4, 3x3) 4, F(6x6, 3x3) 5.06; the larger "
        "the tile, the larger the factors, and the error.",
        mistakes=(
            Mistake(_one_direction, "there are two directions."),
            Mistake(_inverted, "the other way round: how many times fewer."),
            Mistake(_patch_too_large, "m outputs of r taps see m + r - 1 pixels."),
            Mistake(_one_output, "a tile has m*m outputs, each with r*r products."),
        ),
    ),
    Exercise(
        "12.5",
        solution=grad_by_outer_products,
        judge=by_cases(_random_places),
        hints=(
            "Begin with zeros of shape (K, taps).",
            "Each place adds np.outer(gradients[:, place], windows[:, place]).",
        ),
        because="It is gradients @ windows.T, with the sum over places outermost.",
        mistakes=(
            Mistake(_overwritten, "every place adds to what is there."),
            Mistake(_turned_over, "the channels out come first: (K, taps)."),
            Mistake(_averaged, "places add up; nothing is averaged."),
            Mistake(
                _sums_first,
                "what was seen at one place belongs to the gradient of that place.",
            ),
        ),
    ),
)
