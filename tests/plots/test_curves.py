"""Learning curves show what was measured, in the house's language."""

import subprocess
import sys

import pytest

from npresnet.plots import curve_panels, learning_curves, style

pytestmark = pytest.mark.drawn

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
    accuracy, loss, rate = figure.axes
    train, test = loss.lines
    assert list(train.get_xdata()) == [1, 2, 3]
    assert list(train.get_ydata()) == [2.0, 1.0, pytest.approx(2 / 3)]
    assert list(test.get_xdata()) == [3]
    assert list(accuracy.lines[0].get_ydata()) == pytest.approx([50, 75, 100 * 5 / 6])
    assert len(rate.lines) == 1
    assert "nats" in loss.get_ylabel()
    assert "%" in accuracy.get_ylabel()
    assert all(axes.get_xlabel() == "epoch" for axes in figure.axes)


def test_panels_are_the_same_curves_one_by_one():
    together = learning_curves(HISTORY).axes
    panels = curve_panels(HISTORY)
    assert list(panels) == ["accuracy", "loss", "lr"]
    for whole, figure in zip(together, panels.values(), strict=True):
        (axes,) = figure.axes
        assert axes.get_title(loc="left") == whole.get_title(loc="left")
        for one, other in zip(axes.lines, whole.lines, strict=True):
            assert one.get_xydata().tolist() == other.get_xydata().tolist()
            assert one.get_linestyle() == other.get_linestyle()


def test_losses_far_apart_get_a_logarithmic_axis():
    assert learning_curves(HISTORY).axes[1].get_yscale() == "linear"
    low = [{**row, "train_loss": 2.0 / 40 ** row["epoch"]} for row in HISTORY]
    assert learning_curves(low).axes[1].get_yscale() == "log"
    zero = [{**row, "train_loss": 0.0} for row in HISTORY]
    assert learning_curves(zero).axes[1].get_yscale() == "linear"


def test_series_differ_in_more_than_colour():
    looks = [style.TRAIN, style.VALIDATION, style.TEST]
    assert len({look.linestyle for look in looks}) == 3
    assert len({look.marker for look in looks}) == 3


def test_one_epoch_is_enough_and_none_is_refused(tmp_path):
    learning_curves(HISTORY[:1], tmp_path / "one.svg")
    for draw in (learning_curves, curve_panels):
        with pytest.raises(ValueError, match="history"):
            draw([])


def test_the_global_state_of_matplotlib_stays():
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    learning_curves(HISTORY)
    assert dict(mpl.rcParams) == before


def test_matplotlib_is_loaded_only_for_a_picture():
    code = (
        "import sys, npresnet.plots, npresnet.training, npresnet.cli; "
        "heavy = {'matplotlib', 'numba', 'PIL', 'tqdm', 'rich', 'jinja2'}; "
        "assert not heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
