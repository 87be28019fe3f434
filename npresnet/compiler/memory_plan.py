"""Where a program's arrays lie: one arena, shared by arrays that do not live at once."""

from __future__ import annotations

from dataclasses import dataclass

ALIGNMENT = 64  # bytes: a line of the cache


@dataclass(eq=False)
class Buffer:
    """Memory for an array, while it is needed.

    Attributes
    ----------
    name : str
        What it holds.
    bytes : int
        Its size.
    first, last : int
        The lines between which it is needed, both included.
    offset : int
        Where it begins in the arena.
    """

    name: str
    bytes: int
    first: int
    last: int
    offset: int = 0

    @property
    def end(self) -> int:
        """Where it ends, rounded up."""
        return self.offset + -(-self.bytes // ALIGNMENT) * ALIGNMENT


def place(buffers: list[Buffer]) -> int:
    """Choose offsets, so that what lives at once does not overlap; return the size.

    The largest are placed first, each as low as it fits. That is not always the best
    there is, and rarely far from it; `most_at_once` is what no choice can be below.
    """
    placed: list[Buffer] = []
    for buffer in sorted(buffers, key=lambda one: (-one.bytes, one.first)):
        beside = sorted(
            (
                other
                for other in placed
                if other.first <= buffer.last and buffer.first <= other.last
            ),
            key=lambda other: other.offset,
        )
        buffer.offset = 0
        for other in beside:
            if buffer.end <= other.offset:
                break
            buffer.offset = max(buffer.offset, other.end)
        placed.append(buffer)
    return max((buffer.end for buffer in buffers), default=0)


def most_at_once(buffers: list[Buffer]) -> int:
    """Return the most bytes that are needed at one line."""
    lines = {buffer.first for buffer in buffers}
    return max((sum(living(buffers, line)) for line in lines), default=0)


def living(buffers: list[Buffer], line: int) -> list[int]:
    """Return the sizes of what is needed at a line."""
    return [one.bytes for one in buffers if one.first <= line <= one.last]
