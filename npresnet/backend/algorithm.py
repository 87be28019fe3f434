"""Which algorithm a convolution may take: exactness or speed, the caller's choice."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from npresnet._switches import Switch

_ALGORITHMS = ("auto", "direct")
_algorithm = Switch("algorithm", "auto")


def get_algorithm() -> str:
    """Name the choice in force: ``"auto"`` or ``"direct"``."""
    return _algorithm.get()


def set_algorithm(name: str) -> None:
    """Let convolutions choose what is fastest, or compute directly at all times.

    It holds for the whole process, except within blocks of `using_algorithm`.

    Parameters
    ----------
    name : {"auto", "direct"}
        "auto" (the default) takes Winograd's algorithm for float32 3x3 convolutions
        with many channels: less than half of the multiplications, and an error some
        ten times as large. "direct" adds the products up one by one.

    Raises
    ------
    ValueError
        If `name` is neither.

    Notes
    -----
    A value that close to zero may fall on the other side of a ReLU: then the two
    choices' gradients differ by far more than rounding in the pixels that it feeds.
    """
    _algorithm.default = _known(name)


@contextmanager
def using_algorithm(name: str) -> Iterator[None]:
    """Make another choice within a ``with`` block; see `set_algorithm`.

    It holds for this block's context: other threads and tasks keep theirs.

    Examples
    --------
    >>> import npresnet as nr
    >>> with nr.using_algorithm("direct"):
    ...     nr.get_algorithm()
    'direct'
    """
    with _algorithm.set_to(_known(name)):
        yield


def _known(name: str) -> str:
    if name not in _ALGORITHMS:
        known = ", ".join(map(repr, _ALGORITHMS))
        raise ValueError(f"name must be one of {known}, got {name!r}")
    return name
