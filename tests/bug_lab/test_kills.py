"""Every bug of the lab is caught by the ordinary suite; without one nothing fails.

What runs here are other tests, each time with a bug injected: see `experiment`.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from npresnet.lens import bugs
from tests.bug_lab import kill_table, selection

ROOT = Path(__file__).parents[2]
TABLE = ROOT / "docs" / "kill_table.md"


def experiment(names):
    """Do the experiment in a process of its own, so that pytest runs in pytest."""
    command = [sys.executable, "-m", "tests.bug_lab.experiment", *names]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(line) for line in done.stdout.splitlines())


def assert_all_caught(names, caught):
    assert caught.pop("none", []) == []
    assert list(caught) == list(names)
    assert [name for name, tests in caught.items() if not tests] == []


def test_one_bug_of_each_kind_is_caught():
    # That nothing fails without a bug, the ordinary run shows by itself. Without torch,
    # which takes half of the time to load, they are the harder to catch.
    quickly = "--bugs-only", "--without-torch"
    assert_all_caught(selection.QUICK, experiment([*selection.QUICK, *quickly]))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_bug_is_caught(torch):
    assert_all_caught(bugs.names(), experiment(bugs.names()))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_bug_is_caught_without_torch_too():
    assert_all_caught(bugs.names(), experiment(["--without-torch"]))


def test_the_table_has_a_row_for_every_bug_as_it_is_described():
    text = TABLE.read_text(encoding="utf-8")
    for name in bugs.names():
        row = next(line for line in text.splitlines() if f"`{name}`" in line)
        assert kill_table.about(bugs.describe(name)) in row


def test_every_test_that_the_table_names_exists():
    cells = kill_table.TESTS.findall(TABLE.read_text(encoding="utf-8"))
    assert len(cells) >= len(bugs.names())
    for path, tests in set(cells):
        source = (ROOT / path).read_text(encoding="utf-8")
        for test in tests.replace("`", "").split(", "):
            assert f"def {test}(" in source
