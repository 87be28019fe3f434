"""How two arrays are compared, and how far apart they may be: written once, here.

float64: at most RTOL64 times the largest magnitude in the expected tensor.

float32: nothing in float32 is exact, so the truth is PyTorch's result in float64 on
the same (float32) numbers, and the yardstick is PyTorch's own distance from it in
float32. Ours may be FACTOR32 times as far, plus FLOOR32 roundings (eps) of the
tensor's size: PyTorch is sometimes right by luck.

The size of a tensor is its largest magnitude. Where sums can cancel, that
understates the rounding that no algorithm escapes; for operations that are sums of
products it is the root of the same sums over the squares of all factors, which is
how large such a sum is if the signs of its terms are random.

Every comparison made in a test that asks for PyTorch is counted; the end of the run
states how many there were, and the worst (see tests/conftest.py).

This file does not import torch: it is handed over where it is needed.
"""

from collections import Counter, OrderedDict
from typing import NamedTuple

import numpy as np

RTOL64 = 1e-10
FACTOR32 = 4.0
FLOOR32 = 4.0


class Tally:
    """How many comparisons with PyTorch were made, and the worst at each limit."""

    def __init__(self):
        self.test = None  # the test that runs, if it asks for PyTorch
        self.clear()

    def clear(self):
        self.counts = Counter()  # (precision, limit): comparisons
        self.worst = {}  # (precision, limit): (share of the limit, error, where)
        self.beyond = 0

    @property
    def total(self):
        return sum(self.counts.values())

    def add(self, precision, limit, share, error, name):
        """Count one comparison; a `share` above 1 of what is allowed is a failure."""
        if self.test is None:
            return
        key = precision, limit
        self.counts[key] += 1
        within = share <= 1  # NaN is not
        self.beyond += not within
        if not within:
            share = np.inf
        if key not in self.worst or share > self.worst[key][0]:
            self.worst[key] = float(share), float(error), f"{name}, {self.test}"

    def counted(self):
        """Give what was counted as plain values, to be sent to another process."""
        return list(self.counts.items()), list(self.worst.items()), self.beyond

    def merge(self, counts, worst, beyond):
        """Add what another process has counted."""
        self.counts += Counter(dict(counts))
        self.beyond += beyond
        for key, found in worst:
            if key not in self.worst or found[0] > self.worst[key][0]:
                self.worst[key] = found

    def lines(self):
        """Say it in words, one line for each precision and limit."""
        units = {
            "float64": "float64 error {:.1e}, limit {}",
            "float32": "float32 error {:.2f} x PyTorch's own, limit {}",
            "exact": "whole number off by {}, limit {}",
        }
        yield f"{self.total:,} comparisons, {self.beyond:,} outside their limits"
        for (precision, limit), (_, error, where) in sorted(self.worst.items()):
            count = self.counts[precision, limit]
            worst = units[precision].format(error, limit)
            where = f" ({where})" if error else ""
            yield f"{count:,} comparisons: worst {worst}{where}"


TALLY = Tally()


class Layout(NamedTuple):
    """Ways in which the same numbers may lie in memory."""

    name: str

    def arrange(self, array):
        """Return an equal array laid out this way."""
        if array.ndim == 0:
            return array.copy()
        if self.name == "strided":
            wide = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
            view = wide[..., ::2]
        elif self.name == "transposed":
            view = np.zeros(array.shape[::-1], array.dtype).T
        elif self.name == "reversed":
            view = np.zeros_like(array)[..., ::-1]
        else:
            view = np.zeros_like(array)
        view[...] = array
        if self.name == "read-only":
            view.flags.writeable = False
        return view


LAYOUTS = [
    Layout(name)
    for name in ("contiguous", "strided", "transposed", "reversed", "read-only")
]
CONTIGUOUS = LAYOUTS[0]


def normal(rng, *shape, scale=1.0):
    """Random float64 numbers that float32 holds exactly."""
    return (scale * rng.standard_normal(shape)).astype(np.float32).astype(np.float64)


def tied(rng, *shape):
    """Small whole numbers: full of ties and of exact zeros."""
    return rng.integers(-2, 3, shape).astype(np.float64)


def distance(actual, expected):
    """Largest absolute difference; NaN where one is NaN, which fails every bound."""
    if expected.size == 0:
        return 0.0
    difference = np.abs(actual.astype(np.float64) - expected.astype(np.float64))
    return float(difference.max())


def largest(array):
    return float(np.abs(array).max()) if array.size else 0.0


def relative_error(error, size):
    """Divide; a tensor of zeros must be met exactly."""
    if size == 0:
        return 0.0 if error == 0 else np.inf
    return error / size


