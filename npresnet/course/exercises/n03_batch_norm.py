"""Exercises of notebook 03: batch norm, forward and backward, training and frozen."""

from __future__ import annotations

import numpy as np

from npresnet.course.exercise import Exercise, Mistake
from npresnet.course.judging import Case, by_cases, by_value


def move_on(running_mean, running_var, x, momentum):
    mean = x.mean(axis=(0, 2, 3))
    var = x.var(axis=(0, 2, 3), ddof=1)  # unbiased: divided by m - 1
    running_mean = (1 - momentum) * running_mean + momentum * mean
    running_var = (1 - momentum) * running_var + momentum * var
    return running_mean, running_var


def _biased(running_mean, running_var, x, momentum):
    m = x.size // x.shape[1]
    variance = x.var(axis=(0, 2, 3), ddof=1) * (m - 1) / m
    new_mean, _ = move_on(running_mean, running_var, x, momentum)
    return new_mean, (1 - momentum) * running_var + momentum * variance


def _old_weighed(running_mean, running_var, x, momentum):
    return move_on(running_mean, running_var, x, 1 - momentum)


def _batch_only(running_mean, running_var, x, momentum):
    return move_on(running_mean, running_var, x, 1.0)


def _deviations(running_mean, running_var, x, momentum):
    std = x.std(axis=(0, 2, 3), ddof=1)
    new_mean, _ = move_on(running_mean, running_var, x, momentum)
    return new_mean, (1 - momentum) * running_var + momentum * std


def _batches() -> list[Case]:
    rng = np.random.default_rng(3)
    cases: list[Case] = []
    for shape, momentum in [((2, 3, 2, 2), 0.1), ((3, 4, 1, 1), 0.3)]:
        mean, var = rng.standard_normal(shape[1]), rng.random(shape[1]) + 0.5
        cases.append((mean, var, rng.normal(1, 2, shape), momentum))
    return cases


def grad_x_of_channel(g, x_hat, gamma, sigma):
    return gamma / sigma * (g - g.mean() - x_hat * (g * x_hat).mean())


def _frozen(g, x_hat, gamma, sigma):
    return gamma / sigma * g


def _no_variance(g, x_hat, gamma, sigma):
    return gamma / sigma * (g - g.mean())


def _no_mean(g, x_hat, gamma, sigma):
    return gamma / sigma * (g - x_hat * (g * x_hat).mean())


def _not_along_x_hat(g, x_hat, gamma, sigma):
    return gamma / sigma * (g - g.mean() - (g * x_hat).mean())


def _sums(g, x_hat, gamma, sigma):
    return gamma / sigma * (g - g.sum() - x_hat * (g * x_hat).sum())


def _no_gamma(g, x_hat, gamma, sigma):
    return grad_x_of_channel(g, x_hat, 1.0, sigma)


def _times_sigma(g, x_hat, gamma, sigma):
    return grad_x_of_channel(g, x_hat, gamma, 1 / sigma)


def _product_of_means(g, x_hat, gamma, sigma):
    return gamma / sigma * (g - g.mean() - x_hat * g.mean())


def _channels() -> list[Case]:
    rng = np.random.default_rng(4)
    cases: list[Case] = []
    for m, gamma, sigma in [(5, 1.5, 2.0), (12, -0.7, 0.3)]:
        x = rng.standard_normal(m)
        cases.append((rng.standard_normal(m), (x - x.mean()) / x.std(), gamma, sigma))
    return cases


def fold(kernels, gamma, beta, running_mean, running_var, eps):
    scale = gamma / np.sqrt(running_var + eps)
    return kernels * scale[:, None, None, None], beta - scale * running_mean


def _bias_not_moved(kernels, gamma, beta, running_mean, running_var, eps):
    folded, _ = fold(kernels, gamma, beta, running_mean, running_var, eps)
    return folded, beta


def _mean_not_scaled(kernels, gamma, beta, running_mean, running_var, eps):
    folded, _ = fold(kernels, gamma, beta, running_mean, running_var, eps)
    return folded, beta - running_mean


def _no_root(kernels, gamma, beta, running_mean, running_var, eps):
    return fold(kernels, gamma, beta, running_mean, (running_var + eps) ** 2, 0.0)


def _no_eps(kernels, gamma, beta, running_mean, running_var, eps):
    return fold(kernels, gamma, beta, running_mean, running_var, 0.0)


def _along_channels_in(kernels, gamma, beta, running_mean, running_var, eps):
    _, bias = fold(kernels, gamma, beta, running_mean, running_var, eps)
    scale = gamma / np.sqrt(running_var + eps)
    return kernels * scale[:, None, None], bias


def _along_width(kernels, gamma, beta, running_mean, running_var, eps):
    _, bias = fold(kernels, gamma, beta, running_mean, running_var, eps)
    return kernels * (gamma / np.sqrt(running_var + eps)), bias


def _convolutions() -> list[Case]:
    rng = np.random.default_rng(5)
    K = 3  # as many as channels in and pixels across: a wrong axis raises nothing
    return [
        (
            rng.standard_normal((K, 3, 3, 3)),
            *rng.standard_normal((3, K)),
            rng.random(K) + 0.2,
            0.01,
        )
    ]


def batches_needed(momentum):
    start, batches = 1.0, 0  # how much of the start is left
    while 1 - start < 0.99:
        start *= 1 - momentum
        batches += 1
    return batches


def _one_too_few(momentum):
    return batches_needed(momentum) - 1


def _in_a_straight_line(momentum):
    return int(np.ceil(0.99 / momentum))


def _old_weighed_by_momentum(momentum):
    return batches_needed(1 - momentum)


