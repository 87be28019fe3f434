"""Exercises of notebook 02: convolution as matrices."""

from __future__ import annotations

import numpy as np

from npresnet.course.exercise import Exercise, Mistake
from npresnet.course.judging import by_cases, by_value


def times_seen(length, kernel_size, stride):
    seen = np.zeros(length, int)
    places = (length - kernel_size) // stride + 1
    for u in range(places):
        seen[u * stride : u * stride + kernel_size] += 1
    return seen


def _seen_or_not(length, kernel_size, stride):
    return np.minimum(times_seen(length, kernel_size, stride), 1)


def _everywhere_alike(length, kernel_size, stride):
    return np.full(length, kernel_size)


def _past_the_end(length, kernel_size, stride):
    seen = np.zeros(length, int)
    for start in range(0, length, stride):
        seen[start : start + kernel_size] += 1
    return seen


def add_back(columns, length, stride):
    taps, places = columns.shape
    row = np.zeros(length)
    for i in range(taps):
        row[i : i + stride * (places - 1) + 1 : stride] += columns[i]
    return row


def _overwritten(columns, length, stride):
    taps, places = columns.shape
    row = np.zeros(length)
    for i in range(taps):
        row[i : i + stride * (places - 1) + 1 : stride] = columns[i]
    return row


def _averaged(columns, length, stride):
    taps, places = columns.shape
    row, times = np.zeros(length), np.zeros(length)
    for i in range(taps):
        row[i : i + stride * (places - 1) + 1 : stride] += columns[i]
        times[i : i + stride * (places - 1) + 1 : stride] += 1
    return row / np.maximum(times, 1)


def _stride_forgotten(columns, length, stride):
    return add_back(columns, length, 1)


def grad_kernels(grad_rows, columns):
    return (grad_rows @ columns.transpose(0, 2, 1)).sum(axis=0)


def _batch_averaged(grad_rows, columns):
    return (grad_rows @ columns.transpose(0, 2, 1)).mean(axis=0)


def _batch_kept(grad_rows, columns):
    return grad_rows @ columns.transpose(0, 2, 1)


def _turned_over(grad_rows, columns):
    return (columns @ grad_rows.transpose(0, 2, 1)).sum(axis=0)


def _first_image_only(grad_rows, columns):
    return grad_rows[0] @ columns[0].T


def _random_products():
    rng = np.random.default_rng(2)
    sizes = [(2, 4, 9, 6), (3, 2, 5, 7), (1, 3, 4, 2)]
    return [
        (rng.standard_normal((N, K, places)), rng.standard_normal((N, taps, places)))
        for N, K, taps, places in sizes
    ]


def _random_columns():
    rng = np.random.default_rng(1)
    sizes = [(3, 4, 6, 1), (3, 3, 8, 2), (2, 3, 8, 3), (1, 4, 9, 2)]
    return [
        (rng.standard_normal((taps, places)), length, stride)
        for taps, places, length, stride in sizes
    ]


EXERCISES = (
    Exercise(
        "02.1",
        solution=(8, 144, 256),
        judge=by_value(),
        hints=(
            "(N, taps, places), and a column holds the taps of all channels.",
            "The places: floor((32 + 2 - 3)/2) + 1 = 16 in each direction.",
        ),
        because="16 channels times 3x3 taps are 144, 16x16 places are 256.",
        mistakes=(
            Mistake((8, 9, 256), "a column has the taps of every channel."),
            Mistake((8, 144, 1024), "stride 2 leaves fewer places than pixels."),
            Mistake((8, 144, 225), "there is a border of 1, so there are more places."),
            Mistake((8, 256, 144), "the taps come first, then the places."),
            Mistake((8, 288, 256), "the channels out do not matter to the columns."),
        ),
    ),
    Exercise(
        "02.2",
        solution=75_497_472,
        judge=by_value(),
        hints=(
            "The columns have N * C*KH*KW * OH*OW numbers.",
            "A float32 has 4 bytes.",
        ),
        because="128 * (16*9) * (32*32) numbers of 4 bytes: 72 MiB for one layer, nine "
        "times its input.",
        mistakes=(
            Mistake(8_388_608, "that is the input; the columns repeat it."),
            Mistake(150_994_944, "a float32 has 4 bytes, not 8."),
            Mistake(18_874_368, "that many numbers; each has 4 bytes."),
            Mistake(589_824, "that is for one image."),
        ),
    ),
    Exercise(
        "02.3",
        solution=times_seen,
        judge=by_cases([(6, 3, 1), (6, 3, 2), (8, 2, 3), (7, 3, 3), (5, 1, 2)]),
        hints=(
            "Go through the places and mark what each window covers.",
            "seen[u*stride : u*stride + kernel_size] += 1 for every place u.",
        ),
        because="These are the numbers that col2im(im2col(x)) multiplies pixels with.",
        mistakes=(
            Mistake(_seen_or_not, "how often, not whether."),
            Mistake(_everywhere_alike, "pixels near the ends are seen less often."),
            Mistake(_past_the_end, "a window that does not fit whole is not there."),
        ),
    ),
    Exercise(
        "02.4",
        solution=add_back,
        judge=by_cases(_random_columns),
        hints=(
            "Column u, tap i belongs to pixel u*stride + i.",
            "One tap at a time: row[i : i + stride*(places - 1) + 1 : stride] += ...",
        ),
        because="Within one tap no pixel comes twice, so += on a slice adds all.",
        mistakes=(
            Mistake(
                _overwritten,
                "a pixel seen twice keeps only what came last. So it is with =, and "
                "with row[pixels] += columns, which writes once per pixel.",
            ),
            Mistake(_averaged, "gradients add up; nothing is averaged."),
            Mistake(_stride_forgotten, "windows are `stride` pixels apart."),
        ),
    ),
    Exercise(
        "02.5",
        solution=grad_kernels,
        judge=by_cases(_random_products),
        hints=(
            "What has the shape (K, taps)? Which axis of the two is multiplied away?",
            "grad_rows @ columns, transposed, is (N, K, taps). What about N?",
        ),
        because="Every image and every place uses the same weights, so all add up.",
        mistakes=(
            Mistake(
                _batch_averaged,
                "the images' shares add up; the loss has divided by N already.",
            ),
            Mistake(_batch_kept, "the weights are one set for all images."),
            Mistake(_turned_over, "that is (taps, K): the transpose of the gradient."),
            Mistake(_first_image_only, "there are more images than the first."),
        ),
    ),
)
