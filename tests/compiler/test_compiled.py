"""What people do with a model between compiled steps, and with a compiled model."""

import copy
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest

import npresnet as nr
from npresnet import nn
from npresnet.compiler import CannotCompile, program
from tests.compiler.test_same_bits import (
    NETWORKS,
    OPTIMIZERS,
    assert_same,
    batch,
    layered_step,
)


def two_alike(name="basic, zeros", optimizer="momentum"):
    """Return a step, and model, criterion, optimiser of its layered twin."""
    model = NETWORKS[name]()
    twin = copy.deepcopy(model)
    criterion = nn.CrossEntropyLoss()
    step = nr.compile(model, criterion, OPTIMIZERS[optimizer](model))
    return step, (twin, criterion, OPTIMIZERS[optimizer](twin))


def take(step, layered, number):
    x, labels = batch(layered[0], number)
    loss, logits = step(x, labels)
    true_loss, true_logits = layered_step(*layered, x, labels)
    assert loss == true_loss
    np.testing.assert_array_equal(logits, true_logits)
    assert_same(step.model, layered[0], (step.optimizer, layered[2]))


def loaded(model):
    rng = np.random.default_rng(5)
    state = model.state_dict()
    for name, value in state.items():
        if value.dtype.kind == "f":
            state[name] = rng.uniform(0.5, 1, value.shape).astype(value.dtype)
    model.load_state_dict(state)


def evaluated(model):
    model.eval()
    model(batch(model, 77)[0])
    model.train()


def frozen(model):
    model.eval()


def half_frozen(model):
    model.layer1[0].bn1.eval()


def another_layer(model):
    rng = np.random.default_rng(3)
    model.layer1[1].conv2 = nn.Conv2d(16, 16, 1, bias=False, rng=rng)


def another_eps(model):
    model.bn1.eps = 0.1


def another_momentum(model):
    model.bn1.momentum = 0.5


def another_stride(model):
    model.conv1.stride = 2


def other_weights(model):
    model.fc.weight.data = model.fc.weight.data * 2


def weights_in_place(model):
    model.fc.weight.data *= 2


def gradients_forgotten(model):
    model.zero_grad()


def gradients_of_ones_own(model):
    for parameter in model.parameters():
        parameter.grad = np.ones_like(parameter.data)


def a_layered_pass(model):
    out = model(batch(model, 78)[0])
    model.backward(np.ones_like(out))


@pytest.mark.parametrize(
    "happens",
    [
        loaded,
        evaluated,
        frozen,
        half_frozen,
        another_eps,
        another_momentum,
        another_stride,
        other_weights,
        weights_in_place,
        gradients_forgotten,
        gradients_of_ones_own,
        a_layered_pass,
    ],
    ids=lambda function: function.__name__,
)
def test_what_happens_in_between_is_seen(happens):
    step, layered = two_alike()
    for number in range(2):
        take(step, layered, number)
    happens(step.model)
    happens(layered[0])
    for number in range(2, 5):
        take(step, layered, number)


def test_another_layer_is_seen():
    step, layered = two_alike(optimizer="plain")
    take(step, layered, 0)
    x, labels = batch(layered[0], 1)
    for model in (step.model, layered[0]):
        another_layer(model)
    loss, logits = step(x, labels)
    true_loss, true_logits = layered_step(*layered, x, labels)
    assert loss == true_loss
    np.testing.assert_array_equal(logits, true_logits)


def test_an_optimizer_is_loaded_and_changed_in_between():
    step, layered = two_alike()
    for number in range(3):
        take(step, layered, number)
    for optimizer in (step.optimizer, layered[2]):
        state = optimizer.state_dict()
        state["0.momentum_buffer"] = state["0.momentum_buffer"] * 3
        optimizer.load_state_dict(state)
        optimizer.lr = 0.2
        optimizer.groups[0]["momentum"] = 0.5
    for number in range(3, 5):
        take(step, layered, number)
    for optimizer in (step.optimizer, layered[2]):
        optimizer.groups[0]["nesterov"] = True
    take(step, layered, 5)


