"""The command line: thin, it calls the other rooms.

Every command has a file of its own. They import what they need when they run, so
that ``npresnet --help`` answers at once.
"""

from npresnet.cli.program import main

__all__ = ["main"]
