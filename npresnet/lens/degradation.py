"""Degradation: plain and residual networks of several depths, trained alike."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from npresnet.lens.depth_runs import DepthRuns
from npresnet.lens.passes import Progress, at_least
from npresnet.lens.result import Result, column

if TYPE_CHECKING:
    from npresnet.data import Dataset
    from npresnet.plots.style import Figure
    from npresnet.training import Recipe

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
            f"{self._subject()}; "
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
        from npresnet.plots import Training, degradation

        trainings = [
            Training(row.kind, row.depth, curve.train_loss, row.test_error)
            for row, curve in zip(self.rows, self.curves, strict=True)
        ]
        return degradation(trainings, self._subject())

    def _subject(self) -> str:
        return (
            f"{self.dataset}, {self.images:,} training images, {self.epochs} "
            f"epoch{'s' * (self.epochs > 1)} of {self.recipe}"
        )


def degradation(
    train: Dataset,
    test: Dataset,
    *,
    depths: Sequence[int] = (8, 20, 32, 56),
    seeds: Sequence[int] = (0, 1, 2),
    recipe: str | Recipe = "digits-quick",
    epochs: int | None = None,
    out: str | os.PathLike[str] = "runs/degradation",
    progress: Progress | None = None,
) -> Degradation:
    """Train plain and residual networks of several depths alike, and compare.

    A deeper plain network could do all that a shallower one does, if the layers that
    it has more were identities. That it has a higher *training* error nevertheless
    is the degradation problem; networks with shortcuts do not have it.

    Parameters
    ----------
    train, test : Dataset
        Images to learn from, and to measure on.
    depths : sequence of int
        Layers with weights: 6n+2 for n blocks a stage.
    seeds : sequence of int
        One run for each seed, depth and kind of network.
    recipe : str or Recipe
        How all of them are trained.
    epochs : int, optional
        Takes the place of the recipe's.
    out : path
        A folder for the runs. What is finished there is not done again, and what was
        interrupted goes on where it was; more depths or seeds may be asked for.
    progress : callable, optional
        Called after every step with the work that is done and that there is, in
        steps times layers: time goes with that.

    Returns
    -------
    Degradation
        With ``.rows``, ``.curves`` and ``.plot()``.

    Raises
    ------
    ValueError
        If depths, seeds or data do not fit, or the folder holds runs on other data or
        with another recipe.
    TrainingInterrupted
        At Ctrl-C; nothing is lost.
    FloatingPointError
        If a network's loss is no number any more.

    Notes
    -----
    The training error is that of the last epoch, measured while the weights change
    and with the images augmented as the recipe says. It depends on how long is
    trained: after a few epochs it tells what is learnt slowly, not what cannot be.

    References
    ----------
    He et al., arXiv 1512.03385, section 1 and Fig. 1 (the problem), section 4.2 and
    Fig. 6 (plain and residual networks on CIFAR-10).

    Examples
    --------
    ::

        train, test = nr.data.digits()
        result = nr.lens.degradation(train, test, epochs=8, out="runs/degradation")
        result.save("degradation.png")
    """
    from npresnet.training import recipes

    chosen = recipes.get(recipe) if isinstance(recipe, str) else recipe
    depths, seeds = _checked(depths, seeds)
    runs = DepthRuns(Path(out), chosen.changed(epochs=epochs), train, test)
    plan = [(kind, depth, seed) for kind in KINDS for depth in depths for seed in seeds]
    total = runs.steps * sum(depth for _, depth, _ in plan)
    rows, curves, before = [], [], 0
    for kind, depth, seed in plan:

        def tell(step: int, before: int = before, depth: int = depth) -> None:
            if progress is not None:
                progress(before + step * depth, total)

        history = runs.train(kind, depth, seed, tell)
        before += runs.steps * depth
        tell(0, before)
        rows.append(_row(kind, depth, seed, history))
        curves.append(_curve(kind, depth, seed, history))
    return Degradation(
        tuple(rows),
        tuple(curves),
        train.name,
        chosen.name,
        runs.images,
        runs.recipe.epochs,
    )


def _row(kind: str, depth: int, seed: int, history: Any) -> DegradationRow:
    from npresnet.training.metrics import measured, total

    last = history[-1]
    return DegradationRow(
        f"{kind}{depth}",
        kind,
        depth,
        seed,
        measured(last, "train_loss"),
        1 - measured(last, "train_accuracy"),
        measured(last, "test_loss"),
        1 - measured(last, "test_accuracy"),
        total(history, "seconds"),
    )


def _curve(kind: str, depth: int, seed: int, history: Any) -> Curve:
    def errors(name: str) -> Iterator[float | None]:
        for row in history:
            right = row.get(name)
            yield None if right is None else 1 - right

    losses = tuple(row["train_loss"] for row in history)
    train_errors: Any = tuple(errors("train_accuracy"))
    return Curve(
        kind, depth, seed, losses, train_errors, tuple(errors("test_accuracy"))
    )


def _checked(
    depths: Sequence[int], seeds: Sequence[int]
) -> tuple[list[int], list[int]]:
    """Return depths and seeds in their order, each once."""
    depths = sorted({at_least("depths", depth, 8) for depth in depths})
    for depth in depths:
        if (depth - 2) % 6:
            raise ValueError(f"depths: expected 6n+2, such as 8, 14 or 20, got {depth}")
    seeds = sorted({at_least("seeds", seed, 0) for seed in seeds})
    if not depths or not seeds:
        raise ValueError("depths, seeds: expected at least one of each")
    return depths, seeds
