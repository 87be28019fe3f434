"""What docs/claims.md says, measured: one table for every claim.

    python -m benchmarks.claims --data-dir DIR                 # fresh networks
    python -m benchmarks.claims --data-dir DIR --weights FILE  # and a trained one
    python -m benchmarks.claims --data-dir DIR --only paths --depths 20

Batches are CIFAR-10's training images, drawn with each seed; the seed decides the
fresh weights, too. The file is the published one of the README.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

import npresnet as nr
from npresnet.cli.options import parse_normalization
from npresnet.lens.shared.passes import forward_pass, norm
from npresnet.models import ResNet, cifar_resnet
from npresnet.nn import BatchNorm2d, Conv2d, Linear, Module, Sequential, init, replaying

Array = NDArray[np.floating[Any]]
Table = Iterator[Sequence[object]]
KINDS: dict[str, Literal["A"] | None] = {"residual": "A", "plain": None}


class Batch(NamedTuple):
    """Normalised images (N, C, H, W) and labels (N,)."""

    x: Array
    y: NDArray[np.int64]


def without_batch_norm(model: ResNet, weights: str = "He", seed: int = 0) -> ResNet:
    """Put an identity in the place of every batch norm; draw the weights anew.

    Convolutions get no bias in exchange. ``"He"``: deviation sqrt(2/fan_in), which
    is what these networks begin with anyhow. ``"PyTorch"``: evenly from
    +-1/sqrt(fan_in), the default of PyTorch's layers, with a sixth of that variance.
    """
    rng = init.generator(seed)
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, BatchNorm2d):
                setattr(module, name, Sequential())
        if isinstance(module, Conv2d | Linear):
            shape, dtype = module.weight.shape, module.weight.dtype
            module.weight.data = (
                init.kaiming_normal(shape, rng=rng, dtype=dtype)
                if weights == "He"
                else init.uniform_fan_in(shape, init.fans(shape)[0], rng, dtype)
            )
    return model


def from_the_last_block(
    model: ResNet,
    batch: Batch,
    through: Callable[[nr.models.ResidualBlock, Array], Any],
) -> list[float]:
    """Send the gradient back through the blocks with `through`, and watch its norm.

    At the last block's output, then at every block's input, in norms of the first.
    """
    with forward_pass(model, *batch) as step:
        grad: Any = model.fc.backward(step.grad_logits)
        grad = model.avgpool.backward(grad[:, :, None, None])
        norms = [norm(grad)]
        for visit in reversed(step.visits):
            with replaying(visit.block):
                grad = through(visit.block, grad)
            norms.append(norm(grad))
    return [size / norms[0] for size in norms]


def through_both(block: nr.models.ResidualBlock, grad: Array) -> Any:
    """Go backward as always."""
    return block.backward(grad)


def through_the_shortcut(block: nr.models.ResidualBlock, grad: Array) -> Any:
    """Go backward along the shortcut and nothing else."""
    return block.shortcut_backward(block.relu.backward(grad))


def zero_last_gammas(model: Module) -> Module:
    """Set the weight of the last batch norm of every branch to zero."""
    for block in model.modules():
        if isinstance(block, nr.models.ResidualBlock):
            block.layers()[-1][1].weight.data.fill(0)
    return model


def without_gradient(model: Module, batch: Batch) -> list[str]:
    """List the parameters whose gradients are exactly zero in one training step."""
    criterion = nr.nn.CrossEntropyLoss()
    model.zero_grad()
    criterion(model(batch.x), batch.y)
    model.backward(criterion.backward())
    return [
        name
        for name, parameter in model.named_parameters()
        if parameter.grad is not None and not parameter.grad.any()
    ]


def vanishing(settings: Settings) -> Table:
    """Yield growth through the blocks, with batch norm and without."""
    yield "layers", "kind", "with batch norm", "without, He", "without, PyTorch"
    for depth in settings.depths:
        for kind, shortcut in KINDS.items():
            columns: list[list[float]] = [[], [], []]
            for seed in settings.seeds:
                batch = settings.batch(seed)
                for column, weights in zip(
                    columns, (None, "He", "PyTorch"), strict=True
                ):
                    model = cifar_resnet(depth, shortcut=shortcut, seed=seed)
                    if weights is not None:
                        without_batch_norm(model, weights, seed)
                    column.append(from_the_last_block(model, batch, through_both)[-1])
            yield depth, kind, *map(_range, columns)


def at_least_one(settings: Settings) -> Table:
    """Yield what the ReLU after the addition takes from the gradient."""
    yield (
        "network",
        "elements masked, by block",
        "norm stopped, by block",
        "shortcuts alone: norm after the last stage's blocks of one shape",
        "after all blocks",
        "both ways: least growth in a block",
    )
    for name, model, batch in settings.networks():
        rows = nr.lens.ledger(model, *batch).rows
        alone = from_the_last_block(model, batch, through_the_shortcut)
        yield (
            name,
            _range([row.masked_fraction for row in rows], ".1%"),
            _range([row.stopped_share for row in rows], ".1%"),
            f"{alone[len(model.layer3) - 1]:.3g}",
            f"{alone[-1]:.3g}",
            f"{min(row.grad_input_norm / row.grad_output_norm for row in rows):.3g}",
        )


def averaged(settings: Settings) -> Table:
    """Yield how far the gradient is from the sum, and what a mean would make of it."""
    yield (
        "network",
        "error of the sum",
        "gradient with respect to the images, if averaged",
    )
    for name, model, batch in settings.networks():
        book = nr.lens.ledger(model, *batch)
        with nr.lens.bugs.inject("fork_gradient_averaged"):
            wrong = nr.lens.ledger(model, *batch)
        yield (
            name,
            f"{max(row.identity_error for row in book.rows):.1e}",
            f"{wrong.grad_images_norm / book.grad_images_norm:.3g} of it",
        )


def paths(settings: Settings) -> Table:
    """Yield how long the paths are that the gradient came along."""
    yield (
        "network",
        "blocks",
        "mean of all paths",
        "mean of the gradient",
        "90 % of it",
        "shortcuts alone",
        "error of the sum",
    )
    for name, model, batch in settings.networks():
        found = nr.lens.spectrum(model, *batch)
        low, high = np.searchsorted(np.cumsum(found.shares), [0.05, 0.95])
        yield (
            name,
            len(found.rows) - 1,
            f"{found.mean_branches_of_paths:.2f}",
            f"{found.mean_branches:.2f}",
            f"{low} to {high}",
            f"{found.shortcut_share:z.2%}",
            f"{found.total_error:.0e}",
        )


def zero_gamma(settings: Settings) -> Table:
    """Yield which parameters get no gradient where the last gammas are zero."""
    yield "layers", "parameters", "gradient exactly zero", "which"
    for depth in settings.depths:
        model = cifar_resnet(depth, seed=0)
        everything = len(list(model.parameters()))
        still = without_gradient(zero_last_gammas(model), settings.batch(0))
        kinds = sorted({name.split(".", 2)[-1] for name in still})
        yield depth, everything, len(still), ", ".join(kinds)


CLAIMS: dict[str, Callable[[Settings], Table]] = {
    "vanishing": vanishing,
    "at-least-one": at_least_one,
    "averaged": averaged,
    "paths": paths,
    "zero-gamma": zero_gamma,
}


class Settings:
    """What the options say: data, depths, seeds, a file of weights."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.images = options.images
        self.depths = options.depths
        self.seeds = range(options.seeds)
        self.weights = options.weights
        self.train, _ = nr.data.cifar10(options.data_dir)

    def batch(self, seed: int, normalization: str = "cifar10") -> Batch:
        """Draw a batch."""
        mean, std = parse_normalization(normalization, 3)
        stream = nr.data.batches(
            self.train,
            self.images,
            shuffle=True,
            seed=seed,
            epoch=0,
            mean=mean,
            std=std,
        )
        return Batch(*next(stream))

    def networks(self) -> Iterator[tuple[str, ResNet, Batch]]:
        """Yield fresh residual networks in training mode, then the trained one."""
        for depth in self.depths:
            yield f"ResNet-{depth}, fresh", cifar_resnet(depth), self.batch(0)
        if self.weights is None:
            return
        model = cifar_resnet(20)
        model.load_state_dict(nr.weights.load(self.weights))
        for mode in ("training", "evaluation"):
            model.train(mode == "training")
            yield f"ResNet-20, trained, {mode} mode", model, self.batch(0, "imagenet")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; return its exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-dir", required=True, metavar="DIR")
    parser.add_argument("--weights", metavar="FILE")
    parser.add_argument("--only", action="append", choices=list(CLAIMS))
    parser.add_argument("--depths", type=int, nargs="+", default=[20, 56, 110])
    parser.add_argument("--images", type=int, default=8, metavar="N")
    parser.add_argument("--seeds", type=int, default=3, metavar="N")
    options = parser.parse_args(arguments)
    try:
        settings = Settings(options)
        for claim in options.only or CLAIMS:
            print(f"{claim}\n")
            _print(CLAIMS[claim](settings))
    except (ValueError, OSError) as error:
        print(f"benchmarks.claims: error: {error}", file=sys.stderr)
        return 2
    return 0


def _print(table: Iterable[Sequence[object]]) -> None:
    """Print a table in Markdown, a row as soon as it is there."""
    for number, row in enumerate(table):
        print("|", " | ".join(map(str, row)), "|", flush=True)
        if not number:
            print("|", " | ".join("---" for _ in row), "|")
    print()


def _range(values: Sequence[float], form: str = ".3g") -> str:
    low, high = format(min(values), form), format(max(values), form)
    return low if low == high else f"{low} to {high}"


if __name__ == "__main__":
    sys.exit(main())
