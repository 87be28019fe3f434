"""After a warm-up nothing is compiled or laid out any more, and nothing has changed."""

import numpy as np
import pytest

import npresnet as nr
from npresnet import nn
from npresnet.compiler import program
from tests.compiler.test_same_bits import NETWORKS, OPTIMIZERS

SHAPE = 4, 3, 12, 12


def compiled_meanwhile(work):
    """Count what Numba compiles or loads, and the programs that are made."""
    from numba.core.dispatcher import Dispatcher

    made = []
    right, plain = Dispatcher.compile, program.Program.__init__

    def compile(self, signature):
        before = len(self.overloads)
        result = right(self, signature)
        if len(self.overloads) > before:
            made.append(self.py_func.__name__)
        return result

    def init(self, *arguments):
        made.append("a program")
        return plain(self, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Dispatcher, "compile", compile)
        patch.setattr(program.Program, "__init__", init)
        work()
    return made


def as_it_is(model):
    return model


def for_a_step(model):
    optimizer = OPTIMIZERS["momentum"](model)
    return nr.compile(model, nn.CrossEntropyLoss(), optimizer)


@pytest.mark.parametrize("make", [as_it_is, nr.inference, nr.compile, for_a_step])
def test_nothing_is_left_to_do(make):
    model = NETWORKS["basic, projection"]()
    state = model.state_dict()
    made = make(model)
    nr.warmup(made, SHAPE)
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, state[name], name)
    assert all(parameter.grad is None for parameter in model.parameters())
    x = np.random.default_rng(0).standard_normal(SHAPE, dtype=np.float32)

    def work():
        if make is for_a_step:
            for _ in range(3):
                made(x, np.arange(4))
            return
        out = made(x)
        if make is not nr.inference:
            made.backward(np.ones_like(out))

    assert compiled_meanwhile(work) == []


def test_without_a_warm_up_there_is_something_to_do():
    made = for_a_step(NETWORKS["basic, projection"]())
    x = np.zeros(SHAPE, np.float32)
    assert "a program" in compiled_meanwhile(lambda: made(x, np.arange(4)))


@pytest.mark.parametrize(
    ("model", "shape", "error", "why"),
    [
        (3, SHAPE, TypeError, "model must be a Module"),
        (NETWORKS["basic, zeros"](), (1, 2, 8, 8), ValueError, "3 channels"),
        (nr.compile(NETWORKS["basic, zeros"]()), (1, 2, 8, 8), ValueError, "takes no"),
        (NETWORKS["basic, zeros"](), "large", TypeError, "shape"),
    ],
)
def test_what_cannot_be_warmed_up_is_refused(model, shape, error, why):
    with pytest.raises(error, match=why):
        nr.warmup(model, shape)