def test_logits_are_the_callers_own():
    step, _ = two_alike()
    x, labels = batch(step.model, 0)
    _, logits = step(x, labels)
    kept = logits.copy()
    logits += 1
    step(x, labels)
    np.testing.assert_array_equal(logits, kept + 1)


def test_images_are_left_alone_however_they_lie():
    step, layered = two_alike()
    x, labels = batch(step.model, 0)
    backwards = np.ascontiguousarray(x[:, :, :, ::-1])[:, :, :, ::-1]
    channels_last = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    for images in (x, backwards, channels_last, x.astype(x.dtype, order="F")):
        before = images.copy()
        loss, logits = step(images, labels)
        true_loss, true_logits = layered_step(*layered, x, labels)
        assert loss == true_loss
        np.testing.assert_array_equal(logits, true_logits)
        np.testing.assert_array_equal(images, before)


def test_whoever_watches_sees_all_passes():
    step, layered = two_alike()
    take(step, layered, 0)
    seen = {"forward": [], "backward": []}
    with nn.watching(
        lambda module, *_: seen["forward"].append(module),
        lambda module, *_: seen["backward"].append(module),
    ):
        x, labels = batch(step.model, 1)
        step(x, labels)
    layered_step(*layered, x, labels)
    assert set(step.model.modules()) <= set(seen["forward"])
    assert set(step.model.modules()) <= set(seen["backward"])
    assert_same(step.model, layered[0])
    take(step, layered, 2)


def test_the_reference_backend_runs_when_it_is_asked_for():
    step, layered = two_alike()
    take(step, layered, 0)
    x, labels = batch(step.model, 1)
    with nr.using_backend("reference"):
        loss, _ = step(x, labels)
        true_loss, _ = layered_step(*layered, x, labels)
    assert loss == true_loss
    assert_same(step.model, layered[0])


@pytest.mark.parametrize("bug", nr.lens.bugs.names())
def test_a_bug_that_is_put_in_is_met(bug):
    step, layered = two_alike("plain" if "plain" in bug else "basic, zeros")
    take(step, layered, 0)
    x, labels = batch(step.model, 1)
    outcomes = []
    with nr.lens.bugs.inject(bug), np.errstate(all="ignore"):
        for take_one in (step, lambda *two: layered_step(*layered, *two)):
            try:
                outcomes.append(take_one(x, labels))
            except (
                ArithmeticError,
                LookupError,
                RuntimeError,
                TypeError,
                ValueError,
            ) as e:
                outcomes.append((type(e), str(e)))
    (loss, logits), (true_loss, true_logits) = outcomes
    np.testing.assert_array_equal(loss, true_loss)
    np.testing.assert_array_equal(logits, true_logits)
    assert_same(step.model, layered[0])


def test_a_method_of_somebody_elses_class_that_is_replaced_is_met():
    step, layered = two_alike("a block of one's own")
    take(step, layered, 0)
    kind = type(step.model.layer2.own)
    before = kind.backward

    def backward(self, grad_output, input_grad=True):
        return before(self, grad_output + grad_output, input_grad)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kind, "backward", backward)
        take(step, layered, 1)
    take(step, layered, 2)


@pytest.mark.parametrize("size", [1e25, 1e38])
def test_sums_that_are_not_finite_are_left_to_the_layers(size):
    step, layered = two_alike("float64" if size > 1e37 else "basic, zeros")
    take(step, layered, 0)
    x, labels = batch(step.model, 1)
    huge = (x * size * size if x.dtype == np.float64 else x * size).astype(x.dtype)
    with np.errstate(all="ignore"):
        loss, logits = step(huge, labels)
        true_loss, true_logits = layered_step(*layered, huge, labels)
        np.testing.assert_array_equal(loss, true_loss)
        np.testing.assert_array_equal(logits, true_logits)
        assert_same(step.model, layered[0])


