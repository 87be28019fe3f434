"""Averages of weights are what they say, measured as such, and survive a stop."""

import functools
import os
import shutil
import signal

import numpy as np
import pytest

import npresnet as nr
from npresnet.nn import BatchNorm2d, Conv2d, Sequential
from npresnet.nn.modes import is_keeping
from npresnet.training import RunFolder, TrainingInterrupted, evaluate
from npresnet.training.averaging import WeightAverage
from tests.training.small import (
    STEPS,
    assert_same_run,
    new_model,
    resume,
    small_data,
    stopping,
    tensors,
)
from tests.training.tiny import TINY, train, weights_of


@pytest.fixture
def model(rng):
    return Sequential(Conv2d(2, 3, 3, rng=rng), BatchNorm2d(3))


def wander(model, rng, times):
    """Change a model at random several times; yield its state after each."""
    for _ in range(times):
        for parameter in model.parameters():
            parameter.data += rng.standard_normal(parameter.shape, dtype=np.float32)
        norm = model[1]
        norm.running_mean = rng.standard_normal(3, dtype=np.float32)
        norm.num_batches_tracked = np.array(norm.num_batches_tracked + 7)
        yield model.state_dict()


def test_without_a_decay_it_is_the_mean_of_all_updates(model, rng):
    average = WeightAverage(model)
    states = []
    for state in wander(model, rng, 5):
        average.update(model)
        states.append(state)
    for name, value in average.weights().items():
        assert value.dtype == states[0][name].dtype
        if value.dtype.kind == "f":
            mean = np.mean([state[name] for state in states], axis=0, dtype=np.float64)
            np.testing.assert_allclose(value, mean, rtol=1e-5, atol=1e-6)
    # A count is no quantity to be averaged.
    assert average.weights()["1.num_batches_tracked"] == 35


def test_with_a_decay_old_weights_fade_and_the_first_ones_faster(model, rng):
    average = WeightAverage(model, decay=0.6)
    began = average.weights()["0.weight"]
    states, weights = [], []
    for t, state in enumerate(wander(model, rng, 12), 1):
        average.update(model)
        states.append(state)
        keep = min(0.6, (1 + t) / (10 + t))
        weights = [w * keep for w in weights] + [1 - keep]
    start = 1 - sum(weights)  # what is left of the state before the first update
    assert 0 < start < 1e-3
    expected = start * began.astype(np.float64)
    expected = expected + sum(
        w * s["0.weight"].astype(np.float64)
        for w, s in zip(weights, states, strict=True)
    )
    np.testing.assert_allclose(
        average.weights()["0.weight"], expected, rtol=1e-4, atol=1e-5
    )
    assert average.weights()["1.running_mean"].dtype == np.float32


def test_statistics_are_those_of_the_batches_at_the_averaged_weights(model, rng):
    average = WeightAverage(model)
    for _ in wander(model, rng, 2):
        average.update(model)
    before = model.state_dict()
    model.eval()
    batches = [rng.standard_normal((4, 2, 6, 5), dtype=np.float32) for _ in range(3)]
    average.measure_statistics(model, iter(batches))

    conv = Conv2d(2, 3, 3, rng=rng)
    found = average.weights()
    conv.load_state_dict({name: found[f"0.{name}"] for name in conv.state_dict()})
    outputs = [conv(x).transpose(1, 0, 2, 3).reshape(3, -1) for x in batches]
    means = np.mean([y.mean(axis=1) for y in outputs], axis=0)
    variances = np.mean([y.var(axis=1, ddof=1) for y in outputs], axis=0)
    np.testing.assert_allclose(found["1.running_mean"], means, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found["1.running_var"], variances, rtol=1e-4)

    assert found["1.num_batches_tracked"] == 3
    assert not model.training
    assert model[1].momentum == 0.1
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


def test_the_model_is_its_average_within_the_block_only(model, rng):
    average = WeightAverage(model)
    with average.applied(model):  # nothing is averaged yet
        nothing_yet = model.state_dict()
    own = model.state_dict()
    np.testing.assert_array_equal(nothing_yet["0.weight"], own["0.weight"])
    for _ in wander(model, rng, 3):
        average.update(model)
    own = model.state_dict()
    with pytest.raises(ZeroDivisionError), average.applied(model):
        for name, value in model.state_dict().items():
            np.testing.assert_array_equal(value, average.weights()[name])
        assert not np.array_equal(model.state_dict()["0.weight"], own["0.weight"])
        raise ZeroDivisionError
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, own[name])


def test_it_goes_on_from_its_state_to_the_same_bits(model, rng):
    one, other = WeightAverage(model, 0.9), WeightAverage(model, 0.9)
    for number, _ in enumerate(wander(model, rng, 6)):
        one.update(model)
        if number == 2:
            other.load_state_dict(one.state_dict())
        elif number > 2:
            other.update(model)
    for name, value in one.state_dict().items():
        np.testing.assert_array_equal(value, other.state_dict()[name])


