"""How alike gradients are, lag by lag."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from npresnet.lens.shared.result import Result, Table, column

if TYPE_CHECKING:
    from npresnet.plots.style import Figure

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class ShatteredRow:
    """How alike gradients are that lie so many steps apart on the line.

    Attributes
    ----------
    lag : int
        Steps between the two images.
    autocorrelation : float
        Mean over the lines.
    deviation : float
        Standard deviation over the lines (0 for a single one).
    white, brownian : float
        What white noise and Brownian motion come to, expected, by the same formula.
    """

    lag: int = column("lag")
    autocorrelation: float = column("autocorrelation", "z.3f")
    deviation: float = column("deviation", ".3f")
    white: float = column("white noise", "z.3f")
    brownian: float = column("Brownian motion", "z.3f")


@dataclass(frozen=True, repr=False)
class Shattered(Result):
    """How alike the gradients of neighbours are, along lines between images.

    Attributes
    ----------
    rows : tuple of ShatteredRow
        Lag 0, which is 1, to the largest one.
    network : str
        What was looked at, as in ``"Plain net, 20 layers"``.
    layers : int
        Its depth.
    residual : bool
        Whether it has shortcuts.
    points : int
        Images on every line, at equal distances.
    lines : int
        Pairs of images that were joined.
    step : float
        Mean distance between neighbours on a line, in units of normalised pixels.
    output : int
        The logit whose gradient it is.
    training : bool
        Whether batch norm's statistics are those of the batch that was given, frozen;
        else the running ones.
    """

    rows: tuple[ShatteredRow, ...]
    network: str
    layers: int
    residual: bool
    points: int
    lines: int
    step: float
    output: int
    training: bool

    @property
    def autocorrelations(self) -> NDArray[np.float64]:
        """Mean autocorrelation, at index lag."""
        return np.array([row.autocorrelation for row in self.rows])

    @property
    def neighbours(self) -> float:
        """Autocorrelation at lag 1: how alike the gradients of neighbours are."""
        return self.rows[1].autocorrelation

    def method(self) -> str:
        """Say what was measured, and how."""
        which = "those of one batch, frozen" if self.training else "the running ones"
        return (
            f"Gradient of logit {self.output} along {self.lines} "
            f"line{'s' * (self.lines > 1)} of {self.points} images, {self.step:.3g} "
            f"apart; batch norm's statistics are {which}."
        )

    def summary(self) -> str:
        """Say how alike neighbours are, and what it rests on."""
        white, brownian = self.rows[1].white, self.rows[1].brownian
        return (
            f"{self.network}: the gradients of neighbours correlate with "
            f"{self.neighbours:z.3f} (white noise {white:z.3f}, Brownian motion "
            f"{brownian:.3f}).\n{self.method()}"
        )

    def table(self) -> Table:
        """Return the rows at the first few lags, then at lags further apart."""
        return Table.of([self.rows[lag] for lag in _thinned(len(self.rows))])

    def records(self) -> Table:
        """Return the rows at all lags."""
        return Table.of(self.rows)

    def to_dict(self) -> dict[str, Any]:
        """Return everything, with the figure at lag 1, as plain data."""
        return {**super().to_dict(), "neighbours": self.neighbours}

    def plot(self, beside: Shattered | Sequence[Shattered] = ()) -> Figure:
        """Draw the autocorrelation by lag and, of several networks, by depth.

        Parameters
        ----------
        beside : Shattered or sequence of Shattered
            Others to draw into the same axes, such as the plain twin.
        """
        from npresnet.lens.shattered.picture import autocorrelations

        others = [beside] if isinstance(beside, Shattered) else beside
        return autocorrelations([self, *others])


def _thinned(rows: int) -> list[int]:
    """Choose lags, dense at first: 0, 1, 2, 3, 4, 6, 8, 12, 16, 24 ..."""
    chosen, lag = [], 0
    while lag < rows:
        chosen.append(lag)
        lag += max(1, 1 << lag.bit_length() >> 2)
    return chosen
