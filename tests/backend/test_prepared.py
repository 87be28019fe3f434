"""What is kept of read-only weights, and when it is not."""

import gc

import numpy as np

import npresnet as nr
from npresnet.backend import Geometry, kernels, reference
from npresnet.backend.kernels import memory
from npresnet.backend.kernels.prepared import _kept, prepared


def read_only(array):
    array.flags.writeable = False
    return array


def test_read_only_weights_are_put_in_order_once():
    weight, calls = read_only(np.ones(3)), []

    def make(room):
        calls.append(1)
        return np.arange(3.0)

    first, second = (prepared(weight, "some order", make) for _ in range(2))
    assert first is second
    assert len(calls) == 1
    assert prepared(weight, "another order", make) is not first


def test_weights_that_may_change_are_put_in_order_each_time():
    weight = np.ones(3)
    view = read_only(weight[:])
    for changing in (weight, view):
        first, second = (
            prepared(changing, "order", lambda room: np.ones(1)) for _ in "ab"
        )
        assert first is not second


def test_what_is_kept_lies_in_memory_of_its_own():
    rooms = []
    for weight in (read_only(np.ones(3)), np.ones(3)):
        prepared(weight, "order", lambda room: rooms.append(room))
    assert rooms == [memory.empty, memory.scratch]


def test_a_view_of_read_only_weights_is_put_in_order_once():
    # A linear layer's weights are seen as those of a 1x1 convolution.
    weight, calls = read_only(np.ones((3, 2))), []
    for _ in range(2):
        prepared(weight[:, :, None, None], "order", lambda room: calls.append(1))
    assert len(calls) == 1
    prepared(weight[:1], "order", lambda room: calls.append(2))
    assert len(calls) == 2


def test_nothing_outlives_its_weights():
    weight = read_only(np.ones(3))
    prepared(weight, "order", lambda room: np.ones(1))
    key = (id(weight), weight.shape, "order")
    assert key in _kept
    del weight
    gc.collect()
    assert key not in _kept


def test_one_weight_may_meet_convolutions_of_all_kinds(rng):
    # Groups order the same weights otherwise, and Winograd's algorithm quite otherwise.
    weight = read_only(rng.standard_normal((64, 32, 3, 3)).astype(np.float32))
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
