"""The loss landscape: slices through the loss around the weights of a network."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from npresnet import backend
from npresnet._digests import digest
from npresnet.functional import cross_entropy_forward
from npresnet.lens.landscape.directions import Direction, cosine, random_direction
from npresnet.lens.landscape.kept_points import KeptPoints, structure
from npresnet.lens.landscape.result import Landscape, LandscapeRow
from npresnet.lens.shared.passes import (
    Progress,
    at_least,
    check_batch,
    check_model,
    describe,
    is_residual,
)
from npresnet.lens.shared.preserve_state import preserve_state
from npresnet.nn import Module, no_grad

Array = NDArray[np.floating[Any]]


def landscape(
    model: Module,
    x: Array,
    y: NDArray[np.integer[Any]],
    *,
    dimensions: Literal[1, 2] = 2,
    points: int = 21,
    radius: float = 1.0,
    seed: int = 0,
    batch_size: int = 256,
    keep: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> Landscape:
    """Measure the loss around a model's weights, in random directions.

    At every point of a grid the weights are ``w + alpha * first + beta * second``. A
    direction is Gaussian noise in which every filter has been given the length of the
    model's own filter: without that, a net with large weights would look flat, and one
    with small weights steep, though batch norm makes the two the same function.

    Parameters
    ----------
    model : Module
        Any network from images to logits, in the mode it is to be looked at in. It is
        left as it was.
    x : ndarray of shape (N, C, H, W)
        Normalised images, of the model's dtype.
    y : ndarray of int of shape (N,)
        Labels.
    dimensions : {1, 2}
        Directions.
    points : int
        Along one direction: odd and 3 or more, so that one of them is the model.
    radius : float
        Coordinates go from ``-radius`` to ``radius``.
    seed : int
        Decides the directions. The first one is the same in one and two dimensions.
    batch_size : int
        Images at a time in evaluation mode: memory and speed.
    keep : path, optional
        A file that keeps finished points. A measurement that was stopped goes on
        from there and ends with the same bits. The file stays; who has the result
        can remove it.
    progress : callable, optional
        Called with the points that are done and that there are.

    Returns
    -------
    Landscape
        With ``.losses``, ``.accuracies``, and where they are, ``.at``.

    Raises
    ------
    TypeError, ValueError
        If the batch does not suit the model, a number is out of range, or `keep` holds
        points of another model, other images or other settings.
    FileNotFoundError
        If the folder of `keep` does not exist.

    Notes
    -----
    Biases and the parameters of batch norm stay where they are, as in the paper's code.

    In evaluation mode batch norm goes on using the running statistics that belong to
    the model's own weights; that is how the paper's code measures. In training mode all
    images form one batch, whose statistics are used, anew at every point: moved weights
    are then normalised as training would.

    Logits are the model's own forward pass, without the folded twin of
    `nr.inference`; the loss is summed in float64. At the centre it is the ordinary
    loss.

    References
    ----------
    Li et al., arXiv 1712.09913, sections 4 (filter normalisation) and 5; their code,
    https://github.com/tomgoldstein/loss-landscape.

    Examples
    --------
    >>> import numpy as np, npresnet as nr
    >>> rng = np.random.default_rng(0)
    >>> x, y = rng.standard_normal((4, 3, 8, 8)), np.array([0, 1, 2, 3])
    >>> model = nr.models.resnet8(dtype=np.float64)
    >>> result = landscape(model, x, y, points=3)
    >>> result.losses.shape
    (3, 3)
    >>> bool(result.center.loss == nr.nn.CrossEntropyLoss()(model(x), y))
    True
    """
    check_model(model)
    x, y = check_batch(model, x, y)
    batch_size, seed = at_least("batch_size", batch_size, 1), at_least("seed", seed, 0)
    at = _coordinates(points, radius)
    size = len(x) if model.training else batch_size
    directions = _directions(model, dimensions, seed)
    kept = KeptPoints(keep, _settings(model, x, y, at, directions, seed, size))
    grid = [(a, b) for b in (at if dimensions == 2 else [0.0]) for a in at]
    with preserve_state(model), no_grad(), np.errstate(all="ignore"), kept.written():
        classes = _forward(model, x[:size]).shape[1]
        move = _mover(model, directions)
        for point, steps in enumerate(grid):
            if point not in kept.values:
                move(steps)
                kept.add(point, _measure(model, x, y, size))
            if progress is not None:
                progress(point + 1, len(grid))
    rows = (
        LandscapeRow(a, b if dimensions == 2 else None, *kept.values[point])
        for point, (a, b) in enumerate(grid)
    )
    return Landscape(
        tuple(rows),
        describe(model),
        is_residual(model),
        len(x),
        classes,
        model.training,
        dimensions,
        float(radius),
        seed,
        cosine(*directions) if dimensions == 2 else None,
    )


def _coordinates(points: int, radius: float) -> list[float]:
    """Return evenly spread coordinates, with an exact 0 in the middle."""
    at_least("points", points, 3)
    if points % 2 == 0:
        raise ValueError(
            f"points: expected an odd number, so that one of them is the model, "
            f"got {points}"
        )
    if not 0 < radius < math.inf:
        raise ValueError(f"radius: expected a number above 0, got {radius!r}")
    half = points // 2
    return [float(radius) * i / half for i in range(-half, half + 1)]


def _directions(model: Module, dimensions: int, seed: int) -> list[Direction]:
    if dimensions not in (1, 2):
        raise ValueError(f"dimensions: expected 1 or 2, got {dimensions!r}")
    return [
        random_direction(model, np.random.default_rng([seed, k]))
        for k in range(dimensions)
    ]


def _mover(
    model: Module, directions: Sequence[Direction]
) -> Callable[[tuple[float, float]], None]:
    """Return what puts the model's weights to a point; they become new arrays."""
    moving = [
        (parameter, parameter.data, [direction[name] for direction in directions])
        for name, parameter in model.named_parameters()
        if name in directions[0]
    ]

    def move(steps: tuple[float, float]) -> None:
        for parameter, own, ways in moving:
            data = own
            for step, way in zip(steps, ways, strict=False):  # one way ignores beta
                data = data + step * way
            parameter.data = data

    return move


