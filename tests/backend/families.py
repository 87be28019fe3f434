"""The operations of a backend in families, and arguments for each of them.

A family's operations depend on the same few settings: a convolution's, a pooling's, or
just on a shape. `arguments` invents what one operation takes, and no more.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st

from npresnet.backend import Geometry, reference
from tests.functional import test_conv, test_pool
from tests.oracle.compare import normal, tied


class Family(NamedTuple):
    make: Callable[..., dict]  # (setting, rng, draw): arguments of each operation
    names: tuple[str, ...]
    settings: Any  # a strategy
    hard: tuple  # settings that have been found to be awkward
    large: Any  # a setting in which tiles, blocks and segments have edges


def convolutions(case, rng, draw):
    geometry = Geometry.of(case.x[2:], case.weight[2:], **case.options)
    x, weight = draw(rng, *case.x), draw(rng, *case.weight)
    K = case.weight[0]
    grad = normal(rng, case.x[0], K, *geometry.output_size)
    return {
        "conv2d": (x, weight, geometry),
        "conv2d_grad_input": (grad, weight, geometry),
        "conv2d_grad_input_add": (grad, weight, normal(rng, *case.x), geometry),
        "conv2d_grad_weight": (grad, x, geometry),
        "fused_conv2d": (x, weight, normal(rng, K), grad, True, geometry),
    }


def poolings(case, rng, draw):
    stride = case.kernel_size if case.stride is None else case.stride
    options = stride, case.padding, case.dilation
    ceil = case.ceil_mode
    geometry = Geometry.of(case.x[2:], case.kernel_size, *options, ceil_mode=ceil)
    x = draw(rng, *case.x)
    grad = normal(rng, *case.x[:2], *geometry.output_size)
    winners = reference.max_pool2d(x, geometry)[1]
    # An undilated window, as average pooling has.
    average = Geometry.of(case.x[2:], (1, 1), stride, case.padding, ceil_mode=ceil)
    divisor = 1 + np.abs(normal(rng, *average.output_size))
    grad_average = normal(rng, *case.x[:2], *average.output_size)
    return {
        "max_pool2d": (x, geometry),
        "max_pool2d_grad": (grad, winners, geometry),
        "avg_pool2d": (x, divisor, average),
        "avg_pool2d_grad": (grad_average, divisor, average),
    }


def adaptive_poolings(setting, rng, draw):
    shape, bins = setting
    return {
        "adaptive_avg_pool2d": (draw(rng, *shape), bins),
        "adaptive_avg_pool2d_grad": (normal(rng, *shape[:2], *bins), shape[2:]),
    }


def shortcuts(setting, rng, draw):
    (N, C, H, W), step = setting
    grad = normal(rng, N, C + 3, -(-H // step), -(-W // step))
    return {
        "zero_pad_shortcut": (draw(rng, N, C, H, W), C + 3, 1, step),
        "zero_pad_shortcut_grad": (grad, (N, C, H, W), 2, step),
    }


def norms(shape, rng, draw):
    x, grad, residual = draw(rng, *shape), normal(rng, *shape), normal(rng, *shape)
    mean, inverse_std, *others = (normal(rng, shape[1]) for _ in range(6))
    weight, bias, grad_weight, grad_bias = others
    statistics, sums = (mean, inverse_std), (grad_weight, grad_bias)
    affine = (*statistics, weight, bias)
    return {
        "batch_norm_statistics": (x,),
        "batch_norm_normalize": (x, *affine),
        "batch_norm_grad_sums": (grad, x, *statistics),
        "batch_norm_grad_input": (grad, x, *statistics, weight, *sums),
        "batch_norm_relu": (x, *affine, residual),
        "batch_norm_relu_grad_sums": (
            grad,
            reference.relu(x)[0],
            residual,
            *statistics,
        ),
        "rectified_batch_norm_grad_sums": (grad, x, *affine),
        "rectified_batch_norm_grad_input": (grad, x, *affine, *sums),
    }


def elementwise(shape, rng, draw):
    x, grad = draw(rng, *shape), normal(rng, *shape)
    out, mask = reference.relu(x)
    return {
        "add": (grad, x),
        "relu": (x,),
        "relu_grad": (grad, mask),
        "relu_grad_below": (grad, out),
    }


def products(shape, rng, draw):
    batch, fan_in, fan_out = shape
    rows, columns = normal(rng, batch, fan_in), normal(rng, fan_out, fan_in)
    grad = normal(rng, batch, fan_out)
    return {
        "linear": (rows, columns),
        "linear_grad_input": (grad, columns),
        "linear_grad_weight": (grad, rows),
    }


def updates(shape, rng, draw):
    arrays = [normal(rng, *shape) for _ in range(3)]
    return {"sgd_update": (*arrays, 0.1, 0.9, 0.75, 5e-4, draw is tied)}


_SHAPES = st.tuples(*[st.integers(1, 4)] * 2, *[st.integers(1, 12)] * 2)
_HARD_SHAPES = tuple({case.x: None for case in test_pool.HARD.values()})
_LARGE_SHAPE = test_pool.HARD["37 channels"].x
_MANY_SHAPES = _SHAPES, _HARD_SHAPES, _LARGE_SHAPE
_SIDES = st.tuples(st.integers(1, 9), st.integers(1, 9))

FAMILIES = [
    Family(
        convolutions,
        (
            "conv2d",
            "conv2d_grad_input",
            "conv2d_grad_input_add",
            "conv2d_grad_weight",
            "fused_conv2d",
        ),
        test_conv.cases(),
        tuple(test_conv.HARD.values()),
        test_conv.HARD["37 to 19 channels"],
    ),
    Family(
        poolings,
        ("max_pool2d", "max_pool2d_grad", "avg_pool2d", "avg_pool2d_grad"),
        test_pool.cases(dilated=True),
        tuple((test_pool.HARD | test_pool.DILATED).values()),
        test_pool.HARD["37 channels"],
    ),
    Family(
        adaptive_poolings,
        ("adaptive_avg_pool2d", "adaptive_avg_pool2d_grad"),
        st.tuples(_SHAPES, _SIDES),
        tuple((shape, (4, 5)) for shape in _HARD_SHAPES),
        (_LARGE_SHAPE, (4, 5)),
    ),
    Family(
        shortcuts,
        ("zero_pad_shortcut", "zero_pad_shortcut_grad"),
        st.tuples(_SHAPES, st.integers(1, 3)),
        tuple((shape, 2) for shape in _HARD_SHAPES),
        (_LARGE_SHAPE, 2),
    ),
    Family(
        norms,
        (
            "batch_norm_statistics",
            "batch_norm_normalize",
            "batch_norm_grad_sums",
            "batch_norm_grad_input",
            "batch_norm_relu",
            "batch_norm_relu_grad_sums",
            "rectified_batch_norm_grad_sums",
            "rectified_batch_norm_grad_input",
        ),
        *_MANY_SHAPES,
    ),
    Family(
        elementwise,
        ("add", "relu", "relu_grad", "relu_grad_below"),
        *_MANY_SHAPES,
    ),
    Family(
        products,
        ("linear", "linear_grad_input", "linear_grad_weight"),
        st.tuples(st.integers(1, 9), st.integers(1, 40), st.integers(1, 12)),
        ((1, 1, 1), (33, 1, 3), (3, 5, 1), (1, 64, 10)),
        (17, 129, 67),
    ),
    Family(updates, ("sgd_update",), *_MANY_SHAPES),
]


OPERATIONS = sorted(name for family in FAMILIES for name in family.names)


def family_of(name):
    (family,) = (family for family in FAMILIES if name in family.names)
    return family


def arguments(name, setting, rng, draw, dtype):
    """Invent arguments for an operation, floating point ones in one precision."""
    return [
        value.astype(dtype)
        if isinstance(value, np.ndarray) and value.dtype == np.float64
        else value
        for value in family_of(name).make(setting, rng, draw)[name]
    ]
