"""Starting JupyterLab on a notebook, and knowing its address."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import FrameType
from typing import Self
from urllib.parse import quote

_SECONDS_TO_START = 120.0
# What the child process runs: JupyterLab, as ``-m jupyterlab`` does, beside a thread
# that ends it once nobody is there to write to it any more: its parent may be killed.
# Not `sys.stdin`: at the end Python would wait for the thread to leave it.
_PROGRAM = """
import os, runpy, signal, sys, threading
def end_with_parent():
    os.read(0, 1)
    os.kill(os.getpid(), signal.SIGTERM)
threading.Thread(target=end_with_parent, daemon=True).start()
runpy.run_module("jupyterlab", run_name="__main__", alter_sys=True)
"""


class JupyterLab:
    """A JupyterLab of this Python's own, as a child process; a context manager.

    It ends with this process, however that ends.

    Parameters
    ----------
    notebook : Path
        What it opens; its folder is what it shows.
    browser : bool
        Whether it opens the page in the user's browser.
    port : int, optional
        Where it listens; by default 8888, or the next free one.
    allow_root : bool
        Whether it runs for the superuser, too, as in containers.

    Raises
    ------
    ModuleNotFoundError
        If JupyterLab is not installed.
    ChildProcessError
        If it ends before it answers, or does not answer within two minutes.

    Attributes
    ----------
    address : str
        Of the page, with the token that lets one in.
    """

    def __init__(
        self,
        notebook: Path,
        *,
        browser: bool,
        port: int | None = None,
        allow_root: bool = False,
    ) -> None:
        if not installed():
            raise ModuleNotFoundError("JupyterLab is not installed", name="jupyterlab")
        notebook = Path(os.path.realpath(notebook))
        command = [
            *(sys.executable, "-c", _PROGRAM, str(notebook)),
            f"--ServerApp.root_dir={notebook.parent}",
            "--ServerApp.answer_yes=True",  # Ctrl-C ends it without a question
            "--Application.log_level=ERROR",
            # The course needs no network: nobody is asked for news or updates.
            "--LabApp.news_url=None",
            "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        ]
        if not browser:
            command.append("--no-browser")
        if port is not None:
            command += [f"--port={port}", "--ServerApp.port_retries=0"]
        if allow_root:
            command.append("--allow-root")
        # What it tells is kept for the case that it fails.
        self._log = tempfile.TemporaryFile()
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        try:
            server = self._wait_for_server()
        except BaseException:
            self.stop()
            raise
        page = f"{server['url']}lab/tree/{quote(notebook.name)}"
        self.address = f"{page}?token={server['token']}" if server["token"] else page

    def _wait_for_server(self) -> dict[str, str]:
        from jupyter_core.paths import jupyter_runtime_dir

        # The server writes where it listens, and with which token.
        note = Path(jupyter_runtime_dir(), f"jpserver-{self._process.pid}.json")
        deadline = time.monotonic() + _SECONDS_TO_START
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise ChildProcessError(
                    f"JupyterLab did not start: {self.last_words()}"
                )
            try:
                found: dict[str, str] = json.loads(note.read_text(encoding="utf-8"))
                return found
            except (OSError, ValueError):  # not there, or not yet whole
                time.sleep(0.1)
        raise ChildProcessError(
            f"JupyterLab did not answer in {_SECONDS_TO_START:.0f} s"
        )

    def last_words(self) -> str:
        """Return the last line that it told."""
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"status {self._process.returncode}"

    def wait(self) -> int:
        """Wait until it ends, and hand on Ctrl-C and the terminate signal to it."""

        def end(number: int, frame: FrameType | None) -> None:
            del number, frame
            self._process.terminate()

        before = {s: signal.signal(s, end) for s in (signal.SIGINT, signal.SIGTERM)}
        try:
            return self._process.wait()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def stop(self) -> None:
        """End it, if it has not ended."""
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()


def installed() -> bool:
    """Tell whether this Python has JupyterLab."""
    return importlib.util.find_spec("jupyterlab") is not None


def install_command() -> str:
    """Return what to type where it is missing."""
    return f"{sys.executable or 'python'} -m pip install jupyterlab ipywidgets"
