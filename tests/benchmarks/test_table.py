"""From times to ratios, and from ratios to a table: on made-up figures."""

import pytest

from benchmarks.asking import CannotRun
from benchmarks.measurement import (
    Effort,
    Measurement,
    Taken,
    against,
    first_over_second,
    plain,
    spread,
)
from benchmarks.rows import ROWS, Row
from benchmarks.sides import EAGER
from benchmarks.table import quantity, summary, table, verdict
from benchmarks.works import Work

TIMES = {
    "npresnet": [1.0, 3.0, 2.0],
    "torch": [2.0, 2.0, 8.0],
    "torch-channels-last": [4.0, 1.0, 5.0],
}


def row(bar=None, goal=None):
    return Row("made-up", "made up", None, None, bar, goal)


def seconds(*values):
    return plain(Taken({"npresnet": values}, "s"))


def against_torch():
    return against(EAGER, Taken(TIMES, "s"))


def cells(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_a_rounds_ratio_is_to_the_better_of_pytorchs_two_in_that_round():
    result = against_torch()
    assert result.figures == pytest.approx([1 / 2, 3 / 1, 2 / 5])
    assert result.figure == pytest.approx(0.5)  # not that of the medians, 2 over 4
    assert result.part("torch") == 2.0


def test_only_the_rivals_of_a_row_count_and_only_those_that_took_part():
    parts = {"npresnet": [1.0], "torch": [4.0], "openvino": [2.0]}
    taken = Taken(parts, "s", {"onnxruntime": "not installed"})
    result = against(["openvino", "onnxruntime"], taken)
    assert result.figures == [0.5]
    assert list(result.taken.parts) == ["npresnet", "openvino"]
    assert result.taken.missing == {"onnxruntime": "not installed"}
    with pytest.raises(CannotRun, match="not installed"):
        against(["onnxruntime"], taken)


def test_a_spread_is_that_of_two_parts_which_all_rounds_have_chosen():
    parts = {"a": [1.0, 2.0, 1.0], "b": [2.0, 1.0, 2.0], "c": [3.0, 1.5, 5.0]}
    result = spread(Taken(parts, "s/MAC"))
    assert result.figures == pytest.approx([3.0, 0.75, 5.0])  # c over a
    assert result.figure == pytest.approx(3.0)


def test_of_seconds_the_median_counts():
    assert seconds(3.0, 1.0, 2.0).figure == 2.0


def test_the_first_work_is_held_against_the_second():
    taken = Taken({"small": [1.0, 3.0], "large": [2.0, 2.0]}, "s/image")
    assert first_over_second(taken).figures == [0.5, 1.5]


@pytest.mark.parametrize(
    ("figure", "bar", "goal", "word"),
    [
        (1.0, 1.0, None, "met"),
        (1.01, 1.0, None, "not met"),
        (0.9, 1.0, 0.5, "met"),
        (0.5, 1.0, 0.5, "goal met"),
        (1.1, 1.0, 0.5, "not met"),
        (1.15, None, 1.15, "goal met"),
        (1.16, None, 1.15, "not met"),
        (float("nan"), 1.0, 0.5, "not met"),
    ],
)
def test_a_result_is_held_against_bar_and_goal(figure, bar, goal, word):
    assert verdict(row(bar, goal), Measurement([figure], Taken({}, "s"))) == word


def test_the_table_shows_sides_ratio_range_and_runs():
    lines = table([(row(1.0, 0.25), against_torch())]).splitlines()
    assert len(lines) == 3
    assert {len(cells(line)) for line in lines} == {9}
    assert cells(lines[2]) == [
        "made up",
        "2.00 s",
        "PyTorch 2.00 s; channels_last 4.00 s",
        "**0.50**",
        "0.40 to 3.00",
        "3",
        "1",
        "0.25",
        "met",
    ]


def test_the_table_shows_seconds_and_several_works():
    alone = seconds(0.25, 0.5, 0.75)
    parts = {"small": [5e-12, 6e-12], "large": [6e-12, 6e-12]}
    works = spread(Taken(parts, "s/MAC"))
    rows = [(row(1.0, 0.3), alone), (row(None, 1.15), works)]
    first, second = table(rows).splitlines()[2:]
    assert cells(first)[1:] == [
        *("500 ms", "", "**500 ms**", "250 ms to 750 ms", "3", "1 s", "0.3 s"),
        "met",
    ]
    assert cells(second)[1:] == [
        *("5.50 ps, 6.00 ps", "", "**1.10**", "1.00 to 1.20", "2", "", "1.15"),
        "goal met",
    ]


def test_what_was_not_measured_says_why():
    (line,) = table([(row(0.8, 0.65), "no compiler")]).splitlines()[2:]
    assert cells(line) == [
        *("made up", "", "no compiler", "", "", "", "0.8", "0.65", "not measured")
    ]
    assert summary(row(), "no compiler") == "not measured (no compiler)"


def test_a_line_says_the_same():
    assert summary(row(1.0), against_torch()) == "0.50 (0.40 to 3.00), met"


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (1.2345, "s", "1.23 s"),
        (0.2284, "s", "228 ms"),
        (0.9999, "s", "1000 ms"),
        (0.0000123, "s", "0.0123 ms"),
        (1234e6, "bytes", "1.23 GB"),
        (567.8e6, "bytes", "568 MB"),
        (1.2e-3, "s/image", "1.20 ms"),
    ],
)
def test_quantities_have_three_digits_and_a_unit(value, unit, text):
    assert quantity(value, unit) == text


def test_results_are_kept_whole():
    result = against_torch().to_dict()
    assert result["figure"] == pytest.approx(0.5)
    assert result["range"] == pytest.approx([0.4, 3.0])
    assert result["runs"] == 3
    assert result["parts"] == TIMES


def test_rows_have_names_of_their_own_and_something_to_meet():
    assert len({row.name for row in ROWS}) == len(ROWS)
    assert all(row.bar is not None or row.goal is not None for row in ROWS)


def test_multiply_adds_are_those_that_papers_count():
    macs = Work("resnet20", 2, 32, trains=True).count_macs()
    assert macs == pytest.approx(40.55e6, rel=1e-3)


def test_what_takes_long_is_run_twice_at_most():
    assert [Effort(rounds, 1.0, 1).few for rounds in (1, 3, 9)] == [1, 2, 2]
