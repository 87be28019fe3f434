"""Shattered gradients: how alike are those at two images that lie close together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from npresnet.lens.shared.passes import (
    Progress,
    at_least,
    check_images,
    check_model,
    count_layers,
    describe,
    is_residual,
    norm,
)
from npresnet.lens.shared.preserve_state import preserve_state
from npresnet.lens.shattered.autocorrelation import (
    autocorrelation,
    brownian_covariance,
    expected_autocorrelation,
)
from npresnet.lens.shattered.result import Shattered, ShatteredRow
from npresnet.nn import BatchNorm2d, Module, no_grad, replaying, watching

if TYPE_CHECKING:
    pass

Array = NDArray[np.floating[Any]]


def shattered(
    model: Module,
    x: Array,
    *,
    lines: int | None = None,
    points: int = 256,
    lags: int = 32,
    output: int = 0,
    batch_size: int = 128,
    progress: Progress | None = None,
) -> Shattered:
    """Measure the autocorrelation of the input gradient along lines between images.

    A line leads from one image to another in `points` equal steps. At each of its
    images, the gradient of one logit by the image is a vector G[t]; with the mean over
    the line taken away from each of its elements, ::

        r[lag] = sum_t G[t] . G[t + lag] / sum_t G[t] . G[t]

    Parameters
    ----------
    model : Module
        A network, mostly a fresh one. It is left as it was.
    x : ndarray of shape (N, C, H, W)
        Normalised images of the model's dtype, two or more. Line i joins the images
        ``x[2 * i]`` and ``x[2 * i + 1]``.
    lines : int, optional
        How many, at most N/2; all by default.
    points : int
        Images on a line, at least 8.
    lags : int
        The largest lag, below `points`.
    output : int
        The logit.
    batch_size : int
        Images that are sent through the network at a time: memory and speed.
    progress : callable, optional
        Called with the lines that are done and that there are.

    Returns
    -------
    Shattered
        With ``.autocorrelations[lag]`` and, for a picture over depth, ``.neighbours``.

    Raises
    ------
    TypeError, ValueError
        If `x` does not suit the model, a number is out of range, two images that are
        to be joined are the same, or the gradient is the same all along a line.

    Notes
    -----
    In training mode batch norm makes the gradient of one image depend on the images
    around it: the logit is no function of an image. What is measured instead is the
    function that the network computes with the statistics of the batch `x`, frozen: in
    training mode they are taken from `x` (N, H and W, biased variance, as in a
    training step), in evaluation mode they are the running ones. A fresh network has
    no running statistics worth the name: 0 and 1 normalise nothing.

    Correlations depend on the distance between neighbours, ``.step``: compare networks
    on the same lines. The two references are exact expectations for as many points,
    since the mean that is taken away lowers both.

    The paper has networks from one number to one number, and 256 of those; here the
    sums run over all elements of the gradient.

    References
    ----------
    Balduzzi et al., arXiv 1702.08591, section 2 and figures 1 and 2.

    Examples
    --------
    >>> import numpy as np, npresnet as nr
    >>> x = np.random.default_rng(0).standard_normal((8, 3, 8, 8), dtype=np.float32)
    >>> residual = shattered(nr.models.resnet56(), x, lines=1, points=64)
    >>> plain = shattered(nr.models.plain56(), x, lines=1, points=64)
    >>> plain.neighbours < residual.neighbours
    True
    """
    check_model(model)
    x = check_images(model, x)
    lines = len(x) // 2 if lines is None else lines
    at_least("points", points, 8)
    at_least("lags", lags, 1, points - 1)
    at_least("batch_size", batch_size, 1)
    if not 1 <= lines <= len(x) // 2:
        raise ValueError(
            f"lines: expected 1 to {len(x) // 2}, two of the {len(x)} images for each, "
            f"got {lines}"
        )
    training = model.training
    correlations, steps = [], []
    with preserve_state(model):
        freeze_batch_norm(model, x)
        for i in range(lines):
            start, end = x[2 * i], x[2 * i + 1]
            if np.array_equal(start, end):
                raise ValueError(f"x: images {2 * i} and {2 * i + 1} are the same")
            line = line_between(start, end, points)
            gradients = logit_gradients(model, line, output, batch_size)
            correlations.append(autocorrelation(gradients, lags))
            steps.append(norm(end - start) / (points - 1))
            if progress is not None:
                progress(i + 1, lines)
        facts = describe(model), count_layers(model), is_residual(model)
    mean, deviation = np.mean(correlations, axis=0), np.std(correlations, axis=0)
    white = expected_autocorrelation(np.eye(points), lags)
    brownian = expected_autocorrelation(brownian_covariance(points), lags)
    columns = zip(mean, deviation, white, brownian, strict=True)
    rows = (
        ShatteredRow(lag, *map(float, values)) for lag, values in enumerate(columns)
    )
    step = float(np.mean(steps))
    return Shattered(tuple(rows), *facts, points, lines, step, output, training)


def freeze_batch_norm(model: Module, x: Array) -> None:
    """Put a model into evaluation mode; if it was training, with `x`'s statistics.

    Afterwards it computes, for the images x, what it computed in training mode.
    """
    if model.training:
        statistics: dict[BatchNorm2d, tuple[Array, Array]] = {}

        def note(module: Module, inputs: tuple[Any, ...], _: Any) -> None:
            if isinstance(module, BatchNorm2d):
                (array,) = inputs  # (N, C, H, W)
                mean = array.mean(axis=(0, 2, 3), dtype=np.float64)
                variance = array.var(axis=(0, 2, 3), dtype=np.float64)
                dtype = array.dtype
                statistics[module] = mean.astype(dtype), variance.astype(dtype)

        with watching(note), no_grad():
            model(x)
        for module, (mean, variance) in statistics.items():
            module.running_mean, module.running_var = mean, variance
    model.eval()


def line_between(start: Array, end: Array, points: int) -> Array:
    """Return `points` images at equal distances, both ends included.

    Returns
    -------
    ndarray of shape (points, C, H, W)
        Of the images' dtype.
    """
    t = np.linspace(0, 1, points).reshape(-1, 1, 1, 1)
    return ((1 - t) * start + t * end).astype(start.dtype)


def logit_gradients(
    model: Module, images: Array, output: int, batch_size: int
) -> NDArray[np.float64]:
    """Return the gradient of one logit by each image, one row per image.

    Parameters
    ----------
    model : Module
        In evaluation mode: images do not know of each other.
    images : ndarray of shape (T, C, H, W)
        Of the model's dtype.
    output : int
        The logit.
    batch_size : int
        Images at a time.

    Returns
    -------
    float64 ndarray of shape (T, C*H*W)
        The gradients.
    """
    rows = []
    for start in range(0, len(images), batch_size):
        batch = images[start : start + batch_size]
        logits = model(batch)
        if not 0 <= output < logits.shape[1]:
            raise ValueError(
                f"output: expected 0 to {logits.shape[1] - 1}, a logit of the model, "
                f"got {output}"
            )
        grad_logits = np.zeros_like(logits)
        grad_logits[:, output] = 1
        with replaying(model):
            gradient = model.backward(grad_logits)
        rows.append(gradient.reshape(len(batch), -1).astype(np.float64))
    return np.concatenate(rows)
