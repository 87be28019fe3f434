"""The page names tests that exist, for every fault."""

import re

from tests.docs.test_derivations import ROOT

PAGE = (ROOT / "docs" / "what_a_run_survives.md").read_text(encoding="utf-8")


def test_every_test_that_the_page_names_exists():
    named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", PAGE)
    assert len(named) == PAGE.count("`tests/") >= 10
    for path, name in named:
        source = (ROOT / path).read_text(encoding="utf-8")
        assert f"def {name}(" in source, name
