"""Settings on the command line: --set, what eval makes of them, how to repeat a run."""

import json
import shlex

import pytest

import npresnet as nr
from tests.cli.program import assert_one_error_line, invoke

QUICK = ("--epochs", "1", "--quiet")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run with settings of its own, mirror images among them."""
    out = tmp_path_factory.mktemp("runs") / "run"
    settings = ("validation=200", "test_flip=yes", "normalization=pixel", "lr=0.05")
    options = [part for setting in settings for part in ("--set", setting)]
    result = invoke("train", *QUICK, *options, "--seed", 4, "--out", out)
    assert result.exit_code == 0, result.output
    assert "mirror images looked at, too" in result.stdout
    return out


def test_settings_reach_the_run(folder):
    config = json.loads((folder / "config.json").read_text())
    recipe = config["recipe"]
    assert (recipe["validation"], recipe["test_flip"]) == (200, True)
    assert (recipe["lr"], recipe["normalization"]) == (0.05, "pixel")
    assert recipe["name"] == "digits-quick"
    assert config["dataset"]["validation"] == 200


def test_eval_repeats_what_training_measured(folder, tmp_path):
    told = invoke("train", "--resume", folder, "--quiet", "--json")
    trained = json.loads(told.stdout)
    assert trained["flip"] is True
    moved = tmp_path / "alone.safetensors"
    moved.write_bytes((folder / "weights.safetensors").read_bytes())
    for weights in (folder / "weights.safetensors", moved):
        answer = json.loads(invoke("eval", weights, "--json").stdout)
        for name in ("correct", "total", "accuracy", "loss", "flip"):
            assert answer[name] == trained[name]
    plain = json.loads(invoke("eval", moved, "--no-flip", "--json").stdout)
    assert plain["flip"] is False
    assert plain["loss"] != trained["loss"]
    again = json.loads(invoke("eval", moved, "--flip", "--json").stdout)
    assert again == answer
    assert "mirror" in invoke("eval", moved).stdout
    assert "mirror" not in invoke("eval", moved, "--no-flip").stdout


def test_predict_knows_the_mean_at_every_pixel(folder, tmp_path):
    from PIL import Image

    _, test = nr.data.digits()
    Image.fromarray(test.images[0, 0]).save(tmp_path / "digit.png")
    result = invoke("predict", folder / "weights.safetensors", tmp_path / "digit.png")
    assert result.exit_code == 0, result.output


def test_the_command_that_is_kept_repeats_the_run(folder, tmp_path):
    config = json.loads((folder / "config.json").read_text())
    program, *command = shlex.split(config["environment"]["repeat"])
    assert program == "npresnet"
    result = invoke(*command, "--quiet", "--out", tmp_path / "again")
    assert result.exit_code == 0, result.output
    ours = nr.weights.load(folder / "weights.safetensors")
    theirs = nr.weights.load(tmp_path / "again" / "weights.safetensors")
    for name in ours:
        assert ours[name].tobytes() == theirs[name].tobytes()
    page = (folder / "report.html").read_text()
    assert "npresnet train --recipe digits-quick" in page


def test_settings_that_disagree_with_a_resumed_run_are_refused(folder):
    agreeing = invoke("train", "--resume", folder, "--quiet", "--set", "validation=200")
    assert agreeing.exit_code == 0, agreeing.output
    result = invoke("train", "--resume", folder, "--set", "validation=100")
    assert_one_error_line(result, "--set validation", "has 200")
    result = invoke("train", "--resume", folder, "--set", "lr=0.5")
    assert_one_error_line(result, "lr", "has 0.05")


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        (("--set", "cutout"), ("--set", "SETTING=VALUE", "'cutout'")),
        (("--set", "colour=3"), ("--set", "colour=3")),
        (("--set", "cutout=big"), ("--set", "cutout: expected a whole number", "big")),
        (("--set", "cutout=-1"), ("cutout", "at least 0", "-1")),
        (("--set", "cutout=100"), ("cutout", "fewer than 8 pixels", "8x8", "100")),
        (("--set", "crop_padding=8"), ("crop_padding", "fewer than 8 pixels", "8x8")),
        (("--set", "last_batch=nope"), ("last_batch", "join, drop, keep", "nope")),
        (("--set", "model=resnet20"), ("--set", "--model")),
        (("--lr", "0.1", "--set", "lr=0.2"), ("--set", "lr is given twice")),
        (("--set", "validation=1437"), ("validation", "1437")),
        (("--set", "ema_decay=0.9", "--set", "average_epochs=2"), ("ema_decay",)),
    ],
)
def test_settings_that_cannot_be_are_one_line(options, parts, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert_one_error_line(invoke("train", *options), *parts)
    assert not (tmp_path / "runs").exists()


def test_with_json_progress_goes_to_standard_error(tmp_path):
    result = invoke("train", "--epochs", 1, "--json", "--out", tmp_path / "run")
    (line,) = result.stdout.splitlines()
    answer = json.loads(line)
    assert answer["report"] == str(tmp_path / "run" / "report.html")
    assert answer["epochs"] == 1
    assert answer["seconds"] > 0
    assert "epoch 1/1: loss" in result.stderr
