"""Names, printing, order and first values of the networks."""

from pathlib import Path

import numpy as np
import pytest

import npresnet as nr
from tests.models.built import built, undrawn

LISTINGS = Path(__file__).parents[1] / "oracle" / "listings"
IMAGENET = ["resnet18", "resnet34", "resnet50", "resnet101", "resnet152"]
BOTTLENECKS = IMAGENET[2:]
DEPTHS = [8, 14, 20, 32, 44, 56, 110]


@pytest.mark.parametrize("name", IMAGENET)
def test_a_model_prints_torchvisions_tree(name):
    listing = (LISTINGS / f"{name}.txt").read_text(encoding="utf-8").rstrip("\n")
    model = undrawn(name)
    assert str(model) == listing.replace("inplace=True", "")
    assert repr(model) == str(model)


@pytest.mark.parametrize("name", IMAGENET)
def test_the_twin_prints_torchvisions_tree(torch, oracle, name):
    # Or else the twin proves nothing about torchvision's network.
    listing = (LISTINGS / f"{name}.txt").read_text(encoding="utf-8").rstrip("\n")
    # Newer versions of PyTorch also say that batch norm has a bias.
    with torch.device("meta"):
        printed = str(oracle.create(name))
    printed = printed.replace("affine=True, bias=True", "affine=True")
    assert printed == listing


@pytest.mark.parametrize(
    ("name", "options"),
    [
        *[(name, {}) for name in IMAGENET],
        ("resnet50", {"stride_in": "1x1"}),
        ("resnet18", {"in_channels": 1, "num_classes": 10}),
        *[(f"resnet{d}", {"shortcut": s}) for d in (8, 20, 56) for s in "ABC"],
        ("resnet20", {"in_channels": 1, "num_classes": 7}),
        ("plain20", {}),
        ("resnet11", {"in_channels": 1, "num_classes": 7}),
        ("resnet11_narrow", {}),
    ],
    ids=str,
)
def test_names_shapes_and_order_are_the_twins(torch, oracle, name, options):
    ours = undrawn(name, **options).state_dict()
    with torch.device("meta"):
        theirs = oracle.create(name, **options).state_dict()
    assert list(ours) == list(theirs)
    for key, tensor in theirs.items():
        assert ours[key].shape == tuple(tensor.shape), key
    assert ours["bn1.num_batches_tracked"].dtype == np.int64


def test_the_registry_knows_every_network():
    names = nr.models.names()
    expected = {*IMAGENET, *(f"resnet{d}" for d in DEPTHS), "resnet1202"}
    expected |= {f"plain{d}" for d in DEPTHS} | {"resnet11", "resnet11_narrow"}
    assert expected <= set(names)
    assert len(names) == len(set(names))


def test_every_name_of_the_registry_is_also_a_function():
    for name in nr.models.names():
        assert callable(getattr(nr.models, name))


def test_an_unknown_name_is_refused_in_one_line():
    with pytest.raises(ValueError, match="resnet19") as caught:
        nr.models.create("resnet19")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("resnet20", {"shortcut": "D"}),
        ("resnet50", {"stride_in": "5x5"}),
    ],
)
def test_a_bad_option_is_named(name, options):
    (option,) = options
    with pytest.raises(ValueError, match=option):
        nr.models.create(name, **options)


def test_a_new_model_is_in_training_mode():
    assert nr.models.resnet8().training
    assert all(module.training for module in nr.models.resnet8().modules())


@pytest.mark.parametrize(
    "x",
    [
        np.zeros((2, 1, 16, 16), np.float32),
        np.zeros((3, 16, 16), np.float32),
        np.zeros((2, 3, 16, 16), np.float64),
        np.zeros((2, 3, 16, 16), np.uint8),
        np.zeros((0, 3, 16, 16), np.float32),
    ],
    ids=["channels", "no batch", "float64", "bytes", "empty"],
)
def test_a_batch_that_does_not_fit_is_refused_in_one_line(x):
    with pytest.raises((ValueError, TypeError)) as caught:
        nr.models.resnet8()(x)
    assert "\n" not in str(caught.value)
    assert str(caught.value)


