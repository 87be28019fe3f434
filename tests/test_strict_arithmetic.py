"""Under ``np.seterr(all="raise")`` nothing is raised where the answer is right.

Rounding to zero is the right answer for a number that is too small; a step on the way
that overflows, while the result does not, is nobody's business either.
"""

import numpy as np
import pytest

import npresnet as nr
from npresnet import functional as f

SHAPE = (3, 4, 6, 5)
# Of numbers, by dtype: ordinary; whose products are too small; denormal themselves.
SIZES = {
    np.float32: (1.0, 1e-18, 1e-25, 1e-42),
    np.float64: (1.0, 1e-150, 1e-200, 1e-315),
}


@pytest.fixture(autouse=True)
def _everything_is_raised():
    with np.errstate(all="raise"):
        yield


@pytest.fixture(params=range(4), ids=["ordinary", "small", "smaller", "denormal"])
def size(request, dtype):
    return SIZES[dtype][request.param]


@pytest.fixture
def draw(rng, dtype, size):
    def draw(*shape, positive=False):
        with np.errstate(under="ignore"):
            numbers = (rng.standard_normal(shape) * size).astype(dtype)
        return np.abs(numbers) if positive else numbers

    return draw


def conv2d(draw):
    for groups, weight in ((1, (8, 4, 3, 3)), (2, (4, 2, 1, 1))):
        x, weight, bias = draw(*SHAPE), draw(*weight), draw(weight[0])
        out, cache = f.conv2d_forward(x, weight, bias, padding=1, groups=groups)
        yield out
        yield from f.conv2d_backward(draw(*out.shape), cache)


def linear(draw):
    out, cache = f.linear_forward(draw(3, 4), draw(5, 4), draw(5))
    yield out
    yield from f.linear_backward(draw(3, 5), cache)


def relu(draw):
    out, cache = f.relu_forward(draw(*SHAPE))
    yield from (out, f.relu_backward(draw(*SHAPE), cache))


def batch_norm(draw):
    for training in (True, False):
        vectors = draw(4), draw(4), draw(4), draw(4, positive=True)
        out, cache, *running = f.batch_norm_forward(
            draw(*SHAPE), *vectors, training=training
        )
        yield from (out, *running, *f.batch_norm_backward(draw(*SHAPE), cache))


def pools(draw):
    for forward, backward, options in (
        (f.max_pool2d_forward, f.max_pool2d_backward, (3, 2, 1)),
        (f.avg_pool2d_forward, f.avg_pool2d_backward, (3, 2, 1)),
        (f.adaptive_avg_pool2d_forward, f.adaptive_avg_pool2d_backward, ((4, 3),)),
        (f.zero_pad_shortcut_forward, f.zero_pad_shortcut_backward, (7, 2)),
    ):
        out, cache = forward(draw(*SHAPE), *options)
        yield from (out, backward(draw(*out.shape), cache))


def cross_entropy(draw):
    for smoothing in (0.0, 0.1):
        # From 1 to 300 nats apart, and all but equal.
        for logits in (300 * draw(3, 4), draw(3, 4), np.zeros_like(draw(3, 4))):
            labels = np.array([0, 3, 2])
            yield f.softmax(logits)
            loss, cache = f.cross_entropy_forward(
                logits, labels, label_smoothing=smoothing
            )
            yield from (loss, f.cross_entropy_backward(1e-30, cache))


def optimizers(draw):
    for make in (
        lambda p: nr.optim.SGD(p, lr=1e-3),
        lambda p: nr.optim.SGD(p, 1e-3, 0.9, weight_decay=1e-4, nesterov=True),
        lambda p: nr.optim.AdamW(p, lr=1e-3),
    ):
        parameter = nr.nn.Parameter(draw(20))
        sliced = nr.nn.Parameter(draw(40)[::2])
        optimizer = make([parameter, sliced])
        for _ in range(3):
            parameter.grad, sliced.grad = draw(20), draw(20)
            optimizer.step()
        yield from (parameter.data, sliced.data, *optimizer.state_dict().values())


def model(draw):
    dtype = draw(1).dtype
    criterion = nr.nn.CrossEntropyLoss()
    for training in (True, False):
        for shortcut in "AB":
            network = nr.models.resnet8(shortcut=shortcut, dtype=dtype).train(training)
            out = network(draw(2, 3, 8, 8))
            yield from (out, criterion(out, np.array([3, 1])))
            with np.errstate(under="ignore"):
                grad = criterion.backward() * dtype.type(np.abs(draw(1))[0])
            yield network.backward(grad)
            yield from (parameter.grad for parameter in network.parameters())


def twin(draw):
    network = nr.models.resnet8(dtype=draw(1).dtype)
    state = {
        name: (draw(*value.shape, positive=True) if value.dtype.kind == "f" else value)
        for name, value in network.state_dict().items()
    }
    network.load_state_dict(state)
    yield nr.inference(network)(draw(2, 3, 8, 8))


CASES = {
    case.__name__: case
    for case in (
        conv2d,
        linear,
        relu,
        batch_norm,
        pools,
        cross_entropy,
        optimizers,
        model,
        twin,
    )
}


@pytest.mark.parametrize("case", CASES)
def test_rounding_to_zero_is_no_error(case, draw, backend):
    for result in CASES[case](draw):
        assert result is None or np.isfinite(result).all()


def test_logits_as_far_apart_as_they_can_be_are_no_error(dtype):
    large = np.finfo(dtype).max
    for logits in ([large, -large], [large, -np.inf], [0, -np.inf], [-large, -large]):
        row = np.array([logits], dtype)
        expected = np.array([[1, 0]]) if logits[0] != logits[1] else [[0.5, 0.5]]
        np.testing.assert_array_equal(f.softmax(row), expected)
        loss, cache = f.cross_entropy_forward(row, np.array([0]))
        assert loss == (0 if logits[0] != logits[1] else np.log(dtype(2)))
        np.testing.assert_allclose(
            f.cross_entropy_backward(1.0, cache), expected - np.array([[1, 0]])
        )


def test_weights_too_small_for_the_model_are_loaded_as_zero():
    layer = nr.nn.Linear(2, 1, bias=False)
    layer.load_state_dict({"weight": np.array([[1e-60, 1.0]])})
    np.testing.assert_array_equal(layer.weight.data, [[0, 1]])


@pytest.mark.parametrize("instrument", ["ledger", "spectrum", "lesion", "steps"])
def test_instruments_look_at_vanishing_gradients(instrument, rng, dtype):
    network = nr.models.resnet8(num_classes=3, dtype=dtype)
    with np.errstate(under="ignore"):
        small = dtype(1e-25 if dtype == np.float32 else 1e-200)
        network.fc.weight.data *= small
    x = rng.standard_normal((2, 3, 8, 8)).astype(dtype)
    getattr(nr.lens, instrument)(network, x, np.array([1, 2]))


def test_what_is_really_too_large_is_still_told_to_who_asks(dtype):
    large = np.full((1, 4), np.finfo(dtype).max)
    with nr.using_backend("reference"), pytest.raises(FloatingPointError):
        f.linear_forward(large, large)
