"""Ctrl-C before a command has begun: one line, and the status that says so."""

import subprocess
import sys

import pytest

INTERRUPTED = """
import os, signal, sys

class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == {name!r}:
            sys.meta_path.remove(self)
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupting())
sys.argv = ["npresnet", "summary", "resnet8"]
import runpy
runpy.run_module("npresnet", run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize(
    "name",
    [
        "npresnet.cli",  # nothing has been imported yet
        "click.core",  # what the program is made of
        "npresnet.cli.verify",  # the last of the commands
        "npresnet.models.registry",  # by the command itself
    ],
)
def test_ctrl_c_during_the_first_imports_is_one_line(name):
    result = subprocess.run(
        [sys.executable, "-c", INTERRUPTED.format(name=name)],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 130
    assert result.stderr == "npresnet: stopped by Ctrl-C\n"
    assert result.stdout == ""
