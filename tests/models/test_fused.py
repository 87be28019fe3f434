"""Blocks in fewer passes over memory: the same bits, and the same caches."""

import numpy as np
import pytest

import npresnet as nr
from npresnet.models import blocks, fused
from tests.models.test_blocks import KINDS, SHORTCUTS, build
from tests.oracle.compare import normal
from tests.oracle.networks import create


def everything(model, x, grad_output, *, layered, back_layered, input_grad=True):
    """All arrays that a forward and a backward pass leave behind."""
    model.zero_grad()
    state = model.state_dict()
    with nr.nn.layer_by_layer() if layered else nr.using_algorithm("direct"):
        out = model(x)
    with nr.nn.layer_by_layer() if back_layered else nr.using_algorithm("direct"):
        grad_input = model.backward(grad_output, input_grad)
    left = [out, *(parameter.grad for parameter in model.parameters())]
    left += list(dict(model.named_buffers()).values())
    assert not any(module.caches for module in model.modules())
    model.load_state_dict(state)
    return left if grad_input is None else [*left, grad_input]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shortcut", SHORTCUTS)
@pytest.mark.parametrize("training", [True, False])
def test_a_block_leaves_the_same_bits_either_way(kind, shortcut, training, rng):
    stride = 1 if shortcut == "identity" else 2
    block, in_channels = build(kind, shortcut, stride, rng)
    block.train(training)
    if kind == "plain" and shortcut != "identity":
        in_channels = block.conv1.weight.shape[1]
    x = normal(rng, 3, in_channels, 7, 6)
    grad_output = normal(rng, *block(x).shape)
    for input_grad in (True, False):
        layered, *others = (
            everything(
                block,
                x,
                grad_output,
                layered=forward,
                back_layered=backward,
                input_grad=input_grad,
            )
            for forward in (True, False)
            for backward in (True, False)
        )
        for other in others:
            for one, same in zip(layered, other, strict=True):
                np.testing.assert_array_equal(one, same)


@pytest.mark.parametrize("name", ["resnet18", "four bottlenecks", "resnet8", "plain20"])
def test_a_network_leaves_the_same_bits_either_way(name, rng):
    model = create(name, num_classes=10)
    x = rng.standard_normal((2, 3, 33, 40)).astype(np.float32)
    grad = rng.standard_normal((2, 10)).astype(np.float32)
    one, other = (
        everything(model, x, grad, layered=way, back_layered=way)
        for way in (True, False)
    )
    for layered, together in zip(one, other, strict=True):
        np.testing.assert_array_equal(layered, together)


def test_it_is_layer_by_layer_for_those_who_look(rng):
    block = nr.models.BasicBlock(4, 4)
    x = rng.standard_normal((2, 4, 5, 5)).astype(np.float32)
    assert fused.applies(block)
    seen = []
    with nr.nn.watching(lambda module, inputs, out: seen.append(module)):
        assert not fused.applies(block)
        block(x)
    assert seen.count(block.relu) == 2 and block.bn1 in seen
    with nr.using_backend("reference"):
        assert not fused.applies(block)
    with nr.lens.bugs.inject("relu_gradient_one_at_zero"):
        assert not fused.applies(block)
    assert fused.applies(block)


def test_a_block_of_somebody_elses_is_taken_as_written(rng):
    class Halved(blocks.BasicBlock):
        def branch_forward(self, x):
            return super().branch_forward(x) / 2

    x = rng.standard_normal((2, 4, 5, 5)).astype(np.float32)
    ours, theirs = blocks.BasicBlock(4, 4, rng=0), Halved(4, 4, rng=0)
    assert not fused.applies(theirs)
    assert (ours(x) != theirs(x)).any()


def test_a_block_whose_branch_was_replaced_takes_the_new_one(rng):
    block = nr.models.BasicBlock(4, 4)
    x = rng.standard_normal((2, 4, 5, 5)).astype(np.float32)
    block.branch_forward = np.zeros_like
    np.testing.assert_array_equal(block(x), np.maximum(x, 0))
    block = nr.models.BasicBlock(4, 4)
    block.branch_backward = lambda grad_sum, input_grad=True: np.zeros_like(grad_sum)
    out = block(x)
    grad = rng.standard_normal(x.shape).astype(np.float32)
    np.testing.assert_array_equal(block.backward(grad), grad * (out > 0))


def test_a_layer_whose_method_was_replaced_is_really_called(rng):
    block, calls = nr.models.BasicBlock(4, 4), []
    forward = block.bn1.forward
    block.bn1.forward = lambda x: calls.append(1) or forward(x)
    block(rng.standard_normal((2, 4, 5, 5)).astype(np.float32))
    assert calls == [1]


def test_activations_between_the_layers_are_not_kept(rng):
    block = nr.models.BasicBlock(4, 4)
    block(rng.standard_normal((2, 4, 5, 5)).astype(np.float32))
    assert isinstance(block.conv2.caches[-1], nr.nn.module.Recomputed)
    with nr.nn.layer_by_layer():
        block(rng.standard_normal((2, 4, 5, 5)).astype(np.float32))
    assert isinstance(block.conv2.caches[-1].x, np.ndarray)


def test_backward_before_forward_says_so():
    with pytest.raises(RuntimeError, match="needs a forward pass"):
        nr.models.BasicBlock(4, 4).backward(np.ones((1, 4, 5, 5), np.float32))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    "options",
    [{"affine": False}, {"track_running_stats": False}, {"momentum": None}],
    ids=str,
)
def test_batch_norm_of_another_kind_leaves_the_same_bits(options, training, rng):
    block = nr.models.BasicBlock(4, 4, dtype=np.float64, rng=0)
    for name in ("bn1", "bn2"):
        setattr(block, name, nr.nn.BatchNorm2d(4, **options, dtype=np.float64))
    block.train(training)
    x, grad = normal(rng, 3, 4, 7, 6), normal(rng, 3, 4, 7, 6)
    one, other = (
        everything(block, x, grad, layered=way, back_layered=way)
        for way in (True, False)
    )
    for layered, together in zip(one, other, strict=True):
        np.testing.assert_array_equal(layered, together)
