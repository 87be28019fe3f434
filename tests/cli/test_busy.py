"""Commands say what they are doing: a bar on a terminal, a line where they compile."""

import io
import os
import re
import subprocess
import sys
import threading
import time

import pytest
from numba.core import event
from PIL import Image

import npresnet as nr
from npresnet.cli import busy as module
from npresnet.cli.busy import COMPILING, busy, say
from tests.cli.program import invoke, save_weights


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self):
        return True


def a_terminal(monkeypatch, kind="xterm"):
    """Make standard error a terminal, and shorten the patience."""
    terminal = Terminal()
    monkeypatch.setenv("TERM", kind)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(module, "_SHOWN_AFTER", 0)
    return terminal


def wait_for(true):
    end = time.monotonic() + 20
    while not true() and time.monotonic() < end:
        time.sleep(0.01)
    assert true()


def compile_something():
    with event.trigger_event("numba:compile"):
        pass


def test_a_bar_shows_the_time_and_how_far_it_is(monkeypatch):
    terminal = a_terminal(monkeypatch)
    with busy("eval of resnet8") as progress:
        wait_for(lambda: "eval of resnet8" in terminal.getvalue())
        assert "0:00:0" in terminal.getvalue()  # from the first second
        progress(2_560, 10_000)
        wait_for(lambda: "2,560 of 10,000" in terminal.getvalue())
    assert terminal.getvalue().endswith("\x1b[2K")  # nothing stays


def test_a_bar_says_what_is_compiled(monkeypatch):
    terminal = a_terminal(monkeypatch)
    with busy("summary"):
        compile_something()
        compile_something()
        wait_for(
            lambda: "compiling kernels, once per machine: 2" in terminal.getvalue()
        )
    before = terminal.getvalue()
    compile_something()  # nobody listens any more
    assert terminal.getvalue() == before


def test_what_is_soon_over_shows_nothing(monkeypatch):
    terminal = a_terminal(monkeypatch)
    monkeypatch.setattr(module, "_SHOWN_AFTER", 30)
    with busy("predict") as progress:
        progress(1, 2)
    assert terminal.getvalue() == ""
    assert not any(isinstance(one, threading.Timer) for one in threading.enumerate())


def test_lines_are_printed_above_the_bar(monkeypatch):
    terminal = a_terminal(monkeypatch)
    with busy("predict"):
        wait_for(lambda: "predict" in terminal.getvalue())
        say("one.png: cropped", err=True)
        assert "\x1b[2Kone.png: cropped\n" in terminal.getvalue()
        wait_for(lambda: terminal.getvalue().rpartition("cropped")[2].count("predict"))
    say("two.png: cropped", err=True)
    assert terminal.getvalue().endswith("two.png: cropped\n")


def test_elsewhere_a_line_tells_of_compiling_once(monkeypatch, capsys):
    monkeypatch.setattr(module, "_SAID_AFTER", 0)
    said = []
    monkeypatch.setattr(
        module.click, "echo", lambda text, err: said.append((text, err))
    )
    with busy("eval") as progress:
        assert progress is None
        for _ in range(3):
            compile_something()
        wait_for(lambda: said)
    assert said == [(COMPILING, True)]


def test_elsewhere_nothing_is_said_of_what_is_quickly_compiled(capsys):
    with busy("eval"):
        compile_something()
    assert capsys.readouterr() == ("", "")


def test_a_terminal_that_moves_no_cursor_gets_no_bar(monkeypatch):
    terminal = a_terminal(monkeypatch, "dumb")
    with busy("eval") as progress:
        assert progress is None
    assert terminal.getvalue() == ""


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "w.safetensors"
    return save_weights(path, nr.models.resnet8(), shortcut="A")


@pytest.mark.parametrize(
    "command",
    [
        ("summary", "resnet8"),
        ("eval", "W"),
        ("predict", "W", "P"),
        ("lens", "ledger", "resnet8"),
        ("lens", "spectrum", "W"),
        ("lens", "steps", "resnet8", "--within", "fc"),
        ("lens", "lesion", "W", "--images", "20"),
        ("lens", "responses", "W", "--images", "20"),
        ("lens", "shattered", "resnet8", "--images", "4", "--lines", "1"),
        ("lens", "landscape", "W", "--images", "20", "--dimensions", "1"),
        ("lens", "cost", "resnet8", "--repeats", "0"),
        ("lens", "saliency", "W"),
        ("lens", "grad-cam", "W"),
        ("lens", "maps", "W"),
        ("lens", "activations", "W"),
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_every_command_that_computes_can_be_watched(
    command, weights, tmp_path, monkeypatch
):
    """What runs a network runs within `busy`."""
    path = tmp_path / "p.png"
    Image.fromarray(nr.data.digits()[1].images[0, 0]).save(path)
    watched, seen = [], []

    entered = module._listening

    def listening(display):
        seen.append(display)
        return entered(display)

    monkeypatch.setattr(module, "_listening", listening)
    conv2d = nr.nn.Conv2d.forward

    def forward(*args, **options):
        watched.append(bool(seen))
        return conv2d(*args, **options)

    monkeypatch.setattr(nr.nn.Conv2d, "forward", forward)
    places = {"W": weights, "P": path}
    result = invoke(*(places.get(part, part) for part in command))
    assert result.exit_code == 0, result.output
    assert seen and all(watched)


def test_evaluation_tells_how_far_it_is():
    model, (_, test) = nr.models.resnet8(), nr.data.digits()
    few = test.subset(range(50))
    told = []
    nr.training.evaluate(
        model, few, 20, flip=True, progress=lambda *now: told.append(now)
    )
    assert told == [(20, 100), (40, 100), (50, 100), (70, 100), (90, 100), (100, 100)]


@pytest.mark.slow
@pytest.mark.parametrize("command", ["summary", "eval", "predict", "lens"])
def test_a_machine_without_kernels_says_that_it_compiles(command, weights, tmp_path):
    path = tmp_path / "p.png"
    Image.fromarray(nr.data.digits()[1].images[0, 0]).save(path)
    arguments = {
        "summary": ["resnet8"],
        "eval": [weights],
        "predict": [weights, path],
        "lens": ["ledger", weights],
    }
    result = subprocess.run(
        [sys.executable, "-m", "npresnet", command, *map(str, arguments[command])],
        env={**os.environ, "NPRESNET_CACHE_DIR": str(tmp_path / "kernels")},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    assert re.fullmatch(f"{COMPILING}\n", result.stderr)
    assert result.stdout
