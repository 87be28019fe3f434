"""``fit``: where a training run, new or resumed, is set up."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from npresnet.training import configuration, recipes, resuming
from npresnet.training.loop import Run, Session
from npresnet.training.metrics import Row
from npresnet.training.progress import Progress, make_progress
from npresnet.training.recipe import Recipe
from npresnet.training.run_folder import RunFolder
from npresnet.training.sets import check_settings, prepare

if TYPE_CHECKING:
    from npresnet.data import Dataset
    from npresnet.nn import Module

_SECONDS_BETWEEN_CHECKPOINTS = 120


def fit(
    model: Module,
    train: Dataset,
    test: Dataset,
    validation_set: Dataset | None = None,
    recipe: str | Recipe = "digits-quick",
    out: str | os.PathLike[str] | None = "runs/first",
    seed: int = 0,
    resume: str | os.PathLike[str] | None = None,
    *,
    epochs: int | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
    compiled: bool = True,
    quiet: bool = False,
    progress: Progress | None = None,
    callbacks: Iterable[Callable[[Row], None]] = (),
    step_callbacks: Iterable[Callable[[int], None]] = (),
    record: Mapping[str, Mapping[str, Any]] | None = None,
    checkpoint_seconds: float = _SECONDS_BETWEEN_CHECKPOINTS,
) -> Run:
    """Train a model and leave a run folder.

    Parameters
    ----------
    model : Module
        Changed in place; in training mode afterwards. Where the recipe averages
        weights, it ends as their average.
    train, test : Dataset
        Images to learn from, and images to measure on.
    validation_set : Dataset, optional
        Images to measure on after each epoch; the test set is then looked at once,
        after the last epoch. Takes the place of those that the recipe would hold out
        of `train`. Without either, the test set is measured after each epoch.
    recipe : str or Recipe, default "digits-quick"
        The settings, or the name of a recipe.
    out : path or None, default "runs/first"
        The run folder, which must not hold a run; None makes a new one under
        ``runs/``, named by date, time, model and data set.
    seed : int, default 0
        Decides the order of the images and their augmentation.
    resume : path, optional
        Continue the run in this folder: recipe, seed, weights, backend, algorithm
        and everything else come from it. A run that was cut off before its first
        checkpoint, within moments of its beginning, starts anew, with `model` as it
        was.
    epochs, batch_size, lr : optional
        Settings that replace the recipe's.
    compiled : bool, default True
        Take steps as one program (see `npresnet.compile`). Without it, and with models
        that cannot be compiled, the model's own lines run: the same bits. A run may
        be resumed either way.
    quiet : bool, default False
        Show no progress.
    progress : Progress, optional
        Who is told how it goes; by default a live bar or plain lines.
    callbacks : iterable of callable, optional
        Each is called with every new row of the history.
    step_callbacks : iterable of callable, optional
        Each is called with the number of every step taken (1, 2, ...), the weights
        just moved.
    record : mapping, optional
        More for ``config.json``, such as ``{"model": {"name": "resnet8"}}``.
    checkpoint_seconds : float, default 120
        A checkpoint is written at the end of every epoch, when the run is asked to
        stop, and in between whenever so many seconds have passed since the last
        one. Changes nothing else.

    Returns
    -------
    Run
        The folder, the history, and the final result on the test set.

    Raises
    ------
    ValueError
        If the settings, the data and the model do not fit each other, or what is
        given to a resumed run disagrees with its folder.
    FileExistsError
        If `out` already holds a run, or a file that a run would replace.
    BlockingIOError
        If another run is under way in the folder.
    OSError
        If the folder cannot be written to, or the disk is full; what was there
        stays. If the folder was moved meanwhile, or another one has its name: the
        run stops, with a checkpoint where its folder is now.
    FloatingPointError
        If a NaN or an infinity comes up, with the step and the layer where it came
        up first; the last weights without one stay.
    TrainingInterrupted
        At Ctrl-C, a terminate signal or a closed terminal, after the batch under way
        and a checkpoint: nothing is lost.

    Notes
    -----
    Every random number depends on (seed, epoch, batch) only, and the learning rate
    on the step: a run that was interrupted and resumed ends with the same bits as
    one that was not.
    """
    given = {"epochs": epochs, "batch_size": batch_size, "lr": lr}
    watch = make_progress(quiet) if progress is None else progress

    if resume is not None:
        folder = RunFolder.open(resume)
        config = folder.read_config()
        resolved = Recipe.from_dict(config["recipe"])
        sets = prepare(resolved, train, test, validation_set)
        facts = configuration.describe(model, *sets, record)
        resuming.check(folder, config, facts, recipe, seed, given)
    else:
        chosen = recipes.get(recipe) if isinstance(recipe, str) else recipe
        resolved = chosen.changed(**given)
        sets = prepare(resolved, train, test, validation_set)
        check_settings(resolved, sets.train)
        resolved = resolved.fitted_to(len(sets.train))
        facts = configuration.describe(model, *sets, record)
        config = {**facts, "recipe": resolved.to_dict(), "seed": seed}
        folder = RunFolder.create(out, facts["model"]["name"], train.name)

    with folder.locked() as held:
        if not held:
            watch.warning(f"{folder.path}: no locks here; start no second run")
        if resume is None:
            folder.refuse_used()  # somebody may have been quicker
            with folder.naming_errors("nothing was begun"):
                folder.remove_leftovers(of_older_versions=False)
                folder.write_config(config)
            start = None
        else:
            start = resuming.load_start(folder, config, facts, watch)
        session = Session(
            model,
            sets,
            config,
            folder,
            watch,
            tuple(callbacks),
            tuple(step_callbacks),
            checkpoint_seconds,
            compiled=compiled,
        )
        with resuming.numerics(config) as changes:
            if changes:
                watch.message(changes)
            return session.run(start)
