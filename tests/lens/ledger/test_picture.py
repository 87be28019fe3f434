"""The river is exact: what is drawn is as wide as its norm."""

import math
import re
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.patches import PathPatch, Rectangle

from npresnet.lens.ledger import Ledger, LedgerRow
from npresnet.lens.ledger.picture import river, write_norm
from npresnet.plots import style

pytestmark = pytest.mark.drawn  # pictures are what is tested here

NAMES = ["layer1.0", "layer1.1", "layer2.0"]


def row(name, came, passed, shortcut, branch, goes):
    return LedgerRow(name, came, 0.1, 0.1, passed, shortcut, branch, None, goes, 0.0)


RESIDUAL = Ledger(
    (
        row("layer1.0", 0.9, 0.75, 0.75, 0.8, 1.1),
        row("layer1.1", 0.8, 0.62, 0.62, 0.5, 0.9),
        row("layer2.0", 0.6, 0.5, 0.4, 0.69, 0.8),  # its shortcut is no identity
    ),
    network="Residual net",
    images=8,
    training=True,
    loss=2.3,
    grad_logits_norm=0.3,
    grad_images_norm=1.4,
)
PLAIN = replace(
    RESIDUAL,
    network="Plain net",
    rows=tuple(
        replace(one, grad_shortcut_norm=None, grad_branch_norm=one.grad_input_norm)
        for one in RESIDUAL.rows
    ),
)


def patches(figure):
    """Return the patches by name; of a block's in the first river if there are two."""
    found = {}
    for patch in figure.axes[0].patches:
        if isinstance(patch, PathPatch) and patch.get_gid():
            found.setdefault(patch.get_gid(), patch)
    return found


def width_at(patch, y):
    """Cut a patch horizontally, and measure."""
    (outline,) = patch.get_path().to_polygons(closed_only=False)
    crossings = []
    for (x0, y0), (x1, y1) in pairwise(outline):
        if (y0 <= y) != (y1 <= y):
            crossings.append(x0 + (y - y0) / (y1 - y0) * (x1 - x0))
    assert len(crossings) == 2, f"{patch.get_gid()} is cut {len(crossings)} times"
    return max(crossings) - min(crossings)


@pytest.mark.parametrize("scale", ["linear", "log"])
@pytest.mark.parametrize("ledger", [RESIDUAL, PLAIN], ids=["residual", "plain"])
def test_every_width_is_to_scale(ledger, scale):
    figure = river([ledger], scale)
    found = patches(figure)
    axes = figure.axes[0]
    # Data units are inches: what is to scale in numbers is so on paper.
    assert axes.get_xlim() == (0, figure.get_figwidth())
    assert axes.get_ylim() == (figure.get_figheight(), 0)
    bars = scale_bars(figure)
    (one, a), (other, b) = list(bars.items())[:2]
    if scale == "linear":
        per_norm = a / one
        assert b == pytest.approx(other * per_norm)

        def width(norm):
            return norm * per_norm
    else:
        per_decade = (a - b) / math.log10(one / other)

        def width(norm):
            return a + per_decade * math.log10(norm / one)

    is_plain = ledger is PLAIN
    way = "branch" if is_plain else "shortcut"
    for row in ledger.rows:
        main = found[f"{row.name} {way}"]
        top, bottom = y_range(main)
        top += 0.01  # bands overlap by that much, so that no seam shows
        h = bottom - top
        assert h == pytest.approx(0.9)
        measured = {
            "grad_output_norm": width_at(main, top + 0.01 * h),
            "grad_sum_norm": width_at(main, top + 0.26 * h),
            "grad_input_norm": width_at(main, bottom - 1e-4),
        }
        if not is_plain:
            measured["grad_shortcut_norm"] = width_at(main, top + 0.67 * h)
            arm = found[f"{row.name} branch"]
            measured["grad_branch_norm"] = arm_width(arm, top + 0.62 * h)
        for field, inches in measured.items():
            norm = getattr(row, field)
            assert inches == pytest.approx(width(norm), abs=2e-3), (field, row.name)
        fall = found[f"{row.name} stopped"]
        lost = width(row.grad_output_norm) - width(row.grad_sum_norm)
        assert width_at(fall, top + 0.5 * h) == pytest.approx(lost, abs=2e-3)


def y_range(patch):
    ys = patch.get_path().vertices[:, 1]
    return ys.min(), ys.max()


def arm_width(patch, y):
    """An arm is cut where both its edges run straight down."""
    vertices = patch.get_path().vertices
    at_turn = vertices[np.isclose(vertices[:, 1], y)]
    assert len(at_turn) == 2
    return abs(np.diff(at_turn[:, 0])[0])


