"""``npresnet recipes``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from npresnet.cli import options
from npresnet.cli.help import Command

if TYPE_CHECKING:
    from npresnet.training import Recipe


@click.command(cls=Command)
@click.argument("name", required=False)
@options.as_json
def recipes(name: str | None, as_json: bool) -> None:
    """List the recipes, or show all settings of the one called NAME.

    A recipe is everything that decides a training run; each setting comes with its
    source. train --recipe takes the name; train --epochs, --batch-size, --lr and
    --set change single settings.

    Try:
      npresnet recipes
      npresnet recipes cifar10-paper
    """
    from npresnet.training.recipes import get, names

    if name is not None:
        recipe = get(name)
        if as_json:
            options.print_json(_facts(recipe))
        else:
            _show(recipe)
        return
    known = [get(known) for known in names()]
    if as_json:
        options.print_json({"recipes": [_facts(recipe) for recipe in known]})
        return
    options.print_table(
        ("recipe", "data set", "network", "epochs", "what it is for"),
        [(r.name, r.dataset, r.model, r.epochs, r.description) for r in known],
    )


def _facts(recipe: Recipe) -> dict[str, Any]:
    sources = {name: recipe.source_of(name) for name in recipe.settings()}
    return {**recipe.to_dict(), "sources": sources, "unused": recipe.unused()}


def _show(recipe: Recipe) -> None:
    from npresnet.training.setting_text import describe_value

    unused = recipe.unused()
    click.echo(f"{recipe.name}: {recipe.description}\n")
    options.print_table(
        ("setting", "value", "source"),
        [
            (name, describe_value(value), recipe.source_of(name))
            for name, value in recipe.settings().items()
            if name not in unused
        ],
    )
    click.echo(f"\nnot used: {', '.join(unused)}")
