"""Settings that a ``with`` block changes for itself, and for nobody else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Generic, TypeVar

T = TypeVar("T")


class Switch(Generic[T]):
    """A setting: one value for the whole process, and others within ``with`` blocks.

    A block's value belongs to its context (see `contextvars`): no other thread and no
    other asyncio task sees it, in whatever order blocks begin and end. A thread that
    is started within a block begins with the value for the process; a task begins
    with what held where it was made, as tasks do.

    Parameters
    ----------
    name : str
        For debuggers.
    default : T
        The value for the process, at first.

    Attributes
    ----------
    default : T
        The value for the process: what holds where no block says otherwise.

    Examples
    --------
    >>> colour = Switch("colour", "grey")
    >>> with colour.set_to("red"):
    ...     colour.get()
    'red'
    >>> colour.get()
    'grey'
    """

    def __init__(self, name: str, default: T) -> None:
        self.default = default
        # The blocks that are open, the innermost last; each is a list of its value.
        self._blocks: ContextVar[tuple[list[T], ...]] = ContextVar(name, default=())

    def get(self) -> T:
        """Return the value that holds here: the innermost block's."""
        blocks = self._blocks.get()
        return blocks[-1][0] if blocks else self.default

    def all(self) -> tuple[T, ...]:
        """Return the values of all blocks that are open, the innermost last."""
        return tuple([value for (value,) in self._blocks.get()])

    @contextmanager
    def set_to(self, value: T) -> Iterator[None]:
        """Let another value hold within a ``with`` block."""
        before, block = self._blocks.get(), [value]
        try:
            self._blocks.set((*before, block))
            yield
        finally:
            # This block is taken out, and no other one: generators may end in another
            # order than they began in.
            try:
                now = self._blocks.get()
                self._blocks.set(tuple([other for other in now if other is not block]))
            except BaseException:  # Ctrl-C, of all moments at this one
                self._blocks.set(before)
                raise
