"""Commands on weights, headers and folders that somebody else made."""

import json
import os

import numpy as np
import pytest
from PIL import Image

import npresnet as nr

from .program import assert_one_error_line, invoke, save_weights

NASTY = "cat\x1b[2J\x1b]0;owned\x07\u202e"


@pytest.fixture(scope="module")
def model():
    return nr.models.resnet8()


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "picture.png"
    Image.fromarray(np.eye(8, dtype=np.uint8) * 255).convert("RGB").save(path)
    return path


def note(**changes):
    dataset = {
        "name": "digits",
        "classes": list("0123456789"),
        "image_shape": [3, 8, 8],
        "mean": [0.3, 0.3, 0.3],
        "std": [0.4, 0.4, 0.4],
    }
    dataset = {k: v for k, v in {**dataset, **changes}.items() if v != "missing"}
    return {"model": {"name": "resnet8"}, "dataset": dataset}


def save(path, model, header):
    text = header if isinstance(header, str) else json.dumps(header)
    nr.weights.save(path, model, metadata={"npresnet": text})
    return path


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"image_shape": "missing"}, "'dataset.image_shape', which is missing"),
        ({"mean": "missing"}, "'dataset.mean', which is missing"),
        ({"std": "missing"}, "'dataset.std', which is missing"),
        ({"classes": "missing"}, "'dataset.classes', which is missing"),
        ({"classes": 5}, "'dataset.classes': expected a list, found 5"),
        ({"classes": [1, 2]}, "'dataset.classes[0]': expected a text, found 1"),
        ({"classes": []}, "'dataset.classes': expected names, found none"),
        ({"image_shape": 8}, "'dataset.image_shape': expected three whole numbers"),
        ({"image_shape": [3, 20_000, 20_000]}, "whose product is 16,777,216 at most"),
        ({"image_shape": [3, 8, -8]}, "'dataset.image_shape': expected three whole"),
        ({"mean": [0.3]}, "'dataset.mean': expected finite numbers, one for each of 3"),
        ({"mean": 0.3}, "'dataset.mean': expected a list, found 0.3"),
        ({"mean": [[1], 2, 3]}, "'dataset.mean': expected finite numbers"),
        ({"mean": [1e999, 0, 0]}, "it has no Infinity"),
        ({"std": [0.4, 0.4, 0]}, "'dataset.std': expected numbers above 0"),
        ({"std": [10**400, 1, 1]}, "'dataset.std': expected"),
        ({"name": 5}, "expected a text as dataset.name, got 5"),
        ({"data_dir": ["x"]}, "expected a text as dataset.data_dir, got "),
    ],
)
@pytest.mark.parametrize("command", ["eval", "predict", "lens"])
def test_a_header_that_lacks_something_is_one_line(
    command, changes, says, model, picture, tmp_path
):
    path = save(tmp_path / "w.safetensors", model, note(**changes))
    words = {
        "eval": ["eval", path],
        "predict": ["predict", path, picture],
        "lens": ["lens", "ledger", path],
    }[command]
    assert_one_error_line(invoke(*words), f"{path}: ", says)


