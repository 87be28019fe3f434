"""Every example of the page on programs runs, and its figures are those of today."""

import contextvars
import doctest
import re
from pathlib import Path

import npresnet as nr

PAGE = Path(__file__).parents[2] / "docs" / "compiler.md"


def test_every_example_comes_out_as_written():
    # As a program begins: with the algorithm that users have.
    result = contextvars.Context().run(
        lambda: doctest.testfile(str(PAGE), module_relative=False, encoding="utf-8")
    )
    assert result.attempted > 15
    assert result.failed == 0


def test_the_totals_of_resnet20_are_those_of_its_program():
    text = PAGE.read_text(encoding="utf-8")
    (quoted,) = re.findall(r"```text\n(128x3x32x32, .*?)```", text, re.S)
    found = contextvars.Context().run(
        lambda: nr.lens.program(nr.models.resnet20(num_classes=10), (3, 32, 32))
    )
    assert quoted.strip() == found.summary()
    more = 100 * (found.arena / found.most_at_once - 1)
    assert f"this one takes {more:.1f} % more" in " ".join(text.split())
    assert f"the {len(found.rows)} lines of a program" in text