def assert_equal(actual, expected, name):
    """Assert that two arrays of whole numbers are the same."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.dtype == expected.dtype, f"{name}: {actual.dtype}"
    assert actual.shape == expected.shape, f"{name}: {actual.shape}"
    error = int(np.abs(actual - expected).max())
    TALLY.add("exact", "0", 2.0 * error, error, name)
    assert error == 0, f"{name}: off by {error}"


def assert_matches(actual, expected, name, *, rtol=RTOL64, size=None, limit=None):
    """Assert that two float64 arrays agree to `rtol` of the expected size.

    `limit` says in words where `rtol` comes from, if it is not a fixed number.
    """
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.dtype == expected.dtype, f"{name}: {actual.dtype}"
    assert actual.shape == expected.shape, f"{name}: {actual.shape}"
    size = largest(expected) if size is None else size
    error = distance(actual, expected)
    relative = relative_error(error, size)
    TALLY.add("float64", limit or f"{rtol:.0e}", relative / rtol, relative, name)
    assert error <= rtol * size, f"{name}: off by {error:.3e} at size {size:.3e}"


def assert_as_accurate(actual, yardstick, truth, name, *, size=None, factor=FACTOR32):
    """Assert that float32 `actual` is about as near the truth as the yardstick."""
    actual, yardstick = np.asarray(actual), np.asarray(yardstick)
    assert actual.dtype == yardstick.dtype == np.float32, f"{name}: {actual.dtype}"
    assert actual.shape == truth.shape, f"{name}: {actual.shape}"
    size = largest(truth) if size is None else max(size, largest(truth))
    floor = FLOOR32 * float(np.finfo(np.float32).eps) * size
    allowed = factor * distance(yardstick, truth) + floor
    error = distance(actual, truth)
    share = relative_error(error, allowed)
    TALLY.add("float32", f"{factor:g}", share, factor * share, name)
    assert error <= allowed, f"{name}: off by {error:.3e}, allowed {allowed:.3e}"


def fingerprint(value):
    """Make a key: of an array by its content, of a closure by what it closes over."""
    if isinstance(value, np.ndarray):
        return value.shape, value.dtype.str, value.tobytes()
    if isinstance(value, dict):
        return tuple((key, fingerprint(item)) for key, item in value.items())
    if isinstance(value, list | tuple):
        return tuple(map(fingerprint, value))
    if code := getattr(value, "__code__", None):
        cells = value.__closure__ or ()
        return code, tuple(fingerprint(cell.cell_contents) for cell in cells)
    return value


KNOWN = 2000  # results of PyTorch that are remembered, most of them small
_known = OrderedDict()


def autograd(torch, function, inputs, grad_output, dtype, constant=()):
    """Run `function` in PyTorch, forward and backward; once for the same question.

    Both backends ask the same, and float32 asks for float64's truth again.

    Returns {"out": ..., "grad_x": ..., ...} as read-only arrays, one gradient for each
    input that is not in `constant`.
    """
    key = fingerprint((function, inputs, grad_output, str(dtype), constant))
    if key in _known:
        _known.move_to_end(key)
    else:
        _known[key] = _autograd(torch, function, inputs, grad_output, dtype, constant)
        if len(_known) > KNOWN:
            _known.popitem(last=False)
    return _known[key]


def _autograd(torch, function, inputs, grad_output, dtype, constant):
    tensors = {
        name: torch.tensor(np.array(array, dtype, order="C"))
        for name, array in inputs.items()
    }
    for name, tensor in tensors.items():
        tensor.requires_grad_(name not in constant)
    out = function(**tensors)
    results = {"out": out.detach().numpy()}
    out.backward(torch.tensor(np.array(grad_output, dtype, order="C")))
    for name, tensor in tensors.items():
        if name not in constant:
            assert tensor.grad is not None, name
            results[f"grad_{name}"] = tensor.grad.numpy()
    for array in results.values():
        array.flags.writeable = False
    return results


def output_shape(torch, function, inputs):
    tensors = {name: torch.tensor(np.array(array)) for name, array in inputs.items()}
    with torch.no_grad():
        return tuple(function(**tensors).shape)


def check_parity(
    torch,
    ours,
    theirs,
    inputs,
    dtype,
    rng,
    *,
    constant=(),
    sums_of_products=False,
    sizes=None,
    layout=CONTIGUOUS,
    grad_output=None,
):
    """Compare an operation with PyTorch: output, every gradient, and manners.

    Parameters
    ----------
    ours : callable
        `ours(inputs, grad_output)` gives {"out": ..., "grad_x": ..., ...}.
    theirs : callable
        `theirs(**tensors)` gives the output tensor.
    inputs : dict of str to float64 ndarray
        Numbers that float32 holds exactly.
    constant : names of inputs without a gradient
    sums_of_products : bool
        The operation is multilinear; see the module's docstring on sizes.
    sizes : dict of str to float, optional
        The size of a result, where its largest magnitude would understate it.
    grad_output : float64 ndarray, optional
        Random where not given.
    """
    if grad_output is None:
        grad_output = normal(rng, *output_shape(torch, theirs, inputs))
    given = {k: layout.arrange(v.astype(dtype)) for k, v in inputs.items()}
    given_grad = layout.arrange(grad_output.astype(dtype))

    results = ours(given, given_grad)

    for name, array in inputs.items():
        assert np.array_equal(given[name], array, equal_nan=True), f"{name} was changed"
    assert np.array_equal(given_grad, grad_output), "grad_output was changed"
    truth = autograd(torch, theirs, inputs, grad_output, np.float64, constant)
    assert results.keys() == truth.keys()
    sizes = dict(sizes or {})
    if dtype == np.float64:
        for name, expected in truth.items():
            assert_matches(results[name], expected, name, size=sizes.get(name))
        return
    yardstick = autograd(torch, theirs, inputs, grad_output, np.float32, constant)
    if sums_of_products:
        squares = {name: array**2 for name, array in inputs.items()}
        roots = autograd(torch, theirs, squares, grad_output**2, np.float64, constant)
        sizes |= {name: largest(array) ** 0.5 for name, array in roots.items()}
    for name, expected in truth.items():
        assert_as_accurate(
            results[name], yardstick[name], expected, name, size=sizes.get(name)
        )
