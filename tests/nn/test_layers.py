"""Each layer is PyTorch's layer of the same name: numbers, gradients and printing."""

import re

import numpy as np
import pytest

from npresnet import nn
from tests.oracle.compare import CONTIGUOUS, autograd, check_parity, normal

# name -> (arguments, keyword arguments, input shape)
LAYERS = {
    "conv": ("Conv2d", (3, 4, 3), {}, (2, 3, 6, 7)),
    "conv, all options": (
        "Conv2d",
        (4, 6, (3, 2)),
        {
            "stride": (2, 1),
            "padding": (1, 2),
            "dilation": (1, 2),
            "groups": 2,
            "bias": False,
        },
        (2, 4, 6, 7),
    ),
    "batch norm": ("BatchNorm2d", (3,), {}, (4, 3, 5, 5)),
    "batch norm, options": (
        "BatchNorm2d",
        (3,),
        {"eps": 1e-3, "momentum": 0.3},
        (4, 3, 5, 5),
    ),
    "batch norm, plain average": (
        "BatchNorm2d",
        (3,),
        {"momentum": None},
        (4, 3, 5, 5),
    ),
    "batch norm, not affine": ("BatchNorm2d", (3,), {"affine": False}, (4, 3, 5, 5)),
    "batch norm, not tracked": (
        "BatchNorm2d",
        (3, 1e-4, 0.2, True, False),
        {},
        (4, 3, 5, 5),
    ),
    "batch norm, neither": (
        "BatchNorm2d",
        (3,),
        {"affine": False, "track_running_stats": False},
        (1, 3, 1, 5),
    ),
    "relu": ("ReLU", (), {}, (2, 3, 5, 5)),
    "max pool": ("MaxPool2d", (3,), {"stride": 2, "padding": 1}, (2, 3, 7, 8)),
    "max pool, defaults": ("MaxPool2d", (2,), {}, (2, 3, 7, 8)),
    "max pool, dilated": ("MaxPool2d", (2,), {"dilation": 2}, (2, 3, 7, 8)),
    "avg pool": ("AvgPool2d", (3,), {"stride": 2, "padding": 1}, (2, 3, 7, 8)),
    "avg pool, border": (
        "AvgPool2d",
        (2,),
        {"padding": 1, "count_include_pad": False},
        (2, 3, 7, 8),
    ),
    "max pool, rounded up": (
        "MaxPool2d",
        (3, 2),
        {"padding": 1, "ceil_mode": True},
        (2, 3, 8, 7),
    ),
    "avg pool, by position": ("AvgPool2d", (3, 2, 1, True, False), {}, (2, 3, 8, 7)),
    "avg pool, rounded down by position": (
        "AvgPool2d",
        (3, 2, 1, False),
        {},
        (2, 3, 8, 7),
    ),
    "avg pool, divisor": (
        "AvgPool2d",
        (2,),
        {"ceil_mode": True, "divisor_override": 3},
        (2, 3, 7, 8),
    ),
    "adaptive": ("AdaptiveAvgPool2d", ((1, 1),), {}, (2, 3, 7, 8)),
    "adaptive, bins": ("AdaptiveAvgPool2d", (3,), {}, (2, 3, 7, 8)),
    "linear": ("Linear", (6, 4), {}, (3, 6)),
    "linear, no bias": ("Linear", (6, 4), {"bias": False}, (3, 6)),
}
WITH_DTYPE = ("Conv2d", "BatchNorm2d", "Linear")


def make(name, dtype=np.float64):
    kind, arguments, options, _ = LAYERS[name]
    extra = {"dtype": dtype} if kind in WITH_DTYPE else {}
    return getattr(nn, kind)(*arguments, **options, **extra)


def make_theirs(torch, name):
    kind, arguments, options, _ = LAYERS[name]
    return getattr(torch.nn, kind)(*arguments, **options).double()


