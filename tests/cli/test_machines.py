"""The command line on machines as people have them: caches, containers, notebooks."""

import errno
import os
import shlex
import shutil
import subprocess
import sys
import warnings

import click
import pytest

from npresnet import _notices
from npresnet._notices import notice
from npresnet.backend import kernel_cache
from npresnet.cli import main
from tests.cli.program import assert_one_error_line, invoke


@pytest.fixture
def _shows_warnings(monkeypatch):
    """Let warnings be shown, as in a process of its own."""
    monkeypatch.setattr(_notices, "_said", set())
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        yield


@pytest.mark.usefixtures("_shows_warnings")
def test_a_notice_is_one_line_said_once_and_other_warnings_stay_as_they_are(
    monkeypatch,
):
    @click.command
    def noticing():
        for _ in range(3):
            notice("the disk is full")
        warnings.warn("something else", DeprecationWarning, stacklevel=1)

    others = []
    monkeypatch.setattr(warnings, "showwarning", lambda text, *_: others.append(text))
    monkeypatch.setitem(main.commands, "noticing", noticing)
    before = warnings.showwarning
    assert invoke("noticing").stderr == "npresnet: the disk is full\n"
    assert [str(other) for other in others] == ["something else"]
    assert warnings.showwarning is before


@pytest.mark.usefixtures("_shows_warnings")
def test_doctor_says_which_kernels_were_damaged_and_where_they_are(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(
        kernel_cache, "choice", lambda: kernel_cache.Choice(tmp_path, "/full: no space")
    )
    for check in ("_check_backends", "_check_gradient"):  # would compile
        monkeypatch.setattr(f"npresnet.cli.doctor.{check}", lambda: ("", True, ""))
    for name in ("one", "two", "three"):
        kernel_cache.save(tmp_path, name, "key", b"code")
    (tmp_path / "two.nbc").write_bytes(b"half")
    result = invoke("doctor")
    assert result.exit_code == 0
    (line,) = [line for line in result.stdout.splitlines() if "kernel cache" in line]
    assert f"{tmp_path}, 2 compiled kernels; 1 more damaged" in line
    assert "/full: no space" in line
    assert "no space" not in result.stderr


def no_pictures(monkeypatch):
    from npresnet.plots import style

    def fail():
        raise RuntimeError("no font is to be found")

    monkeypatch.setattr(style, "matplotlib", fail)


def test_an_instrument_without_its_picture_gives_its_numbers_and_says_why(
    tmp_path, monkeypatch
):
    with_picture = invoke("lens", "filters", "resnet8", "--out", tmp_path / "with")
    assert with_picture.exit_code == 0
    no_pictures(monkeypatch)
    result = invoke("lens", "filters", "resnet8", "--out", tmp_path / "without")
    assert result.exit_code == 2
    assert result.stdout == with_picture.stdout
    *wrote, last = result.stderr.splitlines()
    picture = tmp_path / "without" / "filters-resnet8.png"
    assert last == (
        f"npresnet: error: {picture}: no picture (RuntimeError: no font is to be found)"
    )
    assert [line.rpartition(".")[2] for line in wrote] == ["json", "csv"]
    assert {path.suffix for path in picture.parent.iterdir()} == {".json", ".csv"}


# ------------------------------------------------------ streams, memory, threads


@pytest.fixture
def ending_in(monkeypatch):
    """Have a command end in an error, and return how the program ends."""

    def end(error):
        @click.command
        def ending():
            raise error

        monkeypatch.setitem(main.commands, "ending", ending)
        return invoke("ending")

    return end


@pytest.mark.parametrize("number", [errno.EPIPE, errno.EIO])
def test_output_that_nobody_reads_ends_the_program_as_sigpipe_would(ending_in, number):
    result = ending_in(OSError(number, os.strerror(number)))
    assert (result.exit_code, result.output) == (141, "")


def test_a_file_that_cannot_be_read_is_no_lost_output(ending_in):
    result = ending_in(OSError(errno.EIO, "Input/output error", "a.pth"))
    assert_one_error_line(result, "a.pth: Input/output error")


def test_help_that_nobody_reads_ends_so_too(monkeypatch):
    def gone(*arguments, **options):
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    monkeypatch.setattr("click.decorators.echo", gone)
    result = invoke("--help")
    assert (result.exit_code, result.output) == (141, "")


@pytest.mark.parametrize(
    ("error", "parts"),
    [
        (MemoryError(), ["not enough memory"]),
        (
            ImportError("a.so: failed to map segment from shared object"),
            ["not enough memory (a.so: failed to map"],
        ),
        (ImportError("no module named x"), ["a library cannot be loaded: no module"]),
        (RuntimeError("can't start new thread"), ["no more threads", "--threads 1"]),
    ],
)
def test_want_of_memory_threads_or_libraries_is_one_line(ending_in, error, parts):
    assert_one_error_line(ending_in(error), *parts)


def test_an_import_error_names_the_one_behind_it(ending_in):
    page = ImportError("IMPORTANT: PLEASE READ THIS\n" * 30)
    page.__cause__ = ImportError("libgfortran.so: cannot open shared object file")
    assert_one_error_line(ending_in(page), "cannot be loaded: libgfortran.so: cannot")


def shell(command, **options):
    """Run a command line in which NPRESNET stands for the program."""
    program = f"{shlex.quote(sys.executable)} -m npresnet"
    return subprocess.run(
        ["bash", "-c", command.replace("NPRESNET", program)],
        capture_output=True,
        text=True,
        **options,
    )


@pytest.mark.skipif(shutil.which("bash") is None, reason="no shell here")
def test_closed_streams_are_no_traceback():
    # The reader ends before the first line is written.
    done = shell("NPRESNET models | (exec <&-); echo ${PIPESTATUS[0]}")
    assert (done.stdout, done.stderr) == ("141\n", "")
    done = shell("NPRESNET recipes <&- >&- 2>&-; echo $?")
    assert (done.stdout, done.stderr) == ("0\n", "")
    done = shell("NPRESNET models --nonsense 2>&-; echo $?")
    assert (done.stdout, done.stderr) == ("2\n", "")


def test_closed_streams_are_open_on_nothing_for_the_program(tmp_path):
    """Or else the next file gets their numbers, and what is printed ends in it."""
    program = (
        "import os, sys; from npresnet.cli.streams import open_closed; open_closed();"
        f"file = open({str(tmp_path / 'file')!r}, 'wb'); assert file.fileno() > 2;"
        "print('to nobody'); assert not sys.stdout.isatty();"
        "assert sys.stdin.read() == ''; os.write(1, b'no'); os.write(2, b'no')"
    )
    command = f"{shlex.quote(sys.executable)} -c {shlex.quote(program)}"
    assert shell(f"{command} <&- >&- 2>&-").returncode == 0
    assert (tmp_path / "file").read_bytes() == b""
