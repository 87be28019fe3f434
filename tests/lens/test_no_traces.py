"""Every instrument leaves a model as it found it; a new one is missed here at once."""

import inspect

import numpy as np
import pytest

import npresnet as nr
from npresnet import lens
from tests.lens.state import left_as_it_was

INSTRUMENTS = {
    "activations": lambda model, x, y: lens.activations(model, x),
    "cost": lambda model, x, y: lens.cost(model, x.shape[1:], repeats=1),
    "feature_maps": lambda model, x, y: lens.feature_maps(model, x, "layer2"),
    "filters": lambda model, x, y: lens.filters(model),
    "grad_cam": lambda model, x, y: lens.grad_cam(model, x, layer="layer2"),
    "landscape": lambda model, x, y: lens.landscape(model, x, y, points=3),
    "ledger": lens.ledger,
    "lesion": lambda model, x, y: lens.lesion(model, x, y, draws=1),
    "program": lambda model, x, y: lens.program(model, x.shape[1:], batch=4),
    "responses": lambda model, x, y: lens.responses(model, x),
    "saliency": lambda model, x, y: lens.saliency(model, x),
    "shattered": lambda model, x, y: lens.shattered(model, x, points=8, lags=2),
    "spectrum": lens.spectrum,
    "steps": lens.steps,
    "Log": lambda model, x, y: lens.Log(lens.ledger, model, x, y).read(0),
    "Log.read_checkpoints": lambda model, x, y: lens.Log(
        lens.spectrum, model, x, y
    ).read_checkpoints({1: nr.models.create("plain8", seed=5).state_dict()}),
}

READ_WEIGHTS_ONLY = {"filters"}
GO_BACKWARD = {
    *("grad_cam", "ledger", "saliency", "shattered", "spectrum", "steps"),
    *("Log", "Log.read_checkpoints"),
}
FAILURES = [
    *((name, "forward") for name in sorted(INSTRUMENTS.keys() - READ_WEIGHTS_ONLY)),
    *((name, "backward") for name in sorted(GO_BACKWARD)),
]


@pytest.fixture(autouse=True)
def _plain_numpy():
    with nr.using_backend("reference"):
        yield


def under_way(name, training, rng):
    """A model between forward and backward, with the gradients of a step before."""
    model = nr.models.create(name, seed=1).train(training)
    x = rng.standard_normal((4, 3, 9, 8), dtype=np.float32)
    y = np.array([0, 3, 3, 9])
    criterion = nr.nn.CrossEntropyLoss()
    for step in range(2):
        criterion(model(x), y)
        if step == 0:
            model.backward(criterion.backward())
    return model, x, y, criterion


def test_no_instrument_is_left_out():
    takes_a_model = {
        name
        for name in lens.__all__
        if inspect.isfunction(function := getattr(lens, name))
        and next(iter(inspect.signature(function).parameters), None) == "model"
    }
    assert takes_a_model - {"preserve_state"} == {
        name for name in INSTRUMENTS if not name.startswith("Log")
    }


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("name", ["resnet8", "plain8"])
@pytest.mark.parametrize("instrument", INSTRUMENTS)
def test_a_model_is_left_as_it_was(instrument, name, training, rng):
    model, x, y, criterion = under_way(name, training, rng)
    with left_as_it_was(model):
        INSTRUMENTS[instrument](model, x, y)
    model.backward(criterion.backward())  # its caches are still there


@pytest.mark.parametrize("name", ["resnet8", "plain8"])
@pytest.mark.parametrize(("instrument", "way"), FAILURES)
def test_a_model_is_left_as_it_was_when_it_is_stopped(instrument, way, name, rng):
    model, x, y, _ = under_way(name, True, rng)
    stopped = []

    def stop(*args, **options):
        stopped.append(1)
        raise KeyboardInterrupt

    setattr(model.layer3[0].conv1, way, stop)
    with left_as_it_was(model), pytest.raises(KeyboardInterrupt):
        INSTRUMENTS[instrument](model, x, y)
    assert stopped
