"""`npresnet lens lesion|responses|degradation`: many images, many runs."""

import csv
import json

import pytest

import npresnet as nr
from tests.cli.program import assert_one_error_line, invoke

COUNTED = ("--images", 12)


def last_json(result):
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Weights of a resnet14, as they would be shared."""
    path = tmp_path_factory.mktemp("weights") / "mine.safetensors"
    nr.weights.save(path, nr.models.resnet14(seed=3))
    return path


def test_lesions_of_several_networks_are_written_and_drawn_together(tmp_path):
    args = ("lens", "lesion", "resnet14", "plain14", "--draws", 1, *COUNTED)
    result = invoke(*args, "--out", tmp_path)
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "lesion-plain14.csv",
        "lesion-plain14.json",
        "lesion-resnet14-plain14.png",
        "lesion-resnet14.csv",
        "lesion-resnet14.json",
    ]
    assert result.stdout.count("layer3.0") == 2
    data = json.loads((tmp_path / "lesion-resnet14.json").read_text())
    assert data["images"] == 12
    assert data["training"] is True  # fresh weights have no statistics of their own
    assert [row["draws"] for row in data["removals"]] == [1] * 6
    with open(tmp_path / "lesion-plain14.csv", newline="") as file:
        assert sum(row["lesion"] == "deleted" for row in csv.DictReader(file)) == 6
    assert_one_error_line(invoke(*args, "--seed", 9, "--out", tmp_path), "already")


def test_trained_weights_are_looked_at_in_evaluation_mode_on_test_images(weights):
    options = ("--model", "resnet14", "--dataset", "digits", "--json")
    answer = last_json(
        invoke("lens", "lesion", weights, *options, "--images", 360, "--draws", 0)
    )
    assert answer["training"] is False
    assert answer["model"] == "resnet14"
    assert answer["removals"] == []
    expected = last_json(invoke("eval", weights, *options))
    assert answer["accuracy"] == expected["accuracy"]
    assert answer["loss"] == pytest.approx(expected["loss"], rel=1e-5)
    in_training = last_json(
        invoke("lens", "responses", weights, *options, "--mode", "train")
    )
    assert in_training["training"] is True
    assert in_training["images"] == 360  # all that there are


def test_responses_are_printed_and_written(tmp_path):
    result = invoke(
        "lens", "responses", "resnet8", "plain8", *COUNTED, "--out", tmp_path
    )
    assert result.exit_code == 0, result.output
    assert result.stdout.count("layer2.0.conv1") == 2
    picture = (tmp_path / "responses-resnet8-plain8.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    model = nr.models.resnet8()
    _, test = nr.data.digits()
    x, _ = next(nr.data.batches(test, 12, shuffle=True, seed=0, epoch=0))
    expected = nr.lens.responses(model, x)
    data = json.loads((tmp_path / "responses-resnet8.json").read_text())
    assert [row["deviation"] for row in data["rows"]] == pytest.approx(
        list(expected.deviations), rel=1e-4
    )


def test_degradation_goes_on_and_is_written_anew(tmp_path):
    out = tmp_path / "runs"
    args = ("lens", "degradation", "--depths", "8", "--epochs", 1, "--out", out)
    first = last_json(invoke(*args, "--json"))
    assert first["folder"] == str(out)
    assert [row["network"] for row in first["rows"]] == ["plain8", "resnet8"]
    before = (out / "plain8-seed0" / "metrics.csv").stat().st_mtime_ns
    again = invoke(*args)
    assert again.exit_code == 0, again.output
    assert "plain: training loss by depth 8: " in again.stdout
    assert (out / "plain8-seed0" / "metrics.csv").stat().st_mtime_ns == before
    assert json.loads((out / "degradation.json").read_text())["rows"] == first["rows"]
    assert (out / "degradation.png").exists()
    other = invoke(*args[:-3], 2, "--out", out)
    assert_one_error_line(other, "epochs 1, not 2")


def test_what_is_wrong_is_named(weights, tmp_path):
    assert_one_error_line(
        invoke("lens", "lesion", "resnet8", "--images", 361), "--images", "360 test"
    )
    assert_one_error_line(invoke("lens", "lesion", weights), "--model", "name it")
    assert_one_error_line(invoke("lens", "responses", "resnet9"), "resnet9", "models")
    for depths in ("8;20", "9"):
        result = invoke(
            "lens", "degradation", "--depths", depths, "--out", tmp_path / "d"
        )
        assert_one_error_line(result, "depths")
    assert not (tmp_path / "d").exists()


@pytest.mark.parametrize("command", ["lesion", "responses", "degradation"])
def test_each_command_explains_itself(command):
    assert f"\n  {command} " in invoke("lens").stdout
    text = invoke("lens", command, "--help").stdout
    assert "arXiv" in text.replace("\n", " ")
    assert "Try:" in text
