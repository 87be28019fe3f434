"""The classifier and its loss gone wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from npresnet.functional import cross_entropy_backward as right_backward
from npresnet.functional import cross_entropy_forward as right_forward
from npresnet.functional import softmax
from npresnet.functional.linear import LinearCache
from npresnet.functional.linear import linear_backward as right_linear_backward
from npresnet.functional.loss import CrossEntropyCache, Loss, reduced
from npresnet.lens.bugs.registry import bug

Array = NDArray[np.floating[Any]]
Labels = NDArray[np.integer[Any]]
Forward = tuple[Loss, CrossEntropyCache]

_FORWARD = "npresnet.functional.loss:cross_entropy_forward"
_BACKWARD = "npresnet.functional.loss:cross_entropy_backward"


def _with_loss(cache: CrossEntropyCache) -> Forward:
    """Add the loss up that belongs to a cache."""
    surprise: Array = -(cache.target * np.log(cache.probabilities)).sum(axis=1)
    return reduced(surprise, cache), cache


@bug(
    _FORWARD,
    seen_in="common: the formula as it stands in the book",
    symptom="inf and nan as soon as a logit passes 88 (float32), often in the first "
    "epoch at a high learning rate",
)
def softmax_without_max_shift(
    logits: Array, labels: Labels, weight: Array | None = None, **options: Any
) -> Forward:
    """Take exp of the logits without subtracting each row's maximum."""
    _, cache = right_forward(logits, labels, weight, **options)
    powers = np.exp(logits)
    probabilities = powers / powers.sum(axis=1, keepdims=True)
    return _with_loss(cache._replace(probabilities=probabilities))


@bug(
    _FORWARD,
    seen_in="common: a softmax layer before a loss that has its own",
    symptom="the loss cannot fall below 1.46 with ten classes; training is slow and "
    "stops early",
)
def softmax_applied_twice(
    logits: Array, labels: Labels, weight: Array | None = None, **options: Any
) -> Forward:
    """Feed probabilities to a loss that expects logits."""
    return right_forward(softmax(logits), labels, weight, **options)


@bug(
    _FORWARD,
    seen_in="common: two definitions are about; PyTorch's spreads over all classes",
    symptom="a slightly larger loss than PyTorch's, by the same factor for all",
)
def label_smoothing_spares_the_right_class(
    logits: Array, labels: Labels, weight: Array | None = None, **options: Any
) -> Forward:
    """Spread the smoothing over the wrong classes only."""
    _, cache = right_forward(logits, labels, weight, **options)
    smoothing = options.get("label_smoothing", 0.0)
    spread = smoothing / max(logits.shape[1] - 1, 1)
    is_label = labels[:, None] == np.arange(logits.shape[1])
    wrong = np.where(is_label, 1 - smoothing, spread).astype(logits.dtype)
    if weight is not None:
        wrong *= weight
    return _with_loss(cache._replace(target=wrong * cache.kept))


@bug(
    _BACKWARD,
    seen_in="common: the mean is written into the loss but not into its gradient",
    symptom="gradients grow with the batch size; a learning rate from a paper explodes",
)
def loss_gradient_not_divided(
    grad_output: float | Array, cache: CrossEntropyCache
) -> Array:
    """Forget the 1/N of the mean: the gradient is that of the sum."""
    return right_backward(grad_output, cache) * cache.divisor


@bug(
    _BACKWARD,
    seen_in="common: once in the loss, and once more in every layer",
    symptom="training is slow, and slower with larger batches",
)
def loss_divided_by_n_twice(
    grad_output: float | Array, cache: CrossEntropyCache
) -> Array:
    """Divide by N, and then by N."""
    return right_backward(grad_output, cache) / (cache.divisor or 1.0)


@bug(
    "npresnet.functional.linear:linear_backward",
    seen_in="CNNumpy divides the gradients of its fully connected layers only",
    symptom="the classifier learns N times more slowly than the convolutions below it",
)
def linear_gradient_divided_by_batch(
    grad_output: Array,
    cache: LinearCache,
    *,
    input_grad: bool = True,
    weight_grad: bool = True,
) -> tuple[Array | None, Array | None, Array | None]:
    """Divide the weights' gradient by N although the loss has done it."""
    grad_x, grad_weight, grad_bias = right_linear_backward(
        grad_output, cache, input_grad=input_grad, weight_grad=weight_grad
    )
    N = len(grad_output)
    if grad_weight is not None:
        grad_weight = grad_weight / N
    if grad_bias is not None:
        grad_bias = grad_bias / N
    return grad_x, grad_weight, grad_bias
