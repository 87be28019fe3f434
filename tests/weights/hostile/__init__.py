"""Every hostile file of the tests, filled in by the modules of this folder.

Those in `CASES` are refused. Those in `INERT` load, and what they would have run or
built is a placeholder that names it.
"""

from ..craft import archive, legacy, mapping, tensor

CASES = {}  # name: (function that makes the file, what the refusal says)
INERT = {}  # name: (function that makes the file, the type that is named)


def hostile(says):
    """Register a maker: called with the command to run, it returns a file's bytes."""

    def register(maker):
        assert maker.__name__ not in CASES
        CASES[maker.__name__] = maker, says
        return maker

    return register


def simple(name, says, data):
    """Register a file that has no command to run: bytes, or what returns them."""
    assert name not in CASES
    CASES[name] = (lambda command: data() if callable(data) else data), says


def inert(says):
    """Register a maker of a value, which is saved as ``x`` beside a good ``w``."""

    def register(maker):
        for name, build in (("zip", archive), ("legacy", legacy)):

            def make(command, build=build):
                return build(mapping(w=tensor(), x=maker(command)))

            INERT[f"{maker.__name__}_{name}"] = make, says
        return maker

    return register


def both(name, says, value, storages=None):
    """Register the same object in both formats."""
    simple(f"{name}_zip", says, archive(value, storages))
    simple(f"{name}_legacy", says, legacy(value, storages))


from . import archives, programs, tensors  # noqa: E402, F401

_before = set(CASES)
from . import bombs  # noqa: E402, F401

BOMBS = sorted(CASES.keys() - _before)
