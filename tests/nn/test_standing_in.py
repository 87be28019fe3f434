"""Others in the place of layers' passes, for those who walk a network."""

import numpy as np
import pytest

import npresnet as nr
from npresnet import nn
from npresnet.nn.doors import standing_in


def test_layers_are_replaced_and_blocks_run_their_own_lines():
    block = nr.models.BasicBlock(4, 4, rng=0)
    seen = []

    def stand_in(module, name):
        if isinstance(module, nn.ReLU | nn.Conv2d | nn.BatchNorm2d):
            return lambda *arrays: (seen.append((type(module), name)), arrays[0])[1]
        return None

    with standing_in(stand_in):
        assert block(3.0) == 6.0  # branch + shortcut, neither of which does anything
        assert block.backward(2.0) == 4.0
    assert [name for _, name in seen] == 6 * ["forward"] + 6 * ["backward"]


@pytest.mark.parametrize("name", ["forward", "backward"])
def test_nothing_is_left_behind(name):
    relu = nn.ReLU()
    with standing_in(lambda *_: lambda *_: "another"):
        assert getattr(relu, name)(None) == "another"
    assert "__getattribute__" not in vars(nn.Module)
    out = relu(np.array([-1.0, 2.0]))
    np.testing.assert_array_equal(out, [0, 2])
    np.testing.assert_array_equal(relu.backward(np.ones(2)), [0, 1])


def test_another_thread_finds_its_own():
    import threading

    relu, found = nn.ReLU(), []
    with standing_in(lambda *_: lambda *_: "another"):
        thread = threading.Thread(target=lambda: found.append(relu(np.ones(1))))
        thread.start()
        thread.join()
    np.testing.assert_array_equal(found[0], [1])
