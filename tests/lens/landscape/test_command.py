"""`npresnet lens landscape`: pictures side by side, and going on after a stop."""

import csv
import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import npresnet as nr
from npresnet._files import OpenFolder
from npresnet.training.lock import locked
from tests.cli.conftest import (  # noqa: F401
    _algorithm_of_a_user,
    _nothing_is_said_of_compiling,
    trained_digits,
)
from tests.cli.program import assert_one_error_line, invoke

SMALL = ("--images", 6, "--points", 3)


def last_json(result):
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout.splitlines()[-1])


def batch(images, seed=0):
    train, _ = nr.data.digits()
    return next(nr.data.batches(train, images, shuffle=True, seed=seed, epoch=0))


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def measuring(monkeypatch):
    """The list of measured points; the test may say after how many to stop."""
    module = sys.modules["npresnet.lens.landscape.measure"]
    measure, calls = module._measure, []

    def counting(*args):
        if counting.limit is not None and len(calls) == counting.limit:
            raise KeyboardInterrupt
        calls.append(1)
        return measure(*args)

    counting.limit, counting.calls = None, calls
    monkeypatch.setattr(module, "_measure", counting)
    return counting


def test_two_networks_are_measured_written_and_drawn_once(tmp_path):
    args = ("lens", "landscape", "resnet8", "plain8", *SMALL, "--out", tmp_path)
    result = invoke(*args, "--radius", 0.5, "--seed", 2)
    assert result.exit_code == 0, result.output
    assert sorted(contents(tmp_path)) == [
        "landscape-plain8.csv",
        "landscape-plain8.json",
        "landscape-resnet8-plain8.png",
        "landscape-resnet8.csv",
        "landscape-resnet8.json",
    ]
    assert result.stdout.count("better than guessing") == 2
    model = nr.models.resnet8(seed=2)
    expected = nr.lens.landscape(model, *batch(6, 2), points=3, radius=0.5, seed=2)
    data = json.loads((tmp_path / "landscape-resnet8.json").read_text())
    assert data["rows"] == expected.to_dict()["rows"]
    with open(tmp_path / "landscape-resnet8.csv", newline="") as file:
        losses = [float(row["loss"]) for row in csv.DictReader(file)]
    assert losses == [row.loss for row in expected.rows]
    before = contents(tmp_path)
    other = invoke(*args)
    assert_one_error_line(other, "landscape-plain8.csv", "already")
    after = contents(tmp_path)
    assert after.items() >= before.items()
    # What was measured is not lost for it.
    assert {name for name in after.keys() - before.keys()} == {
        f"landscape-{name}.points.json" for name in ("resnet8", "plain8")
    }


def test_fresh_weights_are_in_training_mode_and_files_in_evaluation_mode(tmp_path):
    file = tmp_path / "w.safetensors"
    nr.weights.save(file, nr.models.resnet8())
    options = (*SMALL, "--dimensions", 1, "--json")
    named = ("--model", "resnet8", "--dataset", "digits")
    fresh = last_json(invoke("lens", "landscape", "resnet8", *options))
    loaded = last_json(invoke("lens", "landscape", file, *named, *options))
    asked = last_json(
        invoke("lens", "landscape", file, *named, *options, "--mode", "train")
    )
    assert (fresh["training"], loaded["training"]) == (True, False)
    assert asked["training"] is True
    assert asked["rows"] == fresh["rows"] != loaded["rows"]
    assert fresh["dimensions"] == 1
    assert len(fresh["rows"]) == 3


@pytest.mark.parametrize("after", [5, 9])
def test_ctrl_c_keeps_the_points_and_the_same_command_goes_on(
    tmp_path, measuring, after
):
    def args(name):
        out = tmp_path / name
        return ("lens", "landscape", "resnet8", "plain8", *SMALL, "--out", out)

    assert invoke(*args("whole")).exit_code == 0
    measuring.calls.clear()
    measuring.limit = after
    stopped = invoke(*args("parts"))
    assert stopped.exit_code == 130
    (line,) = stopped.stderr.splitlines()
    assert f"kept in {tmp_path / 'parts'}" in line
    assert "the same command goes on" in line
    names = set(contents(tmp_path / "parts"))
    assert names <= {f"landscape-{n}.points.json" for n in ("resnet8", "plain8")}

    measuring.calls.clear()
    measuring.limit = None
    result = invoke(*args("parts"))
    assert result.exit_code == 0, result.output
    assert len(measuring.calls) == 18 - after
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")


def test_a_call_that_was_stopped_while_it_wrote_its_results_can_be_given_again(
    tmp_path, monkeypatch
):
    args = ("lens", "landscape", "resnet8", *SMALL, "--out", tmp_path / "looks")
    replacing = OpenFolder.replacing

    def failing(self, name, previous=None):
        if name.endswith(".csv"):
            raise OSError(28, "No space left on device", name)
        return replacing(self, name, previous)

    with monkeypatch.context() as patch:
        patch.setattr(OpenFolder, "replacing", failing)
        stopped = invoke(*args)
    assert stopped.exit_code == 2
    assert "No space left" in stopped.stderr.splitlines()[-1]
    assert invoke(*args).exit_code == 0
    assert set(contents(tmp_path / "looks")) == {
        f"landscape-resnet8{ending}" for ending in (".json", ".csv", ".png")
    }


