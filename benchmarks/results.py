"""What recipes reach: finished runs become rows of docs/results/README.md.

    python -m benchmarks.results RUN_FOLDER...   # runs of several seeds and recipes
    python -m benchmarks.results                 # only write the table again

Runs that differ in nothing but the seed become one row. What a row says is copied
next to it, ``metrics.csv`` of every seed and the facts in ``runs.json``, and the
table is written from these copies alone.
"""

from __future__ import annotations

import argparse
import json
import shlex
import shutil
import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from npresnet.training import Recipe, RunFolder, recipes
from npresnet.training.metrics import Row, measured, read_metrics, total
from npresnet.training.progress import clock
from npresnet.training.setting_text import describe_value

RESULTS = Path(__file__).resolve().parents[1] / "docs" / "results"
_FACTS = "runs.json"
_BEGIN, _END = "<!-- table: written by benchmarks.results -->", "<!-- end of table -->"
_HEAD = (
    "| recipe | network | test accuracy | epochs | time | machine | command |\n"
    "|---|---|--:|--:|--:|---|---|"
)
_NOTHING = "Nothing has been measured yet."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; return its exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", nargs="*", metavar="RUN_FOLDER")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="DIR")
    options = parser.parse_args(arguments)
    try:
        if options.folders:
            keep([RunFolder.open(path) for path in options.folders], options.results)
        table = write_table(options.results)
    except (ValueError, OSError) as error:
        print(f"benchmarks.results: error: {error}", file=sys.stderr)
        return 2
    print(table)
    return 0


def keep(runs: Iterable[RunFolder], results: Path) -> None:
    """Copy finished runs into the results, a folder for each recipe and network.

    A run whose seed is there already takes the place of the older one.

    Raises
    ------
    ValueError
        If a run is not finished, two have the same seed and settings, or a kept one
        of the same name has other settings. Nothing is changed then.
    """
    planned: dict[tuple[str, int], tuple[RunFolder, dict[str, Any]]] = {}
    for run in runs:
        config = run.read_config()
        _check_finished(run, config)
        place = (_name(config), int(config["seed"]))
        if place in planned:
            raise ValueError(
                f"{run.path}: same recipe, network and seed as {planned[place][0].path}"
            )
        planned[place] = (run, config)
    facts = {name: _known_facts(results / name) for name, _ in planned}
    for (name, seed), (run, config) in planned.items():
        known = facts[name] or {"runs": {}}
        ours = {**_shared_facts(config), "runs": known["runs"]}
        if facts[name] and _deciding(known) != _deciding(ours):
            raise ValueError(
                f"{run.path}: {results / name} has other settings; remove that first"
            )
        ours["runs"][str(seed)] = _own_facts(config)
        facts[name] = ours
    for (name, seed), (run, _) in planned.items():
        (results / name).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(run.metrics_path, results / name / f"seed-{seed}.csv")
    for name, known in facts.items():
        text = json.dumps(known, indent=2, sort_keys=True) + "\n"
        (results / name / _FACTS).write_text(text, encoding="utf-8")


def write_table(results: Path) -> str:
    """Write the table into the results' README; return it.

    Raises
    ------
    ValueError
        If the README has no place for it, or a kept file cannot be read.
    """
    table = make_table(results)
    page = results / "README.md"
    text = page.read_text(encoding="utf-8")
    before, begin, rest = text.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not (begin and end):
        raise ValueError(f"{page}: expected the lines {_BEGIN!r} and {_END!r}")
    page.write_text(f"{before}{_BEGIN}\n\n{table}\n\n{_END}{after}", encoding="utf-8")
    return table


def make_table(results: Path) -> str:
    """Return the table of all that is kept, in the order of the recipes."""
    known = recipes.names()
    rows = []
    for path in results.glob(f"*/{_FACTS}"):
        facts = json.loads(path.read_text(encoding="utf-8"))
        name = facts["recipe"]["name"]
        order = known.index(name) if name in known else len(known)
        rows.append((order, path.parent.name, _row(path.parent, facts)))
    return "\n".join([_HEAD, *(row for *_, row in sorted(rows))]) if rows else _NOTHING


