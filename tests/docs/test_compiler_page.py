"""Every example of the page on programs runs, and its figures are those of today."""

import contextvars
import doctest

from benchmarks.program_page import PAGE, large, rewritten, small


def as_users_have_it(function):
    """Call a function outside of the suite's blocks: with the algorithm of users."""
    return contextvars.Context().run(function)


def test_every_example_comes_out_as_written():
    result = as_users_have_it(
        lambda: doctest.testfile(str(PAGE), module_relative=False, encoding="utf-8")
    )
    assert result.attempted > 15
    assert result.failed == 0


def test_its_figures_are_those_of_today():
    """If not: ``python -m benchmarks.program_page``."""
    page = PAGE.read_text(encoding="utf-8")
    assert as_users_have_it(lambda: rewritten(page, repr(small()), large())) == page


def test_the_lines_that_it_names_do_what_it_says():
    plan = as_users_have_it(lambda: small().plan)
    first, last = (plan.lines[number] for number in (3, 7))
    assert first.layers == ("bn1", "relu")
    assert last.layers == ("bn2", "+", "relu")
    places = [plan.places[line.writes[0]].offset for line in (first, last)]
    assert places[0] == places[1]
    assert plan.lines[-1].layers[-1] == "+"
