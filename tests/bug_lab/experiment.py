"""The experiment: inject a bug, run tests of the ordinary suite, see which fail.

``python -m tests.bug_lab.experiment [BUG ...]`` prints a line of JSON for each bug, its
name and the tests that failed; the first line, ``"none"``, is without any bug.
"""

import contextlib
import io
import json
import sys
from collections.abc import Iterable, Iterator

import pytest

from npresnet.lens import bugs
from tests.bug_lab.plugin import Injecting
from tests.bug_lab.selection import DESELECTED, tests_for

ENOUGH = 3  # failures after which a bug counts as caught


def failures(name, files):
    """Run test files with a bug injected (or None); the names of those that fail."""
    plugin = Injecting(name)
    arguments = ["-q", "--no-header", "--tb=no", "-p", "no:cacheprovider", "-W"]
    arguments += ["ignore", "--hypothesis-profile=bug-lab", f"--maxfail={ENOUGH}"]
    arguments += ["-k", DESELECTED]
    with contextlib.redirect_stdout(io.StringIO()) as output:
        code = pytest.main([*arguments, *files], plugins=[plugin])
    ran = code in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
    if not ran or plugin.passed + len(plugin.failed) == 0:
        raise RuntimeError(f"{name}: no tests ran in {files}:\n{output.getvalue()}")
    return plugin.failed


def run(names: Iterable[str]) -> Iterator[tuple[str, list[str]]]:
    """Do the experiment: without a bug first, then with one after the other."""
    names = list(names)
    every_file = sorted({file for name in names for file in tests_for(name)})
    yield "none", failures(None, every_file)
    for name in names:
        yield name, failures(name, tests_for(name))


if __name__ == "__main__":
    for result in run(sys.argv[1:] or bugs.names()):
        print(json.dumps(result), flush=True)