def _row(folder: Path, facts: Mapping[str, Any]) -> str:
    recipe = Recipe.from_dict(facts["recipe"])
    seeds = sorted(map(int, facts["runs"]))
    histories = [read_metrics(folder / f"seed-{seed}.csv") for seed in seeds]
    links = ", ".join(f"[{seed}]({folder.name}/seed-{seed}.csv)" for seed in seeds)
    cells = (
        ", ".join([recipe.name, *_changes(recipe)]),
        _network(facts["model"]),
        f"{_accuracy(histories, recipe.test_flip)}; seeds {links}",
        f"{recipe.epochs:,}",
        clock(statistics.mean(total(rows, "seconds") for rows in histories)),
        "; ".join(sorted({_machine(run) for run in facts["runs"].values()})),
        f"`{facts['command']}`" if facts["command"] else "from Python",
    )
    return f"| {' | '.join(cells)} |"


def _accuracy(histories: Sequence[Sequence[Row]], flip: bool) -> str:
    """Write the mean over the seeds, and the lowest and the highest."""
    shares = [100 * measured(rows[-1], "test_accuracy") for rows in histories]
    text = f"{statistics.mean(shares):.2f} %"
    if len(shares) > 1:
        text += f" ({min(shares):.2f} to {max(shares):.2f})"
    return f"{text}, mirror images too" if flip else text


def _check_finished(run: RunFolder, config: Mapping[str, Any]) -> None:
    rows = read_metrics(run.metrics_path)
    epochs = Recipe.from_dict(config["recipe"]).epochs
    if len(rows) != epochs or rows[-1].get("test_accuracy") is None:
        raise ValueError(f"{run.path}: not finished, {len(rows)} of {epochs} epochs")


def _name(config: Mapping[str, Any]) -> str:
    """Name a folder after everything that sets a row apart."""
    recipe = Recipe.from_dict(config["recipe"])
    network = _network(config["model"]).replace(" ", "-")
    changes = [change.replace("=", "-") for change in _changes(recipe)]
    return "_".join([recipe.name, network, *changes])


def _network(model: Mapping[str, Any]) -> str:
    shortcut = model.get("shortcut")
    return f"{model['name']} {shortcut}" if shortcut else str(model["name"])


def _changes(recipe: Recipe) -> list[str]:
    """List the settings that are not those of the recipe that goes by the name."""
    if recipe.name not in recipes.names():
        return []
    before = recipes.get(recipe.name).settings()
    return [
        f"{name}={describe_value(value)}"
        for name, value in recipe.settings().items()
        if value != before[name]
    ]


def _known_facts(folder: Path) -> dict[str, Any] | None:
    try:
        text = (folder / _FACTS).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    facts: dict[str, Any] = json.loads(text)
    return facts


def _shared_facts(config: Mapping[str, Any]) -> dict[str, Any]:
    """Collect what all seeds have in common; nothing of where it lies on the disk."""
    data = config["dataset"]
    return {
        "recipe": config["recipe"],
        "model": {key: config["model"].get(key) for key in ("name", "shortcut")},
        "dataset": {key: data[key] for key in ("name", "train", "validation", "test")},
        "command": _command(config["environment"].get("repeat")),
    }


def _deciding(facts: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return what runs of one row must have in common; words may be put anew."""
    settings = Recipe.from_dict(facts["recipe"]).settings()
    return settings, facts["model"], facts["dataset"]


def _own_facts(config: Mapping[str, Any]) -> dict[str, Any]:
    where = config["environment"]
    names = ("cpu", "threads", "platform", "python", "numpy", "numba")
    facts = {name: where.get(name) for name in names}
    return {**facts, "created": config["created"], "npresnet": config["npresnet"]}


def _command(repeat: str | None) -> str | None:
    """Leave out of a command what is this machine's, or this seed's."""
    if repeat is None:
        return None
    words = shlex.split(repeat)
    for option, stand_in in (("--data-dir", "DIR"), ("--seed", "SEED")):
        if option in words:
            words[words.index(option) + 1] = stand_in
    return shlex.join(words)


def _machine(run: Mapping[str, Any]) -> str:
    threads = run["threads"]
    return f"{run['cpu'] or 'unknown'}, {threads} thread{'s' * (threads != 1)}"


if __name__ == "__main__":
    sys.exit(main())
