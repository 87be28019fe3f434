"""A gradient's parts by the number of branches crossed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from npresnet.lens.shared.passes import (
    batch_note,
)
from npresnet.lens.shared.result import Result, column

if TYPE_CHECKING:
    from npresnet.plots.style import Figure

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class SpectrumRow:
    """The part of the gradient that crossed k residual branches.

    Attributes
    ----------
    branches : int
        k.
    paths : int
        Ways through the network that cross so many: L over k for L blocks.
    norm : float
        Euclidean norm of the part: of the sum over all these paths.
    share : float
        What the part contributes to the whole gradient g: ``<part, g> / <g, g>``.
        Shares add up to 1; one is negative where a part points the other way.
    """

    branches: int = column("branches")
    paths: int = column("paths")
    norm: float = column("norm", ".3e")
    share: float = column("share", "z.2%")


@dataclass(frozen=True, repr=False)
class Spectrum(Result):
    """The gradient with respect to the images, as a sum over path lengths.

    Attributes
    ----------
    rows : tuple of SpectrumRow
        One for every k from 0 to the number of blocks.
    network : str
        What was looked at, as in ``"Residual net, 20 layers"``.
    images : int
        N, the size of the batch.
    training : bool
        Whether batch norm used the batch's statistics.
    loss : float
        Mean cross entropy, in nats.
    gradient_norm : float
        Of the ordinary gradient with respect to the images.
    total_error : float
        How far the parts' sum is from the ordinary gradient, relative to its norm.
    """

    rows: tuple[SpectrumRow, ...]
    network: str
    images: int
    training: bool
    loss: float
    gradient_norm: float
    total_error: float

    @property
    def norms(self) -> NDArray[np.float64]:
        """Norm of the part that crossed k branches, at index k."""
        return np.array([row.norm for row in self.rows])

    @property
    def shares(self) -> NDArray[np.float64]:
        """Share of that part in the whole gradient; they add up to 1."""
        return np.array([row.share for row in self.rows])

    @property
    def paths(self) -> tuple[int, ...]:
        """How many paths cross k branches, at index k."""
        return tuple(row.paths for row in self.rows)

    @property
    def shortcut_share(self) -> float:
        """Share of the one path that crosses no branch."""
        return self.rows[0].share

    @property
    def mean_branches(self) -> float:
        """Branches crossed on average, each path length weighed by its share."""
        return float(self.shares @ np.arange(len(self.rows)))

    @property
    def mean_branches_of_paths(self) -> float:
        """Branches crossed on average, if all paths counted alike."""
        crossed = sum(row.branches * row.paths for row in self.rows)
        return crossed / sum(self.paths)

    def summary(self) -> str:
        """Say how long the paths are that matter, and whether the sum is right."""
        return (
            f"{self.network}, {batch_note(self.images, self.training)}: the gradient "
            f"(norm {self.gradient_norm:.3e}) crossed {self.mean_branches:.2f} "
            f"branches on average,\nwhere the average path crosses "
            f"{self.mean_branches_of_paths:.2f}; the shortcuts alone carry "
            f"{self.shortcut_share:z.2%}; the parts' sum is off by "
            f"{self.total_error:.1e}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return everything, with the mean lengths, as plain data."""
        means = {
            "mean_branches": self.mean_branches,
            "mean_branches_of_paths": self.mean_branches_of_paths,
        }
        return {**super().to_dict(), **means}

    def plot(
        self, beside: Spectrum | Sequence[Spectrum] = (), names: Sequence[str] = ()
    ) -> Figure:
        """Draw shares and norms over the number of branches crossed.

        Parameters
        ----------
        beside : Spectrum or sequence of Spectrum
            Others to draw to the right of this one: after training, for instance.
        names : sequence of str
            What to call each of them; by default `network`.
        """
        from npresnet.lens.spectrum.picture import path_lengths

        others = [beside] if isinstance(beside, Spectrum) else beside
        return path_lengths([self, *others], names)
