"""A NaN or an infinity stops the run, and the line names where it came up first."""

import numpy as np
import pytest

import npresnet as nr
from npresnet.training.step import take_step
from tests.training.small import RECIPE, Watch, new_model, tensors


@pytest.fixture(autouse=True)
def _as_in_training():
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        yield


@pytest.fixture
def batch(data):
    train, _ = data
    return next(nr.data.batches(train, 16, shuffle=False))


def module(model, name):
    return dict(model.named_modules())[name]


def set_weight(name, value):
    """Make a layer's weights huge, but finite."""

    def poison(model):
        module(model, name).weight.data[...] = value

    return poison


def set_sum(model):
    """Let both paths of a block be finite, and their sum not."""
    block = module(model, "layer2.0")
    block.conv1.weight.data[...] = 0
    block.bn2.weight.data[...] = 0
    block.bn2.bias.data[...] = 3e38
    module(model, "layer1.0").bn2.weight.data[...] = 0
    module(model, "layer1.0").bn2.bias.data[...] = 3e38


def spoil_backward(name, value, argument=None):
    """Let a layer's backward pass go wrong in its result, or in a parameter's."""

    def poison(model):
        layer = module(model, name)
        right = layer.backward

        def wrong(*gradients, **options):
            result = right(*gradients, **options)
            if argument is None:
                result = np.array(result)
                result.flat[-1] = value
            else:
                parameter = getattr(layer, argument)
                parameter.grad = np.array(parameter.grad)
                parameter.grad.flat[-1] = value
            return result

        layer.backward = wrong

    return poison


def spoil_sum_of_gradients(model):
    """Let both gradients that come back to a fork be finite, and their sum not."""
    for name in ("layer2.0.conv1", "layer2.0.downsample"):
        layer = module(model, name)

        def huge(*gradients, right=layer.backward, **options):
            return np.full_like(right(*gradients, **options), 3e38)

        layer.backward = huge


CASES = {
    "output of a convolution": (
        set_weight("layer1.0.conv2", 3e38),
        "infinity is in the output of layer1.0.conv2 (forward)",
    ),
    "output of batch norm": (
        set_weight("layer2.0.bn2", 3e38),
        "infinity is in the output of layer2.0.bn2 (forward)",
    ),
    "running statistics": (
        set_weight("conv1", 1e25),
        "infinity is in running_var of bn1 (forward)",
    ),
    "sum of branch and shortcut": (
        set_sum,
        "infinity is in the input of layer2.0.relu (forward)",
    ),
    "logits": (
        set_weight("fc", 3e38),
        "infinity is in the output of fc (forward)",
    ),
    "a parameter": (
        set_weight("layer3.0.bn1", np.nan),
        "NaN is in layer3.0.bn1.weight before the step",
    ),
    "gradient with respect to the input": (
        spoil_backward("layer2.0.conv2", np.nan),
        "NaN is in the gradient with respect to the input of layer2.0.conv2 (backward)",
    ),
    "gradient of a weight": (
        spoil_backward("layer3.0.conv1", np.inf, "weight"),
        "infinity is in the gradient of layer3.0.conv1.weight (backward)",
    ),
    "gradient of the first layer": (
        spoil_backward("conv1", -np.inf, "weight"),
        "infinity is in the gradient of conv1.weight (backward)",
    ),
    "sum of gradients": (
        spoil_sum_of_gradients,
        "infinity is in the gradient with respect to the input of layer2.0 (backward)",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_first_layer_is_named_and_nothing_was_updated(batch, case):
    poison, where = CASES[case]
    model = new_model()
    optimizer = RECIPE.make_optimizer(model)
    criterion = nr.nn.CrossEntropyLoss()
    model.train()
    take_step(model, criterion, optimizer, *batch)  # momentum is there
    poison(model)
    own = {name: vars(part).get("backward") for name, part in model.named_modules()}
    before = model.state_dict(), optimizer.state_dict()
    with pytest.raises(FloatingPointError) as raised:
        take_step(model, criterion, optimizer, *batch)
    assert str(raised.value) == f"the first {where}"
    for ours, theirs in zip(
        before, (model.state_dict(), optimizer.state_dict()), strict=True
    ):
        assert ours.keys() == theirs.keys()
        for name in ours:
            assert ours[name].tobytes() == theirs[name].tobytes(), name
    for name, part in model.named_modules():
        assert vars(part).get("backward") is own[name]
        assert part.caches == []


@pytest.mark.parametrize("compiled", [True, False])
def test_a_run_names_epoch_step_and_layer_and_keeps_the_weights(
    data, tmp_path, compiled
):
    def act(*place):
        if place == (3, 1):
            module(model, "layer1.0.conv2").weight.data[...] = 3e38

    model = new_model()
    backend = nr.using_backend("numba" if compiled else "reference")
    with backend, pytest.raises(FloatingPointError) as raised:
        nr.training.fit(
            model,
            *data,
            recipe=RECIPE,
            out=tmp_path / "run",
            progress=Watch(act),
            compiled=compiled,
        )
    assert str(raised.value) == (
        "epoch 3, step 2 of 5: the first infinity is in the output of layer1.0.conv2 "
        f"(forward); the weights of epoch 2 are kept in {tmp_path / 'run'} "
        "(a lower learning rate may help)"
    )
    kept = nr.weights.load(tmp_path / "run" / "weights.safetensors")
    assert all(np.isfinite(array).all() for array in kept.values())
    assert tensors(tmp_path / "run").epoch == 2


def test_a_state_that_is_not_finite_is_not_saved(data, tmp_path):
    def act(*place):
        if place == (2, 3):  # between the update and the checkpoint
            model.fc.weight.data[0, 0] = np.inf

    model = new_model()
    with pytest.raises(
        FloatingPointError, match=r"epoch 2, after step 3 of 5: infinity in fc\.weight"
    ):
        nr.training.fit(
            model,
            *data,
            recipe=RECIPE,
            out=tmp_path / "run",
            progress=Watch(act),
            checkpoint_seconds=0,
        )
    kept = tensors(tmp_path / "run")
    assert (kept.epoch, kept.part.steps) == (1, 2)
    assert kept.first_not_finite() is None


def test_what_measuring_alone_meets_is_named(data, tmp_path):
    def act(*place):
        if place == (2, 5):
            model.layer1[0].bn2.running_var[...] = -1  # training does not look at it

    model = new_model()
    with pytest.raises(
        FloatingPointError,
        match=r"epoch 2: the test loss after its last step is nan; the first NaN is in "
        r"the output of layer1\.0\.bn2 \(forward\); the weights of epoch 1 are kept",
    ):
        nr.training.fit(
            model, *data, recipe=RECIPE, out=tmp_path / "run", progress=Watch(act)
        )
    assert tensors(tmp_path / "run").epoch == 1


def test_an_error_of_the_machine_is_told_from_one_of_the_numbers(batch):
    model = new_model()
    right, calls = model.layer2[0].conv1.forward, []

    def wrong_once(x):
        calls.append(x)
        return right(x) * (np.float32(np.nan) if len(calls) == 1 else 1)

    model.layer2[0].conv1.forward = wrong_once
    with pytest.raises(FloatingPointError, match="computed once more, it is finite"):
        take_step(model, nr.nn.CrossEntropyLoss(), RECIPE.make_optimizer(model), *batch)


def test_a_healthy_step_is_computed_once(batch):
    model, passes = new_model(), []
    with nr.nn.watching(lambda part, inputs, output: passes.append(part)):
        take_step(model, nr.nn.CrossEntropyLoss(), RECIPE.make_optimizer(model), *batch)
    assert passes.count(model) == 1
