"""Text that others wrote is printable, on one line and short wherever it is shown."""

import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from npresnet.untrusted.text import (
    abridged,
    brief,
    shown,
    shown_lines,
    shown_message,
    shown_throughout,
)

NASTY = (
    "\x1b[2J\x1b[H",  # clears the screen
    "\x1b]0;title\x07",
    "\x9b31m",  # the same escapes in one byte
    "a\rb",
    "a\nb",
    "a\x0bb\x85c\u2028d",
    "\u202egnp.exe",  # turns the direction of writing
    "\u2066x\u2069",
    "\ufeff\u200b",
    "\ud800",
    "\x00",
    "\t",
    "\U000e0041",
)


@pytest.mark.parametrize("text", NASTY)
def test_what_acts_on_a_terminal_is_escaped(text):
    for show in (shown, shown_message, brief, abridged):
        told = show(f"conv1{text}weight")
        assert told.isprintable()
        assert "conv1" in told and "weight" in told


@given(st.text(st.characters(), max_size=300), st.integers(1, 100))
def test_every_text_is_printable_and_no_longer_than_asked(text, limit):
    told = shown(text, limit)
    assert told.isprintable()
    assert len(told) <= limit + 3
    told.encode("utf-8")  # no lone surrogate


@pytest.mark.parametrize("text", ["layer1.0.conv1.weight", "naïve", "猫", "קוף", "a b"])
def test_letters_of_all_scripts_stay(text):
    assert shown(text) == text
    assert brief(text) == f"'{text}'"


def test_ten_megabytes_are_cut_before_anything_is_done_to_them():
    assert len(shown("\x1b" * 10_000_000)) < 90
    assert len(brief(b"\x1b" * 10_000_000)) < 400
    assert len(shown_message("\x1b" * 10_000_000)) < 2100
    assert shown("a" * 80) == "a" * 80 and shown("a" * 81) == "a" * 80 + "..."


def test_lines_stay_lines_where_a_table_is_shown():
    told = shown_lines("name\nconv1\x1b[2J\n\u2028")
    assert told.split("\n") == ["name", r"conv1\x1b[2J", r"\u2028"]


def test_values_are_described_without_walking_through_them():
    endless = []
    endless.append(endless)
    assert brief(endless) == "a value of type list"
    assert brief((1, 2, "x")) == "(1, 2, ?)"
    assert brief(np.zeros(10**6)) == "an array"
    assert len(abridged({"a": list(range(10**5)), "b": "x" * 10**6})) < 210
    assert brief(-(1 << 300)) == "an integer of 301 bits"


def test_all_texts_of_a_file_are_shown_at_once():
    config = {"name": "\x1b[31m", "sizes": [1, {"\n": "x" * 200}], "none": None}
    assert shown_throughout(config, 10) == {
        "name": r"\x1b[31m",
        "sizes": [1, {r"\n": "x" * 10 + "..."}],
        "none": None,
    }


def test_no_category_of_unicode_that_acts_is_printable():
    for code in range(0x110000):
        character = chr(code)
        if character.isprintable():
            assert unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Zl", "Zp")
