"""The gradient as a river: it comes down from the loss and ends in the images.

At every block the ReLU takes some of it away; the rest goes both along the shortcut
and through the branch, and the two come together again. A plain network's river has
no arms: all of it crosses every branch. Widths are norms, to scale.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from npresnet.lens.shared.passes import batch_note
from npresnet.plots import style
from npresnet.plots.bands import Arch, Bank, arm, band, fading

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from npresnet.lens.ledger.result import Ledger, LedgerRow

Scale = Literal["linear", "log"]

_SHORTCUT = style.tint(style.SHORTCUT.color, 0.86)
_BRANCH = style.tint(style.BRANCH.color, 0.82)
_STOPPED = style.tint(style.STOPPED.color, 0.6)
_INK, _PALE_INK, _SHADE = "#333333", "#6B6B6B", "#F3F5F7"

# Inches.
_NAMES, _NORMS = 0.78, 0.62  # columns for blocks' names and for norms
_MARGIN, _BETWEEN = 0.3, 0.45
_HEAD, _FOOT = 1.5, 1.75  # above the first block, and below the last
_END = 0.42  # from the loss to the first block, and from the last to the images
_LEGIBLE = 0.15  # height of a block that has room for its name
_BARS = 5  # of the scale, at most
_LINEAR_RANGE = 100.0  # largest over smallest norm that a linear scale can show


@dataclass(frozen=True)
class Gauge:
    """How a norm becomes a width.

    Attributes
    ----------
    scale : {"linear", "log"}
        What the width is proportional to: the norm, or its logarithm.
    zero : float
        The norm that has no width.
    inches : float
        Width per unit of norm, or per factor of ten.
    """

    scale: Scale
    zero: float
    inches: float

    @classmethod
    def of(cls, norms: Sequence[float], scale: Scale | None, room: float) -> Gauge:
        """Choose a scale for blocks that are `room` inches high."""
        positive = [norm for norm in norms if norm > 0]
        if not positive or not all(map(math.isfinite, norms)):
            raise ValueError("norms: expected finite ones, and one that is not zero")
        most, least = max(positive), min(positive)
        if scale is None:
            scale = "linear" if most / least <= _LINEAR_RANGE else "log"
        if scale == "linear":
            # Wide at one end and narrow elsewhere: room for a delta.
            return cls(scale, 0.0, max(1.2, 1.9 * room) / most)
        zero = _round_down(least / 1.6)
        return cls(scale, zero, max(0.8, 1.05 * room) / math.log10(most / zero))

    def __call__(self, norm: float) -> float:
        """Return the width of a norm, in inches."""
        if norm <= self.zero:
            return 0.0
        if self.scale == "linear":
            return norm * self.inches
        return math.log10(norm / self.zero) * self.inches

    def samples(self, most: float) -> list[float]:
        """Choose a few round norms up to `most` for the scale under the picture."""
        top = _round_down(most)
        if self.scale == "linear":
            return [top, top / 2, top / 4]
        least, highest = math.floor(math.log10(self.zero)), math.ceil(math.log10(most))
        powers = [10.0**power for power in range(highest, least - 1, -1)]
        for digits in ((5, 2, 1), (1,)):
            norms = [n * power for power in powers for n in digits]
            norms = [norm for norm in norms if self.zero < norm <= top]
            if len(norms) <= _BARS:
                break
        return norms[:: math.ceil(len(norms) / _BARS)]


def river(ledgers: Sequence[Ledger], scale: Scale | None = None) -> Figure:
    """Draw rivers side by side, all on one scale.

    Parameters
    ----------
    ledgers : sequence of Ledger
        One or more.
    scale : {"linear", "log"}, optional
        Of the widths; by default linear, and logarithmic where the norms differ by
        more than a factor of 100. The caption says which.

    Returns
    -------
    matplotlib.figure.Figure
        The picture. Patches have a ``gid`` such as ``layer1.0 branch``.

    Raises
    ------
    ValueError
        If there is no river or no block, or a norm is not finite.
    """
    if not ledgers or not all(ledger.rows for ledger in ledgers):
        raise ValueError("ledgers: expected at least one, each with at least one block")
    blocks = max(len(ledger.rows) for ledger in ledgers)
    block_height = min(0.9, max(9.0 / blocks, min(0.42, 30.0 / blocks)))
    norms = [norm for ledger in ledgers for norm in _norms(ledger)]
    gauge = Gauge.of(norms, scale, room=block_height)

    drawings, left = [], _MARGIN
    for ledger in ledgers:
        drawings.append(_Drawing(ledger, gauge, block_height, left))
        left = drawings[-1].right + _BETWEEN
    right = left - _BETWEEN + _MARGIN
    width = max(right, 6.3)  # room for the legend
    for k, drawing in enumerate(drawings):
        share = k / (len(drawings) - 1) if len(drawings) > 1 else 0.5
        drawing.move(share * (width - right))
    height = _HEAD + blocks * block_height + 2 * _END + _FOOT
    with style.house_style():
        figure, (axes,) = style.new_figure(1, width=width, height=height)
        figure.set_layout_engine("none")
        axes.set_position((0, 0, 1, 1))
        axes.set(xlim=(0, width), ylim=(height, 0))  # inches, downwards
        axes.axis("off")
        _write(
            axes,
            _MARGIN,
            0.38,
            "The gradient, from the loss to the images",
            size=14,
            bold=True,
        )
        for drawing in drawings:
            drawing.draw(axes)
        _legend(axes, height - _FOOT + 0.3, ledgers, gauge, max(norms))
        _caption(axes, height - 0.2, width, gauge, ledgers)
    return figure


def _is_plain(ledger: Ledger) -> bool:
    """Tell whether no block has a shortcut."""
    return all(row.grad_shortcut_norm is None for row in ledger.rows)


def _norms(ledger: Ledger) -> list[float]:
    """List all norms that are drawn."""
    found = [ledger.grad_logits_norm, ledger.grad_images_norm]
    for row in ledger.rows:
        found += [row.grad_output_norm, row.grad_sum_norm, row.grad_branch_norm]
        found += [row.grad_input_norm, row.grad_shortcut_norm or 0.0]
    return found


class _Drawing:
    """Where one river lies in the picture, and how it is drawn."""

    def __init__(
        self, ledger: Ledger, gauge: Gauge, block_height: float, left: float
    ) -> None:
        self.ledger, self.gauge, self.h, self.left = ledger, gauge, block_height, left
        self.is_plain = _is_plain(ledger)
        self.gap = 0.03 + 0.05 * block_height  # of an island
        # How far the river reaches from the middle of its bed.
        ends = max(gauge(ledger.grad_logits_norm), gauge(ledger.grad_images_norm)) / 2
        west, east = [], [0.0]
        for row in ledger.rows:
            coming, passed = gauge(row.grad_output_norm), gauge(row.grad_sum_norm)
            west.append(coming / 2 + self.gap + coming - passed)
            if row.grad_shortcut_norm is not None:
                shortcut, branch = row.grad_shortcut_norm, row.grad_branch_norm
                east.append(gauge(shortcut) / 2 + self.gap + gauge(branch))
        self.bed = left + _NAMES + max(ends, *west) + 0.1
        self.right = self.bed + max(ends, *east) + _NORMS

    def move(self, distance: float) -> None:
        """Move everything to the right."""
        self.left, self.bed = self.left + distance, self.bed + distance
        self.right += distance

    def draw(self, axes: Axes) -> None:
        """Draw from the source to the mouth."""
        self.axes = axes
        ledger, gauge, rows = self.ledger, self.gauge, self.ledger.rows
        self._say(self.left, _HEAD - 0.55, ledger.network, size=11, bold=True)
        top = _HEAD + _END
        source, mouth = ledger.grad_logits_norm, ledger.grad_images_norm
        self._end(_HEAD, top, gauge(source), gauge(rows[-1].grad_output_norm))
        self._say(self.left, _HEAD + 0.05, "loss", bold=True)
        self._say_norm(_HEAD + 0.05, source)
        for i in reversed(range(len(rows))):
            self._ground(i, top)
            self._block(rows[i], top)
            top += self.h
        self._end(top + _END, top, gauge(mouth), gauge(rows[0].grad_input_norm))
        self._say(self.left, top + _END - 0.05, "images", bold=True)
        self._say_norm(top + _END - 0.05, mouth)

    def _end(self, y: float, inner_y: float, width: float, inner_width: float) -> None:
        """Draw the source, or the mouth: the layers outside the blocks."""
        inwards = math.copysign(1, inner_y - y)
        banks = [
            self._bank(y, width),
            self._bank(y + 0.08 * inwards, width),
            self._bank(inner_y, inner_width),
            self._bank(inner_y + 0.01 * inwards, inner_width),  # no seam
        ]
        colour = _BRANCH if self.is_plain else _SHORTCUT
        band(self.axes, sorted(banks), colour, order=3, name="end")

    def _ground(self, i: int, top: float) -> None:
        """Shade every other stage, name the block, say what norm comes to it."""
        from matplotlib.patches import Rectangle

        names = [row.name for row in self.ledger.rows]
        stages = list(dict.fromkeys(name.rpartition(".")[0] for name in names))
        stage = names[i].rpartition(".")[0]
        if stages.index(stage) % 2 == 0:
            place = (self.left - 0.08, top), self.right - self.left + 0.16, self.h
            ground = Rectangle(*place, color=_SHADE, linewidth=0, zorder=0)
            self.axes.add_patch(ground)
        begins = i + 1 == len(names) or names[i + 1].rpartition(".")[0] != stage
        if begins or self.h > _LEGIBLE:
            self._say(self.left, top + 0.56 * self.h, names[i])
        if begins or self.h > 0.7:
            self._say_norm(top + 0.09, self.ledger.rows[i].grad_output_norm)

    def _block(self, row: LedgerRow, top: float) -> None:
        """Draw one block: the ReLU, the fork, both arms, their joining."""
        gauge, h, name = self.gauge, self.h, row.name
        coming, passed = gauge(row.grad_output_norm), gauge(row.grad_sum_norm)
        branch, leaving = gauge(row.grad_branch_norm), gauge(row.grad_input_norm)
        fork, turn, join = top + 0.26 * h, top + 0.62 * h, top + h
        self._fall(top, coming, coming - passed, f"{name} stopped")
        above = [
            self._bank(top - 0.01, coming),  # no seam to the block above
            self._bank(top + 0.04 * h, coming),
            self._bank(fork, passed),
        ]
        norm = row.grad_shortcut_norm
        if norm is None:
            banks = [*above, self._bank(join, leaving)]
            band(self.axes, banks, _BRANCH, order=3, name=f"{name} branch")
            return
        shortcut = gauge(norm)
        banks = [
            *above,
            self._bank(turn, shortcut),
            self._bank(turn + 0.1 * h, shortcut),
            self._bank(join, leaving),
        ]
        band(self.axes, banks, _SHORTCUT, order=3, name=f"{name} shortcut")
        # The arm's ends lie under the shortcut: both arms carry the whole sum.
        shore, island, slack = self.bed + shortcut / 2, self.gap, 0.1 * h
        outer = Arch(
            (self.bed + passed / 2, fork - 0.02 * h),
            (shore + island + branch, turn),
            (self.bed + leaving / 2, join),
        )
        inner = Arch(
            (shore, fork + slack), (shore + island, turn), (shore, join - slack)
        )
        arm(self.axes, outer, inner, _BRANCH, order=2, name=f"{name} branch")

    def _fall(self, top: float, coming: float, width: float, name: str) -> None:
        """Let what the ReLU takes away peel off at the left, and fade."""
        left = self.bed - coming / 2
        away = left - self.gap - width
        bend, end = top + 0.4 * self.h, top + 0.55 * self.h
        banks = [
            Bank(top + 0.02 * self.h, left, left + width),
            Bank(bend, away, away + width),
            Bank(end, away, away + width),
        ]
        band(self.axes, banks, _STOPPED, order=1, name=name)
        slices = 12 if self.h > _LEGIBLE else 3
        length = 0.3 * self.h
        fading(self.axes, banks[-1], length, _STOPPED, order=1, slices=slices)

    def _bank(self, y: float, width: float) -> Bank:
        return Bank.around(self.bed, y, width)

    def _say(self, x: float, y: float, text: str, **look: Any) -> None:
        _write(self.axes, x, y, text, **look)

    def _say_norm(self, y: float, norm: float) -> None:
        self._say(self.right, y, write_norm(norm), ha="right", color=_PALE_INK)


def write_norm(norm: float) -> str:
    r"""Write a norm with two digits, and with a power of ten where it needs one.

    Examples
    --------
    >>> write_norm(0.0351), write_norm(213.0), write_norm(3.2e-7)
    ('0.035', '210', '$3.2 \\cdot 10^{-7}$')
    """
    if norm == 0:
        return "0"
    digits, power = f"{norm:.1e}".split("e")
    if -4 <= int(power) <= 4:
        return f"{float(f'{norm:.1e}'):.{max(0, 1 - int(power))}f}"
    return rf"${digits} \cdot 10^{{{int(power)}}}$"


def _write(
    axes: Axes, x: float, y: float, text: str, bold: bool = False, **look: Any
) -> None:
    weight = "bold" if bold else "normal"
    look = {"va": "center", "color": _INK, "size": 8.5, "weight": weight, **look}
    axes.text(x, y, text, **look)


def _legend(
    axes: Axes, y: float, ledgers: Sequence[Ledger], gauge: Gauge, most: float
) -> None:
    """Explain the colours in one line, and the widths in the next."""
    from matplotlib.patches import Rectangle

    x = _MARGIN
    colours = {"through a branch": _BRANCH, "stopped by a ReLU": _STOPPED}
    if not all(map(_is_plain, ledgers)):
        colours = {"along the shortcuts": _SHORTCUT, **colours}
    for text, colour in colours.items():
        axes.add_patch(Rectangle((x, y - 0.06), 0.22, 0.12, color=colour, linewidth=0))
        _write(axes, x + 0.3, y, text)
        x += 0.55 + 0.075 * len(text)
    y += 0.36
    _write(axes, _MARGIN, y, f"norm, {gauge.scale} scale", color=_PALE_INK)
    x = _MARGIN + 1.3
    for norm in gauge.samples(most):
        size = gauge(norm)
        axes.add_patch(Rectangle((x, y - 0.05), size, 0.1, color=_INK, linewidth=0))
        _write(axes, x + size + 0.07, y, f"{norm:g}")
        x += size + 0.48


def _caption(
    axes: Axes, y: float, width: float, gauge: Gauge, ledgers: Sequence[Ledger]
) -> None:
    notes = {batch_note(one.images, one.training) for one in ledgers}
    note = f"Measured on {notes.pop()}." if len(notes) == 1 else ""
    scale = "in proportion to the norm of the gradient"
    if gauge.scale == "log":
        scale = (
            "in proportion to the logarithm of the gradient's norm "
            f"(equal steps are equal factors; {write_norm(gauge.zero)} has no width)"
        )
    text = (
        f"Horizontal widths are {scale}, numbers are norms. The ReLU after each "
        "addition stops a part. What it lets pass goes, all of it, both along the "
        f"shortcut and through the branch; the two add up to what goes on. {note}"
    )
    lines = textwrap.wrap(text, int((width - 2 * _MARGIN) / 0.066))
    _write(axes, _MARGIN, y, "\n".join(lines), va="bottom", color=_PALE_INK, size=8)


def _round_down(value: float) -> float:
    """Round down to 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(value))
    return max(n * power for n in (1, 2, 5) if n * power <= value * (1 + 1e-9))
