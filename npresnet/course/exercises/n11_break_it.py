"""Exercises of notebook 11: break it."""

from __future__ import annotations

import numpy as np

from npresnet.course.exercise import Exercise, Mistake
from npresnet.course.judging import by_cases, by_value


def derivative(f, x, h):
    return (f(x + h) - f(x - h)) / (2 * h)


def _forward_difference(f, x, h):
    return (f(x + h) - f(x)) / h


def _divided_by_h(f, x, h):
    return (f(x + h) - f(x - h)) / h


def _not_divided(f, x, h):
    return f(x + h) - f(x - h)


def _other_way(f, x, h):
    return (f(x - h) - f(x + h)) / (2 * h)


def _square(x):
    return x * x


def _cube(x):
    return x**3 - x


def relative_error(gradient, right):
    return float(np.linalg.norm(gradient - right) / np.linalg.norm(right))


def _absolute(gradient, right):
    return float(np.linalg.norm(gradient - right))


def _by_the_wrong_one(gradient, right):
    return float(np.linalg.norm(gradient - right) / np.linalg.norm(gradient))


def _difference_of_norms(gradient, right):
    norm = np.linalg.norm
    return float(abs(norm(gradient) - norm(right)) / norm(right))


def _signed_sum(gradient, right):
    return float((gradient - right).sum() / np.linalg.norm(right))


def _arrays():
    rng = np.random.default_rng(0)
    return [(rng.standard_normal(s), rng.standard_normal(s)) for s in ((3,), (2, 3, 4))]


def factor(blocks):
    return 0.5**blocks


def _linear(blocks):
    return 1 / (2 * blocks)


def _once(blocks):
    return 0.5


def _growing(blocks):
    return 2.0**blocks


def two_sums(grad_x, x_hat):
    return grad_x.sum(axis=(0, 2, 3)), (grad_x * x_hat).sum(axis=(0, 2, 3))


def _over_images_only(grad_x, x_hat):
    return grad_x.sum(axis=0), (grad_x * x_hat).sum(axis=0)


def _over_everything(grad_x, x_hat):
    return grad_x.sum(), (grad_x * x_hat).sum()


def _sums_multiplied(grad_x, x_hat):
    axes = (0, 2, 3)
    return grad_x.sum(axis=axes), grad_x.sum(axis=axes) * x_hat.sum(axis=axes)


def _means(grad_x, x_hat):
    axes = (0, 2, 3)
    return grad_x.mean(axis=axes), (grad_x * x_hat).mean(axis=axes)


def _planes():
    rng = np.random.default_rng(1)
    shape = (4, 3, 2, 5)
    return [(rng.standard_normal(shape), rng.standard_normal(shape))]


EXERCISES = (
    Exercise(
        "11.1",
        solution=derivative,
        judge=by_cases([(_square, 3.0, 0.5), (_cube, 1.0, 0.1), (_square, -1.0, 1e-3)]),
        hints=(
            "Look a little to the right and a little to the left.",
            "The two points are 2*h apart.",
        ),
        because="Central differences are wrong by h**2, one-sided ones by h.",
        mistakes=(
            Mistake(
                _forward_difference,
                "this looks to one side only: its error is of the size of h, not h**2.",
            ),
            Mistake(_divided_by_h, "the two points are further apart than h."),
            Mistake(_not_divided, "a slope is a difference divided by the distance."),
            Mistake(_other_way, "the sign is turned: right minus left."),
        ),
    ),
    Exercise(
        "11.2",
        solution=relative_error,
        judge=by_cases(_arrays),
        hints=(
            "np.linalg.norm of an array is the root of the sum of its squares.",
            "First subtract, then take the norm, then divide.",
        ),
        because="1e-3 of a gradient of 1e-6 is as bad as 1e-3 of one of 1e6.",
        mistakes=(
            Mistake(_absolute, "relative to the right gradient: divide by its norm."),
            Mistake(_by_the_wrong_one, "divide by the norm of the right gradient."),
            Mistake(
                _difference_of_norms,
                "two gradients of one length may point in different directions.",
            ),
            Mistake(_signed_sum, "errors of opposite sign cancel in a sum."),
        ),
    ),
    Exercise(
        "11.3",
        solution=factor,
        judge=by_cases([(1,), (3,), (9,), (54,)]),
        hints=(
            "Every block hands on half of what it should.",
            "Halves of halves: a power.",
        ),
        because="2**-blocks: with 54 blocks 5.6e-17, and the stem never learns.",
        mistakes=(
            Mistake(_linear, "the halves multiply, block after block."),
            Mistake(_once, "that is one block; the next one halves again."),
            Mistake(_growing, "an average is smaller than the sum, not larger."),
        ),
    ),
    Exercise(
        "11.4",
        solution="labels",
        judge=by_value(),
        hints=(
            "2.30 is a number that you know.",
            "It is ln 10: what it sees says nothing about what it should answer.",
        ),
        because="The network learns, but the images say nothing about their labels.",
        mistakes=(
            Mistake("backward pass", "every finite difference agrees: it is right."),
            Mistake("learning rate", "with this rate it learnt a batch by heart."),
            Mistake("batch norm", "its derivative was checked with the others."),
        ),
    ),
    Exercise(
        "11.5",
        solution=two_sums,
        judge=by_cases(_planes),
        hints=(
            "Over which axes does batch norm take its mean?",
            "axis=(0, 2, 3) leaves the channels.",
        ),
        because="The output does not change if x is shifted or scaled, so the gradient "
        "has no part along either.",
        mistakes=(
            Mistake(_over_images_only, "over the pixels, too: one number a channel."),
            Mistake(_over_everything, "every channel has sums of its own."),
            Mistake(_sums_multiplied, "first multiply, then sum."),
            Mistake(_means, "the sums were asked for, not the means."),
        ),
    ),
)
