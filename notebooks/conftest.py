"""``python -m pytest notebooks`` runs every notebook and counts what it asserts."""

import re
import time

import pytest

from notebooks.make.compare import stale_outputs
from notebooks.make.contents import README, with_contents
from notebooks.make.form import faults
from notebooks.make.pair import claims, read_notebook, read_text
from notebooks.make.run import run

collect_ignore_glob = ["*.py"]  # texts of notebooks are no modules to search for tests
_RESULTS = pytest.StashKey()


def pytest_configure(config):
    config.stash[_RESULTS] = []


def pytest_collect_file(file_path, parent):
    if re.match(r"\d\d_\w+\.ipynb$", file_path.name):
        return Notebook.from_parent(parent, path=file_path)
    if file_path == README:
        return Contents.from_parent(parent, path=file_path)
    return None


class Notebook(pytest.File):
    def collect(self):
        yield Form.from_parent(self, name="has_the_form_and_agrees_with_its_text")
        yield Run.from_parent(self, name="runs_and_shows_what_it_showed")


class Fault(Exception):
    """What is wrong with a notebook."""


class _Item(pytest.Item):
    def repr_failure(self, excinfo, style=None):
        if isinstance(excinfo.value, Fault):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self):
        return self.path, None, f"{self.path.stem}: {self.name}"


class Form(_Item):
    def runtest(self):
        if found := faults(self.path.with_suffix(".py")):
            raise Fault("\n".join(found))


class Run(_Item):
    def runtest(self):
        text = read_text(self.path.with_suffix(".py"))
        begin = time.perf_counter()
        fresh = run(text)
        seconds = time.perf_counter() - begin
        result = (self.path.stem, claims(text), seconds)
        self.config.stash[_RESULTS].append(result)
        if stale := stale_outputs(read_notebook(self.path), fresh):
            number = self.path.name[:2]
            command = f"python -m notebooks.make {number}"
            raise Fault("\n".join([*stale, f"If this is as it should be: {command}"]))


class Contents(pytest.File):
    def collect(self):
        yield Listed.from_parent(self, name="lists_every_notebook")


class Listed(_Item):
    def runtest(self):
        page = README.read_text(encoding="utf-8")
        if with_contents(page) != page:
            raise Fault("the list is old: python -m notebooks.make")


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    """Gather the results of a process of its own."""
    node.config.stash[_RESULTS] += getattr(node, "workeroutput", {}).get("course", [])


def pytest_sessionfinish(session):
    """Hand the results over, if this process is one of several."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["course"] = session.config.stash[_RESULTS]


def pytest_terminal_summary(terminalreporter, config):
    results = config.stash[_RESULTS]
    if not results:
        return
    terminalreporter.section("the course")
    for name, count, seconds in sorted(results):
        slow = "  more than a minute" if seconds > 60 else ""
        terminalreporter.write_line(
            f"{name:32} {count:3} claims {seconds:5.1f} s{slow}"
        )
    total = sum(count for _, count, _ in results)
    seconds = sum(seconds for _, _, seconds in results)
    terminalreporter.write_line(
        f"{total} claims asserted in {len(results)} notebooks, {seconds:.0f} s"
    )
