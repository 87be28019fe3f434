"""The experiment: inject a bug, run tests of the ordinary suite, see which fail.

``python -m tests.bug_lab.experiment [BUG ...]`` prints a line of JSON for each bug, its
name and the tests that failed; the first line, ``"none"``, is without any bug. With
``--without-torch``, tests that ask PyTorch do not take part; with ``--bugs-only``, the
run without a bug is left out.
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


def failures(name, files, enough, with_torch=True):
    """Run test files with a bug injected (or None) until `enough` tests failed."""
    plugin = Injecting(name, enough)
    # A bug is injected into this process, so that the tests must run in it.
    arguments = ["-n0", "-q", "--no-header", "--tb=no", "-p", "no:cacheprovider", "-W"]
    arguments += ["ignore", "--hypothesis-profile=bug-lab", "-k", DESELECTED]
    if not with_torch:
        arguments += ["-m", "not torch and not slow and not network"]
    with contextlib.redirect_stdout(io.StringIO()) as output:
        code = pytest.main([*arguments, *files], plugins=[plugin])
    broken = code in (pytest.ExitCode.INTERNAL_ERROR, pytest.ExitCode.USAGE_ERROR)
    if broken or plugin.passed + len(plugin.failed) == 0:
        raise RuntimeError(f"{name}: no tests ran in {files}:\n{output.getvalue()}")
    return plugin.failed


def run(
    names: Iterable[str],
    enough: int = 1,
    with_torch: bool = True,
    bugs_only: bool = False,
) -> Iterator[tuple[str, list[str]]]:
    """Do the experiment: without a bug first, then with one after the other."""
    names = list(names)
    files = {name: tests_for(name, with_torch) for name in names}
    every_file = sorted({file for some in files.values() for file in some})
    if not bugs_only:
        yield "none", failures(None, every_file, enough, with_torch)
    for name in names:
        yield name, failures(name, files[name], enough, with_torch)


if __name__ == "__main__":
    chosen = [argument for argument in sys.argv[1:] if not argument.startswith("-")]
    options = {
        "with_torch": "--without-torch" not in sys.argv,
        "bugs_only": "--bugs-only" in sys.argv,
    }
    for result in run(chosen or bugs.names(), **options):
        print(json.dumps(result), flush=True)
