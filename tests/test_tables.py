"""Tables are plain columns: whole in files and pipes, wrapped on narrow terminals."""

import builtins

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from npresnet._tables import columns

ROWS = [
    ("recipe", "epochs", "what it is for"),
    ("digits-quick", "20", "ResNet-8 on the digits that ship with the package"),
    ("cifar10-94", "7", ""),
]
TO_RIGHT = (False, True, False)

ascii_letters = st.characters(min_codepoint=32, max_codepoint=126)
# Spaces at the end of a number would not be kept.
letters = st.text(ascii_letters, max_size=30).map(str.rstrip)
tables = st.integers(1, 5).flatmap(
    lambda width: st.tuples(
        st.lists(st.lists(letters, min_size=width, max_size=width), min_size=1),
        st.lists(st.booleans(), min_size=width, max_size=width),
        st.lists(st.integers(0, 40), max_size=width),
        st.integers(1, 3),
    )
)


def by_hand(rows, to_right, least, gap):
    """Lay out ASCII without any library."""
    least = [*least, *[0] * len(to_right)]
    widths = [
        max(shortest, *map(len, texts))
        for shortest, *texts in zip(least, *rows, strict=False)
    ]
    return "\n".join(
        (" " * gap)
        .join(
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(row, widths, to_right, strict=True)
        )
        .rstrip()
        for row in rows
    )


@given(tables)
@settings(max_examples=200, deadline=None)
def test_columns_stand_as_if_laid_out_by_hand(table):
    rows, to_right, least, gap = table
    printed = columns(rows, to_right, least=least, gap=gap)
    assert printed == by_hand(*table)
    assert printed.isascii()


def test_without_a_width_nothing_is_wrapped_or_cut():
    text = "a word, " * 5_000
    printed = columns([("left", text), ("x", "y")], (False, False))
    assert printed.splitlines() == [f"left  {text.rstrip()}", "x     y"]


def test_a_terminal_of_enough_width_changes_nothing():
    whole = columns(ROWS, TO_RIGHT)
    longest = max(map(len, whole.splitlines()))
    assert columns(ROWS, TO_RIGHT, width=longest) == whole
    assert columns(ROWS, TO_RIGHT, width=500) == whole


@pytest.mark.parametrize("width", range(42, 71))
def test_on_a_narrow_terminal_the_widest_column_goes_on_below(width):
    lines = columns(ROWS, TO_RIGHT, width=width).splitlines()
    assert max(map(len, lines)) <= width
    assert lines[0] == "recipe        epochs  what it is for"
    assert lines[1].startswith("digits-quick      20  ResNet-8 on the")
    assert lines[-1] == "cifar10-94         7"
    below = lines[2:-1]
    assert below and all(line.startswith(" " * 22) for line in below)
    words = " ".join(line[22:] for line in lines[1:-1])
    assert words == ROWS[1][2]


@pytest.mark.parametrize("width", [1, 20, 41])
def test_where_too_little_room_is_left_lines_stay_whole(width):
    assert columns(ROWS, TO_RIGHT, width=width) == columns(ROWS, TO_RIGHT)


def test_a_word_that_is_longer_than_its_column_is_folded_not_cut():
    word = "abcdefghij" * 7
    lines = columns([("x", word)], (False, False), width=33).splitlines()
    assert len(lines) == 3 and lines[0].startswith("x  ")
    assert "".join(line[3:] for line in lines) == word


def test_letters_that_take_two_places_count_as_two():
    rows = [("猫", "1"), ("cat", "22")]
    assert columns(rows, (False, True)) == "猫    1\ncat  22"


@pytest.mark.parametrize("text", ["[red]x[/red]", ":smile:", "\\[b]", "\udcff", "a  b"])
def test_texts_are_shown_as_they_are(text):
    assert columns([(text, "|")], (False, False)) == f"{text}  |"


def test_no_rows_are_no_text():
    assert columns([], (False,)) == ""
    assert columns([("", ""), ("", "")], (False, True)) == "\n"


def test_surroundings_do_not_count(monkeypatch, capsys):
    class ZMQInteractiveShell:  # what a notebook's kernel calls it
        pass

    whole = columns(ROWS, TO_RIGHT)
    monkeypatch.setattr(builtins, "get_ipython", ZMQInteractiveShell, raising=False)
    for name, value in {
        "COLUMNS": "20",
        "FORCE_COLOR": "1",
        "TTY_COMPATIBLE": "1",
        "TERM": "dumb",
    }.items():
        monkeypatch.setenv(name, value)
    assert columns(ROWS, TO_RIGHT) == whole
    assert capsys.readouterr() == ("", "")
