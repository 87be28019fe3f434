"""`npresnet lens` saliency, grad-cam, filters, maps, activations: images and files."""

import shutil

import numpy as np
import pytest
from PIL import Image

import npresnet as nr
from tests.cli.program import assert_one_error_line, invoke, save_weights
from tests.cli.test_lens import last_json

LOOKS = ("saliency", "grad-cam", "maps", "activations")
PIXELS = nr.data.digits()[1].images


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Weights that say in their header how digits were normalised for them."""
    path = tmp_path_factory.mktemp("weights") / "w.safetensors"
    return save_weights(path, nr.models.resnet8(shortcut="B", seed=5), shortcut="B")


@pytest.fixture(scope="module")
def model(weights):
    model = nr.models.resnet8(shortcut="B")
    model.load_state_dict(nr.weights.load(weights))
    return model.eval()


def normalized(indices):
    return nr.data.normalize(PIXELS[indices], [0.3] * 3, [0.4] * 3)


def test_images_come_from_files_and_from_the_test_set(weights, model, tmp_path):
    file = tmp_path / "digit.png"
    Image.fromarray(PIXELS[9, 0]).save(file)
    images = ("--image", file, "--index", 5, "--index", 2)
    answer = last_json(invoke("lens", "saliency", weights, *images, "--json"))
    assert answer["images"] == [str(file), 5, 2]
    assert [row["image"] for row in answer["rows"]] == [str(file), 5, 2]
    assert answer["dataset"] == "digits"
    assert answer["model"] == "resnet8"
    expected = nr.lens.saliency(model, normalized([9, 5, 2]), grey=True)
    np.testing.assert_allclose(answer["maps"], expected.maps, rtol=1e-3, atol=1e-5)
    scores = [row["score"] for row in answer["rows"]]
    assert scores == pytest.approx([row.score for row in expected.rows], rel=1e-4)

    few = last_json(invoke("lens", "saliency", weights, "--images", 3, "--json"))
    assert few["images"] == [0, 1, 2]
    assert few["training"] is False
    default = last_json(invoke("lens", "saliency", weights, "--json"))
    assert default["images"] == [0, 1, 2, 3]


def test_class_and_layer_can_be_chosen(weights, model):
    options = ("--index", 3, "--class", "8", "--layer", "layer2.0.bn1", "--json")
    answer = last_json(invoke("lens", "grad-cam", weights, *options))
    expected = nr.lens.grad_cam(model, normalized([3]), 8, layer="layer2.0.bn1")
    assert answer["layer"] == "layer2.0.bn1"
    assert answer["rows"][0]["target"] == "8"
    np.testing.assert_allclose(answer["maps"], expected.maps, rtol=1e-3, atol=1e-5)
    plain = last_json(invoke("lens", "grad-cam", weights, "--json"))
    assert plain["layer"] == "layer3"
    assert len(plain["rows"]) == 4


def test_maps_activations_and_filters_are_those_of_python(weights, model):
    options = ("--layer", "layer2.0.relu#1", "--index", 4, "--json")
    maps = last_json(invoke("lens", "maps", weights, *options))
    expected = nr.lens.feature_maps(model, normalized([4]), "layer2.0.relu#1")
    np.testing.assert_allclose(maps["maps"], expected.maps, rtol=1e-3, atol=1e-5)

    options = ("--images", 20, "--mode", "train", "--json")
    measured = last_json(invoke("lens", "activations", weights, *options))
    assert measured["training"] is True
    expected = nr.lens.activations(model.train(), normalized(range(20)))
    model.eval()
    for row, other in zip(measured["rows"], expected.rows, strict=True):
        assert row["name"] == other.name
        assert row["mean"] == pytest.approx(other.mean, rel=1e-3, abs=1e-5)

    shown = last_json(invoke("lens", "filters", weights, "--json"))
    assert shown["grey"] is True  # the digits' channels are all the same
    summed = model.conv1.weight.data.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(shown["weights"], summed, rtol=1e-5)
    colour = last_json(
        invoke("lens", "filters", "resnet18", "--dataset", "cifar10", "--json")
    )
    assert np.shape(colour["weights"]) == (64, 3, 7, 7)  # without CIFAR-10's files


def test_results_are_written_once(weights, tmp_path):
    for command in (*LOOKS, "filters"):
        args = ("lens", command, weights, "--out", tmp_path)
        result = invoke(*args)
        assert result.exit_code == 0, result.output
        assert result.stderr.count("wrote ") == 3
        again = invoke(*args)
        assert again.exit_code == 0
        assert again.stderr.count("the same already") == 3
        (file,) = tmp_path.glob(f"{command}-*.json")
        content = file.read_bytes()
        file.write_text("mine")
        assert_one_error_line(invoke(*args), file.name, "already with another result")
        assert file.read_text() == "mine"
        assert invoke(*args, "--force").stderr.count("wrote ") == 1
        assert file.read_bytes() == content
    names = {path.name for path in tmp_path.iterdir()}
    assert len(names) == 15
    assert {"grad-cam-w.png", "maps-w-layer1.json", "activations-w.csv"} <= names
    other = ("--layer", "layer1.0.relu#1", "--out", tmp_path)
    assert invoke("lens", "maps", weights, *other).exit_code == 0
    assert (tmp_path / "maps-w-layer1.0.relu-1.png").read_bytes().startswith(b"\x89PNG")


def test_a_run_folder_is_taken_as_well(weights, tmp_path):
    shutil.copy(weights, tmp_path / "weights.safetensors")
    folder = last_json(invoke("lens", "saliency", tmp_path, "--json"))
    file = last_json(invoke("lens", "saliency", weights, "--json"))
    assert folder == file


def test_what_is_wrong_is_named(weights, tmp_path):
    for command in LOOKS:
        call = ("lens", command)
        assert_one_error_line(invoke(*call), "WEIGHTS_OR_MODEL")
        assert_one_error_line(invoke(*call, "resnet9"), "resnet9", "models")
        assert_one_error_line(
            invoke(*call, weights, "--image", tmp_path / "none.png"), "none.png"
        )
        assert_one_error_line(invoke(*call, weights, "--image", tmp_path), "folder")
        assert_one_error_line(invoke(*call, weights, "--index", 360), "360 test images")
        assert_one_error_line(
            invoke(*call, weights, "--images", 400), "--images", "got 399"
        )
    (tmp_path / "text.png").write_text("no image")
    assert_one_error_line(
        invoke("lens", "maps", weights, "--image", tmp_path / "text.png"), "text.png"
    )
    for command in ("maps", "grad-cam"):
        assert_one_error_line(
            invoke("lens", command, weights, "--layer", "layr3.0.conv1"),
            "'layr3.0.conv1'",
            "near it: layer3.0.conv1",
            "at the top: conv1, bn1",
        )
    assert_one_error_line(
        invoke("lens", "maps", weights, "--layer", "fc", "--out", tmp_path / "new"),
        "fc gives",
    )
    assert not (tmp_path / "new").exists()
    assert_one_error_line(
        invoke("lens", "saliency", weights, "--class", "cat"), "--class cat", "0, 1"
    )
    assert_one_error_line(
        invoke("lens", "filters", "resnet8", "--dataset", "mnist"), "--dataset", "mnist"
    )
    assert_one_error_line(
        invoke("lens", "filters", "resnet8", "--model", "plain8"), "--model"
    )


def test_every_command_explains_itself():
    overview = invoke("lens").stdout
    for command in (*LOOKS, "filters"):
        assert f"\n  {command} " in overview
        assert "Try:" in invoke("lens", command, "--help").stdout