def test_going_on_with_one_network_overwrites_no_other(tmp_path, measuring):
    args = ("--out", tmp_path, *SMALL)
    assert invoke("lens", "landscape", "plain8", *args).exit_code == 0
    measuring.calls.clear()
    measuring.limit = 4
    assert invoke("lens", "landscape", "resnet8", *args).exit_code == 130
    measuring.limit = None
    before = contents(tmp_path)
    other = invoke("lens", "landscape", "resnet8", "plain8", "--radius", 2, *args)
    assert_one_error_line(other, "landscape-resnet8.points.json", "different radius")
    both = invoke("lens", "landscape", "resnet8", "plain8", *args)
    assert both.exit_code == 0
    del before["landscape-resnet8.points.json"]
    assert contents(tmp_path).items() > before.items()


def test_forced_a_result_takes_the_place_of_another(tmp_path, measuring):
    args = ("lens", "landscape", "resnet8", *SMALL, "--out", tmp_path)
    assert invoke(*args, "--radius", 2).exit_code == 0
    before = contents(tmp_path)
    assert invoke(*args).exit_code == 2
    measuring.calls.clear()
    assert invoke(*args, "--force").exit_code == 0
    assert not measuring.calls  # all points were there
    after = contents(tmp_path)
    assert after.keys() == before.keys()
    assert all(after[name] != before[name] for name in before)
    assert_one_error_line(invoke(*args[:-2], "--force"), "--force", "--out")


def test_a_lock_of_somebody_else_is_refused_by_name(tmp_path):
    (tmp_path / ".lock").write_text("mine")
    args = ("lens", "landscape", "resnet8", *SMALL, "--out", tmp_path)
    assert_one_error_line(invoke(*args), ".lock")
    assert contents(tmp_path) == {".lock": b"mine"}


def test_a_killed_program_loses_a_second_at_most(tmp_path):
    def words(name):
        options = "lens landscape resnet8 --images 32 --points 21 --out"
        return [*options.split(), str(tmp_path / name)]

    command = [sys.executable, "-m", "npresnet", *words("parts"), "--threads", "1"]
    points = tmp_path / "parts" / "landscape-resnet8.points.json"
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 240
        while not points.exists() and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    kept = json.loads(points.read_text())["points"]
    assert 0 < len(kept) < 21 * 21
    with nr.using_algorithm("auto"):  # as in the process
        for name in ("parts", "whole"):
            assert invoke(*words(name)).exit_code == 0
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")


def test_points_of_other_settings_or_weights_are_refused(tmp_path, measuring):
    args = ("lens", "landscape", "resnet8", *SMALL, "--out", tmp_path)
    measuring.limit = 4
    assert invoke(*args).exit_code == 130
    measuring.limit = None
    before = contents(tmp_path)
    name = "landscape-resnet8.points.json"
    for option, what in [
        (("--radius", 2), "radius"),
        (("--points", 5), "points"),
        (("--dimensions", 1), "dimensions"),
        (("--images", 7), "images"),
        (("--seed", 1), "weights"),
        (("--mode", "eval"), "mode"),
        (("--shortcut", "B"), "network"),
    ]:
        assert_one_error_line(invoke(*args, *option), name, f"different {what} ")
        assert contents(tmp_path) == before


def test_a_second_call_in_the_folder_is_refused(tmp_path):
    args = ("lens", "landscape", "resnet8", *SMALL, "--out", tmp_path)
    with locked(tmp_path):
        assert_one_error_line(invoke(*args), str(tmp_path), "under way")
    assert not contents(tmp_path)
    assert invoke(*args).exit_code == 0


def test_what_is_wrong_is_named(tmp_path):
    def refused(*args):
        return invoke("lens", "landscape", *args)

    assert_one_error_line(refused(), "WEIGHTS_OR_MODEL")
    assert_one_error_line(refused("resnet9"), "resnet9")
    assert_one_error_line(refused("resnet8", "--points", 4), "--points 4", "odd")
    assert_one_error_line(refused("resnet8", "--points", 1), "--points")
    assert_one_error_line(refused("resnet8", "--grid", "many"), "--grid")
    assert_one_error_line(refused("resnet8", "--radius", 0), "--radius")
    assert_one_error_line(refused("resnet8", "--radius", "nan"), "--radius")
    assert_one_error_line(refused("resnet8", "--radius", "inf"), "--radius")
    assert_one_error_line(refused("resnet8", "--dimensions", 3), "--dimensions")
    assert_one_error_line(refused("resnet8", "--images", 2000), "--images", "1437")
    (tmp_path / "file").write_text("here")
    assert_one_error_line(refused("resnet8", "--out", tmp_path / "file"), "--out")
    assert len(refused("--help").stdout) > 500


def test_a_file_that_is_no_file_of_points_is_left_alone(tmp_path):
    other = tmp_path / "landscape-resnet8.points.json"
    other.write_text("notes")
    result = invoke("lens", "landscape", "resnet8", *SMALL, "--out", tmp_path)
    assert_one_error_line(result, other.name, "expected a file of points")
    assert other.read_text() == "notes"


def test_grid_is_another_name_for_points():
    options = ("--images", 4, "--dimensions", 1, "--json")
    one = last_json(invoke("lens", "landscape", "resnet8", "--points", 5, *options))
    other = last_json(invoke("lens", "landscape", "resnet8", "--grid", 5, *options))
    assert one == other
    assert np.isfinite([row["loss"] for row in one["rows"]]).all()
