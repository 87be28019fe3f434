"""JSON of others is read within bounds, and is JSON."""

import json
import os
import tracemalloc

import pytest

from npresnet.untrusted import json_text


def refusal(text):
    with pytest.raises(ValueError, match="not readable as JSON") as raised:
        json_text.parse(text)
    assert type(raised.value) is ValueError
    told = str(raised.value)
    assert told.isprintable() and len(told) < 300
    return told


@pytest.mark.parametrize(
    "value",
    [
        {"a": [1, -2.5, "x", None, True], "b": {"c": {}}},
        "[" * 1000,
        {'"[{': "\\"},
        ['\\"[', 'a"]'],
        [],
        0,
        {"é": "\u2028\ud800"},
    ],
)
def test_what_python_writes_is_read(value):
    for text in (json.dumps(value), json.dumps(value, indent=2)):
        assert json_text.parse(text) == value
        assert json_text.parse(text.encode()) == value
        assert json_text.parse(b"\xef\xbb\xbf" + text.encode()) == value
        with pytest.raises(ValueError, match="not readable as JSON"):
            json_text.parse((text + " ").encode("utf-16-le"))


@pytest.mark.parametrize(
    "text",
    ["", "[1", "{'a': 1}", "[1,]", "nul", b"\xff\xfe", "[" * 20, "]", "1 2", "\\"],
)
def test_what_is_none_is_refused_in_one_line(text):
    refusal(text)


@pytest.mark.parametrize("text", ["NaN", "[Infinity]", '{"loss": -Infinity}'])
def test_numbers_that_json_has_not_are_refused(text):
    assert "it has no " in refusal(text)


def test_integers_of_thousands_of_digits_are_refused():
    assert "digits" in refusal("1" * 10_000)


@pytest.mark.parametrize("unit", ["[", '{"a":', '[{"a":'])
def test_nesting_is_bounded_before_it_is_followed(unit):
    assert "nested more than 32 deep" in refusal(unit * 100_000)
    assert "nested more than 32 deep" in refusal("[" * 33 + "]" * 33)
    assert json_text.parse("[" * 32 + "]" * 32) is not None
    assert json_text.parse('["' + "[" * 100_000 + '"]') is not None


@pytest.mark.parametrize(
    "text",
    [
        "[" + "[]," * 500_000 + "1]",
        "[" + '{"a":0},' * 500_000 + "1]",
        "[" + '"",' * 1_000_000 + "1]",
        "]" * 2_000_000,
        "," * 2_000_000,
        '"' * 4_000_000,
        '["' + '\\"' * 4_000_000,
        "x" * 9_000_000,
    ],
    ids=lambda text: text[:6],
)
def test_size_and_number_of_values_are_bounded(text):
    tracemalloc.start()
    try:
        refusal(text)
        assert tracemalloc.get_traced_memory()[1] < 6 * len(text) + (1 << 20)
    finally:
        tracemalloc.stop()


def test_a_file_is_named(tmp_path):
    path = tmp_path / "x\n.json"
    path.write_text("[1")
    with pytest.raises(ValueError) as raised:
        json_text.read(path)
    assert str(raised.value).startswith(rf"{tmp_path}/x\n.json: not readable as JSON")
    path.write_text("[1]")
    assert json_text.read(path) == [1]
    with pytest.raises(ValueError, match="expected no more than 2"):
        json_text.read(path, max_bytes=2)
    with pytest.raises(FileNotFoundError, match="there is no such file"):
        json_text.read(tmp_path / "none.json")
    os.unlink(path)
