"""The landscape's picture: one scale for all, labelled lines, curves that are there."""

import numpy as np
import pytest

from npresnet.lens.landscape import Landscape, LandscapeRow
from npresnet.lens.landscape.picture import landscapes
from npresnet.plots import style

pytestmark = pytest.mark.drawn  # pictures are what is tested here

AT = np.linspace(-1, 1, 21)
SQUARES = AT[:, None] ** 2 + AT**2


def around(title, losses, residual=True, classes=10):
    """Make a slice of losses of shape (points,) or (points, points)."""
    flat = losses.ndim == 1
    rows = tuple(
        LandscapeRow(AT[i % 21], None if flat else AT[i // 21], float(loss), 0.5)
        for i, loss in enumerate(losses.ravel())
    )
    cosine = None if flat else 0.0
    return Landscape(
        rows, title, residual, 8, classes, False, losses.ndim, 1.0, 0, cosine
    )


def bowl(title, bottom, steepness, residual=True):
    return around(title, bottom + steepness * SQUARES, residual)


def test_two_networks_share_levels_and_colours(tmp_path):
    wide, narrow = bowl("wide", 0.01, 3), bowl("narrow", 1, 300, residual=False)
    figure = landscapes([wide, narrow])
    style.save(figure, tmp_path / "two.png")
    left, right, bar, along, up = figure.axes
    assert [axes.get_title("left") for axes in (left, right)] == ["wide", "narrow"]
    filled = [axes.collections[0] for axes in (left, right)]
    assert np.array_equal(filled[0].levels, filled[1].levels)
    assert np.array_equal(filled[0].get_facecolor(), filled[1].get_facecolor())
    assert {text.get_text() for text in left.texts} >= {
        "0.1",
        "1",
        "at the cross: 0.01 nats, 50.0% right",
    }
    heavy = [axes.collections[2] for axes in (left, right)]
    for lines in heavy:
        assert lines.levels == pytest.approx([np.log(np.log(10))])
    # The grid's steps are 0.1: the narrow line is within the first.
    radii = [np.hypot(*lines.get_paths()[0].vertices.T).mean() for lines in heavy]
    assert radii[0] == pytest.approx(((np.log(10) - 0.01) / 3) ** 0.5, rel=0.06)
    assert 0.03 < radii[1] < 0.1

    for axes in (along, up):
        lines = [line for line in axes.lines if line.get_label() in ("wide", "narrow")]
        assert len(lines) == 2
        assert lines[0].get_ydata() == pytest.approx(wide.losses[10])
        assert lines[1].get_ydata() == pytest.approx(narrow.losses[:, 10])
        assert lines[0].get_color() != lines[1].get_color()
        assert lines[0].get_linestyle() != lines[1].get_linestyle()
        assert axes.get_xlabel()
    assert "nats" in along.get_ylabel()
    assert "nats" in bar.get_ylabel()
    assert (tmp_path / "two.png").stat().st_size > 20_000


def test_directions_are_not_mixed_up():
    losses = 0.1 + 10 * AT[:, None] ** 2 + 0 * AT  # steep along beta only
    figure = landscapes([around("valley", losses)])
    *_, flat, steep = figure.axes
    assert "first" in flat.get_xlabel()
    assert "second" in steep.get_xlabel()
    assert np.ptp(flat.lines[0].get_ydata()) == 0
    assert np.ptp(steep.lines[0].get_ydata()) == pytest.approx(10)


def test_a_curve_is_drawn_in_one_dimension():
    curves = [around(name, 1 + AT**2, name == "a") for name in "ab"]
    (axes,) = landscapes(curves).axes
    assert [line.get_label() for line in axes.lines[:2]] == ["a", "b"]
    assert "alpha" in axes.get_xlabel()


@pytest.mark.parametrize(
    "losses",
    [
        np.full((21, 21), np.inf),
        np.zeros((21, 21)),
        np.full((21, 21), 2.0),
        np.where(SQUARES > 0.5, np.inf, 1e-9 + SQUARES),
        1e-7 + 1e7 * SQUARES**8,
    ],
    ids=["infinite", "zero", "flat", "infinite outside", "fourteen decades"],
)
def test_any_losses_can_be_drawn(losses, tmp_path):
    slices = [around(str(k), losses, bool(k % 2)) for k in range(2)]
    style.save(landscapes(slices), tmp_path / "any.png")
    style.save(landscapes([around("row", losses[10])]), tmp_path / "row.png")


def test_many_networks_look_different():
    curves = [around(str(k), 1 + AT**2, k % 2 == 0) for k in range(6)]
    (axes,) = landscapes(curves).axes
    looks = {(line.get_color(), line.get_linestyle()) for line in axes.lines[:6]}
    assert len(looks) == 6


def test_nothing_and_mixtures_are_refused():
    with pytest.raises(ValueError, match="one or more"):
        landscapes([])
    with pytest.raises(ValueError, match="all of two"):
        landscapes([bowl("a", 1, 1), around("b", 1 + AT**2)])