def _measure(
    model: Module, x: Array, y: NDArray[np.integer[Any]], size: int
) -> tuple[float, float]:
    """Return mean loss and accuracy; where logits overflow, the loss is infinite."""
    parts = [_forward(model, x[i : i + size]) for i in range(0, len(x), size)]
    logits = np.concatenate(parts).astype(np.float64)  # (N, classes)
    finite = np.isfinite(logits).all(axis=1)
    right = (logits.argmax(axis=1) == y) & finite
    loss = float(cross_entropy_forward(logits, y)[0]) if finite.all() else math.inf
    return loss, float(right.mean())


def _forward(model: Module, x: Array) -> Array:
    logits: Array = model(x)
    if logits.ndim != 2:
        raise ValueError(
            f"model: expected logits of shape (N, classes), got {logits.shape}"
        )
    return logits


def _settings(
    model: Module,
    x: Array,
    y: NDArray[np.integer[Any]],
    at: Sequence[float],
    directions: Sequence[Direction],
    seed: int,
    size: int,
) -> dict[str, Any]:
    """Name all that decides the values at the points, to the last bit."""
    return {
        "network": structure(model),
        "weights": digest(model.state_dict()),
        "mode": "train" if model.training else "eval",
        "images": digest({"x": x}),
        "labels": digest({"y": y}),
        "dimensions": len(directions),
        "points": len(at),
        "radius": at[-1],
        "seed": seed,
        "directions": [digest(direction) for direction in directions],
        "batch size": size,
        "backend": backend.get_backend(),
        "algorithm": backend.get_algorithm(),
    }