def test_a_data_set_by_name_stands_in_for_what_the_header_lacks(model, tmp_path):
    path = save(tmp_path / "w.safetensors", model, note(mean="missing"))
    assert_one_error_line(invoke("eval", path), "--dataset NAME")
    result = invoke("eval", path, "--dataset", "digits", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["total"] == 360


@pytest.mark.parametrize(
    ("header", "says"),
    [
        ("[" * 100_000, "the note of npresnet in its header: not readable as JSON"),
        ("{", "not readable as JSON"),
        ("null", "--model"),
        ("[]", "--model"),
        ('{"model": 5}', "--model"),
        ('{"model": {"name": 5}}', "expected a text as model.name, got 5"),
        ('{"model": {"name": "resnet8", "shortcut": 5}}', "model.shortcut, got 5"),
        ('{"model": {"name": "resnet8"}}', "--dataset"),
        ('{"model": {"name": "\\u001b[2J"}, "dataset": {"name": "digits"}}', "missing"),
    ],
)
def test_a_header_that_is_something_else_is_one_line(header, says, model, tmp_path):
    path = save(tmp_path / "w.safetensors", model, header)
    assert_one_error_line(invoke("eval", path), says)


# --- NaN ----------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("as_json", [(), ("--json",)])
def test_weights_with_nan_are_one_line_that_names_them(
    value, as_json, picture, tmp_path
):
    broken = nr.models.resnet8()
    dict(broken.named_parameters())["layer2.0.conv1.weight"].data[1, 2, 0] = value
    path = save_weights(tmp_path / "w.safetensors", broken)
    says = "3 of the 4,608 values of layer2.0.conv1.weight are NaN or infinite"
    for words in (["eval", path], ["predict", path, picture], ["lens", "ledger", path]):
        assert_one_error_line(invoke(*words, *as_json), f"{path}: {says}")


def test_what_json_has_no_number_for_is_null(picture, tmp_path):
    loud = nr.models.resnet8()
    for name, parameter in loud.named_parameters():
        if name.endswith("fc.weight"):
            parameter.data[...] = 3e38  # finite, but no sum of them is
    path = save_weights(tmp_path / "w.safetensors", loud)

    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    with np.errstate(all="ignore"):
        for words in (["eval", path], ["predict", path, picture]):
            result = invoke(*words, "--json")
            if result.exit_code == 0:
                json.loads(result.stdout.splitlines()[-1], parse_constant=refuse)
            else:
                assert result.exit_code == 2


# --- what is no file of weights -----------------------------------------------------


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"<!DOCTYPE html><html>", "it is a page of HTML"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull fetches it"),
        (b"", "is empty"),
        (b"my weights", "it is a text that begins with 'my weights'"),
    ],
)
@pytest.mark.parametrize("name", ["resnet20.pth", "weights.safetensors", "w.npz"])
def test_every_command_says_what_a_file_is_that_is_no_weights(
    name, content, says, picture, tmp_path
):
    path = tmp_path / name
    path.write_bytes(content)
    for words in (["eval", path], ["predict", path, picture], ["lens", "ledger", path]):
        assert_one_error_line(invoke(*words), f"{path}: ", says)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes of POSIX")
@pytest.mark.timeout(60)
def test_no_command_waits_for_a_pipe(picture, tmp_path):
    pipe = tmp_path / "w.safetensors"
    os.mkfifo(pipe)
    run = tmp_path / "run"
    run.mkdir()
    os.mkfifo(run / "config.json")
    (run / "weights.safetensors").write_bytes(b"x")
    points = tmp_path / "points.json"
    os.mkfifo(points)
    for words in (
        ["eval", pipe],
        ["predict", pipe, picture],
        ["lens", "ledger", pipe],
        ["lens", "cost", pipe],
        ["report", run],
        ["train", "--resume", run],
        ["eval", run / "weights.safetensors"],
        ["eval", "/dev/zero"],
        ["eval", tmp_path],
    ):
        assert_one_error_line(invoke(*words))


# --- texts that act on a terminal ---------------------------------------------------


def is_harmless(text):
    return all(line.isprintable() for line in text.split("\n"))


def test_names_of_classes_reach_the_terminal_escaped_and_cut(model, picture, tmp_path):
    classes = [f"{NASTY}{i}" + "x" * 100_000 for i in range(10)]
    path = save(tmp_path / "w.safetensors", model, note(classes=classes))
    result = invoke("predict", path, picture)
    assert result.exit_code == 0, result.output
    assert r"cat\x1b[2J" in result.stdout
    assert is_harmless(result.output) and len(result.output) < 2000
    answer = json.loads(invoke("predict", path, picture, "--json").stdout)
    assert len(answer["predictions"][0]["class"]) < 100


def test_errors_reach_the_terminal_escaped_and_cut(model, tmp_path):
    nasty = tmp_path / f"{NASTY}.pth"
    nasty.write_bytes(b"x" * 9)
    shaped = save(
        tmp_path / "w.safetensors",
        {f"{NASTY}{i}" + "y" * 100_000: np.zeros(3, np.float32) for i in range(9)},
        note(),
    )
    named = save(
        tmp_path / "n.safetensors",
        model,
        {**note(), "model": {"name": NASTY + "z" * 100_000}},
    )
    for words in (
        ["eval", nasty],
        ["eval", tmp_path / NASTY],
        ["eval", shaped],
        ["eval", named],
        ["eval", named, "--model", "resnet8", "--dataset", NASTY],
        ["report", tmp_path / NASTY],
    ):
        result = invoke(*words)
        assert_one_error_line(result)
        assert is_harmless(result.output) and len(result.output) < 2500


def test_a_traceback_is_escaped_too(tmp_path):
    path = tmp_path / f"{NASTY}.pth"
    path.write_bytes(b"x" * 9)
    result = invoke("--debug", "eval", path)
    assert result.exit_code == 2
    assert "Traceback" in result.output
    assert is_harmless(result.output)
