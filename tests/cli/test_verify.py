"""npresnet verify: a table, a count, and an exit status."""

import json
import os
import subprocess
import sys

import pytest
from click.testing import CliRunner

import npresnet as nr
from npresnet.cli import main
from npresnet.cli import verify as command


def invoke(*args):
    return CliRunner().invoke(main, ["verify", *args])


@pytest.fixture
def wrong_relu(monkeypatch):
    right = nr.functional.relu_backward
    wrong = lambda grad_output, cache: 0.5 * right(grad_output, cache)  # noqa: E731
    monkeypatch.setattr(nr.functional, "relu_backward", wrong)


def test_the_table_ends_in_a_count_and_the_status_is_zero():
    result = invoke("relu", "linear")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[-1].startswith("20 gradients checked, worst relative error ")
    assert [x.split()[0] for x in lines if x.endswith("  ok")] == ["relu", "linear"]
    assert "\r" not in result.stdout  # progress is for terminals


def test_quiet_prints_one_line():
    result = invoke("--quiet", "relu")
    assert result.exit_code == 0
    (line,) = result.stdout.splitlines()
    assert line.startswith("4 gradients checked, ")


def test_json_is_one_object_in_the_last_line():
    result = invoke("--json", "relu", "linear")
    assert result.exit_code == 0
    told = json.loads(result.stdout.splitlines()[-1])
    assert told["ok"] is True
    assert told["checks"] == 20 == sum(row["checks"] for row in told["rows"])
    assert told["backends"] == ["reference", "numba"]
    assert [row["name"] for row in told["rows"]] == ["relu", "linear"]
    assert told["worst_error"] == max(row["worst_error"] for row in told["rows"])


@pytest.mark.parametrize("options", [(), ("--quiet",), ("--json",)])
def test_a_wrong_gradient_is_named_and_the_status_is_one(wrong_relu, options):
    result = invoke(*options, "relu", "linear")
    assert result.exit_code == 1
    last = result.stdout.splitlines()[-1]
    if "--json" in options:
        told = json.loads(last)
        assert told["ok"] is False
        assert [row["ok"] for row in told["rows"]] == [False, True]
        assert "wrong gradient for input 0" in told["rows"][0]["failures"][0]
    else:
        assert last.startswith("FAILED: relu; 20 gradients checked, ")
        assert "FAILED relu, images, numba: wrong gradient for input 0" in result.stdout


@pytest.mark.parametrize("argument", ["conv3d", "--no-such-option"])
def test_bad_usage_is_one_line_and_status_two(argument):
    result = invoke(argument)
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith("npresnet: error: ")
    assert argument in line


def test_a_terminal_sees_progress_and_then_only_the_table(monkeypatch, capsys):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    with pytest.raises(SystemExit) as end:
        main(["verify", "relu"])
    assert end.value.code == 0
    live, table = capsys.readouterr().out.split("\r\x1b[KEach gradient")
    assert live.split("\r\x1b[K") == ["", "0/2  relu, images", "1/2  relu, a vector"]
    assert "\r" not in table


def test_progress_keeps_to_one_line(capsys):
    command._show(3, 100, "x" * 200)
    assert len(capsys.readouterr().out) < 90


def test_torch_is_not_needed():
    code = (
        "import sys\n"
        "sys.modules['torch'] = None\n"  # importing it fails now
        "from npresnet.cli import main\n"
        "main(['verify', '--quiet', 'linear'])\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


@pytest.mark.slow
def test_everything_is_verified_from_an_empty_cache(tmp_path):
    environment = {**os.environ, "NPRESNET_CACHE_DIR": str(tmp_path)}
    run = subprocess.run(
        [sys.executable, "-m", "npresnet", "verify", "--json"],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    told = json.loads(run.stdout.splitlines()[-1])
    assert told["ok"]
    assert told["checks"] > 1000
