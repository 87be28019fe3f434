"""`npresnet train` from the outside: run folder, result, Ctrl-C, mistakes."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from click.testing import CliRunner

import npresnet as nr
from npresnet.cli import main


def invoke(*args, **options):
    return CliRunner().invoke(main, [str(arg) for arg in args], **options)


def assert_one_error_line(result, *parts):
    assert result.exit_code == 2, result.output
    (line,) = result.stderr.splitlines()
    assert line.startswith("npresnet: error: ")
    for part in parts:
        assert part in line
    assert "Traceback" not in result.output


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run of one epoch."""
    out = tmp_path_factory.mktemp("runs") / "one"
    result = invoke("train", "--epochs", 1, "--out", out, "--seed", 2)
    assert result.exit_code == 0, result.output
    return out


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_run_says_where_it_is_and_how_many_images_are_right(tmp_path):
    result = invoke("train", "--epochs", 1, "--out", tmp_path / "run")
    assert result.exit_code == 0
    *_, accuracy, where, report = result.stdout.splitlines()
    assert accuracy.startswith("360 test images, ")
    assert " right (" in accuracy
    assert where == f"run folder: {tmp_path / 'run'}"
    assert report == f"report: {tmp_path / 'run' / 'report.html'}"
    assert (tmp_path / "run" / "report.html").exists()
    assert "75,290 parameters" in result.stdout
    assert "epoch 1/1" in result.stdout
    assert "\r" not in result.output


def test_json_is_the_last_line_and_quiet_the_only_one(tmp_path):
    out = tmp_path / "run"
    result = invoke("train", "--epochs", 1, "--quiet", "--json", "--out", out)
    (line,) = result.stdout.splitlines()
    answer = json.loads(line)
    assert answer["folder"] == str(out)
    assert answer["total"] == 360
    assert answer["accuracy"] == answer["correct"] / 360
    assert (answer["model"], answer["dataset"]) == ("resnet8", "digits")
    assert result.stderr == ""


def test_eval_repeats_the_result_to_the_last_bit(folder, tmp_path):
    trained = json.loads(
        invoke("train", "--resume", folder, "--json").stdout.splitlines()[-1]
    )
    answer = json.loads(invoke("eval", folder / "weights.safetensors", "--json").stdout)
    for name in ("correct", "total", "accuracy", "loss"):
        assert answer[name] == trained[name]
    moved = tmp_path / "moved.safetensors"
    moved.write_bytes((folder / "weights.safetensors").read_bytes())
    assert json.loads(invoke("eval", moved, "--json").stdout) == answer
    bare = tmp_path / "bare.npz"
    nr.weights.save(bare, nr.weights.load(moved))
    assert_one_error_line(invoke("eval", bare), "--model", "bare.npz")
    named = invoke("eval", bare, "--model", "resnet8", "--dataset", "digits", "--json")
    assert json.loads(named.stdout) == answer


def test_a_folder_that_holds_a_run_is_refused_and_left_alone(folder):
    before = contents(folder)
    assert_one_error_line(
        invoke("train", "--epochs", 1, "--out", folder), str(folder), "already holds"
    )
    assert contents(folder) == before


def test_options_that_disagree_with_a_resumed_run_are_refused(folder):
    before = contents(folder)
    for option, value in (
        ("--epochs", 7),
        ("--seed", 5),
        ("--model", "resnet20"),
        ("--dataset", "cifar10"),
        ("--recipe", "cifar10-quick"),
        ("--shortcut", "B"),
        ("--lr", 0.3),
        ("--out", "elsewhere"),
    ):
        result = invoke("train", "--resume", folder, option, value)
        assert_one_error_line(result, option, str(value))
    assert contents(folder) == before
    agreeing = invoke(
        "train", "--resume", folder, "--epochs", 1, "--seed", 2, "--model", "resnet8"
    )
    assert agreeing.exit_code == 0
    assert "complete" in agreeing.stdout


def test_mistakes_are_one_line_and_status_two(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NPRESNET_DATA_DIR", raising=False)
    (tmp_path / "file").write_text("x")
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "config.json").write_text('{"model":')
    (tmp_path / "edited").mkdir()
    (tmp_path / "edited" / "config.json").write_text('{"model": {"name": 3}}')
    cases = [
        (("--model", "resnet9"), ("resnet9", "resnet8")),
        (("--model", "resnet18", "--shortcut", "A"), ("--shortcut", "resnet18")),
        (("--recipe", "nope"), ("nope", "digits-quick")),
        (("--dataset", "mnist"), ("mnist", "digits")),
        (("--dataset", "cifar10"), ("--data-dir",)),
        (("--dataset", "cifar10", "--data-dir", "none"), ("none", "--download")),
        (("--out", "file"), ("file",)),
        (("--resume", "nowhere"), ("nowhere", "config.json")),
        (("--resume", "torn"), ("torn", "JSON")),
        (("--resume", "edited"), ("edited", "'seed'")),
        (("--epochs", "0"), ("--epochs", "0")),
        (("--epochs", "many"), ("--epochs", "many")),
        (("--lr", "nan"), ("lr", "nan")),
        (("--threads", "0"), ("--threads",)),
        (("--shortcut", "D"), ("--shortcut", "'D'")),
        (("--frobnicate",), ("--frobnicate",)),
    ]
    for options, parts in cases:
        assert_one_error_line(invoke("train", *options), *parts)
    assert not (tmp_path / "runs").exists()


