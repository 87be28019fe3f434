"""The spectrum's picture shows both distributions and the norms."""

import math

import numpy as np
import pytest

from npresnet.lens.spectrum import Spectrum, SpectrumRow
from npresnet.lens.spectrum.picture import path_lengths
from npresnet.plots import style

pytestmark = pytest.mark.drawn  # pictures are what is tested here

PATHS = [math.comb(14, k) for k in range(15)]
SHARES = np.array([0.1, 0.3, 0.5, 0.2, -0.1, *[0.0] * 10])
NORMS = np.array([1e-3, 1e-2, 0.3, 0.2, 1e-4, *[0.0] * 10])


def spectrum(paths, norms, shares, network):
    columns = zip(paths, norms, shares, strict=True)
    rows = tuple(SpectrumRow(k, *values) for k, values in enumerate(columns))
    return Spectrum(rows, network, 8, True, 2.3, 1.0, 0.0)


def test_bars_are_shares_and_steps_are_paths():
    figure = path_lengths([spectrum(PATHS, NORMS, SHARES, "a net")])
    upper, lower = figure.axes
    bars = [patch for patch in upper.patches if hasattr(patch, "get_height")]
    assert [bar.get_height() for bar in bars] == pytest.approx(list(100 * SHARES))
    (steps,) = [patch for patch in upper.patches if hasattr(patch, "get_data")]
    expected = [100 * count / 2**14 for count in PATHS]
    assert steps.get_data().values == pytest.approx(expected)
    notes = [text.get_text() for text in upper.texts]
    assert notes == [f"mean {SHARES @ np.arange(15):.1f}", "mean 7.0"]
    labels = [text.get_text() for text in upper.get_legend().get_texts()]
    assert "of the $2^{14}$ paths" in labels

    (points,) = lower.lines
    assert list(points.get_xdata()) == [0, 1, 2, 3, 4]  # zeros are not on a log scale
    assert list(points.get_ydata()) == pytest.approx(NORMS[:5])
    assert lower.get_yscale() == "log"
    assert "k" in lower.get_xlabel()


def test_several_stand_side_by_side_on_the_same_scales():
    small = spectrum([1, 2, 1], np.array([1e-6, 2, 0]), np.array([0.9, 0.1, 0]), "b")
    figure = path_lengths([spectrum(PATHS, NORMS, SHARES, "a"), small])
    left, right, below_left, below_right = figure.axes
    assert [axes.get_title("left") for axes in (left, right)] == [
        f"{name}, a batch of 8 images in training mode" for name in "ab"
    ]
    assert left.get_ylim() == right.get_ylim()
    assert left.get_ylim()[0] < -10  # room for the share below zero
    assert left.get_ylim()[1] > 90
    assert below_left.get_ylim() == below_right.get_ylim()
    assert below_right.get_yscale() == "log"
    assert left.get_xlim()[1] > 14 > 3 > right.get_xlim()[1]


def test_one_path_and_no_gradient_at_all_can_be_drawn(tmp_path):
    one = spectrum([0, 0, 1], np.array([0, 0, 2.0]), np.array([0, 0, 1.0]), "plain")
    path_lengths([one])
    zeros = np.zeros(2)
    none = spectrum([1, 1], zeros, zeros, "no gradient")
    style.save(path_lengths([none]), tmp_path / "none.png")
    assert (tmp_path / "none.png").stat().st_size > 5000


def test_nothing_is_refused():
    with pytest.raises(ValueError, match="got none"):
        path_lengths([])
