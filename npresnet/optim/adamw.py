"""Adam with decoupled weight decay."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from npresnet import _arguments
from npresnet.optim.groups import ParameterLike
from npresnet.optim.optimizer import Optimizer


class AdamW(Optimizer):
    """Adam whose weight decay acts on the parameter, not through the gradient.

    Parameters
    ----------
    params : iterable of Parameter, or of dict
        Parameters, or groups ``{"params": [...], "weight_decay": ...}``.
    lr : float, default 1e-3
        Learning rate.
    betas : tuple of float, default (0.9, 0.999)
        How much of the running means of g and of g**2 is kept; each in [0, 1).
    eps : float, default 1e-8
        Added to the denominator.
    weight_decay : float, default 1e-2
        Each step shrinks the parameter by the factor ``1 - lr * weight_decay``.

    Raises
    ------
    TypeError
        If `params` or a setting is of another kind.
    ValueError
        If a setting is negative or not finite, or a beta is not in [0, 1).

    Notes
    -----
    PyTorch's formula, for a parameter p with gradient g at step t = 1, 2, ...::

        p <- p * (1 - lr * weight_decay)
        m <- beta1 * m + (1 - beta1) * g
        v <- beta2 * v + (1 - beta2) * g**2
        p <- p - lr * (m / (1 - beta1**t)) / (sqrt(v / (1 - beta2**t)) + eps)

    t counts the optimiser's steps; PyTorch counts them per parameter, which
    differs only for a parameter that misses a gradient in some steps.

    References
    ----------
    Loshchilov and Hutter 2019, arXiv 1711.05101, algorithm 2; ``torch.optim.AdamW``.
    """

    _slots: ClassVar[tuple[str, ...]] = ("exp_avg", "exp_avg_sq")

    def __init__(
        self,
        params: Iterable[ParameterLike] | Iterable[Mapping[str, Any]],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ) -> None:
        defaults = {"betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, lr=lr, defaults=defaults)
        for group in self.groups:
            _check_betas(group["betas"])

    def _update(
        self,
        data: NDArray[Any],
        grad: NDArray[Any],
        slots: dict[str, NDArray[Any]],
        group: Mapping[str, Any],
    ) -> None:
        beta1, beta2 = (float(beta) for beta in group["betas"])
        if not slots:
            slots["exp_avg"] = np.zeros_like(data)
            slots["exp_avg_sq"] = np.zeros_like(data)
        mean, square = slots["exp_avg"], slots["exp_avg_sq"]
        scratch = self._temporary(data)

        data *= 1.0 - self.lr * float(group["weight_decay"])

        mean *= beta1
        np.multiply(grad, 1.0 - beta1, out=scratch)
        mean += scratch

        square *= beta2
        np.multiply(grad, grad, out=scratch)
        scratch *= 1.0 - beta2
        square += scratch

        # sqrt(v / (1 - beta2**t)) + eps, then m over it
        np.sqrt(square, out=scratch)
        scratch /= math.sqrt(1.0 - beta2**self.steps)
        scratch += float(group["eps"])
        np.divide(mean, scratch, out=scratch)
        scratch *= self.lr / (1.0 - beta1**self.steps)
        data -= scratch


def _check_betas(betas: Any) -> None:
    wanted = f"betas must be two numbers in [0, 1), got {_arguments.shown(betas)}"
    if not isinstance(betas, tuple | list):
        raise TypeError(wanted)
    if len(betas) != 2:
        raise ValueError(wanted)
    for beta in betas:
        _arguments.number("betas", beta, "numbers in [0, 1)", lambda x: 0 <= x < 1)
