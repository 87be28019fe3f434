"""Symbols: what stands for an array while a network's lines are read, not computed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


class CannotCompile(TypeError):
    """Why a network cannot be laid out as a program: one line."""


@dataclass(eq=False)
class Value:
    """An array that a program will have: everything about it but its numbers."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    name: str = ""  # what it is, for those who read the program

    @property
    def bytes(self) -> int:
        """How much memory it takes."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize


class Symbol:
    """Stands for an array in the lines of a network.

    It can be handed from layer to layer, added to another, and indexed in ways that
    only add or drop axes of length 1. Whatever else is tried is no layer's work, and
    cannot be compiled.
    """

    # NumPy leaves operators to this class, and hands it its functions.
    def __init__(self, value: Value, record: Callable[..., Symbol]) -> None:
        self.value = value
        self._record = record

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""
        return self.value.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of its elements."""
        return self.value.dtype

    @property
    def ndim(self) -> int:
        """Number of its axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of its elements."""
        return int(np.prod(self.shape, dtype=np.int64))

    def __len__(self) -> int:
        return self.shape[0]

    def __add__(self, other: Any) -> Symbol:
        if not isinstance(other, Symbol):
            raise CannotCompile("adds something else to an array")
        if (self.shape, self.dtype) != (other.shape, other.dtype):
            raise CannotCompile(f"adds shapes {self.shape} and {other.shape}")
        return self._record("add", self, other)

    def __getitem__(self, key: Any) -> Symbol:
        keys = key if isinstance(key, tuple) else (key,)
        shape, axes = [], list(self.shape)
        for one in keys:
            if one is None:
                shape.append(1)
            elif isinstance(one, slice) and one == slice(None) and axes:
                shape.append(axes.pop(0))
            elif one == 0 and axes and axes[0] == 1:
                axes.pop(0)
            else:
                raise CannotCompile("takes a part of an array")
        return self._record("view", self, shape=(*shape, *axes), key=key)

    def __iadd__(self, other: Any) -> Symbol:
        raise CannotCompile("changes an array in place")

    def __array_ufunc__(self, ufunc: Any, method: str, *_: Any, **__: Any) -> Any:
        raise CannotCompile(f"calls np.{ufunc.__name__}")

    def __array_function__(self, function: Any, *_: Any, **__: Any) -> Any:
        raise CannotCompile(f"calls np.{function.__name__}")

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise CannotCompile("needs the numbers of an array")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise CannotCompile(f"asks an array for its .{name}")

    def __float__(self) -> float:
        raise CannotCompile("needs the numbers of an array")

    def __bool__(self) -> bool:
        raise CannotCompile("asks whether an array is true")

    def __repr__(self) -> str:
        return f"Symbol(shape={self.shape}, dtype={self.dtype})"


def _refused(what: str) -> Callable[..., Any]:
    def refuse(self: Symbol, *_: Any) -> Any:
        raise CannotCompile(what)

    return refuse


# Operators that arrays have, and symbols do not.
for _what, _names in {
    "multiplies an array": ("mul", "rmul", "imul", "matmul", "rmatmul"),
    "subtracts from an array": ("sub", "rsub", "isub", "neg"),
    "divides an array": ("truediv", "rtruediv", "itruediv", "floordiv", "mod"),
    "takes a power of an array": ("pow", "rpow"),
    "compares an array": ("lt", "le", "gt", "ge"),
    "goes through an array": ("iter",),
    "adds a number to an array": ("radd",),
    "writes into an array": ("setitem",),
}.items():
    for _name in _names:
        setattr(Symbol, f"__{_name}__", _refused(_what))
