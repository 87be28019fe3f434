"""``npresnet recipes``."""

from __future__ import annotations

import click

from npresnet.cli import options
from npresnet.cli.help import Command


@click.command(cls=Command)
@options.as_json
def recipes(as_json: bool) -> None:
    """List the recipes: every setting that training uses, and its source.

    lr is the highest learning rate, per step; epochs count passes over the training
    set; crop is the padding in pixels before a random crop. --recipe takes the name;
    --epochs, --batch-size and --lr change single settings.
    """
    from npresnet.training.recipes import get, names

    known = [get(name) for name in names()]
    if as_json:
        options.print_json({"recipes": [recipe.to_dict() for recipe in known]})
        return
    settings = (
        "dataset model shortcut epochs batch_size lr momentum nesterov weight_decay "
        "spare_norm_and_bias schedule peak_at start_lr final_lr warmup_epochs "
        "milestones gamma crop_padding crop_fill flip label_smoothing"
    ).split()
    options.print_table(
        ("setting", *(recipe.name for recipe in known)),
        [
            (name, *(_text(getattr(recipe, name)) for recipe in known))
            for name in settings
        ],
    )
    for recipe in known:
        click.echo(f"\n{recipe.name}: {recipe.description}\n  source: {recipe.source}")


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "-" if value is None or value == () else str(value)
