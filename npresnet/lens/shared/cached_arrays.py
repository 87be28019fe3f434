"""What forward passes keep for backward passes: the arrays in caches, counted once."""

from __future__ import annotations

from collections.abc import Container
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npresnet.nn import Module


def address(array: NDArray[Any]) -> int:
    """Return where an array's numbers begin: the same for it and for its views."""
    begin: int = array.__array_interface__["data"][0]
    return begin


def own_arrays(model: Module) -> set[int]:
    """List the addresses of parameters and buffers: no cache, though caches hold them.

    Parameters
    ----------
    model : Module
        The network.
    """
    return {
        *(address(parameter.data) for parameter in model.parameters()),
        *(address(buffer) for _, buffer in model.named_buffers()),
    }


def cached_arrays(caches: Any, without: Container[int]) -> dict[int, int]:
    """Find the arrays in caches: their addresses, and the bytes of each.

    Parameters
    ----------
    caches : list or tuple
        Caches, as modules hold them, in lists and tuples however deep.
    without : container of int
        Addresses of arrays that do not count.
    """
    found: dict[int, int] = {}

    def visit(value: Any) -> None:
        if isinstance(value, np.ndarray):
            if address(value) not in without:
                found[address(value)] = value.nbytes
        elif isinstance(value, list | tuple):
            for entry in value:
                visit(entry)

    visit(caches)
    return found
