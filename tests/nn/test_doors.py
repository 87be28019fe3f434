"""`watching` sees every call, forward and backward, and changes none."""

import itertools
import threading

import numpy as np
import pytest

import npresnet as nr
from npresnet.nn import Module, watching
from tests.oracle.compare import normal

F64 = {"dtype": np.float64, "rng": 0}


@pytest.fixture
def block():
    return nr.models.BasicBlock(3, 3, **F64)


def run(model, rng, shape=(2, 3, 6, 5), **options):
    """Go through a model both ways; return what came out at both ends."""
    x = normal(rng, *shape)
    out = model(x)
    return out, model.backward(normal(rng, *out.shape), **options)


def names_of(block, calls):
    names = {module: name for name, module in block.named_modules()}
    return [names[module] for module, *_ in calls]


FORWARD = ["conv1", "bn1", "relu", "conv2", "bn2", "downsample", "relu", ""]
BACKWARD = ["relu", "bn2", "conv2", "relu", "bn1", "conv1", "downsample", ""]


def test_every_call_is_seen_in_order_and_with_what_came_and_went(block, rng, backend):
    forward, backward = [], []
    with watching(
        lambda *call: forward.append(call), lambda *call: backward.append(call)
    ):
        out, grad_input = run(block, rng)
    assert names_of(block, forward) == FORWARD
    assert names_of(block, backward) == BACKWARD
    assert forward[-1][2] is out
    assert backward[-1][2] == (grad_input,)
    # What one layer gives is what the next one takes.
    for (_, _, given), (_, (taken,), _) in itertools.pairwise(forward[:5]):
        assert taken is given
    for (_, _, (given,)), (_, (taken,), _) in itertools.pairwise(backward[:6]):
        assert taken is given
    branch, shortcut = backward[5][2][0], backward[6][2][0]
    np.testing.assert_array_equal(branch + shortcut, grad_input)


def test_watched_or_not_the_bits_are_the_same(rng):
    def everything(watched):
        model = nr.models.resnet8(4, **{"dtype": np.float64, "seed": 1})
        draw = np.random.default_rng(3)
        with watching(*watched):
            results = run(model, draw, (2, 3, 8, 9))
        return [*results, *(p.grad for p in model.parameters())]

    plain = everything(())
    for watched in ((print_nothing, None), (None, print_nothing), (print_nothing,) * 2):
        for one, other in zip(plain, everything(watched), strict=True):
            np.testing.assert_array_equal(one, other)


def print_nothing(*call):
    pass


def test_a_spared_gradient_is_none(block, rng):
    seen = []
    with watching(backward=lambda *call: seen.append(call)):
        run(block, rng, input_grad=False)
    assert names_of(block, seen) == BACKWARD
    assert seen[-1][2] == seen[5][2] == (None,)


def test_replaced_methods_and_subclasses_are_seen_once(rng, monkeypatch):
    class Mine(nr.models.BasicBlock):
        def backward(self, grad_output, input_grad=True):
            return super().backward(2 * grad_output, input_grad)

    def doubled(self, grad_output, input_grad=True):
        return 2 * grad_output

    block = Mine(3, 3, **F64)
    block.conv2.backward = lambda grad_output, input_grad=True: grad_output
    monkeypatch.setattr(nr.nn.ReLU, "backward", doubled)
    seen = []
    with watching(backward=lambda *call: seen.append(call)):
        run(block, rng)
    assert names_of(block, seen) == BACKWARD
    for module, (grad_output,), (grad_input,) in seen:
        if module is block.relu:
            np.testing.assert_array_equal(grad_input, 2 * grad_output)
        if module is block.conv2:
            assert grad_input is grad_output


def test_watchers_lie_within_one_another_and_end_with_their_blocks(block, rng):
    told = []
    with watching(backward=lambda *call: told.append("outer")):
        with watching(forward=lambda *call: told.append("inner")):
            run(nr.nn.ReLU(), rng)
        run(nr.nn.ReLU(), rng)
    run(nr.nn.ReLU(), rng)
    assert told == ["inner", "outer", "outer"]
    assert "__getattribute__" not in vars(Module)


def test_what_a_watcher_computes_is_not_reported(block, rng):
    seen = []

    def look(module, grad_outputs, grad_inputs):
        seen.append(module)
        relu = nr.nn.ReLU()
        relu.backward(relu(grad_outputs[0]))

    with watching(lambda module, inputs, output: nr.nn.ReLU()(output), look):
        run(block, rng)
    assert names_of(block, zip(seen, strict=True)) == BACKWARD


def test_other_threads_are_not_seen(block, rng):
    seen = []
    with watching(backward=lambda *call: seen.append(call)):
        thread = threading.Thread(target=run, args=(block, rng))
        thread.start()
        thread.join()
    assert not seen


def test_a_block_that_fails_leaves_no_door_behind(block, rng):
    def fail(*call):
        raise KeyError

    with pytest.raises(KeyError), watching(backward=fail):
        run(block, rng)
    assert "__getattribute__" not in vars(Module)
    run(block, rng)


def test_the_loss_has_doors_too(rng):
    criterion, seen = nr.nn.CrossEntropyLoss(), []
    with watching(lambda *call: seen.append(call), lambda *call: seen.append(call)):
        criterion(normal(rng, 2, 3), np.array([0, 1]))
        grad = criterion.backward()
    (_, inputs, loss), (module, grad_outputs, grad_inputs) = seen
    assert module is criterion and len(inputs) == 2 and loss > 0
    assert grad_outputs == () and grad_inputs == (grad,)


@pytest.mark.parametrize("which", ["forward", "backward"])
def test_what_cannot_be_called_is_refused(which):
    with (
        pytest.raises(TypeError, match=f"{which} must be a function or None, got int"),
        watching(**{which: 3}),
    ):
        pass
