"""The picture of shattered gradients shows every network, by lag and by depth."""

import numpy as np
import pytest

from npresnet.lens.shattered import Shattered, ShatteredRow
from npresnet.lens.shattered.picture import autocorrelations
from npresnet.plots import style

pytestmark = pytest.mark.drawn  # pictures are what is tested here

LAGS = np.arange(9)
WHITE, BROWNIAN = np.where(LAGS == 0, 1, -0.01), 1 - 0.02 * LAGS


def result(layers, residual, rate, white=WHITE):
    kind = "Residual" if residual else "Plain"
    columns = zip(rate**LAGS, LAGS * 0.0, white, BROWNIAN, strict=False)
    rows = tuple(
        ShatteredRow(lag, *map(float, values)) for lag, values in enumerate(columns)
    )
    network = f"{kind} net, {layers} layers"
    return Shattered(rows, network, layers, residual, 64, 8, 0.1, 0, True)


NETS = [result(8, True, 0.9), result(56, True, 0.8), result(8, False, 0.88)]
DEEP = [result(56, False, 0.001), result(110, False, 0.001)]


def test_curves_by_lag_and_points_by_depth(tmp_path):
    figure = autocorrelations([*NETS, *DEEP])
    style.save(figure, tmp_path / "all.png")
    by_lag, by_depth = figure.axes
    drawn = [list(line.get_ydata()) for line in by_lag.lines]
    for one in [*NETS, *DEEP]:
        assert list(one.autocorrelations) in drawn
    assert list(WHITE) in drawn
    assert list(BROWNIAN) in drawn
    texts = [text.get_text() for text in by_lag.texts]
    assert texts[:2] == ["Brownian motion", "white noise"]
    assert sorted(texts[2:]) == ["56", "56, 110", "8", "8"]  # no number on another

    residual, plain = by_depth.lines[:2]
    assert list(residual.get_xdata()) == [8, 56]
    assert list(residual.get_ydata()) == pytest.approx([0.9, 0.8])
    assert list(plain.get_xdata()) == [8, 56, 110]
    assert list(plain.get_ydata()) == pytest.approx([0.88, 0.001, 0.001])
    ticks = [text.get_text() for text in by_depth.get_xticklabels()]
    assert ticks == ["8", "56", "110"]
    assert "8 lines of 64 images" in figure._supxlabel.get_text()
    assert (tmp_path / "all.png").stat().st_size > 10_000


def test_one_depth_needs_no_second_panel():
    figure = autocorrelations([result(20, True, 0.9), result(20, False, 0.5)])
    (axes,) = figure.axes
    names = [text.get_text() for text in axes.get_legend().get_texts()]
    assert names == ["residual net", "plain net"]
    looks = {line.get_linestyle() for line in axes.lines[2:4]}
    assert looks == {"-", "--"}  # not told apart by colour alone


def test_lengths_that_differ_are_refused():
    with pytest.raises(ValueError, match="equally many points and lags"):
        autocorrelations([])
    with pytest.raises(ValueError, match="equally many points and lags"):
        autocorrelations([*NETS, result(8, True, 0.9, white=WHITE[:3])])
