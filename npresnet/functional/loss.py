"""Cross entropy: how surprised the network is by the right answer, in nats."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from npresnet._plain import plain
from npresnet.functional import _check

Array = NDArray[np.floating[Any]]


class CrossEntropyCache(NamedTuple):
    """What the backward pass of the cross entropy needs."""

    probabilities: Array  # (N, classes): softmax of the logits
    target: Array  # (N, classes): what the probabilities should be


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
    logits: Array, labels: NDArray[np.integer[Any]], *, label_smoothing: float = 0.0
) -> tuple[np.floating[Any], CrossEntropyCache]:
    """Average the negative log probability of the labels over the batch.

    Parameters
    ----------
    logits : ndarray of shape (N, classes)
        Unnormalised scores, float32 or float64.
    labels : ndarray of int of shape (N,)
        The right classes, 0 ... classes-1.
    label_smoothing : float
        In [0, 1]: the share of the target that is spread evenly over all classes, the
        right one included, as in PyTorch.

    Returns
    -------
    loss : floating scalar
        Mean over the batch, in nats, of the logits' dtype.
    cache : CrossEntropyCache
        For `cross_entropy_backward`.

    Raises
    ------
    ValueError
        If shapes do not fit, or a label or the smoothing is out of range.
    TypeError
        If logits are not floating or labels not integers.

    Notes
    -----
    ``loss = -mean_n sum_c target[n,c] * log softmax(logits)[n,c]``, where
    ``target = (1 - a) * one_hot + a / classes`` for a smoothing of a.

    References
    ----------
    Szegedy et al., arXiv 1512.00567, section 7 (label smoothing).
    """
    logits = _check.array("logits", logits, "N classes")
    N, classes = logits.shape
    labels = _check_labels(labels, N, classes)
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"label_smoothing must be in [0, 1], got {label_smoothing!r}")
    target = np.full(logits.shape, label_smoothing / classes, logits.dtype)
    target[np.arange(N), labels] += 1 - label_smoothing

    shifted = _shifted(logits)  # by each row's maximum, so that exp stays finite
    log_sum = np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    log_probabilities = shifted - log_sum
    surprise = np.zeros_like(logits)
    # Where the target is 0 its class must not count, not even as 0 * inf.
    np.multiply(target, log_probabilities, out=surprise, where=target > 0)
    loss = -surprise.sum(axis=1).mean()
    return loss, CrossEntropyCache(np.exp(log_probabilities), target)


@_check.may_underflow
def cross_entropy_backward(grad_output: float, cache: CrossEntropyCache) -> Array:
    """Return the gradient of the mean loss by the logits.

    Parameters
    ----------
    grad_output : float
        Gradient of whatever follows by the loss; 1 where the loss is the end.
    cache : CrossEntropyCache
        From `cross_entropy_forward`.

    Returns
    -------
    grad_logits : ndarray of shape (N, classes)
        ``grad_output * (softmax(logits) - target) / N``: every row sums to zero.

    Notes
    -----
    See ``docs/derivations/cross_entropy.md``. The division by N happens here and
    nowhere else.
    """
    probabilities, target = cache
    return (probabilities - target) * (float(grad_output) / len(target))


def _shifted(logits: Array) -> Array:
    """Take away each row's maximum."""
    with np.errstate(over="ignore"):  # minus infinity, whose power is 0 as it should
        shifted: Array = logits - logits.max(axis=1, keepdims=True)
    return shifted


def _check_labels(labels: Any, N: int, classes: int) -> NDArray[np.integer[Any]]:
    if not isinstance(labels, np.ndarray) or labels.dtype.kind not in "iu":
        kind = getattr(labels, "dtype", type(labels).__name__)
        raise TypeError(f"labels must be a NumPy array of integers, got {kind}")
    found: NDArray[np.integer[Any]] = plain("labels", labels)
    _check.shape("labels", found, (N,), "(one per row of logits)")
    if found.min() < 0 or found.max() >= classes:
        wrong = found[(found < 0) | (found >= classes)][0]
        raise ValueError(f"labels must be in 0 ... {classes - 1}, got {wrong}")
    return found
