"""Progress is readable, live on a terminal, and plain where there is none."""

import io
import re
import sys

import pytest
from rich.console import Console

from npresnet.training import progress as module
from npresnet.training.progress import Lines, Live, Pace, Silent, make_progress

ROW = {
    "epoch": 2,
    "lr": 0.0123,
    "train_loss": 0.5,
    "train_accuracy": 0.8,
    "test_loss": 0.25,
    "test_accuracy": 0.975,
    "images_per_second": 1234.5,
    "seconds": 75.0,
}


class Clock:
    """A perf_counter that goes on by half a second at each look."""

    def __init__(self):
        self.now = 100.0

    def perf_counter(self):
        self.now += 0.5
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def drive(progress, row=ROW, batches=3):
    progress.message("hello [not markup] 1,234")
    progress.begin_epoch(2, 12, 3)
    for _ in range(batches):
        progress.batch(0.5, 0.8, 64, 0.0123)
    progress.measuring("test", 360)
    progress.end_epoch(row)
    progress.close()


class Terminal(io.StringIO):
    def isatty(self):
        return True


def shown_live(width=80, **options):
    """Drive a live display; return all that reached the terminal, in plain text."""
    terminal = Terminal()
    console = Console(
        file=terminal, width=width, force_terminal=True, color_system=None
    )
    drive(Live(console), **options)
    text = terminal.getvalue()
    return text, re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


def test_plain_lines_hold_no_control_characters(clock, capsys):
    drive(Lines())
    out, err = capsys.readouterr()
    assert err == ""
    assert out == (
        "hello [not markup] 1,234\n"
        "epoch  2/12: loss 0.5000, train 80.00 %, test 97.50 %, lr 0.0123, "
        "1,234 images/s, 1:15, 15.0 s left\n"
    )


def test_the_last_line_does_not_say_what_is_left(clock, capsys):
    drive(Lines(), {**ROW, "epoch": 12})
    assert capsys.readouterr().out.endswith("images/s, 1:15\n")


def test_lines_go_where_they_are_wanted(clock, capsys):
    drive(Lines(sys.stderr))
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 2


def test_a_value_that_was_not_measured_is_left_out(clock, capsys):
    row = {**ROW, "validation_accuracy": 0.9, "test_loss": None, "test_accuracy": None}
    drive(Lines(), row)
    out = capsys.readouterr().out
    assert "test" not in out
    assert "validation 90.00 %" in out


def test_a_terminal_gets_a_table_that_stays():
    _, text = shown_live()
    lines = [line.rstrip() for line in text.replace("\r", "\n").splitlines()]
    assert "hello [not markup] 1,234" in lines
    head = next(line for line in lines if line.split()[:2] == ["epoch", "lr"])
    assert head.split() == ["epoch", "lr", "loss", "train", "test", "images/s", "time"]
    row = next(line for line in lines if line.lstrip().startswith("2/12"))
    assert row.split("  ") != [row]
    assert row.split() == (
        ["2/12", "0.0123", "0.5000", "80.00", "%", "97.50", "%", "1,234", "1:15"]
    )
    assert len(head) == len(row)  # to the right, one under the other


def test_a_narrow_terminal_gets_a_table_that_fits():
    for width in (20, 40, 60, 70):
        _, text = shown_live(width)
        rows = [x for x in text.replace("\r", "\n").splitlines() if "2/12" in x]
        assert len(rows) == 1
        assert "97.50 %" in rows[0]  # what matters is there
        assert width == 20 or len(rows[0].rstrip()) <= width


def test_the_bars_show_loss_accuracy_rate_speed_and_both_times_left(clock):
    terminal = Terminal()
    console = Console(file=terminal, width=100, force_terminal=True, color_system=None)
    live = Live(console)
    live.begin_epoch(2, 12, 3)
    for _ in range(2):
        live.batch(0.5, 0.8, 64, 0.0123)
    epoch, run = picture(live)
    live.measuring("test", 360)
    resting, _ = picture(live)
    live.close()
    assert re.match(r"epoch 2 .* 67% +0 s left +loss 0\.500, train 80\.0 %", epoch)
    # 2 of 3 batches of epoch 2: 1 + 2/3 of 12 epochs.
    assert re.match(r"run .* 14% +16 s left +lr 0\.0123, 128 images/s", run)
    assert "measuring 360 test images" in resting
    # Room for what Ctrl-C shows, so that it does not wrap.
    assert max(len(epoch), len(run)) <= 96
    # Nothing of the bars stays.
    assert terminal.getvalue().endswith("\x1b[2K")


def test_the_bars_show_the_time_from_the_first_second():
    """The first step may compile for a minute: until then nothing else moves."""
    seconds = [0.0]
    console = Console(
        file=Terminal(),
        width=100,
        force_terminal=True,
        color_system=None,
        get_time=lambda: seconds[0],
    )
    live = Live(console)
    live.begin_epoch(1, 12, 3)
    assert all("0 s so far" in line for line in picture(live))
    seconds[0] = 42
    assert all("42 s so far" in line for line in picture(live))
    live.close()


def picture(live):
    """Draw the bars as they are now."""
    console = Console(width=100, file=io.StringIO(), color_system=None)
    console.print(live._bars.get_renderable())
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_the_pace_leaves_the_first_batch_out(clock):
    pace = Pace()
    pace.begin_epoch(1, 2, 4)
    clock.now += 60  # compiling
    pace.batch(10)
    assert pace.images_per_second is pace.run_left is None
    pace.batch(10)
    pace.batch(10)
    assert pace.images_per_second == pytest.approx(20)  # half a second each
    assert pace.epoch_left == pytest.approx(0.5)
    assert pace.run_left == pytest.approx(2.5)
    pace.batch(10)
    pace.begin_epoch(2, 2, 4)
    pace.batch(10)
    assert pace.epoch_left == pytest.approx(3 * 0.5)
    assert pace.run_left > pace.epoch_left  # the pause between epochs counts


def test_the_output_decides_the_kind(monkeypatch, capsys):
    assert isinstance(make_progress(quiet=True), Silent)
    assert type(make_progress(quiet=False)) is Lines
    assert type(make_progress(quiet=False, stream=Terminal())) is Live
    monkeypatch.setenv("TERM", "dumb")
    assert type(make_progress(quiet=False, stream=Terminal())) is Lines
    drive(Silent())
    assert capsys.readouterr() == ("", "")