def randomise(layer, rng):
    state = {}
    for name, value in layer.state_dict().items():
        if name == "num_batches_tracked":
            state[name] = np.array(3)
        elif name == "running_var":
            state[name] = np.abs(normal(rng, *value.shape)) + 0.5
        else:
            state[name] = normal(rng, *value.shape)
    layer.load_state_dict(state)
    return state


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_is_torchs(torch, name, training, backend, rng):
    ours, theirs = make(name), make_theirs(torch, name)
    state = randomise(ours, rng)
    theirs.load_state_dict({k: torch.tensor(v) for k, v in state.items()}, strict=True)
    ours.train(training)
    theirs.train(training)

    def run(inputs, grad_output):
        out = ours(inputs["x"])
        return {"out": out, "grad_x": ours.backward(grad_output)}

    x = normal(rng, *LAYERS[name][3])
    seen = {}

    def twin(x):
        # Batch norm counts its calls: each of them starts from the same state.
        theirs.load_state_dict({k: torch.tensor(v) for k, v in state.items()})
        theirs.zero_grad()
        seen["out"] = theirs(x)
        return seen["out"]

    check_parity(torch, run, twin, {"x": x}, np.float64, rng, layout=CONTIGUOUS)
    expected = dict(theirs.named_parameters())
    for key, parameter in ours.named_parameters():
        grad = expected[key].grad.numpy()
        assert np.abs(parameter.grad - grad).max() <= 1e-10 * np.abs(grad).max(), key
    for key, buffer in theirs.named_buffers():
        ours_now = dict(ours.named_buffers())[key]
        assert np.allclose(ours_now, buffer.numpy(), rtol=1e-12, atol=1e-14), key


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("momentum", [0.3, None])
@pytest.mark.parametrize("tracks", [True, False])
def test_batch_norm_follows_torch_over_many_batches(
    torch, tracks, momentum, affine, backend, dtype, rng
):
    options = {
        "momentum": momentum,
        "affine": affine,
        "track_running_stats": tracks,
    }
    ours = nn.BatchNorm2d(3, **options, dtype=dtype)
    theirs = torch.nn.BatchNorm2d(3, **options, dtype=getattr(torch, dtype.__name__))
    close = {"rtol": 1e-4 if dtype == np.float32 else 1e-11, "atol": 1e-5}
    for number in range(7):
        for layer in (ours, theirs):
            layer.train(number not in (3, 6))
        x = (normal(rng, 2 + number, 3, 2, 3) * number + number).astype(dtype)
        out = theirs(torch.tensor(x)).detach().numpy()
        np.testing.assert_allclose(ours(x), out, **close)
        assert dict(ours.named_buffers()).keys() == dict(theirs.named_buffers()).keys()
        for name, buffer in theirs.named_buffers():
            mine = dict(ours.named_buffers())[name]
            assert mine.dtype == buffer.numpy().dtype
            np.testing.assert_allclose(mine, buffer.numpy(), **close)


def test_batch_norm_refuses_the_state_of_another_kind():
    whole = nn.BatchNorm2d(3).state_dict()
    for options, names in [
        ({"affine": False}, "weight, bias"),
        ({"track_running_stats": False}, "running_mean, running_var, num_batches"),
    ]:
        part = nn.BatchNorm2d(3, **options)
        with pytest.raises(ValueError, match=f"unexpected: {names}"):
            part.load_state_dict(whole)
        with pytest.raises(ValueError, match=r"missing: (weight|running_mean)"):
            nn.BatchNorm2d(3).load_state_dict(part.state_dict())
        found = part.load_state_dict(whole, strict=False)
        assert set(found.unexpected) == whole.keys() - part.state_dict().keys()


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_prints_as_torchs(torch, name):
    expected = repr(make_theirs(torch, name))
    if name.startswith("batch norm"):
        # Newer versions of PyTorch also say whether batch norm has a bias.
        expected = re.sub(", bias=(True|False)", "", expected)
    assert repr(make(name)) == expected


@pytest.mark.parametrize("name", LAYERS)
def test_a_layers_names_are_torchs(torch, name):
    assert list(make(name).state_dict()) == list(make_theirs(torch, name).state_dict())


