"""An instrument may do anything to a model, and nobody will ever know."""

import numpy as np
import pytest

import npresnet as nr
from npresnet.lens.shared.preserve_state import preserve_state
from tests.lens.state import fingerprint, left_as_it_was


@pytest.fixture(autouse=True)
def _plain_numpy():
    with nr.using_backend("reference"):
        yield


def busy_model(rng):
    """A model in the middle of a step: gradients of one batch, caches of the next."""
    model = nr.models.resnet8(shortcut="B", seed=1)
    criterion = nr.nn.CrossEntropyLoss()
    for step in range(2):
        x = rng.standard_normal((2, 3, 8, 8), dtype=np.float32)
        criterion(model(x), np.array([3, 4]))
        if step == 0:
            model.backward(criterion.backward())
    model.layer2.eval()
    return model, criterion


def take_a_step(model):
    criterion = nr.nn.CrossEntropyLoss()
    criterion(model(np.ones((2, 3, 8, 8), np.float32)), np.array([0, 1]))
    model.backward(criterion.backward())


DEEDS = {
    "a training step": take_a_step,
    "another mode": lambda model: model.eval(),
    "one layer's mode": lambda model: setattr(model.bn1, "training", False),
    "no gradients": lambda model: model.zero_grad(),
    "weights in place": lambda model: model.fc.weight.data.fill(0),
    "weights replaced": lambda model: setattr(model.fc.weight, "data", np.ones(3)),
    "a gradient in place": lambda model: model.fc.weight.grad.fill(0),
    "statistics in place": lambda model: model.bn1.running_var.fill(9),
    "statistics replaced": lambda model: setattr(model.bn1, "running_mean", None),
    "a counter": lambda model: model.bn1.num_batches_tracked.fill(0),
    "weights loaded": lambda model: model.load_state_dict(model.state_dict()),
    "caches taken": lambda model: model.conv1.pop_cache(),
    "caches forgotten": lambda model: model.discard_caches(),
    "a list of caches replaced": lambda model: setattr(model.relu, "caches", [1]),
    "a method": lambda model: setattr(model.layer1, "forward", lambda x: x),
    "a submodule": lambda model: setattr(model, "layer1", nr.nn.Sequential()),
    "a new submodule": lambda model: setattr(model, "extra", nr.nn.ReLU()),
    "a setting": lambda model: setattr(model.bn1, "momentum", 0.5),
    "an attribute less": lambda model: delattr(model, "relu"),
}


@pytest.mark.parametrize("deed", DEEDS.values(), ids=DEEDS)
def test_whatever_is_done_within_is_undone(deed, rng):
    model, _ = busy_model(rng)
    before = fingerprint(model)
    with preserve_state(model):
        deed(model)
        assert fingerprint(model) != before
    assert fingerprint(model) == before


@pytest.mark.parametrize("deed", DEEDS.values(), ids=DEEDS)
def test_exceptions_change_nothing_about_that(deed, rng):
    model, _ = busy_model(rng)
    with (
        pytest.raises(KeyboardInterrupt),
        left_as_it_was(model),
        preserve_state(model),
    ):
        deed(model)
        raise KeyboardInterrupt


def test_a_step_that_was_under_way_goes_on_with_the_same_bits(rng):
    model, criterion = busy_model(rng)
    with preserve_state(model):
        model.zero_grad()
        take_a_step(model)
    disturbed = model.backward(criterion.backward())

    model, criterion = busy_model(np.random.default_rng(0))
    undisturbed = model.backward(criterion.backward())
    np.testing.assert_array_equal(disturbed, undisturbed)


def test_arrays_that_are_read_only_stay_so():
    model = nr.inference(nr.models.resnet8(seed=0))
    with left_as_it_was(model), preserve_state(model):
        model.train()
    assert not model.conv1.weight.flags.writeable
