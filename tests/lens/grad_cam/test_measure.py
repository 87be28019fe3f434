"""Grad-CAM against hooks and autograd, its enlargement against interpolate."""

import importlib

import numpy as np
import pytest

import npresnet as nr
from npresnet.lens.grad_cam.measure import enlarge, grad_cam
from tests.oracle.compare import assert_matches, normal
from tests.oracle.networks import classes_of, draw_batch, make_twins

CASES = [
    ("resnet14", {}, (3, 3, 13, 9), ["layer3", "layer1.1", "conv1"], False),
    ("resnet14", {}, (3, 3, 13, 9), ["layer2.0.downsample", "relu"], True),
    ("resnet8", {"in_channels": 1}, (1, 1, 16, 11), ["layer2.0.bn1"], False),
    ("plain14", {}, (3, 3, 12, 9), ["layer2.1.conv2", "bn1", "layer3"], False),
    ("resnet18", {"num_classes": 7}, (2, 3, 35, 33), ["layer4", "maxpool"], False),
]


@pytest.fixture(autouse=True)
def _plain_numpy():
    with nr.using_backend("reference"):
        yield


@pytest.fixture
def looks(torch):
    return importlib.import_module("tests.oracle.looks")


@pytest.mark.parametrize(("name", "options", "shape", "layers", "training"), CASES)
def test_it_is_what_hooks_and_autograd_give(
    torch, oracle, looks, rng, name, options, shape, layers, training
):
    model, twin = make_twins(
        torch, oracle, name, np.float64, rng, training=training, **options
    )
    x, other = draw_batch(rng, shape, classes_of(model))
    for layer, target in zip(layers, [None, other, 2], strict=False):
        result = grad_cam(model, x, target, layer=layer)
        weights, coarse, maps = looks.grad_cam(twin, x, target, layer)
        assert_matches(result.weights, weights, f"weights of {layer}")
        assert_matches(result.coarse, coarse, f"coarse map of {layer}")
        assert_matches(result.maps, maps, f"map of {layer}")
        assert result.layer == layer
    assert coarse.any()


def test_each_call_of_a_layer_can_be_meant(torch, oracle, looks, rng):
    model, twin = make_twins(
        torch, oracle, "resnet14", np.float64, rng, training=False, num_classes=5
    )
    x = normal(rng, 2, 3, 9, 12)
    for call in (1, 2):
        result = grad_cam(model, x, layer=f"layer2.1.relu#{call}")
        _, coarse, _ = looks.grad_cam(twin, x, None, "layer2.1.relu", call - 1)
        assert_matches(result.coarse, coarse, "coarse map")
    for same in ("layer2.1.relu", "layer2.1"):  # the last call is the block's output
        assert np.array_equal(result.maps, grad_cam(model, x, layer=same).maps)


def test_the_last_stage_is_looked_at_unless_another_is_named(rng):
    x = normal(rng, 1, 3, 17, 17)
    for name, stage in (("resnet14", "layer3"), ("resnet18", "layer4")):
        model = nr.models.create(name, dtype=np.float64).eval()
        assert grad_cam(model, x).layer == stage


@pytest.mark.parametrize("backend", ["reference", "numba"])
def test_behind_the_last_stage_maps_add_up_to_the_score(rng, backend):
    """A global average and a linear layer follow: the maps split the logit (section
    3.1 of the paper), up to what speaks against the class and the bias."""
    model = nr.models.resnet14(dtype=np.float64, seed=2).eval()
    x = normal(rng, 3, 3, 16, 12)
    with nr.using_backend(backend):
        result = grad_cam(model, x, target=4)
        features = nr.lens.feature_maps(model, x, "layer3").maps
    weights = model.fc.weight.data[4] / (features.shape[2] * features.shape[3])
    assert_matches(result.weights, np.tile(weights, (3, 1)), "weights")
    signed = np.einsum("nk,nkhw->nhw", result.weights, features)
    assert_matches(result.coarse, np.maximum(signed, 0), "coarse map")
    logits = signed.sum(axis=(1, 2)) + model.fc.bias.data[4]
    assert [row.score for row in result.rows] == pytest.approx(list(logits))


@pytest.mark.parametrize(
    ("given", "wanted"),
    [((2, 2), (8, 8)), ((4, 3), (33, 7)), ((1, 5), (6, 5)), ((7, 9), (4, 3))],
)
def test_enlarging_is_torchs_bilinear_interpolation(looks, rng, given, wanted, dtype):
    maps = normal(rng, 3, *given).astype(dtype)
    enlarged = enlarge(maps, wanted)
    assert enlarged.dtype == dtype
    expected = looks.enlarge(maps.astype(float), wanted)
    np.testing.assert_allclose(enlarged, expected, atol=8 * np.finfo(dtype).eps)


def test_layers_without_feature_maps_are_refused(rng):
    model = nr.models.resnet8(shortcut="B").eval()
    x = normal(rng, 2, 3, 8, 8).astype(np.float32)
    with pytest.raises(ValueError, match=r"fc gives \(2, 10\)"):
        grad_cam(model, x, layer="fc")
    with pytest.raises(ValueError, match="'layer4': there is none; near it: layer"):
        grad_cam(model, x, layer="layer4")
    plain = nr.models.plain8().eval()
    with pytest.raises(ValueError, match="the forward pass does not call it"):
        grad_cam(plain, x, layer="layer1.0.downsample")
    with pytest.raises(ValueError, match="no convolutions"):
        grad_cam(nr.nn.Sequential(nr.nn.Linear(3, 4)), x)


def test_a_layer_that_the_backward_pass_goes_around_is_refused(rng):
    class Shortened(nr.nn.Sequential):
        def backward(self, grad_output, input_grad=True):
            return None

    model = nr.models.resnet8().eval()
    model.layer1 = Shortened(*model.layer1)
    x = normal(rng, 1, 3, 8, 8).astype(np.float32)
    with pytest.raises(ValueError, match=r"layer1\.0: the backward pass goes around"):
        model.conv1.backward = lambda grad, input_grad: None
        model.bn1.backward = model.relu.backward = lambda grad: grad
        grad_cam(model, x, layer="layer1.0")


def test_what_speaks_against_a_class_leaves_the_map_empty(rng):
    model = nr.models.resnet8().eval()
    model.fc.weight.data[6] = -1
    x = normal(rng, 2, 3, 8, 8).astype(np.float32)
    result = grad_cam(model, x, 6)
    assert not result.maps.any()
    assert [row.peak for row in result.rows] == [None, None]
    result.plot()
