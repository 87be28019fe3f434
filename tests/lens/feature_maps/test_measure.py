"""Feature maps and activations against PyTorch's forward hooks."""

import importlib
import json

import numpy as np
import pytest

import npresnet as nr
from npresnet.lens.activations.measure import activations
from npresnet.lens.feature_maps.measure import feature_maps
from tests.lens.state import left_as_it_was
from tests.oracle.compare import assert_matches, normal
from tests.oracle.networks import make_twins

CASES = [
    ("resnet14", {"shortcut": "A"}, (3, 3, 13, 9), False),
    ("resnet14", {"shortcut": "A"}, (3, 3, 13, 9), True),
    ("resnet8", {"shortcut": "C", "in_channels": 1}, (1, 1, 8, 11), False),
    ("plain8", {}, (3, 3, 12, 9), True),
    ("four bottlenecks", {"num_classes": 7}, (2, 3, 33, 32), False),
]


@pytest.fixture(autouse=True)
def _plain_numpy():
    with nr.using_backend("reference"):
        yield


@pytest.mark.parametrize(("name", "options", "shape", "training"), CASES)
def test_both_are_what_forward_hooks_see(
    torch, oracle, rng, name, options, shape, training
):
    looks = importlib.import_module("tests.oracle.looks")
    model, twin = make_twins(
        torch, oracle, name, np.float64, rng, training=training, **options
    )
    x = normal(rng, *shape)
    expected = looks.outputs(twin, x)
    rows = {
        row.name if "#" in row.name else f"{row.name}#1": row
        for row in activations(model, x).rows
    }
    assert sorted(rows) == sorted(expected)
    names = [key for key in rows if "downsample" not in key]  # which go either first
    assert names == [key for key in expected if "downsample" not in key]
    for key, output in expected.items():
        row = rows[key]
        assert row.shape == output.shape[1:]
        assert row.mean == pytest.approx(output.mean(), rel=1e-8, abs=1e-11)
        assert row.deviation == pytest.approx(output.std(), rel=1e-8)
        if ".relu#" in key or key == "relu#1":
            channels = output.transpose(1, 0, *range(2, output.ndim)).reshape(
                output.shape[1], -1
            )
            open_ = (channels > 0).any(axis=1)
            assert row.zeros == pytest.approx((channels == 0).mean())
            assert row.dead == (~open_).sum()
            assert row.dead_share == pytest.approx(1 - open_.mean())
        else:
            assert row.zeros is row.dead is row.dead_share is None

    keys = list(expected)
    for key in rng.choice(keys, 4, replace=False):
        if expected[key].ndim == 4:
            maps = feature_maps(model, x, key).maps
            assert_matches(maps, expected[key], key)


def test_rows_describe_their_channels(rng):
    model = nr.models.resnet8(dtype=np.float64).eval()
    result = feature_maps(model, normal(rng, 3, 3, 9, 8), "layer2")
    for row in result.rows:
        values = result.maps[:, row.channel]
        assert row.mean == pytest.approx(values.mean())
        assert row.deviation == pytest.approx(values.std())
        assert (row.smallest, row.largest) == (values.min(), values.max())
        assert row.zeros == pytest.approx((values == 0).mean())
    assert len(result.rows) == 32


def test_a_dead_channel_is_found_where_it_is(rng):
    model = nr.models.resnet8()  # batch norm opens every channel somewhere
    model.layer2[0].bn1.bias.data[[3, 8]] = -100
    x = normal(rng, 4, 3, 8, 8).astype(np.float32)
    result = activations(model, x)
    rows = {row.name: row for row in result.rows}
    assert rows["layer2.0.relu#1"].dead == 2
    assert rows["layer2.0.relu#1"].dead_share == 2 / 32
    assert rows["layer2.0.relu#2"].dead == 0
    assert result.dead_channels == 2
    assert result.rectified_channels == 16 * 3 + 32 * 2 + 64 * 2
    assert result.to_dict()["dead_channels"] == 2
    assert "2 of 240 channels behind a ReLU never open" in repr(result)


