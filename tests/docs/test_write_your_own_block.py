"""Every example of the page runs, and its modules are right or wrong as it says."""

import doctest
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "write_your_own_block.md"


def test_every_example_comes_out_as_written(backend):
    result = doctest.testfile(
        str(PAGE),
        module_relative=False,
        optionflags=doctest.ELLIPSIS,
        encoding="utf-8",
    )
    assert result.attempted > 20
    assert result.failed == 0


def test_every_code_block_is_an_example():
    fences = PAGE.read_text(encoding="utf-8").split("```")[1::2]
    assert fences
    for fence in fences:
        assert fence.startswith("pycon\n>>> ")
