"""What stands for the globals of a pickle: placeholders, and what may be built.

A pickle asks for globals by name. A `Global` stands for a function of this package,
which copies and checks what the file gives it and trusts neither the number of the
arguments nor their types; tables of them are given to the machine. Every other name
becomes a `Placeholder`: nothing is looked up, imported or called, whatever the file
does with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from npresnet.untrusted.text import shown

CONTAINER_STEPS = 8  # what an empty dict or list costs, in steps of the machine

_LONGEST_NAME = 200  # characters of a type that are kept


class Machine(Protocol):
    """What a builder needs of the machine that runs the pickle."""

    def spend(self, steps: int) -> None:
        """Count work against the bound on steps."""
        ...

    def allocate(self, count: int) -> None:
        """Count bytes that are built against the bound that the pickle's size sets."""
        ...

    def key(self, value: object) -> Any:
        """Return a value that may be hashed."""
        ...


class Placeholder:
    """Stands for something that a file asks for and that was not built.

    Attributes
    ----------
    type : str
        What the file calls it, such as ``"torch.device"`` or ``"__main__.Net"``.
    """

    __slots__ = ("type",)

    def __init__(self, type: str) -> None:
        self.type = type

    def __repr__(self) -> str:
        return f"<{self.type}, not built>"

    def _call(self, machine: Machine, args: tuple[Any, ...]) -> Any:
        """Return what stands for a call of this, or for an instance of it."""
        return Placeholder(self.type)

    def _set_state(self, machine: Machine, state: Any) -> Any:
        """Return what stands for this with a state; a placeholder forgets it."""
        return self


Builder = Callable[[Machine, tuple[Any, ...]], Any]


class Global(Placeholder):
    """A global that builds something when it is called; as a value, a placeholder."""

    __slots__ = ("build",)

    def __init__(self, type: str, build: Builder) -> None:
        super().__init__(type)
        self.build = build

    def _call(self, machine: Machine, args: tuple[Any, ...]) -> Any:
        return self.build(machine, args)


Globals = Mapping[tuple[str, str], Global]


def named(module: str, name: str) -> Placeholder:
    """Return the placeholder of a global, whose name may be of any length."""
    return Placeholder(shown(f"{module[:_LONGEST_NAME]}.{name[:_LONGEST_NAME]}", 200))
