"""Degradation: plain and residual networks of several depths, trained alike."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from npresnet.lens.degradation.depth_runs import DepthRuns
from npresnet.lens.degradation.result import KINDS, Curve, Degradation, DegradationRow
from npresnet.lens.shared.passes import Progress, at_least

if TYPE_CHECKING:
    from npresnet.data import Dataset
    from npresnet.training import Recipe


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
