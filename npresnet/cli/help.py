"""Help texts that are printed as they stand in the source, where there is room."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Iterator

import click

# An indented line of two columns: a term, at least two spaces, an explanation.
_TWO_COLUMNS = re.compile(r"(\s+\S.*?\s{2,})\S")
_LEAST_EXPLANATION = 20  # characters of a line that are worth a column of their own


class Verbatim(click.Command):
    """A command whose docstring is its help, line by line; wrapped if it must be."""

    def format_help_text(
        self, ctx: click.Context, formatter: click.HelpFormatter
    ) -> None:
        """Write the docstring, indented."""
        formatter.write_paragraph()
        for line in _fitted(inspect.cleandoc(self.help or ""), formatter.width - 2):
            formatter.write(f"  {line}".rstrip() + "\n")


class Command(Verbatim):
    """An ordinary command with such a help text."""


class Group(Verbatim, click.Group):
    """A group of commands with such a help text, and whole sentences on each."""

    def format_commands(
        self, ctx: click.Context, formatter: click.HelpFormatter
    ) -> None:
        """List the commands; what does not fit into a line goes on in the next."""
        rows = [
            (name, command.get_short_help_str(limit=1000))
            for name in self.list_commands(ctx)
            if (command := self.get_command(ctx, name)) and not command.hidden
        ]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def _fitted(text: str, width: int) -> Iterator[str]:
    """Go through the lines of a text, those of paragraphs that are too wide anew."""
    for paragraph in _paragraphs(text.splitlines()):
        if all(len(line) <= width for line in paragraph):
            yield from paragraph
            continue
        first = paragraph[0]
        indent = len(first) - len(first.lstrip())
        hanging = 4 * (indent > 0)
        head = first[:indent]
        words = " ".join(line.strip() for line in paragraph)
        if columns := _TWO_COLUMNS.match(first):
            head = columns[1]
            words = words[len(head) - indent :]
            if width - len(head) >= _LEAST_EXPLANATION:
                hanging = len(head) - indent
        yield from textwrap.wrap(
            words,
            width,
            initial_indent=head,
            subsequent_indent=" " * (indent + hanging),
            break_long_words=False,
            break_on_hyphens=False,
        )


def _paragraphs(lines: list[str]) -> Iterator[list[str]]:
    """Put lines together that may be wrapped together.

    A line that is indented stands alone, together with those below it that begin where
    its explanation does.
    """
    paragraph: list[str] = []
    column = 0  # where lines begin that go on with the paragraph
    for line in lines:
        indent = len(line) - len(line.lstrip())
        if paragraph and (not line or indent != column):
            yield paragraph
            paragraph = []
        if not paragraph:
            columns = _TWO_COLUMNS.match(line)
            column = len(columns[1]) if columns else 0 if not indent else -1
        if line:
            paragraph.append(line)
        else:
            yield [line]
    if paragraph:
        yield paragraph
