"""Every hostile file of the tests: `CASES`, filled by the modules of this folder."""

from ..craft import archive, legacy

CASES = {}  # name: (function that makes the file, what the refusal says)


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


def both(name, says, value, storages=None):
    """Register the same object in both formats."""
    simple(f"{name}_zip", says, archive(value, storages))
    simple(f"{name}_legacy", says, legacy(value, storages))


from . import archives, bombs, programs, tensors  # noqa: E402, F401
