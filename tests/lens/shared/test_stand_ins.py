"""Other modules stand in for a model's own; those are not touched."""

import numpy as np

import npresnet as nr
from npresnet.lens.shared.preserve_state import preserve_state
from npresnet.lens.shared.stand_ins import exchange, like
from tests.lens.state import left_as_it_was


def test_a_module_like_another_shares_all_but_caches_and_methods(rng):
    block = nr.models.BasicBlock(4, 4, rng=0)
    x = rng.standard_normal((2, 4, 5, 5), dtype=np.float32)
    with nr.no_grad():
        expected = np.maximum(x, 0)
    with left_as_it_was(block):
        other = like(block, branch_forward=lambda this, x: 0.0)
        with nr.no_grad():
            np.testing.assert_array_equal(other(x), expected)
    assert isinstance(other, nr.models.BasicBlock)
    assert type(other).__name__ == "BasicBlock"
    assert other.conv1 is block.conv1
    assert "branch_forward" not in vars(block)
    other.push_cache(1)
    assert not block.caches


def test_a_method_can_go_on_to_the_one_that_it_hides():
    def forward(this, x):
        return nr.nn.ReLU.forward(this, x) + 1

    relu = like(nr.nn.ReLU(), forward=forward)
    assert relu(np.array([-1.0, 2.0])).tolist() == [1, 3]
    assert relu.backward(np.array([5.0, 5.0])).tolist() == [0, 5]


def test_modules_are_exchanged_wherever_they_are_used():
    relu = nr.nn.ReLU()
    model = nr.nn.Sequential(relu, nr.nn.Sequential(nr.nn.AvgPool2d(1), relu))
    other = nr.nn.Sequential()
    with left_as_it_was(model), preserve_state(model):
        assert exchange(model, {relu: other}) is model
        assert model[0] is other
        assert list(model[1])[1] is other
        assert relu not in list(model.modules())
    assert exchange(relu, {relu: other}) is other
