"""Every example of the page on threads runs."""

import contextvars
import doctest
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "threads.md"


def test_every_example_comes_out_as_written():
    # As a program begins: threads do not know of the suite's blocks either.
    result = contextvars.Context().run(
        lambda: doctest.testfile(str(PAGE), module_relative=False, encoding="utf-8")
    )
    assert result.attempted > 20
    assert result.failed == 0


def test_every_code_block_is_an_example():
    fences = PAGE.read_text(encoding="utf-8").split("```")[1::2]
    assert fences
    for fence in fences:
        assert fence.startswith("pycon\n>>> ")