def scale_bars(figure):
    """Return norm: inches, of the bars under the picture."""
    axes = figure.axes[0]
    bars = [
        patch
        for patch in axes.patches
        if isinstance(patch, Rectangle) and patch.get_height() == pytest.approx(0.1)
    ]
    texts = {}
    for text in axes.texts:
        x, y = text.get_position()
        for bar in bars:
            right = bar.get_x() + bar.get_width()
            middle = bar.get_y() + bar.get_height() / 2
            if abs(y - middle) < 0.01 and abs(x - right - 0.07) < 0.01:
                texts[float(text.get_text())] = bar.get_width()
    assert len(texts) == len(bars) >= 2
    return texts


def words(figure):
    return " ".join(text.get_text() for text in figure.axes[0].texts)


def test_the_caption_says_what_widths_are_and_where_nothing_is_seen():
    text = " ".join(words(river([RESIDUAL])).split())
    assert "in proportion to the norm of the gradient" in text
    assert "log" not in text
    assert "Measured on a batch of 8 images in training mode." in text
    steep = replace(RESIDUAL, grad_images_norm=900.0)
    text = " ".join(words(river([steep])).split())
    assert "in proportion to the logarithm of the gradient's norm" in text
    assert re.search(r"0\.1\d? has no width", text)
    assert "log scale" in text


def test_rivers_side_by_side_share_their_scale():
    figure = river([RESIDUAL, replace(RESIDUAL, network="Its twin")])
    mains = [
        patch
        for patch in figure.axes[0].patches
        if patch.get_gid() == "layer1.1 shortcut"
    ]
    one, other = (patch.get_path().vertices for patch in mains)
    shift = other[0] - one[0]
    assert shift[0] > 1
    assert shift[1] == 0
    np.testing.assert_allclose(other, one + shift)
    assert "Its twin" in words(figure)


def pixels(figure):
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[:, :, :3] / 255


def share_of(image, colour):
    return (np.abs(image - to_rgb(colour)).max(axis=2) < 0.02).mean()


def test_the_picture_shows_water_arms_and_what_falls_off():
    water, arms = style.tint(style.BLUE, 0.86), style.tint(style.ORANGE, 0.82)
    fallen = style.tint(style.GREY, 0.6)
    image = pixels(river([RESIDUAL]))
    assert share_of(image, water) > 0.05
    assert share_of(image, arms) > 0.02
    assert share_of(image, fallen) > 0.002
    plain = pixels(river([PLAIN]))
    assert share_of(plain, water) == 0
    assert share_of(plain, arms) > 0.05


def test_colours_differ_in_grey_too():
    def lightness(colour):
        return float(np.dot(to_rgb(colour), [0.2126, 0.7152, 0.0722]))

    water, arms = style.tint(style.BLUE, 0.86), style.tint(style.ORANGE, 0.82)
    assert lightness(arms) - lightness(water) > 0.2


def test_every_block_is_named_and_deep_networks_still_fit():
    assert all(name in words(river([RESIDUAL])) for name in NAMES)
    many = [f"layer{i // 100 + 1}.{i % 100}" for i in range(300)]
    rows = tuple(replace(RESIDUAL.rows[0], name=name) for name in many)
    figure = river([replace(RESIDUAL, rows=rows)])
    assert figure.get_figheight() < 35
    named = [text.get_text() for text in figure.axes[0].texts]
    assert [name for name in named if name in many] == [
        "layer3.99",
        "layer2.99",
        "layer1.99",
    ]


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        river([])
    with pytest.raises(ValueError, match="finite"):
        river([replace(RESIDUAL, grad_images_norm=math.nan)])
    nothing = tuple(row(name, 0.0, 0.0, 0.0, 0.0, 0.0) for name in NAMES)
    still = replace(RESIDUAL, rows=nothing, grad_logits_norm=0, grad_images_norm=0)
    with pytest.raises(ValueError, match="not zero"):
        river([still])


def test_norms_are_written_without_exponents_where_that_is_possible():
    assert [write_norm(n) for n in (0.0, 0.000123, 0.0999, 1.0, 99.7, 1234.0)] == [
        "0",
        "0.00012",
        "0.10",
        "1.0",
        "100",
        "1200",
    ]
    assert write_norm(1.26e9) == r"$1.3 \cdot 10^{9}$"


def test_the_ending_decides_the_format(tmp_path):
    style.save(river([RESIDUAL, PLAIN]), tmp_path / "river.svg")
    text = (tmp_path / "river.svg").read_text()
    assert 'id="layer2.0 branch"' in text
