"""`npresnet lens program`: the listing, its files, and errors of one line."""

import csv
import json

import pytest

import npresnet as nr
from tests.cli.conftest import (  # noqa: F401
    _algorithm_of_a_user,
    _nothing_is_said_of_compiling,
)
from tests.cli.program import assert_one_error_line, invoke, save_weights


def answer(*args):
    result = invoke("lens", "program", *args, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout.splitlines()[-1])


def test_a_listing_is_shown_and_written(tmp_path):
    args = ("lens", "program", "resnet8", "--batch", 4, "--out", tmp_path)
    result = invoke(*args)
    assert result.exit_code == 0, result.output
    model = nr.models.resnet8(num_classes=10)
    expected = nr.lens.program(model, (3, 32, 32), batch=4)
    assert result.stdout == f"{expected!r}\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"program-resnet8{ending}" for ending in (".csv", ".json", ".png")
    ]
    data = json.loads((tmp_path / "program-resnet8.json").read_text())
    assert data == expected.to_dict()
    with open(tmp_path / "program-resnet8.csv", newline="") as file:
        assert len(list(csv.DictReader(file))) == len(expected.rows)
    assert "the same already" in invoke(*args).stderr


def test_json_is_of_a_batch_of_128_images_that_the_network_was_made_for():
    found = answer("resnet8")
    assert found["model"] == "resnet8"
    assert found["input_shape"] == [128, 3, 32, 32]
    assert found["optimizer"] == "SGD"
    assert found["arena_bytes"] >= found["most_at_once_bytes"]


def test_input_and_shortcut_are_taken():
    found = answer("resnet8", "--input", "1,16,24", "--batch", 2, "--shortcut", "B")
    assert found["input_shape"] == [2, 1, 16, 24]
    layers = {row["layers"] for row in found["rows"]}
    assert "layer2.0.downsample.0" in layers


def test_weights_are_taken_for_the_images_of_their_data_set(tmp_path):
    path = save_weights(tmp_path / "w.safetensors", nr.models.resnet8(), shortcut="A")
    assert answer(path, "--batch", 2)["input_shape"] == [2, 3, 8, 8]


@pytest.mark.parametrize(
    ("args", "parts"),
    [
        (("resnet8", "--batch", 0), ("--batch", "0")),
        (("resnet8", "--batch", "many"), ("--batch", "many")),
        (("resnet8", "--batch", 10**13), ("not enough memory",)),
        (("resnet8", "--input", "3,32"), ("--input", "3,32")),
        (("resnet8", "--input", "3,0,32"), ("--input", "3,0,32")),
        (("resnet18", "--input", "3,1,1", "--batch", 1), ("takes no input",)),
        (("resnet9",), ("resnet9", "npresnet models")),
        (("resnet18", "--shortcut", "A"), ("--shortcut", "resnet18")),
        ((), ("WEIGHTS_OR_MODEL",)),
    ],
)
def test_what_is_wrong_is_told_in_one_line(args, parts):
    assert_one_error_line(invoke("lens", "program", *args), *parts)


def test_a_model_that_cannot_be_compiled_is_told_in_one_line(monkeypatch):
    def forward(self, x):
        return self.fc(self.avgpool(x).mean(axis=(2, 3)))

    monkeypatch.setattr(nr.models.ResNet, "forward", forward)
    result = invoke("lens", "program", "resnet8", "--batch", 2)
    assert_one_error_line(result, "ResNet", "mean")