# First values.


def convolutions(model):
    return [(name, p.data) for name, p in model.named_parameters() if p.data.ndim == 4]


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("resnet18", "fan_out"),
        ("resnet50", "fan_out"),
        ("resnet20", "fan_in"),
        ("plain20", "fan_in"),
        ("resnet11", "fan_in"),
    ],
)
def test_convolutions_start_normal_with_root_two_over_fan(name, mode):
    normalised = []
    for key, weight in convolutions(built(name)):
        K, C, KH, KW = weight.shape
        fan = (K if mode == "fan_out" else C) * KH * KW
        expected = (2 / fan) ** 0.5
        # Four standard errors of a deviation: sqrt(1 / 2n).
        tolerance = 4 * (0.5 / weight.size) ** 0.5
        assert weight.std() == pytest.approx(expected, rel=tolerance), key
        assert abs(weight.mean()) < 4 * expected / weight.size**0.5, key
        normalised.append(weight.ravel() / expected)
    values = np.concatenate(normalised)
    assert np.mean(np.abs(values) > 2) == pytest.approx(0.0455, abs=0.003)


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_the_imagenet_classifier_starts_uniform_as_torchs_linear(name):
    model = built(name)
    bound = model.fc.weight.data.shape[1] ** -0.5
    for parameter in (model.fc.weight, model.fc.bias):
        assert np.abs(parameter.data).max() <= bound
        assert np.abs(parameter.data).max() > 0.95 * bound


def test_the_cifar_classifier_starts_normal_with_root_two_over_fan_in():
    weight = nr.models.resnet20(num_classes=100).fc.weight.data
    assert weight.std() == pytest.approx((2 / 64) ** 0.5, rel=0.04)
    assert np.mean(np.abs(weight) > 2 * weight.std()) == pytest.approx(0.0455, abs=0.01)


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "resnet20", "plain20"])
def test_batch_norm_starts_as_the_identity(name):
    for key, value in undrawn(name).state_dict().items():
        owner, _, kind = key.rpartition(".")
        if "bn" in owner or owner.endswith("downsample.1"):
            expected = 1 if kind in ("weight", "running_var") else 0
            assert np.all(value == expected), key


@pytest.mark.parametrize(("name", "last"), [("resnet18", "bn2"), ("resnet50", "bn3")])
def test_zero_init_residual_closes_every_branch_and_nothing_else(name, last):
    model = undrawn(name, zero_init_residual=True)
    for key, parameter in model.named_parameters():
        if parameter.data.ndim == 1 and key.endswith("weight"):
            closed = key.endswith(f"{last}.weight")
            assert np.all(parameter.data == (0 if closed else 1)), key


@pytest.mark.parametrize("name", ["resnet18", "resnet8", "plain8"])
def test_the_same_seed_gives_the_same_weights(name):
    one, same, other = (nr.models.create(name, seed=s).state_dict() for s in (5, 5, 6))
    assert all(np.array_equal(one[key], same[key]) for key in one)
    differing = [key for key in one if not np.array_equal(one[key], other[key])]
    assert "conv1.weight" in differing
    assert "fc.weight" in differing


def test_layers_of_one_model_differ():
    weights = [
        weight
        for _, weight in convolutions(nr.models.resnet20())
        if weight.shape == (16, 16, 3, 3)
    ]
    for index, weight in enumerate(weights):
        for other in weights[index + 1 :]:
            assert not np.array_equal(weight, other)


def test_a_float64_model_is_the_float32_model_before_rounding():
    wide = nr.models.resnet8(dtype=np.float64, seed=2).state_dict()
    for key, value in nr.models.resnet8(seed=2).state_dict().items():
        assert np.array_equal(wide[key].astype(value.dtype), value), key
