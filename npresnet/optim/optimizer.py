"""What all optimisers share: groups, the learning rate, slots, their state."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from npresnet import _arguments
from npresnet._plain import plain
from npresnet.optim.groups import ParameterLike


class Optimizer:
    """Base of the optimisers; subclasses write `_update`.

    Parameters
    ----------
    params : iterable of Parameter, or of dict
        Parameters, or groups ``{"params": [...], "weight_decay": ...}`` whose
        entries override `defaults`.
    lr : float
        Learning rate of every group.
    defaults : dict
        The settings of groups that do not say otherwise.

    Attributes
    ----------
    lr : float
        The learning rate of the next step; a schedule sets it.
    steps : int
        How many steps have been taken.
    """

    # Names of the arrays kept per parameter, each of the parameter's shape and dtype.
    _slots: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        params: Iterable[ParameterLike] | Iterable[Mapping[str, Any]],
        *,
        lr: float,
        defaults: Mapping[str, Any],
    ) -> None:
        self.lr = lr
        self.steps = 0
        self.groups = _as_groups(params, defaults)
        for group in self.groups:
            for name, value in group.items():
                if name in ("weight_decay", "momentum", "dampening", "eps"):
                    _arguments.not_negative(name, value)
        self._slot: list[dict[str, NDArray[Any]]] = [{} for _ in self._parameters()]
        self._scratch: dict[np.dtype[Any], NDArray[Any]] = {}

    @property
    def lr(self) -> float:
        """The learning rate of the next step."""
        return self._lr

    @lr.setter
    def lr(self, value: float) -> None:
        # A NumPy float64 scalar would promote float32 parameters: keep Python's.
        self._lr = _arguments.not_negative("lr", value)

    @np.errstate(under="ignore")  # what is too small for a float is zero, no error
    def step(self) -> None:
        """Change every parameter that has a gradient, in place."""
        self.steps += 1
        index = 0
        for group in self.groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    data = plain("parameter.data", parameter.data)
                    grad = plain("parameter.grad", parameter.grad)
                    self._update(data, grad, self._slot[index], group)
                index += 1

    def step_at_once(self) -> None:
        """Do as `step` does, in one call of compiled code where there is one for it.

        The bits are the same. Programs (`npresnet.compile`) end with it.
        """
        self.step()

    def zero_grad(self) -> None:
        """Forget every gradient, as `Module.zero_grad` does."""
        for parameter in self._parameters():
            parameter.zero_grad()

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """Return copies of what the optimiser remembers between steps.

        Returns
        -------
        dict of str to ndarray
            ``"steps"`` (int64, a scalar) and ``"<index>.<slot>"`` per parameter,
            indexed in the order of `params`. Settings such as `lr` are the
            constructor's arguments and are not included.
        """
        state = {"steps": np.array(self.steps, dtype=np.int64)}
        for index, slots in enumerate(self._slot):
            for name, array in slots.items():
                state[f"{index}.{name}"] = array.copy()
        return state

    def load_state_dict(self, state_dict: Mapping[str, NDArray[Any]]) -> None:
        """Continue from what `state_dict` returned.

        Raises
        ------
        ValueError
            If a name is unknown, or an array does not have its parameter's shape
            and dtype. Nothing is changed then.
        """
        if "steps" not in state_dict:
            raise ValueError("state_dict: expected the entry 'steps', which is missing")
        parameters = list(self._parameters())
        loaded: list[dict[str, NDArray[Any]]] = [{} for _ in parameters]
        for key, array in state_dict.items():
            if key == "steps":
                continue
            index, _, name = key.partition(".")
            if not (
                index.isdigit() and int(index) < len(loaded) and name in self._slots
            ):
                raise ValueError(
                    f"state_dict: {key!r} does not belong to a {type(self).__name__} "
                    f"of {len(loaded)} parameters"
                )
            array = plain(f"state_dict[{key!r}]", array)
            data = parameters[int(index)].data
            if array.shape != data.shape or array.dtype != data.dtype:
                raise ValueError(
                    f"state_dict: {key!r} should be {data.dtype} of shape {data.shape},"
                    f" got {array.dtype} of shape {array.shape}"
                )
            loaded[int(index)][name] = array.copy()
        self.steps = int(state_dict["steps"])
        self._slot = loaded

    def _update(
        self,
        data: NDArray[Any],
        grad: NDArray[Any],
        slots: dict[str, NDArray[Any]],
        group: Mapping[str, Any],
    ) -> None:
        """Change `data` in place by the optimiser's formula."""
        raise TypeError(f"{type(self).__name__} does not define _update(...)")

    def _parameters(self) -> Iterator[ParameterLike]:
        for group in self.groups:
            yield from group["params"]

    def _temporary(self, like: NDArray[Any]) -> NDArray[Any]:
        """Return a scratch array of `like`'s shape, shared by all parameters."""
        scratch = self._scratch.get(like.dtype)
        if scratch is None or scratch.size < like.size:
            largest = max(p.data.size for p in self._parameters())
            scratch = self._scratch[like.dtype] = np.empty(largest, like.dtype)
        return scratch[: like.size].reshape(like.shape)


def _as_groups(params: Iterable[Any], defaults: Mapping[str, Any]) -> list[Any]:
    """Turn parameters, or groups of them, into complete groups."""
    wanted = "params: expected parameters, or dicts with the entry 'params', got"
    if isinstance(params, str | bytes | Mapping) or not isinstance(params, Iterable):
        raise TypeError(f"{wanted} {_arguments.shown(params)}")
    entries = list(params)
    if not entries:
        raise ValueError("params: expected at least one parameter, got none")
    if not any(isinstance(entry, Mapping) for entry in entries):
        entries = [{"params": entries}]
    groups = []
    seen: set[int] = set()
    for entry in entries:
        if not isinstance(entry, Mapping) or "params" not in entry:
            raise TypeError(
                "params: expected parameters only, or dicts with the entry 'params'"
                f" only, got {type(entry).__name__} among dicts"
            )
        unknown = set(entry) - set(defaults) - {"params"}
        if unknown:
            raise ValueError(
                f"params: a group may set {', '.join(sorted(defaults))}; "
                f"got {', '.join(sorted(map(repr, unknown)))}"
            )
        members = entry["params"]
        if isinstance(members, str | bytes) or not isinstance(members, Iterable):
            raise TypeError(f"{wanted} {_arguments.shown(members)}")
        members = list(members)
        for parameter in members:
            if not (hasattr(parameter, "data") and hasattr(parameter, "grad")):
                raise TypeError(f"{wanted} {_arguments.shown(parameter)} among them")
            if id(parameter) in seen:
                raise ValueError("params: a parameter appears twice")
            seen.add(id(parameter))
        groups.append({**defaults, **entry, "params": members})
    return groups
