"""Stochastic gradient descent with momentum."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from npresnet import _arguments, backend
from npresnet.optim.groups import ParameterLike
from npresnet.optim.optimizer import Optimizer

if TYPE_CHECKING:
    from npresnet.optim.launches import SGDLaunches


class SGD(Optimizer):
    """Stochastic gradient descent: momentum, Nesterov, weight decay.

    Parameters
    ----------
    params : iterable of Parameter, or of dict
        Parameters, or groups ``{"params": [...], "weight_decay": ...}``.
    lr : float, default 1e-3
        Learning rate.
    momentum : float, default 0.0
        How much of the previous step is kept.
    dampening : float, default 0.0
        The new gradient enters the momentum with weight ``1 - dampening``.
    weight_decay : float, default 0.0
        Added to the gradient times the parameter, before momentum (coupled).
    nesterov : bool, default False
        Look one momentum step ahead. Needs a momentum and no dampening.

    Raises
    ------
    TypeError
        If `params` or a setting is of another kind.
    ValueError
        If a setting is negative or not finite, or `nesterov` lacks momentum.

    Notes
    -----
    PyTorch's formula, for a parameter p with gradient g at step t::

        g <- g + weight_decay * p
        v <- g                                     (the first step)
        v <- momentum * v + (1 - dampening) * g    (every other)
        d <- g + momentum * v  if nesterov  else  v
        p <- p - lr * d

    Sutskever et al. put the learning rate inside v; the two differ where the
    learning rate changes between steps.

    References
    ----------
    Sutskever et al. 2013, "On the importance of initialization and momentum in
    deep learning", equations 3 and 4; ``torch.optim.SGD``.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> import numpy as np
    >>> weight = SimpleNamespace(data=np.ones(2), grad=np.array([1.0, 2.0]))
    >>> SGD([weight], lr=0.1).step()
    >>> weight.data
    array([0.9, 0.8])
    """

    _slots: ClassVar[tuple[str, ...]] = ("momentum_buffer",)

    def __init__(
        self,
        params: Iterable[ParameterLike] | Iterable[Mapping[str, Any]],
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        defaults = {
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
        }
        super().__init__(params, lr=lr, defaults=defaults)
        self._launches: SGDLaunches | None = None
        for group in self.groups:
            _arguments.truth("nesterov", group["nesterov"])
            if group["nesterov"] and (not group["momentum"] or group["dampening"]):
                raise ValueError(
                    "nesterov: expected momentum above 0 and dampening 0, got "
                    f"momentum {group['momentum']} and dampening {group['dampening']}"
                )

    def step_at_once(self) -> None:
        """See `Optimizer.step_at_once`: all parameters move in one call."""
        if not self._is_as_written():
            self.step()
            return
        if self._launches is None:
            from npresnet.optim.launches import SGDLaunches

            self._launches = SGDLaunches(self)
        if self._launches.run():
            self.steps += 1
        else:
            self.step()

    def __getstate__(self) -> dict[str, Any]:
        """Return all attributes but launches, which name arrays by their addresses."""
        return {**self.__dict__, "_launches": None}

    def _is_as_written(self) -> bool:
        """Tell whether it is this class's own step that is asked for."""
        found = type(self).step, type(self)._update
        return found == _AS_WRITTEN and not {"step", "_update"} & set(vars(self))

    def _update(
        self,
        data: NDArray[Any],
        grad: NDArray[Any],
        slots: dict[str, NDArray[Any]],
        group: Mapping[str, Any],
    ) -> None:
        momentum = float(group["momentum"])
        keep = 1.0 - float(group["dampening"])
        weight_decay = float(group["weight_decay"])

        velocity, first = data, False  # never looked at without momentum
        if momentum:
            first = "momentum_buffer" not in slots
            if first:
                slots["momentum_buffer"] = np.zeros_like(data)
            velocity = slots["momentum_buffer"]
        backend.sgd_update(
            data,
            grad,
            velocity,
            self.lr,
            momentum,
            # The first step's direction is taken as it is, as in PyTorch.
            1.0 if first else keep,
            weight_decay,
            bool(group["nesterov"]),
        )


_AS_WRITTEN = SGD.step, SGD._update
