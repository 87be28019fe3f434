"""What a person sees while a run goes on."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from npresnet._console import writable
from npresnet._tables import columns
from npresnet.untrusted.text import shown_lines

if TYPE_CHECKING:
    from rich.console import Console

Row = Mapping[str, float | None]

_KERNELS_PER_LINE = 10  # that are compiled, where there is no bar


class Progress(Protocol):
    """What the training loop tells whoever watches."""

    def message(self, text: str) -> None:
        """Show a line of text."""

    def warning(self, text: str) -> None:
        """Show a line that matters to whoever wants to see no other."""

    def begin_epoch(self, epoch: int, epochs: int, steps: int) -> None:
        """Tell that epoch `epoch` of `epochs` begins; it has `steps` batches."""

    def batch(self, loss: float, accuracy: float, images: int, lr: float) -> None:
        """Tell of `images` more images; loss and accuracy are the epoch's so far."""

    def measuring(self, name: str, images: int) -> None:
        """Tell that training rests while a set of so many images is measured."""

    def compiling(self, done: int, total: int) -> None:
        """Tell that training rests while kernels are compiled, and how many are."""

    def end_epoch(self, row: Row) -> None:
        """Tell that the epoch is over; `row` is its line of ``metrics.csv``."""

    def close(self) -> None:
        """Tell that nothing more will come."""


class Silent:
    """Shows nothing."""

    def message(self, text: str) -> None:
        """Show nothing."""

    def warning(self, text: str) -> None:
        """Treat it as any line."""
        self.message(text)

    def begin_epoch(self, epoch: int, epochs: int, steps: int) -> None:
        """Show nothing."""

    def batch(self, loss: float, accuracy: float, images: int, lr: float) -> None:
        """Show nothing."""

    def measuring(self, name: str, images: int) -> None:
        """Show nothing."""

    def compiling(self, done: int, total: int) -> None:
        """Show nothing."""

    def end_epoch(self, row: Row) -> None:
        """Show nothing."""

    def close(self) -> None:
        """Show nothing."""


class Quiet(Silent):
    """Shows nothing but warnings, on standard error."""

    def warning(self, text: str) -> None:
        """Print a line."""
        print(text, file=sys.stderr, flush=True)


class Pace:
    """How fast it goes, and how long it will still take.

    The first batch of all is left out: it may compile the kernels.
    """

    def __init__(self) -> None:
        self.images_per_second: float | None = None
        self.epoch_left: float | None = None  # seconds
        self.run_left: float | None = None  # seconds, later measurements included
        self._began: float | None = None
        self._steps = self._steps_left = 0

    def begin_epoch(self, epoch: int, epochs: int, steps: int) -> None:
        """Start the epoch's own count."""
        self._epoch_began = time.perf_counter()
        self._epoch_steps = self._images = 0
        self._epoch_steps_left = steps
        # A last epoch that is cut short is taken for a whole one.
        self._steps_left = (epochs - epoch + 1) * steps

    def batch(self, images: int) -> None:
        """Count a batch."""
        now = time.perf_counter()
        self._steps_left -= 1
        self._epoch_steps_left -= 1
        if self._began is None:
            self._began = self._epoch_began = now
            return
        self._steps += 1
        self._epoch_steps += 1
        self._images += images
        in_epoch = max(now - self._epoch_began, 1e-9)
        self.images_per_second = self._images / in_epoch
        self.epoch_left = in_epoch / self._epoch_steps * self._epoch_steps_left
        self.run_left = (now - self._began) / self._steps * self._steps_left


