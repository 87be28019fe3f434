"""The picture of lesions has a panel for each kind, and all networks in each."""

from dataclasses import replace

import pytest

from npresnet.lens.lesion.picture import Patient, lesions

ONE = Patient(
    subject="Residual net, 14 layers",
    whole=0.9,
    chance=0.1,
    blocks=["layer1.0", "layer1.1", "layer2.0"],
    deleted=[0.8, 0.7, 0.2],
    reshaping=[False, False, True],
    removed=[1, 2, 3],
    mean=[0.6, 0.4, 0.1],
    low=[0.2, 0.3, 0.1],
    high=[0.8, 0.5, 0.1],
    taus=[0.9, 0.7],
    reordered=[0.5, 0.4],
)
PLAIN = replace(ONE, subject="Plain net, 14 layers", deleted=[0.1, 0.2, 0.1])


def lines_of(axes, marker):
    return [line for line in axes.lines if line.get_marker() == marker]


def test_every_number_is_drawn_in_percent():
    figure = lesions([ONE, PLAIN], "Measured on 5 images.")
    deletions, removals, orders = figure.axes
    circles, hollow = lines_of(deletions, "o")
    assert list(circles.get_ydata()) == pytest.approx([80, 70, 20])
    assert list(hollow.get_xdata()) == [3]
    squares, _ = lines_of(deletions, "s")
    assert list(squares.get_ydata()) == pytest.approx([10, 20, 10])
    (mean,) = lines_of(removals, "o")
    assert list(mean.get_ydata()) == pytest.approx([60, 40, 10])
    band = removals.collections[0].get_paths()[0].vertices[:, 1]
    assert (band.min(), band.max()) == pytest.approx((10, 80))
    whole, others = lines_of(orders, "o")
    assert list(whole.get_data()) == [pytest.approx([1]), pytest.approx([90])]
    assert list(others.get_xdata()) == [0.9, 0.7]
    assert orders.xaxis_inverted()
    labels = [tick.get_text() for tick in deletions.get_xticklabels()]
    assert labels == ["1.0", "1.1", "2.0"]
    names = [text.get_text() for text in deletions.get_legend().get_texts()]
    assert names == ["Residual net, 14 layers", "Plain net, 14 layers"]
    assert "5 images" in figure.get_supxlabel()


def test_kinds_that_were_left_out_have_no_panel(tmp_path):
    bare = replace(ONE, removed=[], mean=[], low=[], high=[], taus=[], reordered=[])
    assert len(lesions([bare], path=tmp_path / "bare.png").axes) == 1
    assert (tmp_path / "bare.png").stat().st_size > 5000
    assert len(lesions([bare, replace(ONE, removed=[])]).axes) == 2


def test_networks_of_different_blocks_are_numbered_on_one_axis():
    longer = replace(
        PLAIN, blocks=["a"] * 40, deleted=[0.5] * 40, reshaping=[False] * 40
    )
    axes = lesions([ONE, longer]).axes[0]
    assert axes.get_xlabel() == "block"
    labels = [tick.get_text() for tick in lesions([longer]).axes[0].get_xticklabels()]
    assert len(labels) <= 18


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="at least one network"):
        lesions([])
    with pytest.raises(ValueError, match="one per block"):
        lesions([replace(ONE, deleted=[0.1])])
