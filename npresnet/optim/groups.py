"""Parameter groups: parameters that share their optimiser settings."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from numpy.typing import NDArray

from npresnet import _arguments


class ParameterLike(Protocol):
    """What an optimiser needs of a parameter: its values and their gradient."""

    @property
    def data(self) -> NDArray[Any]:
        """The values, changed in place by the optimiser."""

    @property
    def grad(self) -> NDArray[Any] | None:
        """The gradient of the loss, or None where none has arrived."""

    def zero_grad(self) -> None:
        """Forget the gradient."""


class HasNamedParameters(Protocol):
    """What `parameter_groups` needs of a model."""

    def named_parameters(self) -> Iterable[tuple[str, ParameterLike]]:
        """Yield (name, parameter) pairs."""


def parameter_groups(
    model: HasNamedParameters,
    weight_decay: float,
    spare_norm_and_bias: bool = False,
) -> list[dict[str, Any]]:
    """Group a model's parameters by whether weight decay applies to them.

    Parameters
    ----------
    model : Module
        The model whose parameters are to be optimised.
    weight_decay : float
        Weight decay of the parameters that have any.
    spare_norm_and_bias : bool, default False
        False decays everything, as He et al. do. True spares the parameters
        with one dimension: batch norm's weight and bias, and other biases.

    Returns
    -------
    list of dict
        Groups for an optimiser, each ``{"params": [...], "weight_decay": ...}``.

    Raises
    ------
    TypeError, ValueError
        If an argument is of another kind, or the weight decay negative.

    References
    ----------
    He et al. 2016, arXiv 1512.03385, section 3.4 (decay 1e-4 on everything);
    Jia et al. 2018, arXiv 1807.11205, section 3.2 (no decay on bias and norm).
    """
    if not hasattr(model, "named_parameters"):
        raise TypeError(
            f"model must have named_parameters(), got {_arguments.shown(model)}"
        )
    weight_decay = _arguments.not_negative("weight_decay", weight_decay)
    _arguments.truth("spare_norm_and_bias", spare_norm_and_bias)
    parameters = [parameter for _, parameter in model.named_parameters()]
    if not spare_norm_and_bias:
        return [{"params": parameters, "weight_decay": weight_decay}]
    decayed = [p for p in parameters if p.data.ndim > 1]
    spared = [p for p in parameters if p.data.ndim <= 1]
    groups = [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": spared, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]
