"""Going on with a run: with the same data, settings and arithmetic, or not at all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from npresnet.training import checkpoint, configuration
from npresnet.training.checkpoint import Checkpoint
from npresnet.training.recipes import Recipe
from npresnet.training.run_folder import RunFolder
from npresnet.untrusted.files import shown_path
from npresnet.untrusted.text import shown

if TYPE_CHECKING:
    from npresnet.training.progress import Progress

# fit's defaults, which a resumed run reads as "not given".
_DEFAULT_RECIPE, _DEFAULT_SEED = "digits-quick", 0
_FEW = 4  # features that are named
# What makes a run's bits beside its settings; threads do not.
_MACHINE = ("npresnet", "numpy", "numba", "llvmlite", "processor")


def check(
    folder: RunFolder,
    config: Mapping[str, Any],
    facts: Mapping[str, Any],
    recipe: str | Recipe,
    seed: int,
    given: Mapping[str, Any],
) -> None:
    """Refuse to resume a run with other data, another model or other settings.

    Raises
    ------
    ValueError
        If something that was given disagrees with the run's ``config.json``.
    """

    def agree(what: str, wanted: Any, kept: Any) -> None:
        if wanted != kept:
            raise ValueError(
                f"{what}: the run in {shown_path(folder.path)} has {shown(kept)}, got "
                f"{shown(wanted)}"
            )

    kept_recipe = Recipe.from_dict(config["recipe"])
    if isinstance(recipe, Recipe):
        agree("recipe", recipe, kept_recipe)
    elif recipe != _DEFAULT_RECIPE:
        agree("recipe", recipe, kept_recipe.name)
    if seed != _DEFAULT_SEED:
        agree("seed", seed, config.get("seed"))
    for name, value in given.items():
        if value is not None:
            agree(name, value, getattr(kept_recipe, name))
    for name in ("name", "train", "validation", "test", "image_shape", "mean", "std"):
        kept = config["dataset"].get(name)
        agree(f"dataset, {name}", facts["dataset"][name], kept)
    for name, digest in facts["dataset"]["sha256"].items():
        if digest != config["dataset"]["sha256"].get(name):
            raise ValueError(
                f"dataset, {name}: not the images and labels that the run in "
                f"{folder.path} began with: their SHA-256 is {digest}"
            )
    for name in ("parameters", "dtype"):
        agree(f"model, {name}", facts["model"][name], config["model"].get(name))


def load_start(
    folder: RunFolder,
    config: Mapping[str, Any],
    facts: Mapping[str, Any],
    watch: Progress,
) -> Checkpoint | None:
    """Find where a run goes on, and say what is worth knowing about it.

    Returns
    -------
    Checkpoint or None
        None where the run was cut off before its first checkpoint.

    Raises
    ------
    ValueError
        If there is no checkpoint that is whole, or ``config.json`` is not that of
        the checkpoint.
    """
    start, damaged = checkpoint.load_latest(folder.checkpoint_path)
    if start is None:
        _check_untouched(folder, config, facts)
    elif start.run != configuration.identity(config):
        raise ValueError(
            f"{folder.config_path}: not what the run began with; put back what was "
            "changed, or start a new run"
        )
    folder.remove_leftovers()
    if damaged is not None:
        aside = checkpoint.set_aside(folder.checkpoint)
        watch.warning(
            f"{damaged}; going on from the one before it (it is now {aside.name})"
        )
    if (differs := other_machine(config, facts)) is not None:
        watch.warning(differs)
    return start


def _check_untouched(
    folder: RunFolder, config: Mapping[str, Any], facts: Mapping[str, Any]
) -> None:
    """Refuse to start anew over results, or with other weights."""
    if folder.weights_path.exists():
        raise ValueError(
            f"{folder.path}: holds weights, but no checkpoint to go on from"
        )
    name = "first_weights_sha256"
    if facts["model"][name] != config["model"].get(name):
        raise ValueError(
            f"model: the run in {folder.path} was cut off before its first checkpoint, "
            "and began with other weights than these"
        )


@contextmanager
def numerics(config: Mapping[str, Any]) -> Iterator[str | None]:
    """Compute as a run began, with its backend and algorithm, in a ``with`` block.

    Yields
    ------
    str or None
        What that changes, in words.
    """
    import npresnet

    kept = config["numerics"]
    now = {"backend": npresnet.get_backend(), "algorithm": npresnet.get_algorithm()}
    changes = [f"{name} {kept[name]}" for name in now if kept[name] != now[name]]
    with (
        npresnet.using_backend(kept["backend"]),
        npresnet.using_algorithm(kept["algorithm"]),
    ):
        yield f"computing as the run began: {', '.join(changes)}" if changes else None


def other_machine(config: Mapping[str, Any], facts: Mapping[str, Any]) -> str | None:
    """Say what differs from where a run began and may change its bits."""

    def environment(of: Mapping[str, Any]) -> dict[str, Any]:
        return {**of["environment"], "npresnet": of["npresnet"]}

    before, now = environment(config), environment(facts)
    changes = [
        f"{name} {now[name]} instead of {before.get(name)}"
        for name in _MACHINE
        # What an older version has not written down is not known to differ.
        if now[name] != before.get(name, now[name])
    ]
    changes += _other_features(before, now) + _other_settings(before, now)
    if not changes:
        return None
    return (
        f"{', '.join(changes)}: the run goes on, but its bits may differ from those "
        "of a run that was never stopped"
    )


def _other_features(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Name instructions that the kernels can or cannot use any more."""
    kept = set(str(before.get("features", now["features"])).split())
    these = set(now["features"].split())
    parts = []
    for word, names in (("with", these - kept), ("without", kept - these)):
        if names:
            few = ", ".join(sorted(names)[:_FEW])
            more = f" and {len(names) - _FEW} more" if len(names) > _FEW else ""
            parts.append(f"processor {word} {few}{more}")
    return parts


def _other_settings(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Name settings of the environment that were others, or none."""
    kept, these = before.get("settings", now["settings"]), now["settings"]
    if not isinstance(kept, dict):
        return []
    return [
        f"{name} {these.get(name, 'not set')} instead of {kept.get(name, 'not set')}"
        for name in sorted({*kept, *these})
        if these.get(name) != kept.get(name)
        # Told above, by what they come to.
        and name not in ("NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES")
    ]
