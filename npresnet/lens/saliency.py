"""Saliency: which pixels, changed a little, would change a class's score most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npresnet.lens.looks import Looks, look_rows, pictures_of
from npresnet.lens.passes import Progress, describe
from npresnet.lens.scores import Scores, Target, scored
from npresnet.nn import Module

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True, repr=False, eq=False)
class Saliency(Looks):
    """The gradient of a class's score by every image; see `Looks` for the rest.

    Attributes
    ----------
    gradients : ndarray of shape (N, C, H, W)
        Of the score (a logit) by the normalised images.
    grey : bool
        Whether the channels were added up.
    smooth : int
        Noisy copies that were averaged over; 0: the gradient itself.
    noise : float
        Their noise's standard deviation, as a share of the image's range.
    """

    gradients: Array
    grey: bool
    smooth: int
    noise: float

    title = "Saliency: the gradient of the score by the image"
    over = False

    def method(self) -> str:
        """Say in a line what the maps are."""
        size = "|sum over channels|" if self.grey else "largest |.| over channels"
        if not self.smooth:
            return f"|d score / d pixel|, {size}"
        return (
            f"|d score / d pixel|, {size}, of the mean over {self.smooth} copies with "
            f"noise of {self.noise:.0%} of the image's range (SmoothGrad)"
        )


def saliency(
    model: Module,
    x: Array,
    target: Target = None,
    *,
    grey: bool = False,
    smooth: int = 0,
    noise: float = 0.15,
    seed: int = 0,
    classes: Sequence[str] | None = None,
    pictures: NDArray[np.uint8] | None = None,
    progress: Progress | None = None,
) -> Saliency:
    """Take the gradient of a class's score by the image.

    Parameters
    ----------
    model : Module
        A classifier, in the mode it is to be looked at in: mostly ``model.eval()``.
        It is left as it was.
    x : ndarray of shape (N, C, H, W)
        Normalised images, of the model's dtype.
    target : int or sequence of int, optional
        Class to ask about, one for all images or one each; by default the predicted
        one.
    grey : bool
        Whether all channels hold the same image, as those of the digits do: then only
        the sum of the gradients by the channels means anything.
    smooth : int
        If above 0, gradients are averaged over so many copies of the images with
        Gaussian noise: less speckled (SmoothGrad).
    noise : float
        Standard deviation of that noise, as a share of each image's range.
    seed : int
        Of that noise.
    classes : sequence of str, optional
        Names of the classes, for tables and pictures.
    pictures : uint8 ndarray of shape (N, C, H, W), optional
        The images as they were before they were normalised, to draw; without them `x`
        is drawn, stretched so that the numbers of each image fill black to white.
    progress : callable, optional
        Called with the backward passes that are done and that there are.

    Returns
    -------
    Saliency
        With ``.gradients``, and ``.maps``: their magnitude, the largest over the
        channels.

    Raises
    ------
    TypeError, ValueError
        If the model cannot go backward, or an argument does not suit it.

    Notes
    -----
    The score is the logit: the probability could also rise because others fall.

    In training mode batch norm mixes the images of a batch: what comes out is about
    the sum of all images' scores. In evaluation mode every image is on its own.

    References
    ----------
    Simonyan et al., arXiv 1312.6034, section 3 (3.1: one map from several channels);
    Smilkov et al., arXiv 1706.03825, section 3 (SmoothGrad).

    Examples
    --------
    >>> import numpy as np, npresnet as nr
    >>> x = np.random.default_rng(0).standard_normal((2, 3, 8, 8), dtype=np.float32)
    >>> look = saliency(nr.models.resnet8().eval(), x, target=[3, 7])
    >>> look.maps.shape, [row.target for row in look.rows]
    ((2, 8, 8), [3, 7])
    """
    if not isinstance(smooth, int) or smooth < 0:
        raise ValueError(f"smooth must be 0 or a number of copies, got {smooth!r}")
    if not 0 < noise < np.inf:
        raise ValueError(f"noise must be a positive share of the range, got {noise}")
    scores, gradients = _gradients(model, x, target)
    shown = pictures_of(x, pictures)
    if smooth:
        rng = np.random.default_rng(seed)
        spread = np.ptp(x, axis=(1, 2, 3), keepdims=True) * noise
        total = np.zeros(x.shape)
        for done in range(smooth):
            noisy = x + (spread * rng.standard_normal(x.shape)).astype(x.dtype)
            total += _gradients(model, noisy, scores.target)[1]
            if progress is not None:
                progress(done + 1, smooth)
        gradients = (total / smooth).astype(x.dtype)
    maps = np.abs(gradients.sum(axis=1)) if grey else np.abs(gradients).max(axis=1)
    return Saliency(
        look_rows(scores, maps, classes),
        maps,
        shown,
        describe(model),
        model.training,
        gradients,
        grey,
        smooth,
        noise,
    )


def _gradients(model: Module, x: Array, target: Target) -> tuple[Scores, Array]:
    with scored(model, x, target) as scores:
        return scores, model.backward(scores.grad_logits)
