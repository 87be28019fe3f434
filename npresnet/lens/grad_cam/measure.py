"""Grad-CAM: where in a layer's feature maps the evidence for a class lies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npresnet.lens.grad_cam.result import GradCam
from npresnet.lens.shared.layers import find, last_stage
from npresnet.lens.shared.looks import look_rows, pictures_of
from npresnet.lens.shared.passes import describe
from npresnet.lens.shared.scores import Target, check_backward, scored
from npresnet.nn import Module, watching

Array = NDArray[np.floating[Any]]


def grad_cam(
    model: Module,
    x: Array,
    target: Target = None,
    *,
    layer: str | None = None,
    classes: Sequence[str] | None = None,
    names: Sequence[str | int] | None = None,
    pictures: NDArray[np.uint8] | None = None,
) -> GradCam:
    """Weigh a layer's feature maps by what they mean for a class, and add them up.

    With A the layer's output, and a mean over its pixels, ::

        weight[k] = mean(d score / d A[k])
        map       = relu(sum(weight[k] * A[k] over k))

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
    layer : str, optional
        As in ``layer2`` or ``layer2.0.conv1``; by default the last stage. A layer
        that is called several times has its calls counted from 1, as in
        ``layer1.0.relu#1``; without a number the last one is meant.
    classes : sequence of str, optional
        Names of the classes, for tables and pictures.
    names : sequence of str or int, optional
        Names of the images, for tables.
    pictures : uint8 ndarray of shape (N, C, H, W), optional
        The images as they were before they were normalised, to draw; without them `x`
        is drawn, stretched so that the numbers of each image fill black to white.

    Returns
    -------
    GradCam
        With ``.maps``, as large as the images, and ``.coarse``, as large as the
        layer's.

    Raises
    ------
    TypeError, ValueError
        If the model cannot go backward, there is no such layer or it gives no feature
        maps, or an argument does not suit the model.

    Notes
    -----
    The score is the logit. Enlarging takes pixels as areas (as PyTorch's
    ``interpolate(mode="bilinear", align_corners=False)`` does), so a map of 2x2 says
    no more than a quarter of the image each: earlier layers see more finely, later
    ones more of the class.

    In training mode batch norm mixes the images of a batch: what comes out is about
    the sum of all images' scores. In evaluation mode every image is on its own.

    References
    ----------
    Selvaraju et al., arXiv 1610.02391, section 3 (equations 1 and 2).

    Examples
    --------
    >>> import numpy as np, npresnet as nr
    >>> x = np.random.default_rng(0).standard_normal((2, 3, 16, 16), dtype=np.float32)
    >>> look = grad_cam(nr.models.resnet8().eval(), x)
    >>> look.layer, look.coarse.shape, look.maps.shape
    ('layer3', (2, 4, 4), (2, 16, 16))
    """
    x = check_backward(model, x)
    place = find(model, last_stage(model) if layer is None else layer)
    outputs: list[Array] = []
    grads: list[Array] = []

    def note(module: Module, inputs: tuple[Any, ...], output: Any) -> None:
        if module is place.module:
            outputs.append(output)

    def note_gradient(module: Module, grad_outputs: Any, grad_inputs: Any) -> None:
        if module is place.module:
            grads.append(grad_outputs[0])

    with watching(note, note_gradient), scored(model, x, target) as scores:
        features = place.pick(outputs)
        if features.ndim != 4:
            raise ValueError(
                f"layer {place.name} gives {features.shape}; Grad-CAM needs feature "
                "maps (N, C, H, W)"
            )
        model.backward(scores.grad_logits, input_grad=False)
    if len(grads) != len(outputs):
        raise ValueError(f"layer {place.name}: the backward pass goes around it")
    grad = place.pick(grads[::-1])  # the last call goes backward first
    weights = grad.mean(axis=(2, 3))  # (N, channels)
    coarse = np.maximum(np.einsum("nk,nkhw->nhw", weights, features), 0)
    maps = enlarge(coarse, x.shape[2:])
    return GradCam(
        look_rows(scores, maps, classes, names),
        maps,
        pictures_of(x, pictures),
        describe(model),
        model.training,
        place.name if place.number is None else f"{place.name}#{place.number}",
        coarse,
        weights,
    )


def enlarge(maps: Array, size: tuple[int, ...]) -> Array:
    """Resize maps bilinearly, pixels taken as areas.

    Parameters
    ----------
    maps : ndarray of shape (N, h, w)
        Any numbers.
    size : tuple of int
        ``(H, W)``, larger or smaller.

    Returns
    -------
    ndarray of shape (N, H, W)
        As ``torch.nn.functional.interpolate(mode="bilinear", align_corners=False)``
        gives them.

    Examples
    --------
    >>> enlarge(np.array([[[0.0, 4.0]]]), (1, 4))
    array([[[0., 1., 3., 4.]]])
    """
    rows, cols = (
        _interpolation(*lengths, maps.dtype)
        for lengths in zip(maps.shape[1:], size, strict=True)
    )
    enlarged: Array = rows @ maps @ cols.T  # (H, h) @ (N, h, w) @ (w, W)
    return enlarged


def _interpolation(given: int, wanted: int, dtype: Any) -> Array:
    """Return the matrix (wanted, given) that interpolates along one axis."""
    # Where the new pixels' centres lie, in old pixels; beyond the outermost centres
    # nothing is extrapolated.
    at = (np.arange(wanted) + 0.5) * given / wanted - 0.5
    at = at.clip(0, given - 1)
    before = np.floor(at).astype(int)
    after = np.minimum(before + 1, given - 1)
    matrix = np.zeros((wanted, given), dtype)
    new = np.arange(wanted)
    np.add.at(matrix, (new, before), 1 - (at - before))
    np.add.at(matrix, (new, after), at - before)
    return matrix
