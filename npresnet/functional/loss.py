"""Cross entropy: how surprised the network is by the right answer, in nats."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from npresnet import _arguments
from npresnet._plain import plain, plain_like
from npresnet.functional import _check

Array = NDArray[np.floating[Any]]


# A number, or one per image where nothing is added up.
Loss = Any
REDUCTIONS = ("mean", "sum", "none")


class CrossEntropyCache(NamedTuple):
    """What the backward pass of the cross entropy needs."""

    probabilities: Array  # (N, classes): softmax of the logits
    # (N, classes): what the probabilities should be, times the classes' weights; zeros
    # for an image whose label is ignored.
    target: Array
    mass: Array  # (N, 1): what the target of an image sums to, 1 unless as said above
    kept: NDArray[np.bool_]  # (N, 1): whose label is not ignored
    divisor: float  # of the sum over images: N in a plain mean, 1 where nothing is
    reduction: str  # "none": each image has a gradient of its own


@_check.may_underflow
def softmax(logits: Array) -> Array:
    """Turn logits (N, classes) into probabilities, row by row.

    The row's maximum is taken away first: nothing changes but that exp cannot
    overflow.
    """
    logits = _check.array("logits", logits, "N classes")
    powers = np.exp(_shifted(logits))
    probabilities: Array = powers / powers.sum(axis=1, keepdims=True)
    return probabilities


@_check.may_underflow
def cross_entropy_forward(
    logits: Array,
    labels: NDArray[np.integer[Any]],
    weight: Array | None = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> tuple[Loss, CrossEntropyCache]:
    """Average the negative log probability of the labels over the batch.

    Parameters
    ----------
    logits : ndarray of shape (N, classes)
        Unnormalised scores, float32 or float64.
    labels : ndarray of int of shape (N,)
        The right classes, 0 ... classes-1, or `ignore_index`.
    weight : ndarray of shape (classes,), optional
        How much each class counts, of the logits' dtype; by default 1.
    ignore_index : int
        Images with this label do not count.
    reduction : {"mean", "sum", "none"}
        Whether the images' losses are averaged, added up, or left alone.
    label_smoothing : float
        In [0, 1]: the share of the target that is spread evenly over all classes, the
        right one included, as in PyTorch.

    Returns
    -------
    loss : floating scalar, or ndarray of shape (N,)
        In nats, of the logits' dtype. The mean weighs every image by its label's
        weight; that of no images, or of images without any weight, is NaN. Only with
        reduction "none" there is one number per image, 0 where the label is ignored.
    cache : CrossEntropyCache
        For `cross_entropy_backward`.

    Raises
    ------
    ValueError
        If shapes do not fit, a label, a weight or the smoothing is out of range, or
        there is no such reduction.
    TypeError
        If logits are not floating or labels not integers.

    Notes
    -----
    ``loss[n] = -sum_c target[n,c] * log softmax(logits)[n,c]``, where
    ``target = weight * ((1 - a) * one_hot + a / classes)`` for a smoothing of a. The
    mean is ``sum_n loss[n] / sum_n weight[labels[n]]``: divided by the weights of the
    labels also where smoothing has given part of the target to other classes.

    References
    ----------
    Szegedy et al., arXiv 1512.00567, section 7 (label smoothing).
    """
    logits = _check.array("logits", logits, "N classes")
    N, classes = logits.shape
    labels, kept = _check_labels(labels, N, classes, ignore_index)
    if weight is not None:
        weight = check_weight(weight)
        _check.array("weight", weight, "classes", like=logits, of="logits")
        _check.shape("weight", weight, (classes,), "(one per class)")
    if reduction not in REDUCTIONS:
        _arguments.one_of("reduction", reduction, *REDUCTIONS)
    label_smoothing = _arguments.share("label_smoothing", label_smoothing)
    places = np.where(kept, labels, 0)
    target = np.full(logits.shape, label_smoothing / classes, logits.dtype)
    target[np.arange(N), places] += 1 - label_smoothing
    mass, counts = np.ones((N, 1), logits.dtype), np.ones(N)
    if weight is not None:
        target *= weight
        counts = weight[places].astype(np.float64)
        evenly = label_smoothing * weight.mean(dtype=np.float64)
        mass[:, 0] = (1 - label_smoothing) * counts + evenly
    for array in (target, mass, counts):
        array[~kept] = 0
    divisor = float(counts.sum()) if reduction == "mean" else 1.0

    shifted = _shifted(logits)  # by each row's maximum, so that exp stays finite
    log_sum = np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    log_probabilities = shifted - log_sum
    surprise = np.zeros_like(logits)
    # Where the target is 0 its class must not count, not even as 0 * inf.
    np.multiply(target, log_probabilities, out=surprise, where=target > 0)
    probabilities = np.exp(log_probabilities)
    cache = CrossEntropyCache(
        probabilities, target, mass, kept[:, None], divisor, reduction
    )
    return reduced(-surprise.sum(axis=1), cache), cache


@_check.may_underflow
def cross_entropy_backward(
    grad_output: float | Array, cache: CrossEntropyCache
) -> Array:
    """Return the gradient of the loss with respect to the logits.

    Parameters
    ----------
    grad_output : float, or ndarray of shape (N,)
        Gradient of whatever follows by the loss; 1 where the loss is the end. Where
        nothing was added up (reduction "none") there is one for each image.
    cache : CrossEntropyCache
        From `cross_entropy_forward`.

    Returns
    -------
    grad_logits : ndarray of shape (N, classes)
        ``grad_output * (softmax(logits) - target) / N`` for a plain mean: every row
        sums to zero.

    Raises
    ------
    ValueError, TypeError
        If grad_output is not like the loss.

    Notes
    -----
    See ``docs/derivations/cross_entropy.md``. The division by N happens here and
    nowhere else.
    """
    probabilities, target, mass, kept, divisor, reduction = cache
    if reduction == "none":
        grad_output = _check.gradient(grad_output, (len(target),), like=target)
        scale = grad_output[:, None]
    else:
        each = _scalar(grad_output) / divisor if divisor else np.nan
        scale = np.where(kept, each, 0).astype(target.dtype)  # (N, 1)
    grad_logits: Array = (mass * probabilities - target) * scale
    return grad_logits


def reduced(losses: Array, cache: CrossEntropyCache) -> Loss:
    """Put the images' losses (N,) together, or leave them."""
    if cache.reduction == "none":
        return losses
    total: np.floating[Any] = losses.sum()
    # The mean of nothing is nothing: NaN, as in PyTorch.
    return total / cache.divisor if cache.divisor else total.dtype.type(np.nan)


