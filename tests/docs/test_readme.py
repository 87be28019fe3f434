"""What the README shows is so."""

import doctest
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()


class _Fences(doctest.DocTestParser):
    """Takes a closing fence for what it is, not for expected output."""

    def parse(self, string, name="<string>"):
        return super().parse(re.sub(r"(?m)^```.*$", "", string), name)


def test_the_python_session_runs_as_shown():
    failed, attempted = doctest.testfile(
        str(ROOT / "README.md"), module_relative=False, parser=_Fences()
    )
    assert attempted > 10
    assert not failed


def test_quoted_code_stands_in_its_file():
    (block,) = re.findall(r"```python\n# (\S+)\n(.*?)```", README, re.DOTALL)
    name, code = block
    assert code in (ROOT / name).read_text()


@pytest.mark.parametrize(
    "link", re.findall(r"(?:\]\(|src=\")([^)\"#:]+)[)\"#]", README)
)
def test_links_lead_somewhere(link):
    assert (ROOT / link).exists()


def test_the_two_commands_are_those_that_are_run_for_every_change():
    script = (ROOT / ".ci" / "run").read_text()
    first, second = re.findall(r"^python -m pip install .*$", README, re.MULTILINE)
    assert first == "python -m pip install . && npresnet train"
    assert "python -m pip install --quiet .\n" in script
    assert "npresnet train\n" in script
    assert second.replace("install", "install --quiet", 1) in script