class Lines:
    """One plain line per epoch, for files and pipes.

    Parameters
    ----------
    stream : text stream, optional
        Where to write; standard output by default.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream
        self._epochs = 0
        self._pace = Pace()

    def message(self, text: str) -> None:
        """Print a line."""
        text = writable(shown_lines(text), self._stream)
        print(text, file=self._stream, flush=True)

    def warning(self, text: str) -> None:
        """Print a line."""
        self.message(text)

    def begin_epoch(self, epoch: int, epochs: int, steps: int) -> None:
        """Remember how many epochs there are."""
        self._epochs = epochs
        self._pace.begin_epoch(epoch, epochs, steps)

    def batch(self, loss: float, accuracy: float, images: int, lr: float) -> None:
        """Print nothing: lines are for epochs."""
        self._pace.batch(images)

    def measuring(self, name: str, images: int) -> None:
        """Print nothing: lines are for epochs."""

    def compiling(self, done: int, total: int) -> None:
        """Print a line for every tenth kernel."""
        if done and (done % _KERNELS_PER_LINE == 0 or done == total):
            self.message(f"compiling kernels, {done} of {total}")

    def end_epoch(self, row: Row) -> None:
        """Print the epoch's line."""
        line = describe_epoch(row, self._epochs)
        if self._pace.run_left and row["epoch"] != self._epochs:
            line += f", {clock(self._pace.run_left)} left"
        self.message(line)

    def close(self) -> None:
        """Nothing to take down."""


class Live:
    """A table that grows by a row per epoch, and two live bars below it.

    Parameters
    ----------
    console : rich.console.Console
        The terminal.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._pace = Pace()
        self._bars: Any = None
        self._columns: list[str] = []
        self._epochs = 0

    def message(self, text: str) -> None:
        """Print a line above the bars."""
        text = writable(shown_lines(text), self._console.file)
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def warning(self, text: str) -> None:
        """Print a line above the bars."""
        self.message(text)

    def begin_epoch(self, epoch: int, epochs: int, steps: int) -> None:
        """Put up the bars, or start the epoch's anew."""
        self._epochs = epochs
        self._pace.begin_epoch(epoch, epochs, steps)
        if self._bars is None:
            self._put_up_bars(epochs)
        self._share = 1 / max(steps, 1)  # of the epoch, per batch
        self._bars.update(self._run_bar, completed=epoch - 1)
        self._bars.reset(
            self._epoch_bar,
            total=steps,
            description=f"epoch {epoch}",
            facts="",
            left="",
        )

    def batch(self, loss: float, accuracy: float, images: int, lr: float) -> None:
        """Move the bars on."""
        pace = self._pace
        pace.batch(images)
        speed = pace.images_per_second
        self._bars.update(
            self._epoch_bar,
            advance=1,
            facts=f"loss {loss:.3f}, train {_percent(accuracy, 1)}",
            left=_left(pace.epoch_left),
        )
        self._bars.update(
            self._run_bar,
            advance=self._share,
            facts=f"lr {lr:.3g}" + (f", {speed:,.0f} images/s" if speed else ""),
            left=_left(pace.run_left),
        )

    def measuring(self, name: str, images: int) -> None:
        """Say why the bars stand still."""
        facts = f"measuring {images:,} {name} images"
        self._bars.update(self._epoch_bar, facts=facts, left="")

    def compiling(self, done: int, total: int) -> None:
        """Say why the bars stand still."""
        facts = f"compiling kernels, {done} of {total}" if done < total else ""
        self._bars.update(self._epoch_bar, facts=facts, left="")

    def end_epoch(self, row: Row) -> None:
        """Add the epoch's row to the table."""
        if not self._columns:
            measured = [name for name in _TABLE if row.get(name) is not None]
            self._columns = _fitting(measured, self._console.width)
            self._print_row({name: _TABLE[name][0] for name in measured}, style="bold")
        self._print_row({name: _cell(name, row[name], self._epochs) for name in row})

    def close(self) -> None:
        """Take the bars down."""
        if self._bars is not None:
            self._bars.stop()
            self._bars = None

    def _print_row(self, cells: Mapping[str, str], style: str | None = None) -> None:
        row = [cells[name] for name in self._columns]
        least = [_TABLE[name][1] for name in self._columns]
        line = columns([row], [True] * len(row), least=least, gap=1)
        self._console.print(
            line, markup=False, highlight=False, style=style, soft_wrap=True
        )

    def _put_up_bars(self, epochs: int) -> None:
        from rich.constrain import Constrain
        from rich.progress import (
            BarColumn,
            Progress,
            ProgressColumn,
            Task,
            TaskProgressColumn,
            TextColumn,
        )
        from rich.text import Text

        console = self._console

        class Time(ProgressColumn):
            """What is left; as long as that is not known, what has gone by."""

            def render(self, task: Task) -> Text:
                gone = f"{_whole_seconds(task.elapsed or 0)} so far"
                return Text(task.fields["left"] or gone, justify="right")

        class Bars(Progress):
            """Bars that leave room for the terminal's ^C: it must not wrap."""

            def get_renderables(self) -> Iterator[Constrain]:
                table = self.make_tasks_table(self.tasks)
                yield Constrain(table, console.width - 4)

        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            TaskProgressColumn(),
            Time(),
            TextColumn("{task.fields[facts]}"),
            console=console,
            transient=True,
            expand=True,
            refresh_per_second=5,
        )
        fields = {"facts": "", "left": ""}
        self._epoch_bar = self._bars.add_task("epoch", total=1, **fields)
        self._run_bar = self._bars.add_task("run", total=epochs, **fields)
        self._bars.start()


