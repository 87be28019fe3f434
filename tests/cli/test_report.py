"""npresnet report makes the page anew from what is in the folder."""

import json

import pytest

import npresnet as nr
from tests.cli.program import assert_one_error_line, invoke

pytestmark = pytest.mark.drawn


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "run"
    result = invoke("train", "--epochs", 1, "--quiet", "--out", out)
    assert result.exit_code == 0, result.output
    return out


def test_the_page_is_the_same_to_the_last_letter(folder):
    path = folder / "report.html"
    written = path.read_text()
    path.unlink()
    result = invoke("report", folder)
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{path}\n"
    assert path.read_text() == written


def test_json_says_where_it_is_and_what_was_measured(folder):
    answer = json.loads(invoke("report", folder, "--json").stdout)
    measured = json.loads(
        invoke("eval", folder / "weights.safetensors", "--json").stdout
    )
    assert answer["report"] == str(folder / "report.html")
    for name in ("correct", "total", "accuracy", "loss", "flip"):
        assert answer[name] == measured[name]


def test_a_folder_without_a_run_is_one_line(folder, tmp_path):
    assert_one_error_line(invoke("report", tmp_path), str(tmp_path), "config.json")
    (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    assert_one_error_line(invoke("report", tmp_path), "weights.safetensors")
    model = nr.models.create("resnet8", num_classes=10)
    nr.weights.save(tmp_path / "weights.safetensors", model)
    assert_one_error_line(invoke("report", tmp_path), "metrics.csv")
    (tmp_path / "metrics.csv").write_text("epoch,lr\n1,fast\n")
    assert_one_error_line(invoke("report", tmp_path), "metrics.csv", "fast")
    assert not (tmp_path / "report.html").exists()
