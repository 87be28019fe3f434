"""Checks at the door: what a user passes in is looked at here, once."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from npresnet._plain import FLOATS, dtype_name, plain

Array = NDArray[np.floating[Any]]

# For functions with arithmetic of their own: what is too small for a float is zero, and
# no error to those who have NumPy raise errors. Results that are too large are.
may_underflow = np.errstate(under="ignore")


def array(
    name: str, value: Any, letters: str, *, like: Any = None, of: str = "x"
) -> Array:
    """Insist on a float32 or float64 ndarray with one axis per letter; return it plain.

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

    Returns
    -------
    ndarray
        Of no subclass; see `npresnet._plain`.

    Raises
    ------
    TypeError
        If it is no ndarray, a masked array or a matrix, or of another dtype.
    ValueError
        If it has another number of axes, or no elements.
    """
    found: Array = plain(name, value)
    if found.dtype not in FLOATS:
        got = dtype_name(found.dtype)
        raise TypeError(f"{name} must be float32 or float64, got {got}")
    if like is not None and found.dtype != like.dtype:
        raise TypeError(  # either may be the wrong one
            f"{of} and {name} must share a dtype, got {like.dtype} and {found.dtype}: "
            "nothing is converted silently"
        )
    if letters == "...":
        return found
    if found.ndim != letters.count(" ") + 1:
        axes = letters.split()
        expected = f"({', '.join(axes)}{',' * (len(axes) == 1)})"
        raise ValueError(f"{name} must have shape {expected}, got {found.shape}")
    if found.size == 0:
        raise ValueError(f"{name} must not be empty, got shape {found.shape}")
    return found


def shape(name: str, value: Any, expected: tuple[int, ...], why: str) -> None:
    """Insist on an exact shape.

    Raises
    ------
    ValueError
        If the shape is another one.
    """
    if value.shape != expected:
        raise ValueError(f"{name} must have shape {expected} {why}, got {value.shape}")


def vectors(length: int, why: str, *, like: Any, **named: Any) -> list[Any]:
    """Insist on arrays (length,) of the dtype of x; return them plain, None as None.

    Raises
    ------
    TypeError, ValueError
        As `array` and `shape` do, for the first that is something else; where they
        agree among themselves, for x.
    """
    expected = (length,)
    found = []
    for name, value in named.items():
        if (
            type(value) is np.ndarray
            and value.shape == expected
            and value.dtype is like.dtype
        ) or value is None:
            found.append(value)
            continue
        vector = array(name, value, "C", like=like)
        given = [name for name, one in named.items() if one is not None]
        # Not by a function of NumPy, which a subclass may answer itself.
        shapes = {getattr(named[name], "shape", None) for name in given}
        if len(given) > 1 and shapes == {vector.shape} != {expected}:
            raise ValueError(
                f"x must have {len(vector)} channels for a {' and a '.join(given)} of "
                f"shape {vector.shape}, got {length}"
            )
        shape(name, vector, expected, why)
        found.append(vector)
    return found


def gradient(grad_output: Any, out_shape: tuple[int, ...], like: Any) -> Array:
    """Insist that grad_output has the output's shape and dtype; return it plain."""
    found = array("grad_output", grad_output, "...")
    if found.dtype != like.dtype:
        raise TypeError(
            f"grad_output must share the dtype of what it meets, {like.dtype}, got "
            f"{found.dtype}: nothing is converted silently"
        )
    shape("grad_output", found, out_shape, "like the forward pass's output")
    return found
