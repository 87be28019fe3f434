"""Runs of a second: a small network, a few digits, few epochs."""

import npresnet as nr
from npresnet.training import Recipe, RunFolder, fit
from npresnet.training import checkpoint as checkpoints
from npresnet.training.progress import Silent

TINY = Recipe(
    name="tiny",
    description="small",
    source="here",
    dataset="digits",
    model="resnet8",
    shortcut="A",
    epochs=3,
    batch_size=32,
    lr=0.1,
    crop_padding=1,
    crop_fill="black",
)


def tiny_data():
    train, test = nr.data.digits()
    return train.subset(range(150)), test.subset(range(60))


def new_model(seed=0):
    return nr.models.create("resnet8", num_classes=10, seed=seed)


def train(out, model=None, **changes):
    """Train in a new folder with the tiny recipe, changed."""
    options = {name: changes.pop(name) for name in ("progress",) if name in changes}
    return fit(
        new_model() if model is None else model,
        *tiny_data(),
        recipe=TINY.changed(**changes),
        out=out,
        seed=3,
        quiet=True,
        **options,
    )


def resume(out, **options):
    """Go on with a model whose weights must not matter."""
    return fit(new_model(5), *tiny_data(), resume=out, quiet=True, **options)


def checkpoint_of(folder):
    return checkpoints.load(RunFolder(folder).checkpoint_path)


def weights_of(folder):
    return nr.weights.load(RunFolder(folder).weights_path)


class StopIn(Silent):
    """Stops a run after the second batch of an epoch, as Ctrl-C does."""

    def __init__(self, epoch):
        self.wanted, self.epoch, self.batches = epoch, 0, 0

    def begin_epoch(self, epoch, epochs, steps):
        self.epoch, self.batches = epoch, 0

    def batch(self, loss, accuracy, images, lr):
        self.batches += 1
        if (self.epoch, self.batches) == (self.wanted, 2):
            raise KeyboardInterrupt
