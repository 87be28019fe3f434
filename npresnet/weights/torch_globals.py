"""What the globals of a PyTorch file stand for here, and what its storages.

======================================  ===========================================
``torch._utils._rebuild_tensor[_v2]``   a tensor: a view of a storage
``torch._utils._rebuild_tensor_v3``     the same of a type that NumPy has; of others,
                                        such as float8, a placeholder
``torch._utils._rebuild_parameter``     its tensor
``torch.nn.parameter.Parameter``        its tensor (PyTorch before 0.4)
``torch._tensor._rebuild_from_type``    its tensor: one with attributes, or of a
                                        subclass
``torch.Size``                          a tuple
``torch.FloatStorage``, ...             the type in a storage's persistent id
``torch._utils._rebuild_sparse_...``    a placeholder that says what kind of tensor
======================================  ===========================================

To these come the globals of :mod:`npresnet.untrusted.pickle_globals`; whatever else a
file names (``torch.device``, ``torch.float32``, a class of a script) becomes a
placeholder. None of them is imported from anywhere: each is a function below, which
takes the arguments that the file gives and trusts neither their number nor their
types.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from npresnet.untrusted.pickle_globals import PLAIN_GLOBALS
from npresnet.untrusted.pickle_values import (
    Builder,
    Global,
    Globals,
    Machine,
    Placeholder,
)
from npresnet.untrusted.text import RefusedFile, brief
from npresnet.weights.tensors import STORAGE_TYPES, UNTYPED, Storage, Storages


class StorageType(Global):
    """A type of storage: it stands in persistent ids, and builds nothing."""

    __slots__ = ()

    def __init__(self, type: str) -> None:
        super().__init__(type, lambda machine, args: Placeholder(type))


class NamedStorage(Placeholder):
    """A storage that the pickle names: of use to a tensor, else a placeholder."""

    __slots__ = ("storage",)

    def __init__(self, type: str, storage: Storage) -> None:
        super().__init__(type)
        self.storage = storage


def torch_globals(storages: Storages) -> Globals:
    """Return the globals of a file that has these storages."""

    def tensor(machine: Machine, args: tuple[Any, ...]) -> Any:
        # (storage, offset, size, stride[, requires_grad, backward_hooks[, metadata]])
        if not 4 <= len(args) <= 7:
            raise RefusedFile(f"broken: a tensor from {len(args)} arguments")
        return _tensor(machine, storages, args[:4], args[6] if len(args) == 7 else None)

    def tensor_of_type(machine: Machine, args: tuple[Any, ...]) -> Any:
        # (storage, offset, size, stride, requires_grad, hooks, dtype[, metadata])
        if not 7 <= len(args) <= 8 or not isinstance(args[6], Placeholder):
            raise RefusedFile(f"broken: a tensor from {len(args)} arguments")
        element = UNTYPED.get(args[6].type)
        if element is None:
            return Placeholder(f"{args[6].type} tensor")
        if type(args[0]) is not NamedStorage:
            raise RefusedFile("broken: a tensor without a storage")
        storage = NamedStorage(args[0].type, args[0].storage.of_type(element))
        metadata = args[7] if len(args) == 8 else None
        return _tensor(machine, storages, (storage, *args[1:4]), metadata)

    builders: dict[tuple[str, str], Builder] = {
        ("torch._utils", "_rebuild_tensor"): tensor,
        ("torch._utils", "_rebuild_tensor_v2"): tensor,
        ("torch._utils", "_rebuild_tensor_v3"): tensor_of_type,
        **_BUILDERS,
    }
    ours = {key: Global(".".join(key), build) for key, build in builders.items()}
    return {**PLAIN_GLOBALS, **_STORAGE_GLOBALS, **ours}


def load_storage(storages: Storages, identity: object) -> Any:
    """Return what a persistent id stands for: a storage, or a class of modules."""
    match identity:
        case (str("module"), Placeholder() as kind, *_):  # and its source
            return Placeholder(kind.type)
        case (str("storage"), StorageType() as kind, key, _, numel, *rest) if (
            len(rest) < 2
        ):
            element = STORAGE_TYPES[kind.type.rpartition(".")[2]]
            storage = storages.name(key, element, numel)
            if rest and rest[0] is not None:  # (key, offset, numel): the legacy format
                view = rest[0]
                if type(view) is not tuple or len(view) != 3:
                    raise RefusedFile(
                        f"broken: a view {brief(view)} of storage {storage.key}"
                    )
                storage = storage.view(view[1], view[2])
            return NamedStorage(kind.type, storage)
    first = identity[0] if type(identity) is tuple and identity else identity
    raise RefusedFile(f"refused: a persistent id that is no storage ({brief(first)})")


def _tensor(
    machine: Machine, storages: Storages, view: tuple[Any, ...], metadata: Any
) -> Any:
    """Return the array of a view, or what stands for it where NumPy has none."""
    stored, offset, size, stride = view
    if type(stored) is not NamedStorage:
        raise RefusedFile("broken: a tensor without a storage")
    if stored.storage.element.loaded is None:
        return Placeholder(f"tensor over a {stored.type}")
    machine.spend(16 + (len(size) if type(size) is tuple else 0))
    bits = metadata if type(metadata) is dict else {}
    return storages.tensor(
        stored.storage,
        offset,
        size,
        stride,
        negative=bits.get("neg") is True,
        conjugate=bits.get("conj") is True,
    )


def _parameter(machine: Machine, args: tuple[Any, ...]) -> Any:
    # (tensor[, requires_grad[, backward_hooks[, state]]])
    tensor = args[0] if 1 <= len(args) <= 4 else None
    if type(tensor) is not np.ndarray and not isinstance(tensor, Placeholder):
        raise RefusedFile("broken: a Parameter that is not a tensor")
    return tensor


def _of_subclass(machine: Machine, args: tuple[Any, ...]) -> Any:
    # (function, class, arguments of the function, attributes)
    match args:
        case (Global() as function, Placeholder(), tuple() as arguments, _):
            return function._call(machine, arguments)
        case (Placeholder(), Placeholder() as kind, *_):
            return Placeholder(kind.type)
    raise RefusedFile("broken: a tensor of a subclass, without a class")


def _of_device(machine: Machine, args: tuple[Any, ...]) -> Any:
    # (array or tensor, dtype, device, requires_grad): of a TPU, for instance
    if len(args) == 4 and type(args[0]) is np.ndarray:
        return args[0]
    return Placeholder("tensor of another device")


def _size(machine: Machine, args: tuple[Any, ...]) -> Any:
    if len(args) != 1 or type(args[0]) is not tuple:
        raise RefusedFile("broken: a torch.Size that is not made of a tuple")
    return args[0]


def _stands_for(what: str) -> Builder:
    return lambda machine, args: Placeholder(what)


_BUILDERS: dict[tuple[str, str], Builder] = {
    ("torch", "Size"): _size,
    ("torch.nn.parameter", "Parameter"): _parameter,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _parameter,
    ("torch._utils", "_rebuild_device_tensor_from_numpy"): _of_device,
    ("torch._utils", "_rebuild_device_tensor_from_cpu_tensor"): _of_device,
    ("torch._utils", "_rebuild_xla_tensor"): _of_device,
    ("torch._utils", "_rebuild_sparse_tensor"): _stands_for("sparse tensor"),
    ("torch._utils", "_rebuild_qtensor"): _stands_for("quantised tensor"),
    ("torch._utils", "_rebuild_nested_tensor"): _stands_for("nested tensor"),
    ("torch._utils", "_rebuild_meta_tensor_no_storage"): _stands_for(
        "tensor without values (of the device 'meta')"
    ),
    ("torch._tensor", "_rebuild_from_type"): _of_subclass,
    ("torch._tensor", "_rebuild_from_type_v2"): _of_subclass,
}
_STORAGE_GLOBALS = {
    **{("torch", name): StorageType(f"torch.{name}") for name in STORAGE_TYPES},
    ("torch.storage", "UntypedStorage"): StorageType("torch.UntypedStorage"),
}
