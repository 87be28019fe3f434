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


def failures(name, files, enough):
    """Run test files with a bug injected (or None) until `enough` tests failed."""
    plugin = Injecting(name, enough)
    arguments = ["-q", "--no-header", "--tb=no", "-p", "no:cacheprovider", "-W"]
    arguments += ["ignore", "--hypothesis-profile=bug-lab", "-k", DESELECTED]
    with contextlib.redirect_stdout(io.StringIO()) as output:
        code = pytest.main([*arguments, *files], plugins=[plugin])
    broken = code in (pytest.ExitCode.INTERNAL_ERROR, pytest.ExitCode.USAGE_ERROR)
    if broken or plugin.passed + len(plugin.failed) == 0:
        raise RuntimeError(f"{name}: no tests ran in {files}:\n{output.getvalue()}")
    return plugin.failed


def run(names: Iterable[str], enough: int = 1) -> Iterator[tuple[str, list[str]]]:
    """Do the experiment: without a bug first, then with one after the other."""
    names = list(names)
    every_file = sorted({file for name in names for file in tests_for(name)})
    yield "none", failures(None, every_file, enough)
    for name in names:
        yield name, failures(name, tests_for(name), enough)


if __name__ == "__main__":
    for result in run(sys.argv[1:] or bugs.names()):
        print(json.dumps(result), flush=True)
