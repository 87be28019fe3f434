"""A training step as one program: its lines, and where its arrays lie."""

from npresnet.lens.program.measure import program
from npresnet.lens.program.result import Program, ProgramRow

__all__ = [
    "Program",
    "ProgramRow",
    "program",
]