def test_a_state_of_something_else_is_refused_and_changes_nothing(model, rng):
    average = WeightAverage(model)
    for _ in wander(model, rng, 1):
        average.update(model)
    before = average.state_dict()
    for changes, message in (
        ({"0.weight": np.zeros((3, 2, 3, 3))}, "'0.weight' should be float32"),
        ({"0.weight": np.zeros((1, 2), np.float32)}, "got float32 of shape"),
        ({"extra": np.zeros(1, np.float32)}, "missing or unknown: extra"),
    ):
        with pytest.raises(ValueError, match=message):
            average.load_state_dict({**before, **changes})
    with pytest.raises(ValueError, match="missing or unknown: count"):
        average.load_state_dict(average.weights())
    for name, value in before.items():
        np.testing.assert_array_equal(value, average.state_dict()[name])


EMA, LAST_TWO = {"ema_decay": 0.8}, {"average_epochs": 2}
AVERAGES = [EMA, LAST_TWO]


@pytest.fixture(scope="module")
def wholes(tmp_path_factory):
    """Finished runs and their folders by what they average, each made once."""

    @functools.cache
    def whole(settings):
        folder = tmp_path_factory.mktemp("whole") / "run"
        with nr.using_algorithm("direct"):
            return train(folder, **dict(settings)), folder

    return lambda average: whole(tuple(average.items()))


@pytest.mark.parametrize("average", AVERAGES)
def test_the_average_is_what_is_measured_kept_and_left(tmp_path, average):
    model = new_model()
    run = train(tmp_path / "run", model, **average)
    kept = weights_of(tmp_path / "run")
    raw = tensors(tmp_path / "run").model
    assert not np.array_equal(kept["fc.weight"], raw["fc.weight"])
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, kept[name])
    assert model.training
    fresh = new_model(9)
    fresh.load_state_dict(kept)
    assert evaluate(fresh, small_data()[1]) == run.test
    assert run.history[-1]["test_loss"] == run.test.loss


def test_the_last_epochs_are_averaged_and_no_others(tmp_path):
    model, ends = new_model(), []
    plain, averaged = tmp_path / "plain", tmp_path / "averaged"
    straight = nr.training.fit(
        model,
        *small_data(),
        recipe=TINY,
        out=plain,
        seed=3,
        quiet=True,
        callbacks=[lambda row: ends.append(model.state_dict())],
    )
    run = train(averaged, average_epochs=2)
    # The weights train as ever: the average looks on.
    for name, value in tensors(averaged).model.items():
        np.testing.assert_array_equal(value, tensors(plain).model[name])
    assert run.history[0]["test_loss"] == straight.history[0]["test_loss"]
    for name, value in weights_of(averaged).items():
        if "running" not in name and "num_batches" not in name:
            mean = (ends[1][name] + ends[2][name]) / 2
            np.testing.assert_allclose(value, mean, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("average", AVERAGES)
@pytest.mark.parametrize("epoch", [2, 3])
def test_an_interrupted_average_ends_with_the_same_bits(
    wholes, tmp_path, average, epoch
):
    whole, folder = wholes(average)
    with pytest.raises(TrainingInterrupted):
        train(tmp_path / "cut", progress=stopping(epoch), **average)
    resumed = resume(small_data(), tmp_path / "cut")
    assert resumed.test == whole.test
    assert tensors(folder).average
    assert_same_run(folder, tmp_path / "cut")


def ctrl_c_in_forward_pass(monkeypatch, number):
    """Send Ctrl-C while the n-th forward pass without a backward pass is under way."""
    passes = 0
    forward = nr.nn.Linear.forward

    def interrupting(self, x):
        nonlocal passes
        if not is_keeping():
            passes += 1
            if passes == number:
                os.kill(os.getpid(), signal.SIGINT)
        return forward(self, x)

    monkeypatch.setattr(nr.nn.Linear, "forward", interrupting)


# Passes without a backward pass: one for the test images after each of the three
# epochs; and before it, for batch norm's statistics, five where epochs are averaged.
@pytest.mark.parametrize(
    ("average", "number"),
    [(EMA, 1), (EMA, 3), *((LAST_TWO, number) for number in (2, 5, 7, 9, 13))],
)
def test_an_average_that_is_interrupted_while_it_is_measured_loses_nothing(
    wholes, tmp_path, monkeypatch, average, number
):
    whole, folder = wholes(average)
    with monkeypatch.context() as patch:
        ctrl_c_in_forward_pass(patch, number)
        with pytest.raises(TrainingInterrupted, match="nothing is lost"):
            train(tmp_path / "cut", **average)
    # All steps of the epoch are done, and the weights are those of training.
    cut = tensors(tmp_path / "cut")
    assert cut.part.steps == STEPS
    resumed = resume(small_data(), tmp_path / "cut")
    assert resumed.test == whole.test
    assert_same_run(folder, tmp_path / "cut")


@pytest.mark.parametrize("average", AVERAGES)
def test_a_finished_average_is_resumed_as_it_was(wholes, tmp_path, average):
    run, folder = wholes(average)
    shutil.copytree(folder, tmp_path / "run")
    before = RunFolder(tmp_path / "run").weights_path.read_bytes()
    again = resume(small_data(), tmp_path / "run")
    assert again.test == run.test
    assert RunFolder(tmp_path / "run").weights_path.read_bytes() == before
