"""Class scores: which of them is asked about, and where a gradient of it begins.

What the instruments share that ask where the network looked.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from npresnet._plain import plain_like
from npresnet.compiler.folding import InferenceModel
from npresnet.lens.shared.passes import check_images
from npresnet.lens.shared.preserve_state import preserve_state
from npresnet.nn import Module, replaying

Array = NDArray[np.floating[Any]]
Target = int | Sequence[int] | NDArray[np.integer[Any]] | None


class Scores(NamedTuple):
    """What a forward pass leaves: scores, and where a gradient begins."""

    logits: Array  # (N, classes)
    target: NDArray[np.int64]  # (N,), the class that is asked about
    grad_logits: Array  # (N, classes): 1 at the target, of the sum of all scores


def check_backward(model: Module, x: Any) -> Array:
    """Insist on a model that can go backward, and on images of its dtype: return these.

    Raises
    ------
    TypeError, ValueError
        If it cannot, or `x` is no array (N, C, H, W) of its dtype.
    """
    images = check_images(model, x)
    if isinstance(model, InferenceModel):
        raise TypeError(
            "model was made by inference() and has no backward pass; use the model "
            "that it was made from"
        )
    return images


@contextmanager
def scored(model: Module, x: Array, target: Target) -> Iterator[Scores]:
    """Send a batch forward, in the mode the model is in; leave no traces afterwards.

    Within the ``with`` block the model holds the caches of this forward pass, and
    backward passes leave parameters' gradients alone.

    Parameters
    ----------
    model : Module
        A classifier that can go backward.
    x : ndarray of shape (N, C, H, W)
        Normalised images, of the model's dtype.
    target : int or sequence of int, optional
        Class to ask about, one for all images or one each; by default the predicted
        one.

    Raises
    ------
    TypeError, ValueError
        If the model cannot go backward or gives no class scores, or the images or
        the classes do not suit it.
    """
    x = check_backward(model, x)
    with preserve_state(model), replaying(model):
        logits = model(x)
        if logits.ndim != 2:
            raise ValueError(
                "model must give class scores of shape (N, classes), got "
                f"{logits.shape}"
            )
        chosen = _choose(logits, target)
        grad_logits = np.zeros_like(logits)
        grad_logits[np.arange(len(x)), chosen] = 1
        yield Scores(logits, chosen, grad_logits)


def _choose(logits: Array, target: Target) -> NDArray[np.int64]:
    N, classes = logits.shape
    chosen = logits.argmax(axis=1) if target is None else plain_like("target", target)
    if chosen.dtype.kind not in "iu":
        raise TypeError(f"target must be integers, got {chosen.dtype}")
    if chosen.shape not in ((), (N,)):
        raise ValueError(
            f"target must be one class, or {N}, one per image; got shape {chosen.shape}"
        )
    if chosen.size and not 0 <= chosen.min() <= chosen.max() < classes:
        raise ValueError(
            f"target must lie in 0..{classes - 1}, got {chosen.reshape(-1).tolist()}"
        )
    return np.broadcast_to(chosen, (N,)).astype(np.int64)
