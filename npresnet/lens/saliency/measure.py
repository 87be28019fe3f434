"""Saliency: which pixels, changed a little, would change a class's score most."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npresnet.lens.saliency.result import Saliency
from npresnet.lens.shared.looks import look_rows, pictures_of
from npresnet.lens.shared.passes import describe
from npresnet.lens.shared.scores import Target, check_backward, scored
from npresnet.nn import Module

Array = NDArray[np.floating[Any]]


def saliency(
    model: Module,
    x: Array,
    target: Target = None,
    *,
    grey: bool = False,
    classes: Sequence[str] | None = None,
    names: Sequence[str | int] | None = None,
    pictures: NDArray[np.uint8] | None = None,
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
        the sum of the gradients with respect to the channels means anything.
    classes : sequence of str, optional
        Names of the classes, for tables and pictures.
    names : sequence of str or int, optional
        Names of the images, for tables.
    pictures : uint8 ndarray of shape (N, C, H, W), optional
        The images as they were before they were normalised, to draw; without them `x`
        is drawn, stretched so that the numbers of each image fill black to white.

    Returns
    -------
    Saliency
        With ``.gradients``, and ``.maps``: their magnitude, the largest over the
        channels (or that of their sum, if `grey`).

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
    Simonyan et al., arXiv 1312.6034, section 3 (3.1: one map from several channels).

    Examples
    --------
    >>> import numpy as np, npresnet as nr
    >>> x = np.random.default_rng(0).standard_normal((2, 3, 8, 8), dtype=np.float32)
    >>> look = saliency(nr.models.resnet8().eval(), x, target=[3, 7])
    >>> look.maps.shape, [row.target for row in look.rows]
    ((2, 8, 8), [3, 7])
    """
    x = check_backward(model, x)
    with scored(model, x, target) as scores:
        gradients = model.backward(scores.grad_logits)
    maps = np.abs(gradients.sum(axis=1)) if grey else np.abs(gradients).max(axis=1)
    return Saliency(
        look_rows(scores, maps, classes, names),
        maps,
        pictures_of(x, pictures),
        describe(model),
        model.training,
        gradients,
        grey,
    )
