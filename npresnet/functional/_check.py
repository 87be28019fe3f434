"""Checks at the door: what a user passes in is looked at here, once."""

from __future__ import annotations

from typing import Any

import numpy as np

_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


def array(
    name: str, value: Any, letters: str, *, like: Any = None, of: str = "x"
) -> None:
    """Insist on a float32 or float64 ndarray with one axis per letter.

    Parameters
    ----------
    name : str
        What the user calls it.
    value : object
        What the user passed.
    letters : str
        One word per axis, as in ``"N C H W"``; ``"..."`` stands for any shape.
    like : ndarray, optional
        An array whose dtype `value` must share.
    of : str
        What the user calls that one.

    Raises
    ------
    TypeError
        If it is no ndarray, or of another dtype.
    ValueError
        If it has another number of axes, or no elements.
    """
    if not isinstance(value, np.ndarray):
        raise TypeError(f"{name} must be a NumPy array, got {type(value).__name__}")
    if value.dtype not in _FLOATS:
        raise TypeError(f"{name} must be float32 or float64, got {value.dtype}")
    if like is not None and value.dtype != like.dtype:
        raise TypeError(  # either may be the wrong one
            f"{of} and {name} must share a dtype, got {like.dtype} and {value.dtype}: "
            "nothing is converted silently"
        )
    if letters == "...":
        return
    if value.ndim != letters.count(" ") + 1:
        axes = letters.split()
        expected = f"({', '.join(axes)}{',' * (len(axes) == 1)})"
        raise ValueError(f"{name} must have shape {expected}, got {value.shape}")
    if value.size == 0:
        raise ValueError(f"{name} must not be empty, got shape {value.shape}")


def shape(name: str, value: Any, expected: tuple[int, ...], why: str) -> None:
    """Insist on an exact shape.

    Raises
    ------
    ValueError
        If the shape is another one.
    """
    if value.shape != expected:
        raise ValueError(f"{name} must have shape {expected} {why}, got {value.shape}")


def vectors(length: int, why: str, *, like: Any, **named: Any) -> None:
    """Insist on arrays (length,) of the dtype of x; what is None is not there.

    Raises
    ------
    TypeError, ValueError
        As `array` and `shape` do, for the first that is something else; where they
        agree among themselves, for x.
    """
    expected = (length,)
    for name, value in named.items():
        if (
            type(value) is np.ndarray
            and value.shape == expected
            and value.dtype is like.dtype
        ) or value is None:
            continue
        array(name, value, "C", like=like)
        given = [name for name, one in named.items() if one is not None]
        shapes = {np.shape(named[name]) for name in given}
        if len(given) > 1 and shapes == {value.shape} != {expected}:
            raise ValueError(
                f"x must have {len(value)} channels for a {' and a '.join(given)} of "
                f"shape {value.shape}, got {length}"
            )
        shape(name, value, expected, why)


def gradient(grad_output: Any, out_shape: tuple[int, ...], like: Any) -> None:
    """Insist that grad_output has the shape and the dtype of the forward's output."""
    array("grad_output", grad_output, "...")
    if grad_output.dtype != like.dtype:
        raise TypeError(
            f"grad_output must share the dtype of what it meets, {like.dtype}, got "
            f"{grad_output.dtype}: nothing is converted silently"
        )
    shape("grad_output", grad_output, out_shape, "like the forward pass's output")