def test_a_folded_model_shows_what_its_layers_give(rng):
    model = nr.models.resnet8(dtype=np.float64, shortcut="B").eval()
    x = normal(rng, 2, 3, 8, 8)
    folded = nr.inference(model)
    maps = feature_maps(folded, x, "layer2.0").maps
    assert_matches(maps, feature_maps(model, x, "layer2.0").maps, "maps")
    with left_as_it_was(folded):
        theirs = activations(folded, x)
    ours = [row for row in activations(model, x).rows if row.zeros is not None]
    theirs = [row for row in theirs.rows if row.zeros is not None]
    assert len(ours) == len(theirs) == 7
    for row, other in zip(ours, theirs, strict=True):
        assert other.mean == pytest.approx(row.mean)
        assert other.zeros == row.zeros


@pytest.mark.parametrize("training", [True, False])
def test_the_model_is_left_as_it_was(rng, training):
    model = nr.models.resnet8().train(training)
    x = normal(rng, 2, 3, 8, 8).astype(np.float32)
    model(x)  # a step is under way
    with left_as_it_was(model):
        activations(model, x)
        feature_maps(model, x, "layer1")

    def breaks(*args, **kwargs):
        raise ZeroDivisionError

    model.layer3[0].conv2.forward = breaks
    for instrument in (activations, lambda *args: feature_maps(*args, "layer1")):
        with left_as_it_was(model), pytest.raises(ZeroDivisionError):
            instrument(model, x)


def test_maps_are_a_copy_that_stays(rng):
    model = nr.models.resnet8().eval()
    x = normal(rng, 1, 3, 8, 8).astype(np.float32)
    result = feature_maps(model, x, "layer1.0.downsample")  # an identity
    before = result.maps.copy()
    assert np.array_equal(before, feature_maps(model, x, "relu").maps)
    result.maps[:] = 0
    assert np.array_equal(before, feature_maps(model, x, "relu").maps)


def test_names_that_do_not_fit_are_answered_with_those_that_would(rng):
    model = nr.models.resnet14().eval()
    x = normal(rng, 1, 3, 8, 8).astype(np.float32)

    def error(layer, kind=ValueError, model=model):
        with pytest.raises(kind) as caught:
            feature_maps(model, x, layer)
        return str(caught.value)

    text = error("layer2.0.con1")
    assert "'layer2.0.con1'" in text
    assert "layer2.0.conv1" in text
    assert "at the top: conv1, bn1, relu, layer1, layer2, layer3, avgpool, fc" in text
    assert "near" not in error("zzz")
    assert "there is none" in error("")
    assert "there is none" in error("relu#x")
    assert "layer1.0.relu#3: the forward pass calls layer1.0.relu 2 times" in error(
        "layer1.0.relu#3"
    )
    assert "conv1#0: the forward pass calls conv1 once" in error("conv1#0")
    assert "layer must be a name, got int" in error(1, TypeError)
    assert "fc gives (1, 10)" in error("fc")
    assert "does not call it" in error(
        "layer1.0.downsample", model=nr.models.plain8().eval()
    )


@pytest.mark.parametrize("name", ["activations", "saliency", "grad_cam"])
def test_a_model_without_parameters_is_refused(rng, name):
    with pytest.raises(ValueError, match="parameters; ReLU has none"):
        getattr(nr.lens, name)(nr.nn.ReLU(), normal(rng, 1, 3, 8, 8))


def test_they_are_plain_data_and_pictures(rng, tmp_path):
    model = nr.models.resnet8()
    x = normal(rng, 2, 3, 9, 8).astype(np.float32)
    maps = feature_maps(model, x, "layer1.0.bn2")
    for name in ("maps.json", "maps.csv", "maps.png"):
        maps.save(tmp_path / name)
    data = json.loads((tmp_path / "maps.json").read_text())
    assert np.shape(data["maps"]) == (2, 16, 9, 8)
    assert "a batch of 2 images in training mode: 16 feature maps" in repr(maps)
    maps.plot(image=1, most=3)
    with pytest.raises(ValueError, match=r"0\.\.1.*got 2"):
        maps.plot(image=2)

    measured = activations(model, x)
    for name in ("activations.json", "activations.csv", "activations.png"):
        measured.save(tmp_path / name)
    data = json.loads((tmp_path / "activations.json").read_text())
    assert data["rows"][2]["name"] == "relu"
    assert data["training"] is True
    linear = nr.nn.Sequential(nr.nn.Conv2d(3, 4, 1))
    with pytest.raises(ValueError, match="no ReLU"):
        activations(linear, x).plot()
