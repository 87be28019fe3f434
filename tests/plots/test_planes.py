"""Planes show every number's colour and frame what is marked; windows are placed."""

import numpy as np
import pytest
from matplotlib.collections import LineCollection

from npresnet.backend import Geometry
from npresnet.plots import planes, sliding_window
from npresnet.plots.sliding_window import seen_by_windows


def frame_of(ax):
    """Return the corners of a frame's lines: left, right, top, bottom."""
    lines = [c for c in ax.collections if isinstance(c, LineCollection)]
    points = np.concatenate([s for c in lines for s in c.get_segments()])
    return [*points.min(axis=0), *points.max(axis=0)]


def test_planes_hold_their_arrays_and_titles():
    arrays = [np.arange(6.0).reshape(2, 3), -np.ones((2, 2))]
    figure = planes(arrays, ["positive", "negative"])
    for ax, array, title in zip(
        figure.axes, arrays, ["positive", "negative"], strict=True
    ):
        assert np.array_equal(ax.images[0].get_array(), array)
        assert ax.get_title(loc="left") == title
    assert [text.get_text() for text in figure.axes[0].texts] == list("012345")


def test_zero_is_in_the_middle_where_there_are_negative_numbers():
    figure = planes([np.array([[-1.0, 3.0]]), np.array([[1.0, 3.0]])], ["a", "b"])
    assert figure.axes[0].images[0].get_clim() == (-3, 3)
    assert figure.axes[1].images[0].get_clim() == (0, 3)
    figure = planes(
        [np.array([[-1.0, 3.0]]), np.array([[1.0, 5.0]])], ["a", "b"], same_scale=True
    )
    assert [ax.images[0].get_clim() for ax in figure.axes] == [(-5, 5), (-5, 5)]


def test_marked_cells_are_framed_together():
    mark = np.zeros((4, 5), bool)
    mark[1:3, 2:5] = True
    figure = planes([np.zeros((4, 5))], ["a"], marked=[mark])
    assert frame_of(figure.axes[0]) == [1.5, 0.5, 4.5, 2.5]
    (below, above) = figure.axes[0].collections
    assert len(above.get_segments()) == len(below.get_segments()) == 2 * 2 + 2 * 3


def test_many_numbers_are_left_out_and_planes_break_into_rows(tmp_path):
    figure = planes(
        [np.ones((20, 20))] * 3, list("abc"), columns=2, path=tmp_path / "p.png"
    )
    assert not figure.axes[0].texts
    assert len(figure.axes) == 4
    assert (tmp_path / "p.png").stat().st_size > 1000


@pytest.mark.parametrize(
    "arrays, titles", [([], []), ([np.ones((2, 2))], []), ([np.ones(3)], ["a"])]
)
def test_planes_that_do_not_fit_are_refused(arrays, titles):
    with pytest.raises(ValueError, match="expected"):
        planes(arrays, titles)


def test_the_window_stands_where_its_output_comes_from(rng):
    image, kernel = rng.standard_normal((7, 8)), rng.standard_normal((3, 2))
    figure = sliding_window(image, kernel, (1, 2), stride=2, padding=1, dilation=2)
    left, middle, right = figure.axes
    padded, out = left.images[0].get_array(), right.images[0].get_array()
    assert padded.shape == (9, 10)
    assert np.array_equal(middle.images[0].get_array(), kernel)
    assert out[1, 2] == pytest.approx((padded[2:7:2, 4:7:2] * kernel).sum())
    # Dilation 2: six taps apart, from row 2 to 6 and column 4 to 6.
    assert frame_of(left) == [3.5, 1.5, 6.5, 6.5]
    assert frame_of(right) == [1.5, 0.5, 2.5, 1.5]
    assert "padded by 1" in left.get_title(loc="left")


def test_pixels_that_no_window_sees_are_hatched():
    figure = sliding_window(np.ones((8, 8)), np.ones((3, 3)), stride=2)
    hatched = [patch for patch in figure.axes[0].patches if patch.get_hatch()]
    assert len(hatched) == 8 + 7
    seen = seen_by_windows(Geometry.of((8, 8), 3, 2))
    assert np.array_equal(seen, np.add.outer(np.arange(8) // 7, np.arange(8) // 7) == 0)
    stepped_over = seen_by_windows(Geometry.of((5, 5), 1, 2))
    assert stepped_over.sum() == 9


def test_the_picture_keeps_its_size_whatever_the_window_does():
    image, kernel = np.ones((8, 8)), np.ones((3, 3))
    sizes = {
        tuple(sliding_window(image, kernel, stride=s, padding=p).get_size_inches())
        for s in (1, 2, 3)
        for p in (0, 1, 2)
    }
    assert len(sizes) == 1


def test_a_place_outside_is_refused():
    with pytest.raises(
        ValueError, match=r"place: expected one within 6x6, got \(6, 0\)"
    ):
        sliding_window(np.ones((8, 8)), np.ones((3, 3)), (6, 0))
