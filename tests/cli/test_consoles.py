"""Consoles that have no letters for a file's name: it is escaped, nothing fails."""

import io
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import npresnet as nr
from npresnet.cli import main
from npresnet.training.progress import Lines, Live
from tests.cli.program import save_weights

JAPANESE, NO_TEXT = (
    "\u65e5\u672c",
    "\udcff\udc9b",
)  # the second: bytes that are no UTF-8


class Console:
    """Standard output and error of a program, as bytes."""

    def __init__(self, monkeypatch, encoding):
        self.monkeypatch, self.encoding = monkeypatch, encoding

    def run(self, *args):
        written = {"stdout": io.BytesIO(), "stderr": io.BytesIO()}
        with self.monkeypatch.context() as patch:
            for name, file in written.items():
                stream = io.TextIOWrapper(file, self.encoding, write_through=True)
                patch.setattr(sys, name, stream)
            with pytest.raises(SystemExit) as end:
                main([str(arg) for arg in args])
            return end.value.code, *(part.getvalue() for part in written.values())


@pytest.fixture(scope="module", params=[JAPANESE, NO_TEXT], ids=["Japanese", "bytes"])
def place(request, tmp_path_factory):
    """A folder with such a name, and such files in it."""
    folder = tmp_path_factory.mktemp("console") / request.param
    try:
        folder.mkdir()
    except (OSError, UnicodeError):
        pytest.skip("this disk takes no such name")
    name = request.param
    save_weights(folder / f"{name}.safetensors", nr.models.resnet8(), shortcut="A")
    Image.fromarray(nr.data.digits()[1].images[0, 0]).save(folder / f"{name}.png")
    (folder / f"{name}.txt").write_text("no picture")
    return folder


@pytest.fixture(params=["ascii", "cp1252", "utf-8"])
def console(request, monkeypatch):
    return Console(monkeypatch, request.param)


@pytest.fixture
def western(monkeypatch):
    return Console(monkeypatch, "cp1252")


def test_names_are_shown_as_the_console_can(place, console):
    name = place.name
    weights = place / f"{name}.safetensors"
    picture, text = place / f"{name}.png", place / f"{name}.txt"
    status, out, err = console.run("predict", weights, picture, text)
    assert status == 2
    assert out.count(b"\n") == err.count(b"\n") == 1
    assert b".png: " in out and b".txt: not a readable image" in err
    status, out, err = console.run("predict", weights, picture, "--json")
    assert status == 0
    answer = json.loads(out.splitlines()[-1])
    assert answer["predictions"][0]["image"] == str(picture)


@pytest.mark.parametrize(
    "command",
    [
        ("eval", "{}.safetensors"),
        ("eval", "{}.txt"),
        ("lens", "cost", "{}.safetensors", "--repeats", "0"),
        ("lens", "filters", "{}.safetensors", "--out", "{}-looks"),
        ("lens", "saliency", "{}.safetensors", "--image", "{}.png"),
        ("summary", "{}"),
        ("report", "{}"),
        ("recipes", "{}"),
        ("train", "--data-dir", "{}", "--dataset", "cifar10"),
        ("train", "--resume", "{}"),
        ("train", "--model", "{}"),
        ("course", "{}.txt"),
        ("{}",),
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_no_command_fails_to_print(command, place, western, monkeypatch):
    monkeypatch.chdir(place)
    shutil.rmtree(f"{place.name}-looks", ignore_errors=True)
    status, out, err = western.run(*(part.format(place.name) for part in command))
    assert status in (0, 2)
    assert b"Traceback" not in err and b"codec" not in err
    assert out or err


def test_a_run_goes_into_a_folder_with_such_a_name(place, western, monkeypatch):
    monkeypatch.chdir(place)
    shutil.rmtree("run" + place.name, ignore_errors=True)
    settings = ("--epochs", 1, "--set", "validation=1300", "--set", "last_batch=keep")
    status, out, err = western.run("train", *settings, "--out", "run" + place.name)
    assert status == 0, err
    assert b"run folder: run" in out
    folder = place / ("run" + place.name)
    assert (folder / "report.html").exists() and (folder / "curves.png").exists()
    status, out, err = western.run("report", "run" + place.name)
    assert status == 0, err
    status, out, err = western.run("eval", folder / "weights.safetensors")
    assert status == 0, err


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_progress_in_a_program_of_ones_own_does_not_stop_it(encoding):
    """`fit` prints the folder's name, and the console is not ours to set up."""
    from rich.console import Console as RichConsole

    written = io.BytesIO()
    stream = io.TextIOWrapper(written, encoding, write_through=True)
    for watch in (
        Lines(stream),
        Live(RichConsole(file=stream, force_terminal=True, width=80)),
    ):
        watch.message(f"into {JAPANESE}{NO_TEXT}")
        watch.begin_epoch(1, 2, 3)
        watch.batch(0.5, 0.8, 64, 0.1)
        watch.close()
    assert written.getvalue().count(rb"into \u65e5\u672c\udcff") == 2


def test_a_process_with_a_poor_console_prints(place, tmp_path):
    environment = {
        **os.environ,
        "PYTHONIOENCODING": "ascii",
        "PYTHONUTF8": "0",
        "LC_ALL": "C",
    }
    picture = place / f"{place.name}.png"
    weights = place / f"{place.name}.safetensors"
    result = subprocess.run(
        [sys.executable, "-m", "npresnet", "predict", weights, picture, picture],
        env=environment,
        capture_output=True,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.count(b".png: ") == 2
    np.testing.assert_equal(result.stderr, b"")
