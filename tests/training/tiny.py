"""The small runs, three epochs long, with settings to be changed."""

from dataclasses import replace

from npresnet.training import RunFolder, fit
from npresnet.weights import load
from tests.training import small

TINY = replace(small.RECIPE, name="tiny", epochs=3, label_smoothing=0.0)


def train(out, model=None, progress=None, **changes):
    """Train in a new folder with the tiny recipe, changed."""
    return fit(
        small.new_model() if model is None else model,
        *small.small_data(),
        recipe=TINY.changed(**changes),
        out=out,
        seed=3,
        quiet=True,
        progress=progress,
    )


def weights_of(folder):
    return load(RunFolder(folder).weights_path)
