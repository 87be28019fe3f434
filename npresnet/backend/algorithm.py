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
        ten times as large, if pixels are of similar size. "direct" adds the products
        up one by one.

    Raises
    ------
    ValueError
        If `name` is neither.

    Notes
    -----
    A value that close to zero may fall on the other side of a ReLU: then the two
    choices' gradients differ by far more than rounding in the pixels that it feeds.

    Winograd's algorithm computes tiles of 4x4 outputs from patches of 6x6 pixels, and
    an output's error is measured by the largest pixel of its patch, even one that it
    does not see: at most ``300 * (C + 30) * 2**-24 * W * M`` for a pixel of size M
    among small ones and weights up to W. One pixel of 1e6 among ones leaves errors of
    about 1 beside it; a NaN reaches up to 5x5 outputs per channel instead of 3x3; and
    pixels from a hundredth of the largest float on may overflow. Take "direct" for
    such data. See ``docs/winograd.md``.
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
