"""``npresnet``: the program, its commands, and how it reports errors."""

from __future__ import annotations

import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

import click

import npresnet
from npresnet._console import let_consoles_escape
from npresnet._notices import Notice
from npresnet.cli import options, streams
from npresnet.cli.course import course
from npresnet.cli.datasets import datasets
from npresnet.cli.doctor import doctor
from npresnet.cli.evaluate import evaluate
from npresnet.cli.help import Group
from npresnet.cli.lens import lens
from npresnet.cli.models import models
from npresnet.cli.predict import predict
from npresnet.cli.recipes import recipes
from npresnet.cli.report import report
from npresnet.cli.summary import summary
from npresnet.cli.train import train
from npresnet.cli.verify import verify
from npresnet.untrusted.text import shown_lines, shown_message

# What is wrong with the user's input or machine: one line, no traceback.
_EXPECTED = (
    ValueError,
    TypeError,
    OSError,
    ArithmeticError,
    MemoryError,
    ImportError,  # a library that lacks memory, or a part of itself
)
_NO_MEMORY = ("failed to map segment", "cannot allocate memory")
_USAGE, _INTERRUPTED = 2, 130


class _Failure(click.ClickException):
    """An error that is told in one line."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class _Program(Group):
    """A group of commands whose errors are one line each."""

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        """Read the command line; ``--help`` and the like are printed here."""
        with _pipe_told_apart():
            return super().make_context(*args, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; turn what goes wrong into a `_Failure`."""
        try:
            with _pipe_told_apart():
                result = super().invoke(ctx)
            if failures := options.failures(ctx):
                raise _Failure("; ".join(failures), _USAGE)
            return result
        except click.ClickException:
            raise
        except (KeyboardInterrupt, click.Abort) as error:
            number = getattr(error, "signal_number", 2)
            text = str(error) or "stopped by Ctrl-C"
            raise _Failure(text, _INTERRUPTED - 2 + number) from error
        except _EXPECTED as error:
            if ctx.params.get("debug"):
                _print_traceback()
            raise _Failure(_describe(error), _USAGE) from error
        except RuntimeError as error:
            if "can't start new thread" not in str(error):
                raise
            text = "the system allows no more threads; fewer need less: --threads 1"
            raise _Failure(text, _USAGE) from error

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = "npresnet",
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> NoReturn:
        """Run the program and exit.

        The status is 0 for success, 2 for an error, 130 after Ctrl-C, 129 after a
        closed terminal, 141 where nobody reads the output any more; `doctor` exits with
        1 where something is wrong.
        """
        streams.open_closed()
        in_main = threading.current_thread() is threading.main_thread()
        if in_main and signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
            # A shell starts background jobs deaf to Ctrl-C; kill -INT is still meant.
            signal.signal(signal.SIGINT, signal.default_int_handler)
        let_consoles_escape()
        del standalone_mode  # errors are always shown and become the exit status
        try:
            with _notices_in_one_line():
                status = super().main(
                    args, prog_name, complete_var, standalone_mode=False, **extra
                )
        except click.ClickException as error:
            status = getattr(error, "status", _USAGE)
            kind = "error: " if status == _USAGE else ""
            text = shown_message(error.format_message())
            if status != streams.PIPE_STATUS:
                streams.tell(f"npresnet: {kind}{text}")
            streams.drop_unread()
            sys.exit(status)
        except click.Abort:
            sys.exit(_INTERRUPTED)
        sys.exit(status if isinstance(status, int) else 0)


def _print_traceback() -> None:
    """Print the traceback of the error at hand, whatever texts are in its message."""
    click.echo(shown_lines(traceback.format_exc().rstrip()), err=True)


@contextmanager
def _pipe_told_apart() -> Iterator[None]:
    """Turn the errors of an output that nobody reads into a failure of its own.

    Click would end with status 1.
    """
    try:
        yield
    except OSError as error:
        if not streams.is_gone(error):
            raise
        raise _Failure("nobody reads the output", streams.PIPE_STATUS) from error


@contextmanager
def _notices_in_one_line() -> Iterator[None]:
    """Show the package's own warnings as the program's errors are shown."""
    before = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *where: Any) -> None:
        if issubclass(category, Notice):
            streams.tell(f"npresnet: {shown_message(message)}")
        else:
            before(message, category, *where)

    warnings.showwarning = show  # type: ignore[assignment]
    try:
        yield
    finally:
        warnings.showwarning = before


def _describe(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'the system'}: {error.strerror}"
    if isinstance(error, ImportError):
        first: BaseException = error  # NumPy tells a page about the one that matters
        while (cause := first.__cause__ or first.__context__) is not None:
            first = cause
        text = str(first).strip().partition("\n")[0]
        if any(words in text.lower() for words in _NO_MEMORY):
            return f"not enough memory ({text})"
        return f"a library cannot be loaded: {text}"
    if isinstance(error, MemoryError):
        return f"not enough memory{f' ({error})' if str(error) else ''}"
    return str(error) or type(error).__name__


@click.group(
    cls=_Program,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(
    npresnet.__version__, prog_name="npresnet", message="%(prog)s %(version)s"
)
@click.option(
    "--debug",
    is_flag=True,
    envvar="NPRESNET_DEBUG",
    help="Show the traceback of an error.  [env: NPRESNET_DEBUG=1]",
)
@click.pass_context
def main(ctx: click.Context, debug: bool) -> None:
    """ResNets whose every forward and backward pass is readable NumPy.

    Start here:
      npresnet train                 train a small ResNet on handwritten digits
                                     (a minute, no network needed)
      npresnet eval runs/NAME/weights.safetensors
      npresnet predict runs/NAME/weights.safetensors picture.png
      npresnet summary resnet50      layers, shapes, parameters, MACs
      npresnet lens ledger resnet20  the gradient's way through the blocks
      npresnet course                notebooks to step through, in JupyterLab

    Every command explains itself: npresnet COMMAND --help. Errors are one line on
    standard error and exit status 2.
    """
    del debug  # read from the context, where errors are reported
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


for _command in (
    train,
    evaluate,
    predict,
    report,
    summary,
    lens,
    models,
    datasets,
    recipes,
    verify,
    doctor,
    course,
):
    main.add_command(_command)
