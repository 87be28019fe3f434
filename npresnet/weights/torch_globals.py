"""What the globals of a PyTorch pickle stand for here: `GLOBALS`, and nothing else.

======================================  ===========================================
``collections.OrderedDict``             an OrderedDict; the ``_metadata`` that a
                                        state_dict carries is dropped
``torch._utils._rebuild_tensor[_v2]``   a tensor: a view of a storage
``torch._utils._rebuild_parameter``     its tensor
``torch.nn.parameter.Parameter``        its tensor (PyTorch before 0.4)
``torch.Size``                          a tuple
``torch.FloatStorage``, ...             the type in a storage's persistent id
``_codecs.encode``, ``bytes``           bytes, in protocol 2's spelling
======================================  ===========================================

None of these is imported from anywhere: each is a function below, which takes the
arguments that the file gives and trusts neither their number nor their types.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from npresnet.weights.tensors import STORAGE_TYPES, RefusedFile, Storages, brief

RULE = "weights may contain only tensors, dicts, lists and plain values"
CONTAINER_STEPS = 8  # what an empty dict or list costs, in steps of the machine


class Machine(Protocol):
    """What a builder needs of the machine that runs the pickle."""

    storages: Storages | None

    def spend(self, steps: int) -> None:
        """Count work against the bound on steps."""
        ...


@dataclass(frozen=True, slots=True)
class Global:
    """A global that a pickle may name: a name, and what calling it builds here."""

    name: str
    build: Callable[[Machine, tuple[Any, ...]], Any]

    @property
    def is_storage_type(self) -> bool:
        """Return whether it may stand in a storage's persistent id."""
        return self.build is _refuse_to_build


def _build_tensor(machine: Machine, args: tuple[Any, ...]) -> Any:
    # (storage, offset, size, stride[, requires_grad, backward_hooks[, metadata]])
    if not 4 <= len(args) <= 7 or machine.storages is None:
        raise RefusedFile(f"refused: a tensor from {len(args)} arguments")
    size = args[2]
    machine.spend(16 + (len(size) if type(size) is tuple else 0))
    return machine.storages.tensor(*args[:4])


def _build_parameter(machine: Machine, args: tuple[Any, ...]) -> Any:
    # (tensor[, requires_grad[, backward_hooks[, state]]])
    if not 1 <= len(args) <= 4 or type(args[0]) is not np.ndarray:
        raise RefusedFile("refused: a Parameter that is not a tensor")
    return args[0]


def _build_ordered_dict(machine: Machine, args: tuple[Any, ...]) -> Any:
    # () or, from Python 2, ([[key, value], ...],)
    machine.spend(CONTAINER_STEPS)
    ordered: OrderedDict[Any, Any] = OrderedDict()
    if not args:
        return ordered
    if len(args) != 1 or type(args[0]) is not list:
        raise RefusedFile("refused: an OrderedDict that is not made of pairs")
    machine.spend(len(args[0]))
    for pair in args[0]:
        if type(pair) not in (list, tuple) or len(pair) != 2:
            raise RefusedFile("refused: an OrderedDict that is not made of pairs")
        ordered[dict_key(pair[0])] = pair[1]
    return ordered


def _build_size(machine: Machine, args: tuple[Any, ...]) -> Any:
    if len(args) != 1 or type(args[0]) is not tuple:
        raise RefusedFile("refused: a torch.Size that is not made of a tuple")
    return args[0]


def _build_bytes(machine: Machine, args: tuple[Any, ...]) -> Any:
    # bytes() or _codecs.encode(text, "latin1")
    if not args:
        return b""
    if [type(arg) for arg in args] != [str, str] or args[1] != "latin1":
        raise RefusedFile("refused: bytes that are not encoded as latin1")
    machine.spend(len(args[0]))
    try:
        return args[0].encode("latin1")
    except UnicodeEncodeError:
        raise RefusedFile("broken: bytes with a value above 255") from None


def _refuse_to_build(machine: Machine, args: tuple[Any, ...]) -> Any:
    raise RefusedFile(f"refused: the file makes a storage of its own; {RULE}")


def dict_key(value: object) -> Any:
    """Return a key of a dict whose hash can neither recurse nor be made to collide."""
    if type(value) in (str, bytes):
        return value
    if type(value) is int and -(1 << 60) < value < 1 << 60:
        return value
    raise RefusedFile(f"refused: {brief(value)} as the key of a dict; {RULE}")


def _table() -> dict[tuple[str, str], Global]:
    builders = {
        ("collections", "OrderedDict"): _build_ordered_dict,
        ("torch._utils", "_rebuild_tensor"): _build_tensor,
        ("torch._utils", "_rebuild_tensor_v2"): _build_tensor,
        ("torch._utils", "_rebuild_parameter"): _build_parameter,
        ("torch._utils", "_rebuild_parameter_with_state"): _build_parameter,
        ("torch.nn.parameter", "Parameter"): _build_parameter,
        ("torch", "Size"): _build_size,
        ("_codecs", "encode"): _build_bytes,
        ("__builtin__", "bytes"): _build_bytes,
        ("builtins", "bytes"): _build_bytes,
        **{("torch", name): _refuse_to_build for name in STORAGE_TYPES},
    }
    return {key: Global(".".join(key), build) for key, build in builders.items()}


GLOBALS = _table()
