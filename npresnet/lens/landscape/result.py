"""What the loss landscape came to: points, contour lines, curves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from npresnet.lens.shared.passes import batch_note
from npresnet.lens.shared.result import Result, Table, column

if TYPE_CHECKING:
    from npresnet.plots.style import Figure

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
        from npresnet.lens.landscape.picture import landscapes

        others = [beside] if isinstance(beside, Landscape) else beside
        return landscapes([self, *others])

    def _grid(self, values: list[float]) -> NDArray[np.float64]:
        return np.array(values).reshape((self.points,) * self.dimensions)

    def _batch_note(self) -> str:
        return batch_note(self.images, self.training)


def _thinned(points: int) -> list[int]:
    """Choose evenly spread points, both ends and the middle among them."""
    half = points // 2
    every = -(-half // (_SHOWN // 2))
    right = range(half, points, every)
    return sorted({2 * half - i for i in right} | set(right))
