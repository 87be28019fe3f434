"""A window on its way over a padded image, and what it leaves in the output."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from npresnet.backend import Geometry, reference
from npresnet.backend.geometry import Pair
from npresnet.plots import style
from npresnet.plots.planes import draw_plane, outline, write_numbers

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST_NUMBERS = 13  # cells across, above which numbers would not be legible


def sliding_window(
    image: NDArray[np.floating[Any]],
    kernel: NDArray[np.floating[Any]],
    place: Pair = (0, 0),
    *,
    stride: int | Pair = 1,
    padding: int | Pair = 0,
    dilation: int | Pair = 1,
    path: str | Path | None = None,
) -> Figure:
    """Draw where the window stands for one output pixel, the kernel, and the output.

    Parameters
    ----------
    image : ndarray of shape (H, W)
        One channel. Pixels that no window sees are hatched.
    kernel : ndarray of shape (KH, KW)
        Its weights.
    place : pair of int
        The output pixel, (row, column).
    stride, padding, dilation : int or pair of int
        In pixels.
    path : path, optional
        Where to write the picture; the suffix decides the format.

    Returns
    -------
    matplotlib.figure.Figure
        The picture; its size does not depend on stride, padding and dilation.

    Raises
    ------
    ValueError
        If the window does not fit, or the place is outside the output.
    TypeError
        If a number is not an int.
    """
    H, W = image.shape
    KH, KW = kernel.shape
    geometry = Geometry.of((H, W), (KH, KW), stride, padding, dilation)
    OH, OW = geometry.output_size
    if not (0 <= place[0] < OH and 0 <= place[1] < OW):
        raise ValueError(f"place: expected one within {OH}x{OW}, got {place}")
    out = reference.conv2d(image[None, None], kernel[None, None], geometry)[0, 0]
    padded = reference.pad(image[None, None], geometry.padding)[0, 0]
    seen = seen_by_windows(geometry)
    with style.house_style():
        figure, (left, middle, right) = style.new_figure(
            3,
            width=8.6,
            height=3.7,
            width_ratios=[5, 1.8, 4],
            gridspec_kw={"wspace": 0.07},
        )
        draw_plane(left, padded, scale=image)
        draw_plane(middle, kernel, scale=kernel)
        draw_plane(right, out, scale=out)
        if max(padded.shape) <= _MOST_NUMBERS:
            write_numbers(left, np.where(seen, padded, np.nan), image, 7.5)
            write_numbers(right, out, out, 7.5)
        write_numbers(middle, kernel, kernel, 7.5)
        _dashed_border(left, geometry)
        _hatch(left, ~seen)
        outline(left, _taps(geometry, place), style.VERMILION)
        here = np.zeros(out.shape, bool)
        here[place] = True
        outline(right, here, style.VERMILION)
        PH, PW = geometry.padding
        border = f", padded by {PH}" if PH == PW else f", padded by {PH} and {PW}"
        left.set_title(f"image, {H} x {W}{border if PH or PW else ''}", size=9.5)
        middle.set_title("kernel", size=9.5)
        right.set_title(f"output, {OH} x {OW}", size=9.5)
        if path is not None:
            style.save(figure, path)
    return figure


def seen_by_windows(geometry: Geometry) -> NDArray[np.bool_]:
    """Tell which pixels of the padded plane some window reads: (H+2*PH, W+2*PW)."""
    (H, W), (KH, KW), (PH, PW) = (
        geometry.input_size,
        geometry.kernel_size,
        geometry.padding,
    )
    seen = np.zeros((1, 1, H + 2 * PH, W + 2 * PW))
    for i in range(KH):
        for j in range(KW):
            reference.window(seen, i, j, geometry)[...] = 1
    return np.asarray(seen[0, 0] > 0)


def _taps(geometry: Geometry, place: Pair) -> NDArray[np.bool_]:
    """Mark the pixels that the window at one place reads: (H+2*PH, W+2*PW)."""
    (H, W), (PH, PW) = geometry.input_size, geometry.padding
    mask = np.zeros((H + 2 * PH, W + 2 * PW), bool)
    (SH, SW), (DH, DW) = geometry.stride, geometry.dilation
    rows = place[0] * SH + DH * np.arange(geometry.kernel_size[0])
    columns = place[1] * SW + DW * np.arange(geometry.kernel_size[1])
    mask[np.ix_(rows, columns)] = True
    return mask


def _dashed_border(ax: Axes, geometry: Geometry) -> None:
    """Draw where the image ends and the border of zeros begins."""
    from matplotlib.patches import Rectangle

    (H, W), (PH, PW) = geometry.input_size, geometry.padding
    if PH or PW:
        ax.add_patch(
            Rectangle(
                (PW - 0.5, PH - 0.5),
                W,
                H,
                fill=False,
                edgecolor=style.SKY_BLUE,
                linestyle="--",
                linewidth=1.6,
                zorder=2,
            )
        )


def _hatch(ax: Axes, mask: NDArray[np.bool_]) -> None:
    from matplotlib.patches import Rectangle

    for row, column in np.argwhere(mask):
        ax.add_patch(
            Rectangle(
                (column - 0.5, row - 0.5),
                1,
                1,
                facecolor=style.tint(style.GREY, 0.35),
                edgecolor=style.GREY,
                hatch="////",
                linewidth=0,
                zorder=1.5,
            )
        )
