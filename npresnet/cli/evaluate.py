"""``npresnet eval``."""

from __future__ import annotations

from typing import Any

import click

from npresnet.cli import options
from npresnet.cli.busy import busy
from npresnet.cli.help import Command


@click.command("eval", cls=Command)
@click.argument("weights", type=click.Path())
@options.data
@options.network
@click.option(
    "--normalization",
    metavar="cifar10|imagenet|MEAN/STD",
    help="Mean and standard deviation per channel of images scaled to 0..1, such as "
    "0.49,0.48,0.45/0.25,0.24,0.26.  [default: the data set's]",
)
@click.option(
    "--flip/--no-flip",
    default=None,
    help="Look at every image and at its mirror image, too.  [default: as in the run's "
    "recipe, else --no-flip]",
)
@options.threads
@options.as_json
def evaluate(
    weights: str,
    dataset: str | None,
    data_dir: str | None,
    model: str | None,
    shortcut: str | None,
    normalization: str | None,
    flip: bool | None,
    threads: int | None,
    as_json: bool,
) -> None:
    """Measure WEIGHTS on the test images of a data set.

    Prints how many images are right and the mean cross entropy (nats). What the
    weights belong to is read from the run folder beside them, or from their header;
    options overrule it. Weights of others (.pt, .pth, .th, .npz, .safetensors) need
    --model and --dataset, and --normalization where they were trained with another.

    Try:
      npresnet eval runs/NAME/weights.safetensors
      npresnet eval resnet20.th --model resnet20 --dataset cifar10 --data-dir data
    """
    from npresnet.cli.subject import identify
    from npresnet.cli.train import load_data
    from npresnet.training import evaluate as measure

    options.use_threads(threads)
    subject = identify(weights, model, shortcut, dataset, data_dir, normalization)
    network = subject.build()
    _, test = load_data(subject.dataset, subject.data_dir)
    with busy(f"eval of {subject.model}") as progress:
        result = measure(
            network,
            test,
            flip=subject.flip if flip is None else flip,
            mean=subject.mean,
            std=subject.std,
            progress=progress,
        )
    if as_json:
        facts: dict[str, Any] = {"model": subject.model, "dataset": subject.dataset}
        options.print_json({**facts, **result.to_dict()})
        return
    mirrored = ""
    if result.flip:
        mirrored = "; mean of each image and its mirror image (--no-flip: without)"
    click.echo(
        f"{subject.model} on {subject.dataset}: {result.total:,} test images, "
        f"{result.correct:,} right ({100 * result.accuracy:.2f} %), "
        f"loss {result.loss:.4f}{mirrored}"
    )