def test_what_was_left_to_the_layers_once_is_not_for_ever(monkeypatch):
    step, layered = two_alike(optimizer="plain")
    take(step, layered, 0)
    taken = []
    right = program.Program.run_backward

    def counted(self, grad_out):
        taken.append(right(self, grad_out))
        return taken[-1]

    def spoilt(self, grad_out):
        counted(self, grad_out)
        self._doubts[-1] = True
        return False

    monkeypatch.setattr(program.Program, "run_backward", spoilt)
    take(step, layered, 1)
    monkeypatch.setattr(program.Program, "run_backward", counted)
    take(step, layered, 2)
    assert taken == [True, True]


def test_nan_comes_through():
    step, layered = two_alike()
    take(step, layered, 0)
    x, labels = batch(step.model, 1)
    x[0, 0, 0, 0] = np.nan
    with np.errstate(all="ignore"):
        loss, _ = step(x, labels)
        layered_step(*layered, x, labels)
    assert np.isnan(loss)
    assert_same(step.model, layered[0])


@pytest.mark.parametrize(
    "x",
    [
        np.zeros((3, 8, 8), np.float32),
        np.zeros((2, 2, 8, 8), np.float32),
        np.zeros((2, 3, 8, 8), np.float64),
        np.zeros((2, 3, 8, 8), np.int64),
        np.zeros((0, 3, 8, 8), np.float32),
    ],
    ids=["an image", "channels", "dtype", "integers", "nothing"],
)
def test_wrong_images_are_refused_as_the_model_does(x):
    model = NETWORKS["basic, zeros"]()
    with pytest.raises((TypeError, ValueError)) as expected:
        model(x)
    with pytest.raises(type(expected.value)) as found:
        nr.compile(model)(x)
    assert str(found.value) == str(expected.value)


def test_wrong_labels_change_nothing_but_running_statistics():
    step, _ = two_alike()
    x, _ = batch(step.model, 0)
    before = step.model.state_dict()
    with pytest.raises(ValueError, match="labels"):
        step(x, np.array([0, 1, 2, 3, 99]))
    for name, value in step.model.named_parameters():
        np.testing.assert_array_equal(value.data, before[name])


def test_arguments_are_looked_at():
    model = NETWORKS["basic, zeros"]()
    optimizer = nr.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(TypeError, match="model must be a Module"):
        nr.compile(3)
    with pytest.raises(TypeError, match="both"):
        nr.compile(model, nn.CrossEntropyLoss())
    with pytest.raises(TypeError, match="criterion"):
        nr.compile(model, 3, optimizer)
    with pytest.raises(TypeError, match="optimizer"):
        nr.compile(model, nn.CrossEntropyLoss(), 3)


def test_backward_needs_a_forward_pass_and_goes_once():
    model = NETWORKS["basic, zeros"]()
    program = nr.compile(model)
    x, _ = batch(model, 0)
    with pytest.raises(RuntimeError, match="forward pass before"):
        program.backward(np.zeros((5, 5), np.float32))
    with nr.no_grad():
        out = program(x)
    with pytest.raises(RuntimeError, match="forward pass before"):
        program.backward(np.zeros_like(out))
    program(x)
    with pytest.raises(ValueError, match=r"grad_output must be float32 of shape"):
        program.backward(np.zeros((5, 4), np.float32))


class Own(nn.Module):
    """A network whose middle is what a test wants it to be."""

    def __init__(self, middle, back=None):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1, rng=0)
        self.middle, self.back = middle, back
        self.rng = np.random.default_rng(0)

    def forward(self, x):
        return self.middle(self, self.conv(x))

    def backward(self, grad_output, input_grad=True):
        grad = self.back(grad_output) if self.back else grad_output
        return self.conv.backward(grad, input_grad)


def in_place(_, x):
    x += x
    return x


def counted(module, x):
    module.calls = getattr(module, "calls", 0) + 1
    return x