EXERCISES = (
    Exercise(
        "03.1",
        solution=(32, 32_768),
        judge=by_value(),
        hints=(
            "Every channel is normalised by itself: over which axes is the mean taken?",
            "Over (N, H, W): all images and all pixels of one channel.",
        ),
        because="One mean for each of 32 channels, over 128 * 16 * 16 values.",
        mistakes=(
            Mistake(
                (128, 8_192),
                "that normalises every image by itself, which is layer norm.",
            ),
            Mistake(
                (4_096, 256),
                "that normalises every plane by itself, which is instance norm.",
            ),
            Mistake((32, 256), "the images of the batch are one heap."),
            Mistake((32, 128), "the pixels of a plane belong to the heap, too."),
            Mistake((32_768, 32), "the number of means comes first."),
        ),
    ),
    Exercise(
        "03.2",
        solution=move_on,
        judge=by_cases(_batches),
        hints=(
            "Mean and variance over the axes (0, 2, 3). Momentum weighs the new value.",
            "Which of the two variances does running_var take in? In NumPy, "
            "x.var(..., ddof=1) divides by m - 1.",
        ),
        because="The running variance is an estimate for other images, so it takes the "
        "unbiased one.",
        mistakes=(
            Mistake(
                _biased,
                "the mean is right. running_var takes the variance divided by m - 1, "
                "which is not the one that the batch is normalised with.",
            ),
            Mistake(_old_weighed, "momentum weighs the new value, not the old one."),
            Mistake(_batch_only, "that forgets all batches before this one."),
            Mistake(
                _deviations, "running_var holds variances, not standard deviations."
            ),
        ),
    ),
    Exercise(
        "03.3",
        solution=grad_x_of_channel,
        judge=by_cases(_channels),
        hints=(
            "Three paths: direct, through the mean, through the variance.",
            "gamma/sigma times: g, less its mean, less x_hat times another mean.",
        ),
        because="What shifts the channel and what stretches it are taken out of g.",
        mistakes=(
            Mistake(
                _frozen, "that is the frozen one: the statistics depend on x here."
            ),
            Mistake(
                _no_variance,
                "the path through the variance is missing. The result must be at right "
                "angles to x_hat.",
            ),
            Mistake(
                _no_mean,
                "the path through the mean is missing. The result must sum to zero.",
            ),
            Mistake(
                _not_along_x_hat,
                "what comes through the variance is not the same for all: the further "
                "x[i] is from the mean, the more it stretches the channel.",
            ),
            Mistake(
                _product_of_means,
                "the mean of g * x_hat is not the mean of g.",
            ),
            Mistake(_sums, "means, not sums: each x[i] is one m-th of the mean."),
            Mistake(_no_gamma, "on the way from y to x_hat, g is multiplied by gamma."),
            Mistake(
                _times_sigma, "x is divided by sigma on the way up, and so is g down."
            ),
        ),
    ),
    Exercise(
        "03.4",
        solution=fold,
        judge=by_cases(_convolutions),
        hints=(
            "y = a*x + b: what are a and b of a channel?",
            "Channel k of the output is made by kernels[k]: multiply all of that by "
            "a[k].",
        ),
        because="a * (w . x) = (a * w) . x, and the rest is a constant per channel.",
        mistakes=(
            Mistake(
                _bias_not_moved,
                "the kernels are right. Batch norm subtracts the mean first; where "
                "does it go?",
            ),
            Mistake(
                _mean_not_scaled,
                "the kernels are right. The mean is subtracted before the scale, so it "
                "is scaled, too.",
            ),
            Mistake(_no_root, "divide by the standard deviation, not the variance."),
            Mistake(_no_eps, "eps is added to the running variance as well."),
            Mistake(
                _along_channels_in,
                "that scales the channels in; batch norm scales the channels out.",
            ),
            Mistake(
                _along_width,
                "NumPy lines up the last axes, so that scales columns of the kernel.",
            ),
        ),
    ),
    Exercise(
        "03.5",
        solution=(0.0, 48.0),
        judge=by_value(),
        hints=(
            "The bias is added to every value of the channel. What is its gradient, in "
            "terms of the gradient with respect to x?",
            "It is the sum of the gradient with respect to x over the channel.",
        ),
        because="A bias shifts the channel, and the batch's own mean takes any shift "
        "away. A running mean does not know of it: gamma/sigma * 12.",
        mistakes=(
            Mistake(
                (12.0, 12.0),
                "that is the gradient with respect to batch norm's own bias; it has "
                "still to go through batch norm.",
            ),
            Mistake((48.0, 48.0), "in training, the mean depends on x."),
            Mistake((48.0, 0.0), "the two are the other way round."),
            Mistake(
                (0.0, 0.0), "frozen statistics are constants: they do not take it away."
            ),
            Mistake((0.0, 12.0), "the first is right; the frozen one scales by a = ?"),
            Mistake(
                (0.0, 24.0), "the first is right; sigma divides, and it is below 1."
            ),
        ),
    ),
    Exercise(
        "03.6",
        solution=batches_needed,
        judge=by_cases([(0.1,), (0.5,), (0.01,), (0.3,)]),
        hints=(
            "How much of the start is left after one batch? After two?",
            "(1 - momentum)**T must be 0.01 or less.",
        ),
        because="After T batches (1 - momentum)**T of the start is left: with 0.1, it "
        "takes 44.",
        mistakes=(
            Mistake(_one_too_few, "by then it is still below 0.99."),
            Mistake(
                _in_a_straight_line,
                "the steps get smaller: each takes a share of what is left.",
            ),
            Mistake(
                _old_weighed_by_momentum, "momentum weighs the new value, not the old."
            ),
        ),
    ),
)
