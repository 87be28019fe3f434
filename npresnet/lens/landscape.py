"""The loss landscape: slices through the loss around the weights of a network."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from npresnet import backend
from npresnet.functional import cross_entropy_forward
from npresnet.lens.directions import Direction, cosine, random_direction
from npresnet.lens.kept_points import KeptPoints, digest, structure
from npresnet.lens.passes import (
    Progress,
    batch_note,
    check_batch,
    check_integer,
    check_model,
    describe,
    is_residual,
)
from npresnet.lens.result import Result, Table, column
from npresnet.lens.untouched import untouched
from npresnet.nn import Module, no_grad

if TYPE_CHECKING:
    from npresnet.plots.style import Figure

Array = NDArray[np.floating[Any]]

_SHOWN = 9  # rows and columns of the table; a file gets all points


@dataclass(frozen=True)
class LandscapeRow:
    """One point: how far along each direction, and what was found there.

    Attributes
    ----------
    alpha, beta : float
        The weights are ``w + alpha * first + beta * second``; `beta` is None in a
        slice of one dimension.
    loss : float
        Mean cross entropy, in nats; infinite where a logit is not finite.
    accuracy : float
        Share of the images whose highest logit is at the label.
    """

    alpha: float = column("alpha", "z.3g")
    beta: float | None = column("beta", "z.3g")
    loss: float = column("loss", ".4g")
    accuracy: float = column("accuracy", ".1%")


@dataclass(frozen=True, repr=False)
class Landscape(Result):
    """A slice through the loss in one or two random directions.

    Attributes
    ----------
    rows : tuple of LandscapeRow
        Point by point; in two dimensions alpha changes faster.
    network : str
        What was looked at, as in ``"Plain net, 56 layers"``.
    residual : bool
        Whether it has shortcuts.
    images : int
        How many the loss is the mean over.
    classes : int
        Guessing costs ``log(classes)`` nats.
    training : bool
        Whether batch norm used the statistics of the images, anew at every point.
    dimensions : int
        1 or 2.
    radius : float
        How far the slice goes, in units of the weights: at 1 the step has, in every
        filter, the length of the filter.
    seed : int
        Of the directions.
    cosine : float or None
        Of the angle between the two directions; None in one dimension.
    """

    rows: tuple[LandscapeRow, ...]
    network: str
    residual: bool
    images: int
    classes: int
    training: bool
    dimensions: int
    radius: float
    seed: int
    cosine: float | None

    @property
    def points(self) -> int:
        """Points along one direction."""
        count = len(self.rows)
        return math.isqrt(count) if self.dimensions == 2 else count

    @property
    def at(self) -> NDArray[np.float64]:
        """Where the points are, along either direction: of shape (points,)."""
        return np.array([row.alpha for row in self.rows[: self.points]])

    @property
    def losses(self) -> NDArray[np.float64]:
        """Losses, of shape (points,), or (points, points) with ``[beta, alpha]``."""
        return self._grid([row.loss for row in self.rows])

    @property
    def accuracies(self) -> NDArray[np.float64]:
        """Accuracies, of the shape of the losses."""
        return self._grid([row.accuracy for row in self.rows])

    @property
    def center(self) -> LandscapeRow:
        """The point at which the weights are the model's own."""
        return self.rows[len(self.rows) // 2]

    @property
    def valley(self) -> float:
        """Share of the points at which the loss is below that of guessing."""
        return float(np.mean(self.losses < np.log(self.classes)))

    @property
    def minima(self) -> int:
        """Points inside the slice whose loss is below that of every neighbour."""
        losses = self.losses
        inner = losses[(slice(1, -1),) * losses.ndim]
        lowest = np.ones(inner.shape, bool)
        for shift in np.ndindex((3,) * losses.ndim):
            if shift != (1,) * losses.ndim:
                around = tuple(
                    slice(i, i + n) for i, n in zip(shift, inner.shape, strict=True)
                )
                lowest &= inner < losses[around]
        return int(lowest.sum())

    def summary(self) -> str:
        """Say how high the surroundings are, and what it rests on."""
        center, losses = self.center, self.losses
        minima = f"{self.minima} local minim{'um' if self.minima == 1 else 'a'}"
        return (
            f"{self.network}, {self._batch_note()}: loss {center.loss:.4g} nats at the "
            f"weights\n(accuracy {center.accuracy:.1%}), {losses.min():.4g} to "
            f"{losses.max():.4g} within {self.radius:g}; {self.valley:.1%} of the "
            f"points are better than guessing\n({np.log(self.classes):.3f} nats); "
            f"{minima} among the points"
        )

    def table(self) -> Table:
        """Return the losses: a row per alpha, or a grid of them, thinned out."""
        shown = _thinned(self.points)
        if self.dimensions == 1:
            return Table.of([self.rows[i] for i in shown])
        at, losses = self.at, self.losses
        heads = [f"{at[i]:z.3g}" for i in shown]
        return Table(
            ("beta", *heads),
            ("loss, beta down, alpha across", *heads),
            ("z.3g", *[".4g"] * len(shown)),
            tuple((at[j], *losses[j, shown]) for j in shown),
        )

    def records(self) -> Table:
        """Return all points."""
        return Table.of(self.rows)

    def to_dict(self) -> dict[str, Any]:
        """Return everything, and the figures of the summary, as plain data."""
        figures = {
            "points": self.points,
            "center_loss": self.center.loss,
            "center_accuracy": self.center.accuracy,
            "valley": self.valley,
            "minima": self.minima,
        }
        return {**super().to_dict(), **figures}

    def plot(self, beside: Landscape | Sequence[Landscape] = ()) -> Figure:
        """Draw contour lines, and the curves along the directions.

        Parameters
        ----------
        beside : Landscape or sequence of Landscape
            Others to draw beside this one, on the same scale: the plain twin's.
        """
        from npresnet.plots import Slice, landscapes

        others = [beside] if isinstance(beside, Landscape) else beside
        results = [self, *others]
        notes = {one._batch_note() for one in results}
        classes = {one.classes for one in results}
        return landscapes(
            [
                Slice(one.network, one.residual, one.at, one.losses, one._caption())
                for one in results
            ],
            guessing=float(np.log(self.classes)) if len(classes) == 1 else None,
            note=f"Mean over {notes.pop()}. " if len(notes) == 1 else "",
        )

    def _grid(self, values: list[float]) -> NDArray[np.float64]:
        return np.array(values).reshape((self.points,) * self.dimensions)

    def _batch_note(self) -> str:
        return batch_note(self.images, self.training)

    def _caption(self) -> str:
        return f"loss {self.center.loss:.3g}, accuracy {self.center.accuracy:.1%}"


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
    check_batch(model, x, y)
    check_integer("batch_size", batch_size, 1)
    at = _coordinates(points, radius)
    size = len(x) if model.training else batch_size
    directions = _directions(model, dimensions, seed)
    kept = KeptPoints(keep, _settings(model, x, y, at, directions, seed, size))
    grid = [(a, b) for b in (at if dimensions == 2 else [0.0]) for a in at]
    with untouched(model), no_grad(), np.errstate(all="ignore"), kept.written():
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
    check_integer("points", points, 3)
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
    check_integer("seed", seed, 0)
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


def _thinned(points: int) -> list[int]:
    """Choose evenly spread points, both ends and the middle among them."""
    half = points // 2
    every = -(-half // (_SHOWN // 2))
    right = range(half, points, every)
    return sorted({2 * half - i for i in right} | set(right))
