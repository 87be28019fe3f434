"""What a person sees while a run goes on."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any, Protocol


class Progress(Protocol):
    """What the training loop tells whoever watches."""

    def message(self, text: str) -> None:
        """Show a line of text."""

    def begin_epoch(self, epoch: int, epochs: int, steps: int) -> None:
        """Tell that epoch `epoch` of `epochs` begins; it has `steps` batches."""

    def batch(self, loss: float, accuracy: float, images: int) -> None:
        """Tell of `images` more images; loss and accuracy are the epoch's so far."""

    def end_epoch(self, row: Mapping[str, float | None]) -> None:
        """Tell that the epoch is over; `row` is its line of ``metrics.csv``."""

    def close(self) -> None:
        """Tell that nothing more will come."""


class Silent:
    """Shows nothing."""

    def message(self, text: str) -> None:
        """Show nothing."""

    def begin_epoch(self, epoch: int, epochs: int, steps: int) -> None:
        """Show nothing."""

    def batch(self, loss: float, accuracy: float, images: int) -> None:
        """Show nothing."""

    def end_epoch(self, row: Mapping[str, float | None]) -> None:
        """Show nothing."""

    def close(self) -> None:
        """Show nothing."""


class Lines:
    """One plain line per epoch, on standard output."""

    def __init__(self) -> None:
        self._epochs = 0

    def message(self, text: str) -> None:
        """Print a line."""
        print(text, flush=True)

    def begin_epoch(self, epoch: int, epochs: int, steps: int) -> None:
        """Remember how many epochs there are."""
        self._epochs = epochs

    def batch(self, loss: float, accuracy: float, images: int) -> None:
        """Print nothing: lines are for epochs."""

    def end_epoch(self, row: Mapping[str, float | None]) -> None:
        """Print the epoch's line."""
        self.message(describe_epoch(row, self._epochs))

    def close(self) -> None:
        """Nothing to take down."""


class Live(Lines):
    """A live bar on standard error, and one line per epoch that stays."""

    def __init__(self) -> None:
        super().__init__()
        self._bar: Any = None
        self._began: float | None = None
        self._steps_done = 0
        self._steps_left = 0
        self._images = 0
        self._epoch_began = 0.0

    def message(self, text: str) -> None:
        """Print a line above the bar."""
        from tqdm import tqdm

        tqdm.write(text)

    def begin_epoch(self, epoch: int, epochs: int, steps: int) -> None:
        """Put up a bar for the epoch."""
        from tqdm import tqdm

        super().begin_epoch(epoch, epochs, steps)
        self._steps_left = (epochs - epoch + 1) * steps
        self._images = 0
        self._epoch_began = time.perf_counter()
        self._bar = tqdm(
            total=steps,
            desc=f"epoch {epoch}/{epochs}",
            leave=False,
            dynamic_ncols=True,
            bar_format="{desc} |{bar}| {percentage:3.0f} %{postfix}",
        )

    def batch(self, loss: float, accuracy: float, images: int) -> None:
        """Move the bar on."""
        now = time.perf_counter()
        self._steps_left -= 1
        text = f"loss {loss:.3f}, {accuracy:.1%} right"
        if self._began is None:
            # Speed is counted from here: the first batch may compile the kernels.
            self._began = self._epoch_began = now
        else:
            self._steps_done += 1
            self._images += images
            rate = self._images / max(now - self._epoch_began, 1e-9)
            left = (now - self._began) / self._steps_done * self._steps_left
            text += f", {rate:,.0f} images/s, {clock(left)} left"
        self._bar.set_postfix_str(text, refresh=False)
        self._bar.update()

    def end_epoch(self, row: Mapping[str, float | None]) -> None:
        """Take the bar down and leave the epoch's line."""
        self.close()
        super().end_epoch(row)

    def close(self) -> None:
        """Take the bar down."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def make_progress(quiet: bool) -> Progress:
    """Choose what suits the output: nothing, plain lines, or a live bar.

    Parameters
    ----------
    quiet : bool
        Show nothing.
    """
    if quiet:
        return Silent()
    return Live() if sys.stderr.isatty() else Lines()


def describe_epoch(row: Mapping[str, float | None], epochs: int) -> str:
    """Write an epoch's row of ``metrics.csv`` as a sentence."""
    known = {name: value for name, value in row.items() if value is not None}
    parts = [f"epoch {known['epoch']:>{len(str(epochs))}}/{epochs}"]
    for name in ("train", "validation", "test"):
        if f"{name}_loss" in known:
            loss, accuracy = known[f"{name}_loss"], known[f"{name}_accuracy"]
            parts.append(f"{name} loss {loss:.4f}, {accuracy:.2%} right")
    parts.append(
        f"{clock(known['seconds'])}, {known['images_per_second']:,.0f} images/s"
    )
    return "; ".join(parts)


def clock(seconds: float) -> str:
    """Write a duration: ``9.3 s``, ``4:05`` or ``1:02:03``.

    Examples
    --------
    >>> clock(9.34), clock(245), clock(3723)
    ('9.3 s', '4:05', '1:02:03')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
