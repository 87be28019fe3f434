"""``npresnet models``."""

from __future__ import annotations

import click

from npresnet.cli import options
from npresnet.cli.help import Command


@click.command(cls=Command)
@options.as_json
def models(as_json: bool) -> None:
    """List the networks, with their parameters.

    ImageNet nets are counted with 1,000 classes, CIFAR nets with 10. Names are what
    --model, summary and npresnet.models.create take.

    resnet18 ... resnet152   He et al. 2016, table 1, in torchvision's layout
    resnet8 ... resnet1202   He et al. 2016, section 4.2, for 32x32 images
    plain8 ... plain1202     the same without shortcuts
    resnet11                 short and wide, after D. Page's ResNet-9
    resnet11_narrow          the same with half the channels in the middle
    """
    from npresnet.cli.summary import default_classes
    from npresnet.models import create, input_shape, names
    from npresnet.nn import init

    rows = []
    for name in names():
        shape = input_shape(name)
        classes = default_classes(shape)
        with init.skipped():  # what counts is the shapes
            model = create(name, num_classes=classes)
        parameters = sum(p.data.size for p in model.parameters())
        rows.append((name, "x".join(map(str, shape)), classes, parameters))
    if as_json:
        keys = ("name", "image", "classes", "parameters")
        options.print_json({"models": [dict(zip(keys, r, strict=True)) for r in rows]})
        return
    options.print_table(("model", "image", "classes", "parameters"), rows)
