"""Learning curves show what was measured, in the house's language."""

import subprocess
import sys

import pytest

from npresnet.plots import learning_curves, style

HISTORY = [
    {
        "epoch": epoch,
        "lr": 0.1 / epoch,
        "train_loss": 2.0 / epoch,
        "train_accuracy": 1 - 0.5 / epoch,
        "test_loss": None if epoch < 3 else 0.4,
        "test_accuracy": None if epoch < 3 else 0.9,
    }
    for epoch in (1, 2, 3)
]


def test_curves_draw_what_was_measured_with_labelled_axes(tmp_path):
    path = tmp_path / "curves.png"
    figure = learning_curves(HISTORY, path)
    assert path.read_bytes().startswith(b"\x89PNG")
    loss, accuracy, rate = figure.axes
    train, test = loss.lines
    assert list(train.get_xdata()) == [1, 2, 3]
    assert list(train.get_ydata()) == [2.0, 1.0, pytest.approx(2 / 3)]
    assert list(test.get_xdata()) == [3]
    assert list(accuracy.lines[0].get_ydata()) == pytest.approx([50, 75, 100 * 5 / 6])
    assert len(rate.lines) == 1
    assert "nats" in loss.get_ylabel()
    assert "%" in accuracy.get_ylabel()
    assert all(axes.get_xlabel() == "epoch" for axes in figure.axes)


def test_series_differ_in_more_than_colour():
    looks = [style.TRAIN, style.VALIDATION, style.TEST]
    assert len({look.linestyle for look in looks}) == 3
    assert len({look.marker for look in looks}) == 3


def test_one_epoch_is_enough_and_none_is_refused(tmp_path):
    learning_curves(HISTORY[:1], tmp_path / "one.svg")
    with pytest.raises(ValueError, match="history"):
        learning_curves([])


def test_the_global_state_of_matplotlib_stays():
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    learning_curves(HISTORY)
    assert dict(mpl.rcParams) == before


def test_matplotlib_is_loaded_only_for_a_picture():
    code = (
        "import sys, npresnet.plots, npresnet.training, npresnet.cli; "
        "assert not {'matplotlib', 'numba', 'PIL', 'tqdm'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