@pytest.mark.parametrize(
    ("middle", "why"),
    [
        (lambda _, x: 0.5 * x, "multiplies an array"),
        (lambda _, x: x - x, "subtracts"),
        (lambda _, x: np.tanh(x), "calls np.tanh"),
        (lambda _, x: np.concatenate([x, x]), "calls np.concatenate"),
        (lambda _, x: x if x.mean() > 0 else x + x, r"asks an array for its \.mean"),
        (lambda _, x: x[:, :, ::2], "takes a part"),
        (lambda _, x: x + x if x > 0 else x, "compares"),
        (lambda _, x: x + 1.0, "adds something else"),
        (lambda _, x: x + np.zeros(x.shape), "adds something else"),
        (lambda _, x: x + x if float(x) else x, "needs the numbers"),
        (in_place, "in place"),
        (lambda m, x: x + x if m.rng.random() < 0.5 else x, "random numbers"),
        (counted, "set attributes"),
        (lambda _, x: 3, "returns a int"),
    ],
)
def test_what_is_no_layers_work_is_named(middle, why):
    x = np.zeros((2, 3, 8, 8), np.float32)
    with pytest.raises(CannotCompile, match=why) as found:
        nr.compile(Own(middle))(x)
    assert "\n" not in str(found.value)
    assert "Own cannot be compiled" in str(found.value)


def test_the_line_that_cannot_be_compiled_is_named():
    program = nr.compile(Own(lambda _, x: x, back=lambda grad: grad * 0.5))
    with pytest.raises(CannotCompile, match=r"line \d+ of test_compiled.py") as found:
        program(np.zeros((2, 3, 8, 8), np.float32))
    assert "multiplies an array" in str(found.value)


def test_a_replaced_method_is_met():
    step, layered = two_alike()
    take(step, layered, 0)
    for model in (step.model, layered[0]):
        block = model.layer1[0]
        block.shortcut_backward = lambda grad, input_grad=True: grad + grad
    take(step, layered, 1)


def test_a_subclass_is_met():
    class Doubled(nn.ReLU):
        def backward(self, grad_output, input_grad=True):
            return 2 * super().backward(grad_output, input_grad)

    step, _ = two_alike()
    step.model.relu = Doubled()
    with pytest.raises(CannotCompile, match="relu"):
        step(*batch(step.model, 0))


@pytest.mark.parametrize(
    "how", [copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))]
)
def test_a_copy_of_a_step_goes_its_own_way(how):
    step, layered = two_alike()
    for number in range(2):
        take(step, layered, number)
    other = how(step)
    before = step.model.state_dict()
    for number in range(3):
        other(*batch(step.model, 10 + number))
    for name, value in step.model.state_dict().items():
        np.testing.assert_array_equal(value, before[name], name)
    take(step, layered, 2)


def test_a_copy_of_a_twin_for_inference_goes_its_own_way():
    model = NETWORKS["basic, zeros"]()
    x, _ = batch(model, 0)
    twin = nr.inference(model)
    for _ in range(3):
        expected = twin(x)
    other = pickle.loads(pickle.dumps(copy.deepcopy(twin)))
    other.fc.weight.data = nr.backend.constant(other.fc.weight.data * 2)
    for _ in range(3):
        assert not np.array_equal(other(x), expected)
    np.testing.assert_array_equal(twin(x), expected)


def test_where_nothing_is_compiled_the_layers_run():
    program = (
        "import numpy as np, npresnet as nr\n"
        "model = nr.nn.Sequential(nr.nn.Conv2d(2, 3, 1, rng=0), nr.nn.ReLU())\n"
        "step, x = nr.compile(model), np.ones((1, 2, 2, 2), np.float32)\n"
        "for _ in range(2):\n"
        "    out = step(x)\n"
        "    step.backward(np.ones_like(out))\n"
        "print((out == nr.inference(model)(x)).all())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "True\n", done.stderr