def check_weight(weight: Any) -> Array:
    """Insist on weights of classes, numbers of at least 0; return them plain."""
    found = _check.array("weight", weight, "classes")
    if not (np.isfinite(found) & (found >= 0)).all():
        raise ValueError(
            "weight must be finite numbers of at least 0, got "
            f"{_arguments.shown(found.tolist())}"
        )
    return found


def _scalar(grad_output: Any) -> float:
    found = plain_like("grad_output", grad_output)
    if found.ndim:
        raise ValueError(
            f"grad_output must be a number, as the loss is, got shape {found.shape}"
        )
    return float(found)


def _shifted(logits: Array) -> Array:
    """Take away each row's maximum."""
    with np.errstate(over="ignore"):  # minus infinity, whose power is 0 as it should
        shifted: Array = logits - logits.max(axis=1, keepdims=True)
    return shifted


def _check_labels(
    labels: Any, N: int, classes: int, ignore_index: int
) -> tuple[NDArray[np.integer[Any]], NDArray[np.bool_]]:
    """Return the labels as a plain array, and which are not to be ignored: (N,)."""
    if not isinstance(labels, np.ndarray) or labels.dtype.kind not in "iu":
        kind = getattr(labels, "dtype", type(labels).__name__)
        raise TypeError(f"labels must be a NumPy array of integers, got {kind}")
    found: NDArray[np.integer[Any]] = plain("labels", labels)
    _check.shape("labels", found, (N,), "(one per row of logits)")
    kept: NDArray[np.bool_] = found != _arguments.whole("ignore_index", ignore_index)
    wrong = found[kept & ((found < 0) | (found >= classes))]
    if wrong.size:
        raise ValueError(f"labels must be in 0 ... {classes - 1}, got {wrong[0]}")
    return found, kept
