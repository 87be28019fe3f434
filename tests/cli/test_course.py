"""``npresnet course``: copies, then JupyterLab, or a line that says how to get it."""

import contextlib
import importlib.util
import os
import re
import signal
import subprocess
import sys
import urllib.request

import pytest

from npresnet.course import jupyter
from tests.cli.program import assert_one_error_line, invoke

needs_jupyterlab = pytest.mark.skipif(
    importlib.util.find_spec("jupyterlab") is None, reason="no JupyterLab here"
)


def test_without_jupyterlab_there_are_the_copies_and_the_pip_command(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(jupyter, "installed", lambda: False)
    result = invoke("course", tmp_path / "mine")
    assert_one_error_line(result, "JupyterLab", "-m pip install jupyterlab ipywidgets")
    assert (tmp_path / "mine" / "01_convolution.ipynb").is_file()
    assert "01_convolution.ipynb" in result.stdout


def test_changed_notebooks_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(jupyter, "installed", lambda: False)
    invoke("course", tmp_path)
    (tmp_path / "02_im2col.ipynb").write_text("my work")
    result = invoke("course", tmp_path)
    (line,) = result.stdout.splitlines()
    assert line == f"{tmp_path}: changed by you, left as they are: 02_im2col.ipynb"


def test_a_file_in_the_folders_place_is_told(tmp_path):
    (tmp_path / "file").write_text("text")
    assert_one_error_line(invoke("course", tmp_path / "file"), "file")
    assert (tmp_path / "file").read_text() == "text"


def test_what_keeps_jupyterlab_from_starting_is_told(tmp_path, monkeypatch):
    if importlib.util.find_spec("jupyter_core") is None:
        pytest.skip("no Jupyter here")
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\necho 'no port is free' >&2\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setattr(jupyter, "installed", lambda: True)
    monkeypatch.setattr(sys, "executable", str(broken))
    result = invoke("course", tmp_path / "mine", "--no-browser")
    assert_one_error_line(result, "JupyterLab did not start: no port is free")


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")
def test_jupyterlab_ends_when_the_process_that_started_it_is_gone(tmp_path):
    (tmp_path / "jupyterlab").mkdir()
    (tmp_path / "jupyterlab" / "__init__.py").touch()
    main = "import sys, time; print(sys.argv[1:], flush=True); time.sleep(600)"
    (tmp_path / "jupyterlab" / "__main__.py").write_text(main)
    parent = (
        "import subprocess, sys, time; from npresnet.course.jupyter import _PROGRAM;"
        "command = [sys.executable, '-c', _PROGRAM, 'a.ipynb', '--x'];"
        "child = subprocess.Popen(command, stdin=subprocess.PIPE);"
        "print(child.pid, flush=True); time.sleep(600)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", parent],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
    ) as process:
        child = int(process.stdout.readline())
        try:
            assert process.stdout.readline() == "['a.ipynb', '--x']\n"
            process.kill()
            # The child holds the other end: it is closed when the child has ended.
            assert process.stdout.read() == ""
        finally:
            process.kill()
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)


@pytest.mark.slow
@needs_jupyterlab
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_the_printed_address_opens_the_first_notebook_until_ctrl_c(
    tmp_path, end, jupyter_of_its_own
):
    command = [sys.executable, "-m", "npresnet", "course", "mine", "--no-browser"]
    with subprocess.Popen(
        [*command, "--allow-root"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as program:
        try:
            lines = [program.stdout.readline() for _ in range(3)]
            address = re.fullmatch(
                r"JupyterLab is at (http\S+/01_convolution\.ipynb\?token=\w+)\n",
                lines[1],
            )
            assert address, lines
            with urllib.request.urlopen(address[1], timeout=60) as page:
                assert page.status == 200
                assert b"JupyterLab" in page.read()
            program.send_signal(end)
            assert program.wait(60) == 0
        finally:
            program.kill()
