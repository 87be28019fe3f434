"""The picture of lesions has a panel for each kind, and all networks in each."""

from dataclasses import replace

import pytest

from npresnet.lens.lesion import DeletionRow, Lesions, RemovalRow, ReorderingRow
from npresnet.lens.lesion.picture import lesions
from npresnet.plots import style

pytestmark = pytest.mark.drawn  # pictures are what is tested here


def removal(count, accuracy, low, high):
    return RemovalRow(count, 5, accuracy, low, high, 1.0, 1.0, 1.0)


ONE = Lesions(
    rows=(
        DeletionRow("layer1.0", "identity", 0.8, -0.1, 1.0),
        DeletionRow("layer1.1", "identity", 0.7, -0.2, 1.0),
        DeletionRow("layer2.0", "zero padding", 0.2, -0.7, 1.0),
    ),
    swaps=(ReorderingRow(("layer1.0/layer1.1",), 0.9, 0.5, 1.0),),
    reorderings=(ReorderingRow(("layer1.0/layer1.1",) * 2, 0.7, 0.4, 1.0),),
    removals=(
        removal(1, 0.6, 0.2, 0.8),
        removal(2, 0.4, 0.3, 0.5),
        removal(3, 0.1, 0.1, 0.1),
    ),
    network="Residual net, 14 layers",
    images=5,
    training=False,
    seed=0,
    accuracy=0.9,
    loss=0.3,
    chance=0.1,
)
PLAIN = replace(
    ONE,
    network="Plain net, 14 layers",
    rows=tuple(
        replace(row, accuracy=accuracy)
        for row, accuracy in zip(ONE.rows, (0.1, 0.2, 0.1), strict=True)
    ),
)


def lines_of(axes, marker):
    return [line for line in axes.lines if line.get_marker() == marker]


def test_every_number_is_drawn_in_percent():
    figure = lesions([ONE, PLAIN])
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
    bare = replace(ONE, removals=(), swaps=(), reorderings=())
    figure = lesions([bare])
    assert len(figure.axes) == 1
    style.save(figure, tmp_path / "bare.png")
    assert (tmp_path / "bare.png").stat().st_size > 5000
    assert len(lesions([bare, replace(ONE, removals=())]).axes) == 2


def test_networks_of_different_blocks_are_numbered_on_one_axis():
    longer = replace(PLAIN, rows=(DeletionRow("a", "identity", 0.5, 0.0, 1.0),) * 40)
    axes = lesions([ONE, longer]).axes[0]
    assert axes.get_xlabel() == "block"
    labels = [tick.get_text() for tick in lesions([longer]).axes[0].get_xticklabels()]
    assert len(labels) <= 18


def test_nothing_is_refused():
    with pytest.raises(ValueError, match="at least one network"):
        lesions([])
