"""What training costs beside the mathematics: ``python -m benchmarks.overhead``.

Beside one training step of a network on 32x32 images: drawing a batch (order, crop,
flip, cutout, normalisation), looking for NaN and infinity, and writing a checkpoint,
which happens every two minutes and after each epoch. The images are noise.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

import npresnet as nr
from npresnet.data import Dataset, RandomCropFlip, batches
from npresnet.training import checkpoint, recipes
from npresnet.training.step import is_healthy, remember, take_step

AUGMENTATIONS = {
    "as they are": None,
    "crop and flip": RandomCropFlip(padding=4),
    "crop, flip and cutout": RandomCropFlip(padding=4, cutout=16),
}


def milliseconds(call: Callable[[], object], repeats: int) -> float:
    """Return the median time of a call, the first one left out."""
    call()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return 1000 * statistics.median(times)


def noise(images: int) -> Dataset:
    rng = np.random.default_rng(0)
    return Dataset(
        rng.integers(0, 256, (images, 3, 32, 32), dtype=np.uint8),
        rng.integers(0, 10, images),
        tuple("abcdefghij"),
        (0.49, 0.48, 0.45),
        (0.25, 0.24, 0.26),
        "noise",
    )


def measure(
    name: str, images: int, batch_size: int, repeats: int
) -> Iterator[tuple[str, float]]:
    """Yield what is measured and how many milliseconds it takes, the step first."""
    model = nr.models.create(name, num_classes=10)
    criterion = nr.nn.CrossEntropyLoss()
    optimizer = recipes.get("cifar10-quick").make_optimizer(model)
    data = noise(images)
    x, labels = next(batches(data, batch_size, shuffle=False))
    yield (
        "training step",
        milliseconds(
            lambda: take_step(model, criterion, optimizer, x, labels), repeats
        ),
    )
    for what, augment in AUGMENTATIONS.items():
        drawn = itertools.chain.from_iterable(
            batches(
                data, batch_size, shuffle=True, seed=0, epoch=epoch, augment=augment
            )
            for epoch in itertools.count()
        )
        yield f"batch, {what}", milliseconds(lambda it=drawn: next(it), 20 * repeats)
    yield (
        "looking for NaN and infinity",
        milliseconds(lambda: (remember(model), is_healthy(model)), 20 * repeats),
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "checkpoint.safetensors"
        yield (
            "checkpoint",
            milliseconds(
                lambda: checkpoint.save(
                    path,
                    checkpoint.Checkpoint(
                        model.state_dict(), optimizer.state_dict(), []
                    ),
                ),
                repeats,
            ),
        )


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="resnet20")
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=10)
    given = parser.parse_args(arguments)
    print(
        f"{given.model}, batches of {given.batch_size} of {given.images:,} images, "
        f"{nr.get_threads()} threads"
    )
    step = None
    for what, time_taken in measure(
        given.model, given.images, given.batch_size, given.repeats
    ):
        step = step or time_taken
        print(f"{what:<30}{time_taken:>9.2f} ms{time_taken / step:>9.2%} of a step")


if __name__ == "__main__":
    main()
