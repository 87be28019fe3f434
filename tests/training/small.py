"""Runs that take a second: a few digits, a small network, four epochs."""

import os
import signal

import numpy as np

import npresnet as nr
from npresnet.training import Recipe, RunFolder, fit
from npresnet.training import checkpoint as checkpoints
from npresnet.training.progress import Silent

RECIPE = Recipe(
    name="test",
    description="small",
    source="here",
    dataset="digits",
    model="resnet8",
    shortcut="A",
    epochs=4,
    batch_size=32,
    lr=0.1,
    crop_padding=1,
    crop_fill="black",
    label_smoothing=0.1,
)
STEPS = 5  # per epoch: 150 images in batches of 32


def small_data():
    train, test = nr.data.digits()
    return train.subset(range(150)), test.subset(range(60))


def new_model(seed=0):
    return nr.models.create("resnet8", num_classes=10, seed=seed)


def run(data, out, **options):
    """Train a new model in a new folder."""
    options = {"recipe": RECIPE, "seed": 3, "quiet": True, **options}
    return fit(new_model(), *data, out=out, **options)


def resume(data, folder, **options):
    """Go on with another model, whose weights must not matter."""
    return fit(new_model(5), *data, resume=folder, **{"quiet": True, **options})


def tensors(folder):
    """Read a run's newest checkpoint."""
    return checkpoints.load(RunFolder(folder).checkpoint_path)


def assert_same_bits(one, other):
    """Compare two checkpoints to the last bit, the epoch under way included."""
    for part in ("model", "optimizer", "average"):
        ours, theirs = getattr(one, part), getattr(other, part)
        assert ours.keys() == theirs.keys()
        for name in ours:
            assert ours[name].dtype == theirs[name].dtype
            assert ours[name].tobytes() == theirs[name].tobytes(), name
    assert without_times(one.history) == without_times(other.history)
    for name in ("steps", "loss_sum", "correct"):
        assert getattr(one.part, name) == getattr(other.part, name)


def without_times(history):
    return [
        {name: value for name, value in row.items() if "second" not in name}
        for row in history
    ]


def assert_same_run(one, other):
    """Compare what two finished runs leave, to the last bit."""
    assert_same_bits(tensors(one), tensors(other))
    ours = nr.weights.load(RunFolder(one).weights_path)
    theirs = nr.weights.load(RunFolder(other).weights_path)
    assert ours.keys() == theirs.keys()
    for name in ours:
        np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)


class Watch(Silent):
    """Counts batches, keeps what is said, and acts where a test wants it to.

    ``act`` is called with (epoch, batch) after every batch; batch 0 is the epoch's
    beginning.
    """

    def __init__(self, act=lambda epoch, batch: None):
        self.act = act
        self.said = []
        self.epoch = self.batches = 0

    def message(self, text):
        self.said.append(text)

    def begin_epoch(self, epoch, epochs, steps):
        # After an interruption an epoch has fewer batches left.
        self.epoch, self.batches = epoch, STEPS - steps
        self.act(self.epoch, self.batches)

    def batch(self, loss, accuracy, images, lr):
        self.batches += 1
        self.act(self.epoch, self.batches)


def stopping(epoch, batch=2, number=signal.SIGINT):
    """Watch a run, and send it a signal after a batch of an epoch."""

    def act(*place):
        if place == (epoch, batch):
            os.kill(os.getpid(), number)

    return Watch(act)


def interrupting():
    """Send Ctrl-C."""
    os.kill(os.getpid(), signal.SIGINT)
