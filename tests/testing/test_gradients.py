"""check_gradients accepts what is right and refuses what is wrong; no torch needed."""

import numpy as np
import pytest

import npresnet as nr
from npresnet.functional import (
    adaptive_avg_pool2d_backward,
    adaptive_avg_pool2d_forward,
    avg_pool2d_backward,
    avg_pool2d_forward,
    batch_norm_backward,
    batch_norm_forward,
    conv2d_backward,
    conv2d_forward,
    cross_entropy_backward,
    cross_entropy_forward,
    linear_backward,
    linear_forward,
    max_pool2d_backward,
    max_pool2d_forward,
    relu_backward,
    relu_forward,
    zero_pad_shortcut_backward,
    zero_pad_shortcut_forward,
)
from npresnet.testing import GradientError, check_gradients


def normal(*shape):
    return np.random.default_rng(sum(shape)).standard_normal(shape)


def conv(**options):
    return lambda x, w, b: conv2d_forward(x, w, b, **options), conv2d_backward


def batch_norm(training):
    def forward(x, weight, bias):
        mean, variance = normal(3), normal(3) ** 2 + 0.5
        return batch_norm_forward(x, weight, bias, mean, variance, training=training)

    return forward, batch_norm_backward


OPERATIONS = {
    "conv2d": (conv(stride=(1, 2), padding=1), (2, 3, 7, 8), (4, 3, 3, 2), (4,)),
    "conv2d grouped": (
        conv(dilation=2, groups=2, padding=2),
        (2, 4, 6, 5),
        (6, 2, 3, 3),
        (6,),
    ),
    "batch norm training": (batch_norm(True), (3, 3, 4, 5), (3,), (3,)),
    "batch norm frozen": (batch_norm(False), (3, 3, 4, 5), (3,), (3,)),
    "relu": ((relu_forward, relu_backward), (3, 4, 5)),
    "linear": ((linear_forward, linear_backward), (5, 7), (4, 7), (4,)),
    "max pool": (
        (lambda x: max_pool2d_forward(x, 3, 2, 1), max_pool2d_backward),
        (2, 3, 7, 8),
    ),
    "average pool": (
        (lambda x: avg_pool2d_forward(x, (3, 2), 2, 1), avg_pool2d_backward),
        (2, 3, 7, 8),
    ),
    "adaptive average pool": (
        (
            lambda x: adaptive_avg_pool2d_forward(x, (3, 4)),
            adaptive_avg_pool2d_backward,
        ),
        (2, 3, 7, 6),
    ),
    "zero-padding shortcut": (
        (
            lambda x: zero_pad_shortcut_forward(x, 7, 2),
            zero_pad_shortcut_backward,
        ),
        (2, 4, 5, 6),
    ),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_agrees_with_differences(name, backend):
    pair, *shapes = OPERATIONS[name]
    checks = check_gradients(pair, *(normal(*shape) for shape in shapes), rtol=1e-7)
    assert len(checks) == len(shapes)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_agrees_with_differences(smoothing):
    labels = np.array([1, 0, 3, 3])

    def forward(logits):
        return cross_entropy_forward(logits, labels, label_smoothing=smoothing)

    check_gradients((forward, cross_entropy_backward), normal(4, 5), rtol=1e-7)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    "make",
    [
        lambda: nr.models.BasicBlock(4, 4, dtype=np.float64, rng=0),
        lambda: nr.models.PlainBlock(4, 6, 2, dtype=np.float64, rng=0),
        lambda: nr.models.Bottleneck(
            4,
            3,
            2,
            nr.nn.Sequential(nr.nn.Conv2d(4, 12, 1, 2, dtype=np.float64, rng=1)),
            dtype=np.float64,
            rng=0,
        ),
        lambda: nr.models.Bottleneck(
            4,
            1,
            stride_in="1x1",
            dtype=np.float64,
            rng=0,
        ),
    ],
)
def test_every_block_agrees_with_differences(make, training, backend):
    block = make().train(training)
    check_gradients(block, normal(2, 4, 6, 7))


@pytest.mark.parametrize("name", ["resnet8", "resnet14", "plain8"])
def test_whole_networks_agree_with_differences(name):
    model = nr.models.create(name, num_classes=5, dtype=np.float64)
    check_gradients(model, normal(2, 3, 12, 13))


class Scaled(nr.nn.Module):
    """A reader's own module, right or wrong."""

    def __init__(self, factor=1.0, forget_grad=False):
        super().__init__()
        self.weight = nr.nn.Parameter(normal(3))
        self.factor, self.forget_grad = factor, forget_grad

    def forward(self, x):
        self.keep(x)
        return x * self.weight.data

    def backward(self, grad_output, input_grad=True):
        x = self.take()
        if not self.forget_grad:
            self.weight.accumulate((grad_output * x).sum(axis=0) * self.factor)
        return grad_output * self.weight.data if input_grad else None


def test_a_module_of_ones_own_is_accepted():
    names = [check.name for check in check_gradients(Scaled(), normal(4, 3))]
    assert names == ["x", "weight"]


@pytest.mark.parametrize("factor", [0.0, 0.999, 1.001, -1.0, np.nan])
def test_a_wrong_gradient_is_refused_and_named(factor):
    with pytest.raises(GradientError, match="wrong gradient for weight"):
        check_gradients(Scaled(factor), normal(4, 3))


def test_a_forgotten_gradient_is_refused():
    with pytest.raises(GradientError, match=r"weight of shape .* needs a gradient"):
        check_gradients(Scaled(forget_grad=True), normal(4, 3))


def test_batch_norm_without_its_variance_term_is_refused():
    def backward(grad_output, cache):
        _, _, inverse_std, weight, _ = cache
        scale = (weight * inverse_std)[:, None, None]
        grad_x = scale * (grad_output - grad_output.mean((0, 2, 3), keepdims=True))
        return grad_x, *batch_norm_backward(grad_output, cache)[1:]

    forward, _ = batch_norm(True)
    with pytest.raises(GradientError, match="wrong gradient for input 0: 1 of 3"):
        check_gradients((forward, backward), normal(3, 3, 4, 5), normal(3), normal(3))


def test_the_module_is_left_as_it_was():
    block = nr.models.BasicBlock(3, 3, dtype=np.float64, rng=0)
    block.conv1.weight.grad = normal(3, 3, 3, 3)
    kept, before = block.conv1.weight.grad, block.state_dict()
    check_gradients(block, normal(2, 3, 5, 5))
    assert block.conv1.weight.grad is kept
    assert block.bn1.weight.grad is None
    for name, value in block.state_dict().items():
        np.testing.assert_array_equal(value, before[name])
    assert not any(module.caches for module in block.modules())


def test_float32_is_refused_because_differences_need_digits():
    with pytest.raises(TypeError, match="float64"):
        check_gradients(nr.nn.ReLU(), normal(2, 3).astype(np.float32))
    with pytest.raises(TypeError, match=r"conv1\.weight must be a float64"):
        check_gradients(nr.models.BasicBlock(3, 3), normal(2, 3, 5, 5))
