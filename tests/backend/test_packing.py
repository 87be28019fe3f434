"""What is kept of weights that nobody can change, and that of no others."""

import gc

import numpy as np
import pytest

import npresnet as nr
from npresnet import backend as operations
from npresnet.backend import Geometry, kernels, reference
from npresnet.backend.kernels import memory
from npresnet.backend.kernels.packing import packed_weight


def test_constants_are_packed_once():
    weight, calls = operations.constant(np.ones(3)), []

    def pack(allocate):
        calls.append(1)
        return np.arange(3.0)

    first, second = (packed_weight(weight, "some order", pack) for _ in range(2))
    assert first is second
    assert len(calls) == 1
    assert packed_weight(weight, "another order", pack) is not first


def test_weights_that_may_change_are_packed_each_time():
    weight = np.ones(3)
    view, frozen = weight[:], np.ones(3)
    view.flags.writeable = frozen.flags.writeable = False
    for changing in (weight, view, frozen):
        first, second = (
            packed_weight(changing, "order", lambda allocate: np.ones(1)) for _ in "ab"
        )
        assert first is not second


def test_what_is_kept_lies_in_memory_of_its_own():
    allocators = []
    for weight in (operations.constant(np.ones(3)), np.ones(3)):
        packed_weight(weight, "order", lambda allocate: allocators.append(allocate))
    assert allocators == [memory.empty, memory.scratch]


def test_a_constant_seen_with_more_axes_is_put_in_order_once():
    # A linear layer's weights are seen as those of a 1x1 convolution.
    weight = operations.constant(np.ones((3, 2)))
    first, second = (
        packed_weight(weight[:, :, None, None], "order", lambda allocate: np.ones(1))
        for _ in "ab"
    )
    assert first is second
    assert packed_weight(weight[:1], "order", lambda allocate: np.ones(1)) is not first


def test_what_is_kept_goes_with_the_weights():
    weight = operations.constant(np.ones(3))
    made = np.ones(1)
    packed_weight(weight, "order", lambda allocate: made)
    holders = len(gc.get_referrers(made))
    del weight
    gc.collect()
    assert len(gc.get_referrers(made)) == holders - 1


def _thaw(weight, view, rng):
    weight.flags.writeable = True
    weight *= 2
    weight.flags.writeable = False


def _write_through_a_view(weight, view, rng):
    view *= 2


LAYERS = {
    # Winograd's, direct, grouped, and a linear layer
    "3x3": ((32, 32, 3, 3), (8, 32, 8, 8), 1),
    "1x1": ((9, 5, 1, 1), (2, 5, 3, 4), 1),
    "groups": ((6, 2, 3, 2), (2, 6, 5, 5), 3),
    "linear": ((4, 7), (3, 7), 1),
}


@pytest.mark.parametrize("algorithm", ["auto", "direct"])
@pytest.mark.parametrize("change", [_thaw, _write_through_a_view])
@pytest.mark.parametrize("layer", LAYERS)
def test_weights_changed_between_two_calls_are_seen(
    layer, change, algorithm, backend, rng
):
    shape, x_shape, groups = LAYERS[layer]
    weight = rng.standard_normal(shape).astype(np.float32)
    view = weight[:]
    weight.flags.writeable = False
    x = rng.standard_normal(x_shape).astype(np.float32)

    def passes():
        if layer == "linear":
            out, cache = nr.functional.linear_forward(x, weight)
            grad_x, _, _ = nr.functional.linear_backward(np.ones_like(out), cache)
        else:
            out, cache = nr.functional.conv2d_forward(x, weight, groups=groups)
            grad_x, _, _ = nr.functional.conv2d_backward(np.ones_like(out), cache)
        return out, grad_x

    with nr.using_algorithm(algorithm):
        before = passes()
        change(weight, view, rng)
        after = passes()
    for old, new in zip(before, after, strict=True):
        np.testing.assert_array_equal(new, 2 * old)


@pytest.mark.parametrize(
    "turned",
    [lambda w: w[:, :, ::-1, ::-1], lambda w: w.swapaxes(0, 1), lambda w: w[::-1]],
)
def test_views_of_one_shape_in_one_memory_are_told_apart(turned, backend, rng):
    weight = operations.constant(rng.standard_normal((5, 5, 3, 3)))
    other = rng.standard_normal((5, 5, 3, 3))
    other.flags.writeable = False
    x = rng.standard_normal((2, 5, 6, 6))
    for given in (weight, other):
        nr.functional.conv2d_forward(x, given)
        out, _ = nr.functional.conv2d_forward(x, turned(given))
        truth, _ = nr.functional.conv2d_forward(x, turned(given).copy())
        np.testing.assert_array_equal(out, truth)


def test_one_weight_may_meet_convolutions_of_all_kinds(rng):
    # Groups order the same weights otherwise, and Winograd's algorithm quite otherwise.
    weight = operations.constant(rng.standard_normal((64, 32, 3, 3)).astype(np.float32))
    for _ in range(2):
        for algorithm in ("auto", "direct"):
            for groups in (1, 2):
                geometry = Geometry.of((8, 8), 3, 1, 1, groups=groups)
                x = rng.standard_normal((9, 32 * groups, 8, 8)).astype(np.float32)
                truth = reference.conv2d(x, weight, geometry)
                grad = rng.standard_normal(truth.shape).astype(np.float32)
                grad_truth = reference.conv2d_grad_input(grad, weight, geometry)
                with nr.using_algorithm(algorithm):
                    out = kernels.conv2d(x, weight, geometry)
                    grad_x = kernels.conv2d_grad_input(grad, weight, geometry)
                size = np.abs(truth).max()
                np.testing.assert_allclose(out, truth, rtol=0, atol=3e-5 * size)
                size = np.abs(grad_truth).max()
                np.testing.assert_allclose(grad_x, grad_truth, rtol=0, atol=3e-5 * size)
