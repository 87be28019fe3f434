"""What networks of several depths came to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from npresnet.lens.shared.result import Result, column

if TYPE_CHECKING:
    from npresnet.plots.style import Figure

KINDS = ("plain", "resnet")


@dataclass(frozen=True)
class DegradationRow:
    """What one training run came to.

    Attributes
    ----------
    network : str
        As in ``plain20``.
    kind : str
        ``"plain"`` or ``"resnet"``.
    depth : int
        Layers with weights.
    seed : int
        Of weights, order and augmentation.
    train_loss : float
        Mean cross entropy over the last epoch, in nats, as it came up while the
        weights changed.
    train_error : float
        Share of the training images that were wrong then, from 0 to 1.
    test_loss, test_error : float
        The same of the test images, with the final weights.
    seconds : float
        The whole run.
    """

    network: str = column("network")
    kind: str = column("kind")
    depth: int = column("depth")
    seed: int = column("seed")
    train_loss: float = column("training loss", ".4f")
    train_error: float = column("training error", ".2%")
    test_loss: float = column("test loss", ".4f")
    test_error: float = column("test error", ".2%")
    seconds: float = column("seconds", ".1f")


@dataclass(frozen=True)
class Curve:
    """How one run went, epoch by epoch.

    Attributes
    ----------
    kind, depth, seed
        As for `DegradationRow`.
    train_loss, train_error : tuple of float
        One for each epoch.
    test_error : tuple of (float or None)
        None where the recipe does not look at the test images.
    """

    kind: str
    depth: int
    seed: int
    train_loss: tuple[float, ...]
    train_error: tuple[float, ...]
    test_error: tuple[float | None, ...]


@dataclass(frozen=True, repr=False)
class Degradation(Result):
    """Training and test errors by depth.

    Attributes
    ----------
    rows : tuple of DegradationRow
        One for each run: plain networks first, from shallow to deep.
    curves : tuple of Curve
        In the same order.
    dataset, recipe : str
        Names of what they were trained on, and how.
    images : int
        Training images.
    epochs : int
        How often each was seen.
    """

    rows: tuple[DegradationRow, ...]
    curves: tuple[Curve, ...]
    dataset: str
    recipe: str
    images: int
    epochs: int

    @property
    def depths(self) -> tuple[int, ...]:
        """The depths that were trained, from shallow to deep."""
        return tuple(sorted({row.depth for row in self.rows}))

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds of the runs."""
        return tuple(sorted({row.seed for row in self.rows}))

    def mean(self, kind: str, name: str) -> list[float]:
        """Return the mean of a column over the seeds, for every depth.

        Parameters
        ----------
        kind : {"plain", "resnet"}
            Of the networks.
        name : str
            Such as ``"train_loss"``.
        """
        return [
            float(
                np.mean(
                    [
                        getattr(row, name)
                        for row in self.rows
                        if row.kind == kind and row.depth == depth
                    ]
                )
            )
            for depth in self.depths
        ]

    def summary(self) -> str:
        """Say how the training loss and the test error go with the depth."""
        count = len(self.seeds)
        lines = [
            f"{self.subject()}; "
            + (f"means of {count} seeds" if count > 1 else f"seed {self.seeds[0]}")
        ]
        for kind in KINDS:
            losses = zip(self.depths, self.mean(kind, "train_loss"), strict=True)
            errors = zip(self.depths, self.mean(kind, "test_error"), strict=True)
            lines.append(
                f"{kind}: training loss by depth "
                + ", ".join(f"{depth}: {loss:.3f}" for depth, loss in losses)
                + "; test error "
                + ", ".join(f"{depth}: {error:.1%}" for depth, error in errors)
            )
        return "\n".join(lines)

    def plot(self) -> Figure:
        """Draw losses and errors by depth, and the curves that led there."""
        from npresnet.lens.degradation.picture import degradation

        return degradation(self)

    def subject(self) -> str:
        """Say what was trained on, and how."""
        return (
            f"{self.dataset}, {self.images:,} training images, {self.epochs} "
            f"epoch{'s' * (self.epochs > 1)} of {self.recipe}"
        )