@pytest.mark.parametrize("name", ["conv", "batch norm", "linear"])
def test_a_layer_is_float32_unless_told_otherwise(name):
    kind, arguments, options, _ = LAYERS[name]
    layer = getattr(nn, kind)(*arguments, **options)
    for parameter in layer.parameters():
        assert parameter.data.dtype == np.float32
    for parameter in make(name, np.float64).parameters():
        assert parameter.data.dtype == np.float64


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_is_torchs(torch, smoothing, dtype, rng):
    labels = rng.integers(0, 10, 8)
    logits = normal(rng, 8, 10).astype(dtype)
    criterion = nn.CrossEntropyLoss(label_smoothing=smoothing)
    loss = criterion(logits, labels)
    grad = criterion.backward()
    theirs = torch.nn.CrossEntropyLoss(label_smoothing=smoothing)
    expected = autograd(
        torch,
        lambda logits: theirs(logits, torch.tensor(labels)),
        {"logits": logits},
        np.array(1.0),
        np.float64,
    )
    rtol = 1e-12 if dtype == np.float64 else 1e-6
    assert loss.dtype == grad.dtype == dtype
    assert float(loss) == pytest.approx(float(expected["out"]), rel=rtol)
    error = np.abs(grad - expected["grad_logits"]).max()
    assert error <= rtol * np.abs(expected["grad_logits"]).max()


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_the_loss_takes_torchs_arguments(torch, reduction, weighted, dtype, rng):
    labels, logits = np.array([1, 4, -1, 0]), normal(rng, 4, 5).astype(dtype)
    weight = rng.random(5).astype(dtype) if weighted else None
    options = {"ignore_index": -1, "reduction": reduction, "label_smoothing": 0.2}
    ours = nn.CrossEntropyLoss(weight, **options)
    theirs = torch.nn.CrossEntropyLoss(
        None if weight is None else torch.tensor(weight), **options
    )
    grad_output = normal(rng, 4).astype(dtype) if reduction == "none" else 0.75
    loss = ours(logits, labels)
    grad = ours.backward(grad_output)
    tensor = torch.tensor(logits, requires_grad=True)
    expected = theirs(tensor, torch.tensor(labels))
    expected.backward(torch.tensor(grad_output, dtype=tensor.dtype))
    assert loss.dtype == grad.dtype == dtype
    close = {"rtol": 1e-5 if dtype == np.float32 else 1e-12, "atol": 1e-7}
    np.testing.assert_allclose(loss, expected.detach().numpy(), **close)
    np.testing.assert_allclose(grad, tensor.grad.numpy(), **close)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert repr(ours) == repr(theirs)


def test_the_losss_weights_are_loaded_and_saved():
    one, other = (nn.CrossEntropyLoss(np.arange(3.0) + i) for i in (0, 1))
    other.load_state_dict(one.state_dict())
    assert np.array_equal(other.weight, [0, 1, 2])
    with pytest.raises(ValueError, match="missing: weight"):
        other.load_state_dict(nn.CrossEntropyLoss().state_dict())
    with pytest.raises(ValueError, match="unexpected: weight"):
        nn.CrossEntropyLoss().load_state_dict(one.state_dict())


def test_the_losss_backward_needs_its_forward():
    with pytest.raises(RuntimeError, match="forward"):
        nn.CrossEntropyLoss().backward()


def test_a_layer_refuses_groups_that_do_not_divide():
    with pytest.raises(ValueError, match="groups"):
        nn.Conv2d(4, 6, 3, groups=4)


# First values.


def test_default_weights_are_uniform_within_one_over_root_fan_in():
    for layer, fan_in in [
        (nn.Conv2d(20, 64, 3, rng=0), 180),
        (nn.Conv2d(40, 64, 3, groups=2, rng=0), 180),
        (nn.Linear(180, 64, rng=0), 180),
    ]:
        for parameter in layer.parameters():
            bound = fan_in**-0.5
            assert np.abs(parameter.data).max() <= bound
            assert np.abs(parameter.data).max() > 0.9 * bound
        values = layer.weight.data
        assert values.std() == pytest.approx(bound / 3**0.5, rel=0.03)
        assert abs(values.mean()) < 0.03 * bound


