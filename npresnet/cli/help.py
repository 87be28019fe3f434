"""Help texts that are printed as they stand in the source."""

from __future__ import annotations

import inspect

import click


class Verbatim(click.Command):
    """A command whose docstring is its help, line by line, not wrapped anew."""

    def format_help_text(
        self, ctx: click.Context, formatter: click.HelpFormatter
    ) -> None:
        """Write the docstring, indented."""
        formatter.write_paragraph()
        for line in inspect.cleandoc(self.help or "").splitlines():
            formatter.write(f"  {line}".rstrip() + "\n")


class Command(Verbatim):
    """An ordinary command with such a help text."""


class Group(Verbatim, click.Group):
    """A group of commands with such a help text."""