# The columns of `Live`: head, width.
_TABLE = {
    "epoch": ("epoch", 9),
    "lr": ("lr", 8),
    "train_loss": ("loss", 8),
    "train_accuracy": ("train", 9),
    "validation_accuracy": ("validation", 11),
    "test_accuracy": ("test", 9),
    "images_per_second": ("images/s", 10),
    "seconds": ("time", 8),
}
# What a narrow terminal does without, the first first.
_DISPENSABLE = ("images_per_second", "lr", "seconds", "train_loss")


def make_progress(quiet: bool, stream: TextIO | None = None) -> Progress:
    """Choose what suits the output: nothing, plain lines, or a live display.

    Parameters
    ----------
    quiet : bool
        Show nothing but warnings.
    stream : text stream, optional
        Where to show it; standard output by default.
    """
    if quiet:
        return Quiet()
    shown_on = sys.stdout if stream is None else stream
    if not shown_on.isatty() or os.environ.get("TERM") == "dumb":
        return Lines(stream)
    from rich.console import Console

    return Live(Console(file=stream))


def describe_epoch(row: Row, epochs: int) -> str:
    """Write an epoch's row of ``metrics.csv`` as a sentence."""
    known = {name: value for name, value in row.items() if value is not None}
    parts = [f"loss {known['train_loss']:.4f}"]
    for name in ("train", "validation", "test"):
        if f"{name}_accuracy" in known:
            parts.append(f"{name} {_percent(known[f'{name}_accuracy'], 2)}")
    parts += [
        f"lr {known['lr']:.3g}",
        f"{known['images_per_second']:,.0f} images/s",
        clock(known["seconds"]),
    ]
    number = f"{known['epoch']:>{len(str(epochs))}}"
    return f"epoch {number}/{epochs}: {', '.join(parts)}"


def clock(seconds: float) -> str:
    """Write a duration: ``9.3 s``, ``4:05`` or ``1:02:03``.

    Examples
    --------
    >>> clock(9.34), clock(245), clock(3723)
    ('9.3 s', '4:05', '1:02:03')
    """
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _fitting(names: list[str], width: int) -> list[str]:
    """Leave columns out until the others fit into so many characters."""
    kept = list(names)
    for name in _DISPENSABLE:
        if sum(_TABLE[other][1] + 1 for other in kept) <= width:
            break
        kept.remove(name)
    return kept


def _cell(name: str, value: float | None, epochs: int) -> str:
    if value is None:
        return ""
    if name == "epoch":
        return f"{value}/{epochs}"
    if name == "lr":
        return f"{value:.3g}"
    if name == "train_loss":
        return f"{value:.4f}"
    if name == "images_per_second":
        return f"{value:,.0f}"
    if name == "seconds":
        return clock(value)
    return _percent(value, 2) if name in _TABLE else ""


def _percent(share: float, digits: int) -> str:
    return f"{100 * share:.{digits}f} %"


def _left(seconds: float | None) -> str:
    # A tenth of a second would flicker.
    return "" if seconds is None else f"{_whole_seconds(seconds)} left"


def _whole_seconds(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 59.5 else clock(round(seconds))
