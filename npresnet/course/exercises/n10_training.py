"""Exercises of notebook 10: training a network."""

from __future__ import annotations

import math

from npresnet.course.exercise import Exercise, Mistake
from npresnet.course.judging import by_cases, by_value


def number_of_steps(images, batch_size, epochs):
    return epochs * -(-images // batch_size)


def _last_batch_dropped(images, batch_size, epochs):
    return epochs * (images // batch_size)


def _rounded_at_the_end(images, batch_size, epochs):
    return -(-images * epochs // batch_size)


def _not_rounded(images, batch_size, epochs):
    return epochs * images / batch_size


def sgd_step(w, grad, r, lr, momentum, weight_decay):
    grad = grad + weight_decay * w
    r = momentum * r + grad
    return w - lr * r, r


def _decay_after_momentum(w, grad, r, lr, momentum, weight_decay):
    r = momentum * r + grad
    return w - lr * (r + weight_decay * w), r


def _running_mean(w, grad, r, lr, momentum, weight_decay):
    r = momentum * r + (1 - momentum) * (grad + weight_decay * w)
    return w - lr * r, r


def _decay_forgotten(w, grad, r, lr, momentum, weight_decay):
    return sgd_step(w, grad, r, lr, momentum, 0.0)


def _rate_inside(w, grad, r, lr, momentum, weight_decay):
    r = momentum * r + lr * (grad + weight_decay * w)
    return w - r, r


def _nesterov(w, grad, r, lr, momentum, weight_decay):
    grad = grad + weight_decay * w
    r = momentum * r + grad
    return w - lr * (grad + momentum * r), r


def staircase(step, lr, milestones):
    passed = sum(milestone <= step for milestone in milestones)
    return lr / 10**passed


def _one_step_late(step, lr, milestones):
    return lr / 10 ** sum(milestone < step for milestone in milestones)


def _only_once(step, lr, milestones):
    return lr / 10 if step >= milestones[0] else lr


def _going_up(step, lr, milestones):
    return lr * 10 ** sum(milestone <= step for milestone in milestones)


def standard_error(correct, images):
    accuracy = correct / images
    return (accuracy * (1 - accuracy) / images) ** 0.5


def _variance(correct, images):
    return standard_error(correct, images) ** 2


def _of_one_image(correct, images):
    accuracy = correct / images
    return (accuracy * (1 - accuracy)) ** 0.5


def _in_images(correct, images):
    return standard_error(correct, images) * images


EXERCISES = (
    Exercise(
        "10.1",
        solution=math.log(100),
        judge=by_value(rtol=1e-3),
        hints=(
            "The loss is minus the logarithm of what the right class was given.",
            "It was given 1/100. The logarithm is the natural one.",
        ),
        because="-ln(1/100) = ln 100 = 4.605 nats, whatever the label.",
        mistakes=(
            Mistake(2.0, "that is the logarithm to the base 10; nats are natural."),
            Mistake(
                math.log2(100), "that is in bits; a nat is the natural logarithm's."
            ),
            Mistake(math.log(10), "that is for ten classes."),
            Mistake(0.99, "that is the share it gets wrong, not its loss."),
            Mistake(-math.log(100), "a loss is minus the logarithm of a probability."),
        ),
    ),
    Exercise(
        "10.2",
        solution=number_of_steps,
        judge=by_cases(
            [(1437, 64, 20), (50_000, 128, 6), (128, 64, 3), (10, 64, 5), (65, 64, 2)]
        ),
        hints=(
            "How many batches has one epoch? The last one may be smaller.",
            "1,437 images in batches of 64: 22 full ones and one of 29.",
        ),
        because="Each epoch rounds up: its last batch takes what is left.",
        mistakes=(
            Mistake(
                _last_batch_dropped, "the images left over make a batch of their own."
            ),
            Mistake(
                _rounded_at_the_end,
                "a batch does not reach into the next epoch: round up in each.",
            ),
            Mistake(_not_rounded, "there is no part of a step."),
        ),
    ),
    Exercise(
        "10.3",
        solution=sgd_step,
        judge=by_cases(
            [
                (1.0, 0.5, 0.25, 0.1, 0.9, 0.01),
                (-2.0, 1.0, 0.0, 0.5, 0.5, 0.0),
                (3.0, 0.0, 1.0, 0.1, 0.8, 0.2),
            ]
        ),
        hints=(
            "Three lines: the decay joins the gradient, the gradient the velocity, and "
            "the velocity moves the weight.",
            "r = momentum * r + (grad + weight_decay * w), and lr comes last.",
        ),
        because="The decay goes through momentum, the learning rate does not.",
        mistakes=(
            Mistake(
                _decay_after_momentum, "the decay joins the gradient before momentum."
            ),
            Mistake(
                _running_mean,
                "the new gradient has weight 1: the velocity is a sum, not a mean.",
            ),
            Mistake(_decay_forgotten, "it is right only without weight decay."),
            Mistake(
                _rate_inside,
                "the velocity is kept without lr: so a lower lr shortens all of the "
                "step at once.",
            ),
            Mistake(_nesterov, "this looks ahead: it is Nesterov's step."),
        ),
    ),
    Exercise(
        "10.4",
        solution=staircase,
        judge=by_cases(
            [
                (0, 0.1, (32_000, 48_000)),
                (31_999, 0.1, (32_000, 48_000)),
                (32_000, 0.1, (32_000, 48_000)),
                (50_000, 0.1, (32_000, 48_000)),
                (7, 1.0, (2, 4, 6)),
            ]
        ),
        hints=(
            "How many milestones has the step reached?",
            "Divide by 10 as often as that; at the milestone itself already.",
        ),
        because="lr / 10 to the power of the milestones that are not ahead.",
        mistakes=(
            Mistake(
                _one_step_late, "at the milestone itself the rate is lower already."
            ),
            Mistake(_only_once, "every milestone takes a tenth, not the first alone."),
            Mistake(_going_up, "the rate falls."),
        ),
    ),
    Exercise(
        "10.5",
        solution="overfitting",
        judge=by_value(),
        hints=(
            "First the gap, then the level.",
            "The level on the training images is as high as it gets.",
        ),
        because="A gap of 29 points, and a test loss that rises as it trains.",
        mistakes=(
            Mistake("underfitting", "it has learnt its training images all too well."),
            Mistake(
                "learning rate too high",
                "then it would not get 99.9 % of the training images right either.",
            ),
            Mistake("bad luck", "29 points are some hundred standard errors."),
        ),
    ),
    Exercise(
        "10.6",
        solution=standard_error,
        judge=by_cases([(353, 360), (9_400, 10_000), (1, 4), (500, 1000)]),
        hints=(
            "Each image is right with probability a: its variance is a * (1 - a).",
            "The mean of N such has a variance N times smaller; the error is its root.",
        ),
        because="sqrt(a (1 - a) / N): four times the images, half the error.",
        mistakes=(
            Mistake(_variance, "that is the variance; take its root."),
            Mistake(
                _of_one_image, "that is for one image; a mean of many varies less."
            ),
            Mistake(_in_images, "that is in images; the accuracy is a share."),
        ),
    ),
)
