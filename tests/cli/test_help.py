"""Help is never cut off, however narrow the terminal."""

import inspect
import re

import click
import pytest
from click.testing import CliRunner

from npresnet.cli import main


def commands(command=main, path=()):
    yield path, command
    if isinstance(command, click.Group):
        for name, inner in inside(command):
            yield from commands(inner, (*path, name))


def inside(group):
    """List the commands of a group, which may load them when they are asked for."""
    context = click.Context(group)
    return [
        (name, group.get_command(context, name))
        for name in group.list_commands(context)
    ]


ALL = dict(commands())


def help_of(path, width):
    result = CliRunner().invoke(main, [*path, "--help"], terminal_width=width)
    assert result.exit_code == 0
    return result.stdout


def words(text):
    return re.findall(r"\S+", text)


def letters(text):
    """Leave out all space: a line may break within a hyphenated word."""
    return "".join(words(text))


@pytest.mark.parametrize("width", [60, 80, 100])
@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_every_help_fits_and_nothing_is_left_out(path, width):
    text = help_of(path, width)
    for line in text.splitlines():
        # A path or an address may be one long word.
        assert len(line) <= width or len(max(words(line), key=len)) > width - 10, line
    command = ALL[path]
    flat = letters(text)
    for paragraph in inspect.cleandoc(command.help).split("\n\n"):
        assert letters(paragraph) in flat
    for option in command.params:
        if isinstance(option, click.Option):
            assert letters(option.help) in flat
    if isinstance(command, click.Group):
        for _, inner in inside(command):
            first, _, _ = inspect.cleandoc(inner.help).partition("\n\n")
            assert letters(first) in flat


def test_a_wide_terminal_gets_the_lines_as_they_are_written():
    lines = help_of(("train",), 100).splitlines()
    for line in inspect.cleandoc(ALL["train",].help).splitlines():
        assert f"  {line}".rstrip() in lines


def test_columns_stay_columns_where_they_are_wrapped():
    lines = help_of(("train",), 60).splitlines()
    (first,) = [i for i, line in enumerate(lines) if "metrics.csv" in line]
    column = lines[first].index("per epoch")
    assert lines[first + 1].startswith(" " * column)
    assert lines[first + 1][column] != " "
    lines = help_of((), 60).splitlines()
    (first,) = [i for i, line in enumerate(lines) if "npresnet train  " in line]
    column = lines[first].index("train a small")
    rest = " ".join(line.strip() for line in lines[first + 1 : first + 4])
    assert lines[first + 1].startswith(" " * column)
    assert "(a minute, no network needed)" in f"{lines[first]} {rest}"
