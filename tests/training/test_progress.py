"""Progress is readable, and plain where the output is no terminal."""

import sys
import time

from npresnet.training.progress import Lines, Live, Silent, make_progress

ROW = {
    "epoch": 2,
    "lr": 0.1,
    "train_loss": 0.5,
    "train_accuracy": 0.8,
    "test_loss": 0.25,
    "test_accuracy": 0.975,
    "seconds": 75.0,
    "images_per_second": 1234.5,
}


def drive(progress, seconds=0.0):
    progress.message("hello")
    progress.begin_epoch(2, 12, 3)
    for _ in range(3):
        time.sleep(seconds)
        progress.batch(0.5, 0.8, 64)
    progress.end_epoch(ROW)
    progress.close()


def test_plain_lines_hold_no_control_characters(capsys):
    drive(Lines())
    out, err = capsys.readouterr()
    assert err == ""
    assert out == (
        "hello\n"
        "epoch  2/12; train loss 0.5000, 80.00% right; test loss 0.2500, 97.50% right; "
        "1:15, 1,234 images/s\n"
    )


def test_the_live_bar_shows_loss_accuracy_speed_and_time_left(capsys):
    drive(Live(), seconds=0.12)  # longer than the bar waits between two drawings
    out, err = capsys.readouterr()
    assert "epoch 2/12" in err
    for part in ("loss 0.500", "80.0% right", "images/s", "left"):
        assert part in err
    assert out.startswith("hello\nepoch  2/12;")


def test_a_value_that_was_not_measured_is_left_out(capsys):
    progress = Lines()
    progress.begin_epoch(2, 12, 3)
    progress.end_epoch({**ROW, "test_loss": None, "test_accuracy": None})
    assert "test" not in capsys.readouterr().out


def test_the_output_decides_the_kind(monkeypatch, capsys):
    assert isinstance(make_progress(quiet=True), Silent)
    assert type(make_progress(quiet=False)) is Lines
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert type(make_progress(quiet=False)) is Live
    drive(Silent())
    assert capsys.readouterr() == ("", "")