@pytest.mark.parametrize("mode", ["fan_in", "fan_out"])
def test_kaiming_normal_has_deviation_root_two_over_fan(mode, dtype):
    shape = (64, 20, 3, 3)
    values = nn.init.kaiming_normal(
        shape, rng=np.random.default_rng(0), dtype=dtype, mode=mode
    )
    fan = 20 * 9 if mode == "fan_in" else 64 * 9
    assert values.dtype == dtype
    assert values.std() == pytest.approx((2 / fan) ** 0.5, rel=0.03)
    assert abs(values.mean()) < 0.03 * values.std()
    # Normal, not uniform: 4.6 % lie beyond two deviations.
    beyond = np.mean(np.abs(values) > 2 * values.std())
    assert beyond == pytest.approx(0.0455, abs=0.01)


def test_the_same_seed_gives_the_same_weights():
    one, same, other = (nn.Conv2d(3, 4, 3, rng=seed) for seed in (0, 0, 1))
    assert np.array_equal(one.weight.data, same.weight.data)
    assert not np.array_equal(one.weight.data, other.weight.data)
    one, same, other = (nn.Linear(3, 4, rng=seed) for seed in (0, 0, 1))
    assert np.array_equal(one.weight.data, same.weight.data)
    assert not np.array_equal(one.weight.data, other.weight.data)


def test_options_that_are_left_out_are_those_of_torch(rng):
    x = normal(rng, 2, 3, 6, 7)
    assert np.array_equal(nn.AvgPool2d(2)(x), nn.AvgPool2d(2, 2, 0, False)(x))
    assert np.array_equal(nn.MaxPool2d(2)(x), nn.MaxPool2d(2, 2, 0, 1)(x))
    assert nn.CrossEntropyLoss().label_smoothing == 0
    assert nn.ZeroPadShortcut(3, 5)(x).shape == (2, 5, 6, 7)
    assert nn.ZeroPadShortcut(3, 5, stride=2)(x).shape == (2, 5, 3, 4)
    shape = (8, 4, 3, 3)
    default, fan_in = (
        nn.init.kaiming_normal(
            shape, rng=np.random.default_rng(0), dtype=np.float64, **mode
        )
        for mode in ({}, {"mode": "fan_in"})
    )
    assert np.array_equal(default, fan_in)


@pytest.mark.parametrize("name", ["kernel_size", "stride", "padding", "dilation"])
def test_a_convolution_names_the_size_that_is_wrong(name):
    options = {"kernel_size": 3, name: -1}
    with pytest.raises(ValueError, match=f"^{name} must be at least"):
        nn.Conv2d(3, 4, **options)


def test_skipped_initialisation_draws_nothing_and_keeps_shapes_and_types(dtype):
    def layers(rng):
        conv = nn.Conv2d(4, 6, (3, 2), groups=2, dtype=dtype, rng=rng)
        linear = nn.Linear(5, 3, dtype=dtype, rng=rng)
        kaiming = nn.init.kaiming_normal((6, 2, 3, 2), rng=rng, dtype=dtype)
        return [*(p.data for p in (*conv.parameters(), *linear.parameters())), kaiming]

    rng = np.random.default_rng(0)
    with nn.init.skipped():
        skipped = layers(rng)
    drawn = layers(rng)  # the generator is where it was
    for zeros, values, again in zip(
        skipped, drawn, layers(np.random.default_rng(0)), strict=True
    ):
        assert (zeros.shape, zeros.dtype) == (values.shape, values.dtype)
        assert not zeros.any()
        assert not zeros.flags.writeable  # nobody trains them by mistake
        np.testing.assert_array_equal(values, again)
