"""A folder of training runs that differ by kind of network, depth and seed alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from npresnet._files import write_text
from npresnet._json import to_json
from npresnet.models import cifar_resnet, names
from npresnet.untrusted import json_text
from npresnet.untrusted.files import shown_path
from npresnet.untrusted.text import abridged, shown_message

if TYPE_CHECKING:
    from npresnet.data import Dataset
    from npresnet.training import Recipe
    from npresnet.training.metrics import Row

_SETTINGS = "settings.json"


class DepthRuns:
    """Trains networks into one folder, a run folder for each.

    Parameters
    ----------
    folder : Path
        A new one, or one of earlier runs with the same data and recipe.
    recipe : Recipe
        For all networks.
    train, test : Dataset
        Images to learn from, and to measure on.

    Attributes
    ----------
    images, steps : int
        Training images, and steps of a run.

    Raises
    ------
    ValueError
        If the folder holds something else.
    """

    def __init__(
        self, folder: Path, recipe: Recipe, train: Dataset, test: Dataset
    ) -> None:
        self.images = len(train) - recipe.validation
        self.recipe = recipe.fitted_to(self.images)
        self.steps = self.recipe.total_steps(self.recipe.steps_per_epoch(self.images))
        self.folder, self.train_set, self.test_set = folder, train, test
        self._keep_settings()

    def train(
        self, kind: str, depth: int, seed: int, tell: Callable[[int], None]
    ) -> list[Row]:
        """Train one network, or what is left to train; return its ``metrics.csv``.

        Parameters
        ----------
        kind : {"plain", "resnet"}
            Whether it has shortcuts.
        depth, seed : int
            Layers with weights; what decides all chance.
        tell : callable
            Called with the number of every step taken.
        """
        from npresnet.training import RunFolder, TrainingInterrupted, fit
        from npresnet.training.metrics import read_metrics

        name = f"{kind}{depth}"
        run = RunFolder(self.folder / f"{name}-seed{seed}")
        begun = run.config_path.exists()
        if begun and run.metrics_path.exists():
            history = read_metrics(run.metrics_path)
            if len(history) == self.recipe.epochs:
                return history
        model = cifar_resnet(
            depth,
            len(self.train_set.classes),
            shortcut="A" if kind == "resnet" else None,
            in_channels=self.train_set.images.shape[1],
            seed=seed,
        )
        try:
            fit(
                model,
                self.train_set,
                self.test_set,
                recipe=self.recipe,
                out=run.path,
                seed=seed,
                resume=run.path if begun else None,
                quiet=True,
                step_callbacks=[tell],
                record={"model": {"name": name}} if name in names() else None,
            )
        except TrainingInterrupted as error:
            raise TrainingInterrupted(
                f"stopped within {name}, seed {seed}; nothing is lost: the same again, "
                f"with the folder {self.folder}, goes on from there",
                self.folder,
                error.signal_number,
            ) from None
        return read_metrics(run.metrics_path)

    def _keep_settings(self) -> None:
        """Write down what all runs share, or compare it with what was written."""
        path = self.folder / _SETTINGS
        settings = self._settings()
        if not path.exists():
            if self.folder.exists() and any(self.folder.iterdir()):
                raise ValueError(
                    f"{self.folder}: expected a new folder, or one of earlier runs"
                )
            self.folder.mkdir(parents=True, exist_ok=True)
            write_text(path, to_json(settings, indent=2) + "\n")
            return
        kept = json_text.read(path)
        try:
            # A setting that did not exist yet has its default.
            words = {"description": "", "source": ""}
            kept["recipe"] = self._recipe_settings(
                type(self.recipe).from_dict({**words, **kept["recipe"]})
            )
            differing = [
                f"{name} {abridged(kept[section].get(name))}, not {value!r}"
                for section, values in settings.items()
                for name, value in values.items()
                if kept[section].get(name) != value
            ]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"{shown_path(path)}: not readable as settings ({shown_message(error)})"
            ) from None
        if differing:
            raise ValueError(
                f"{self.folder}: its runs have {', '.join(differing)}; name another "
                "folder"
            )

    @staticmethod
    def _recipe_settings(recipe: Recipe) -> dict[str, Any]:
        settings = recipe.to_dict()
        del settings["description"], settings["source"]  # words, which may change
        return settings

    def _settings(self) -> dict[str, dict[str, Any]]:
        train, test = self.train_set, self.test_set
        return {
            "recipe": self._recipe_settings(self.recipe),
            "dataset": {
                "name": train.name,
                "train_sha256": train.digest(),
                "test_sha256": test.digest(),
                "mean": train.mean.tolist(),
                "std": train.std.tolist(),
            },
        }
