"""``npresnet summary``."""

from __future__ import annotations

import click

from npresnet.cli import options
from npresnet.cli.busy import busy
from npresnet.cli.help import Command


@click.command(cls=Command)
@click.argument("model")
@click.option(
    "--input",
    "input_text",
    metavar="C,H,W",
    help="Shape of one image.  [default: 3,224,224 for ImageNet nets, else 3,32,32]",
)
@options.as_json
def summary(model: str, input_text: str | None, as_json: bool) -> None:
    """Show MODEL layer by layer: output shape, parameters, MACs.

    MACs are multiply-adds of convolutions and linear layers for one image; what
    torchvision's tables call GFLOPS. ImageNet nets have 1,000 classes here, CIFAR
    nets 10.

    Try:
      npresnet summary resnet20
      npresnet summary resnet50 --input 3,160,160
      npresnet summary resnet50 --json
    """
    from npresnet.lens import cost
    from npresnet.models import create, input_shape

    shape = input_shape(model)
    classes = default_classes(shape)
    if input_text is not None:
        shape = parse_shape(input_text)
    network = create(model, num_classes=classes, in_channels=shape[0])
    network.eval()
    with busy(f"summary of {model}"):
        result = cost(network, shape)
    if as_json:
        rows = [
            {
                "name": row.name,
                "kind": row.kind,
                "output_shape": list(row.output_shape),
                "parameters": int(row.parameters),
                "macs": int(row.macs),
            }
            for row in result.rows
        ]
        options.print_json(
            {
                "model": model,
                "input": list(shape),
                "parameters": int(result.parameters),
                "macs": int(result.macs),
                "layers": rows,
            }
        )
        return
    options.print_table(
        ("layer", "type", "output", "parameters", "MACs"),
        [
            (
                row.name,
                row.kind,
                "x".join(map(str, row.output_shape)),
                int(row.parameters),
                int(row.macs),
            )
            for row in result.rows
        ],
    )
    click.echo(
        f"\n{model}, one image of {'x'.join(map(str, shape))}: "
        f"{result.parameters:,} parameters, {result.macs:,} MACs "
        f"({result.macs / 1e9:.3f} G)"
    )


def default_classes(shape: tuple[int, int, int]) -> int:
    """Return how many classes a network for such images has: ImageNet's or CIFAR's."""
    return 1000 if shape[1] == 224 else 10


def parse_shape(text: str) -> tuple[int, int, int]:
    """Read ``C,H,W``.

    Raises
    ------
    ValueError
        If it is not three whole numbers above zero.
    """
    parts = text.replace("x", ",").split(",")
    if len(parts) != 3 or not all(p.strip().isdecimal() and int(p) > 0 for p in parts):
        raise ValueError(f"--input: expected C,H,W such as 3,224,224, got {text!r}")
    C, H, W = (int(part) for part in parts)
    return C, H, W
