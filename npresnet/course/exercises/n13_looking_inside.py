"""Exercises of notebook 13: looking inside."""

from __future__ import annotations

import numpy as np

from npresnet.course.exercise import Exercise, Mistake
from npresnet.course.judging import by_cases, by_value


def dead_channels(activations):
    closed = (activations == 0).all(axis=(0, 2, 3))
    return int(closed.sum())


def _closed_somewhere(activations):
    return int((activations == 0).any(axis=(0, 2, 3)).sum())


def _zeros(activations):
    return int((activations == 0).sum())


def _per_image(activations):
    return int((activations == 0).all(axis=(2, 3)).sum())


def _first_image(activations):
    return int((activations[0] == 0).all(axis=(1, 2)).sum())


def _dead_images(activations):
    return int((activations == 0).all(axis=(1, 2, 3)).sum())


def _activations():
    rng = np.random.default_rng(0)
    found = np.maximum(rng.standard_normal((5, 8, 3, 4)), 0)
    found[:, [2, 6, 7]] = 0
    found[0, 4] = 0
    found[3, [0, 1]] = 0
    return [(found,), (found[1:3],)]


def grad_cam(features, gradients):
    weights = gradients.mean(axis=(1, 2))
    return np.maximum((weights[:, None, None] * features).sum(axis=0), 0)


def _without_relu(features, gradients):
    weights = gradients.mean(axis=(1, 2))
    return (weights[:, None, None] * features).sum(axis=0)


def _sum_for_mean(features, gradients):
    return grad_cam(features, gradients) * gradients[0].size


def _pixel_by_pixel(features, gradients):
    return np.maximum((gradients * features).sum(axis=0), 0)


def _relu_first(features, gradients):
    weights = np.maximum(gradients.mean(axis=(1, 2)), 0)
    return (weights[:, None, None] * features).sum(axis=0)


def _exchanged(features, gradients):
    return grad_cam(gradients, features)


def _layers():
    rng = np.random.default_rng(1)
    shapes = ((4, 3, 5), (7, 2, 2))
    return [
        (np.maximum(rng.standard_normal(s), 0), rng.standard_normal(s)) for s in shapes
    ]


def saliency_map(gradients):
    return np.abs(gradients).max(axis=0)


def _signed_largest(gradients):
    return gradients.max(axis=0)


def _magnitude_of_the_largest(gradients):
    return np.abs(gradients.max(axis=0))


def _magnitude_of_the_sum(gradients):
    return np.abs(gradients.sum(axis=0))


def _mean_magnitude(gradients):
    return np.abs(gradients).mean(axis=0)


def _gradients():
    rng = np.random.default_rng(2)
    return [(rng.standard_normal((3, 4, 5)),)]


def rank_correlation(a, b):
    def ranks(values):
        return np.argsort(np.argsort(values.ravel()))

    return float(np.corrcoef(ranks(a), ranks(b))[0, 1])


def _of_the_values(a, b):
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


def _sorted_once(a, b):
    return float(np.corrcoef(np.argsort(a.ravel()), np.argsort(b.ravel()))[0, 1])


def _magnitude(a, b):
    return abs(rank_correlation(a, b))


def _maps():
    rng = np.random.default_rng(3)
    one, other = rng.standard_normal((2, 4, 5))
    return [(one, np.exp(3 * one)), (one, other - one), (one, -one), (one, other)]


EXERCISES = (
    Exercise(
        "13.1",
        solution=dead_channels,
        judge=by_cases(_activations),
        hints=(
            "Dead: zero at every pixel of every image.",
            "`.all(axis=...)` over everything but the channels.",
        ),
        because="all over images and pixels, then a count of the channels.",
        mistakes=(
            Mistake(_closed_somewhere, "a ReLU closes somewhere in every channel."),
            Mistake(_zeros, "those are zeros; a channel is dead if it has only them."),
            Mistake(
                _per_image, "a channel that is closed on one image may open on another."
            ),
            Mistake(_first_image, "look at all images, not the first one alone."),
            Mistake(_dead_images, "the axes: the channels are the second one."),
        ),
    ),
    Exercise(
        "13.2",
        solution=grad_cam,
        judge=by_cases(_layers),
        hints=(
            "One weight a channel first: the mean of its gradients.",
            "Then the weighted sum over the channels, and the ReLU comes last.",
        ),
        because="What speaks against the class is cut off after the sum, not before.",
        mistakes=(
            Mistake(_without_relu, "what speaks against the class is to be cut off."),
            Mistake(
                _sum_for_mean, "a weight is the mean over the pixels, not the sum."
            ),
            Mistake(
                _pixel_by_pixel,
                "every pixel is weighed with its own gradient here; Grad-CAM has one "
                "weight for a whole map.",
            ),
            Mistake(
                _relu_first,
                "the ReLU comes after the sum: maps with negative weights count, too.",
            ),
            Mistake(_exchanged, "the gradients make the weights, not the features."),
        ),
    ),
    Exercise(
        "13.3",
        solution=saliency_map,
        judge=by_cases(_gradients),
        hints=("A strong pull downwards matters as well.", "First abs, then max."),
        because="The magnitude first: a gradient of -3 is larger than one of 1.",
        mistakes=(
            Mistake(_signed_largest, "a pull downwards is lost: take magnitudes."),
            Mistake(
                _magnitude_of_the_largest, "the magnitude first, then the largest."
            ),
            Mistake(
                _magnitude_of_the_sum,
                "that is for grey images: in colours, opposite pulls would cancel.",
            ),
            Mistake(_mean_magnitude, "the largest was asked for, not the mean."),
        ),
    ),
    Exercise(
        "13.4",
        solution=rank_correlation,
        judge=by_cases(_maps),
        hints=(
            "What is the rank of each pixel? np.argsort gives something else.",
            "argsort of argsort: the first says who is k-th, the second who is where.",
        ),
        because="Ranks forget the scale: a map and its exponential agree entirely.",
        mistakes=(
            Mistake(_of_the_values, "that is the correlation of the values."),
            Mistake(
                _sorted_once, "argsort says which pixel is k-th, not which rank it has."
            ),
            Mistake(_magnitude, "maps in opposite order have -1, not 1."),
        ),
    ),
    Exercise(
        "13.5",
        solution=0.5,
        judge=by_value(),
        hints=(
            "How many paths are there with L blocks?",
            "2**54 before, 2**53 after.",
        ),
        because="2**53 of 2**54: at the block that was cut only the shortcut is left.",
        mistakes=(
            Mistake(53 / 54, "that is the share of blocks; paths are a power of them."),
            Mistake(1 / 54, "that is the share of the block among all."),
            Mistake(0.0, "that is a plain network: it has one path."),
            Mistake(2.0**-54, "that is a single path's share."),
        ),
    ),
)