def test_a_truncated_data_file_is_named(tmp_path):
    binary = tmp_path / "cifar-10-batches-bin"
    binary.mkdir()
    for name in [f"data_batch_{n}.bin" for n in range(1, 6)] + ["test_batch.bin"]:
        (binary / name).write_bytes(bytes(30_730_000 if name == "none" else 3073))
    result = invoke("train", "--dataset", "cifar10", "--data-dir", tmp_path)
    assert_one_error_line(result, "data_batch_1.bin", "3,073")


@pytest.mark.parametrize(("answer", "fetched"), [("n", False), ("y", True)])
def test_a_person_is_asked_before_anything_is_downloaded(
    tmp_path, monkeypatch, answer, fetched
):
    asked = []

    def load(name, data_dir, *, download=False):
        asked.append(download)
        raise FileNotFoundError(f"{data_dir}: no CIFAR-10 here (download=True ...)")

    monkeypatch.setattr("npresnet.cli.train._a_person_is_there", lambda: True)
    monkeypatch.setattr("npresnet.data.load", load)
    options = ("train", "--dataset", "cifar10", "--data-dir", tmp_path)
    result = invoke(*options, input=f"{answer}\n")
    assert result.exit_code == 2
    assert "Download it now (162 MiB)?" in result.stderr
    assert "npresnet: error: " in result.stderr.splitlines()[-1]
    assert asked == ([False, True] if fetched else [False])
    asked.clear()
    assert_one_error_line(invoke(*options, "--download"), str(tmp_path))
    assert asked == [True]


def test_more_threads_than_there_are_is_said(tmp_path):
    before = nr.get_threads()
    try:
        result = invoke(
            "train",
            "--epochs",
            1,
            "--threads",
            4096,
            "--quiet",
            "--out",
            tmp_path / "r",
        )
        assert result.exit_code == 0
        assert "--threads 4096: using " in result.stderr
    finally:
        nr.set_threads(before)


def test_a_loss_that_explodes_is_one_line(tmp_path):
    result = invoke(
        "train", "--lr", "1e30", "--epochs", 2, "--quiet", "--out", tmp_path / "run"
    )
    assert_one_error_line(result, "epoch 1, step ", "the first infinity is in ")


def test_the_traceback_can_be_asked_for():
    result = invoke("--debug", "train", "--recipe", "nope")
    assert result.exit_code == 2
    assert "Traceback" in result.stderr
    assert result.stderr.splitlines()[-1].startswith("npresnet: error: ")


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")
def test_ctrl_c_loses_nothing_and_resumes_to_the_same_bits(tmp_path):
    settings = ["--epochs", "4", "--seed", "1"]
    whole = invoke("train", *settings, "--out", tmp_path / "whole")
    assert whole.exit_code == 0

    process = subprocess.Popen(
        [sys.executable, "-m", "npresnet", "train", *settings, "--out", "cut"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    weights = tmp_path / "cut" / "weights.safetensors"
    deadline = time.monotonic() + 120
    while not weights.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    (line,) = err.splitlines()
    assert line.startswith("npresnet: stopped by Ctrl-C in epoch ")
    assert line.endswith("nothing is lost; continue with: npresnet train --resume cut")
    kept = nr.weights.load(weights)
    assert all(np.isfinite(array).all() for array in kept.values())

    resumed = invoke("train", "--resume", tmp_path / "cut")
    assert resumed.exit_code == 0
    end = nr.weights.load(weights)
    straight = nr.weights.load(tmp_path / "whole" / "weights.safetensors")
    for name in straight:
        np.testing.assert_array_equal(end[name], straight[name])
    # Stopped in the middle, or the test shows nothing.
    assert any(not np.array_equal(kept[name], end[name]) for name in end)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is POSIX's")
def test_the_program_killed_at_random_moments_ends_with_the_same_bits(tmp_path):
    settings = ["--epochs", "60", "--seed", "1", "--quiet"]
    program = [sys.executable, "-m", "npresnet", "train"]
    silent = {"cwd": tmp_path, "stdout": subprocess.DEVNULL}
    straight = subprocess.run([*program, *settings, "--out", "whole"], **silent)
    assert straight.returncode == 0

    metrics = tmp_path / "cut" / "metrics.csv"

    def epochs_done():
        return len(metrics.read_text().splitlines()) if metrics.exists() else 0

    moments = random.Random(0)
    kills = 0
    while True:
        exists = (tmp_path / "cut" / "config.json").exists()
        how = ["--resume", "cut"] if exists else [*settings, "--out", "cut"]
        process = subprocess.Popen([*program, *how], **silent)
        # Some epochs and a moment later, however fast the host is.
        end = epochs_done() + moments.randint(0, 15)
        while process.poll() is None and epochs_done() < end:
            time.sleep(0.01)
        try:
            process.wait(timeout=moments.uniform(0, 0.3))
            break
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            kills += 1
    assert process.returncode == 0
    assert kills >= 3
    for name in ("weights", "checkpoint"):
        ours, theirs = (
            nr.weights.load(tmp_path / run / f"{name}.safetensors")
            for run in ("whole", "cut")
        )
        assert ours.keys() == theirs.keys()
        for key in ours:
            assert ours[key].tobytes() == theirs[key].tobytes()
    print(f"{kills} kills")
