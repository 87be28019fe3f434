"""The books of the gradient ledger, block by block."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from npresnet.lens.shared.passes import (
    batch_note,
)
from npresnet.lens.shared.result import Result, column

if TYPE_CHECKING:
    from npresnet.plots.style import Figure

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class LedgerRow:
    """The books of one block; every norm is Euclidean, over the whole batch.

    Attributes
    ----------
    name : str
        Path in the model, as in ``layer1.0``.
    grad_output_norm : float
        Of the gradient with respect to the block's output, which comes from above.
    masked_fraction : float
        Share of the elements at which the ReLU after the addition is closed.
    stopped_share : float
        Share of the norm that this ReLU takes away:
        ``1 - grad_sum_norm / grad_output_norm``; 0 where nothing came.
    grad_sum_norm : float
        Of the gradient with respect to the sum, which goes both ways.
    grad_shortcut_norm : float or None
        Of what comes out of the shortcut; None in a plain block.
    grad_branch_norm : float
        Of what comes out of the branch.
    cosine : float or None
        Of the angle between the two; None in a plain block, or where one is zero.
    grad_input_norm : float
        Of what the block hands on.
    identity_error : float
        ``grad_input - (grad_shortcut + grad_branch)``, relative to the sum. The two
        were computed one by one and `grad_input` by the block itself: 0, or a few
        roundings, says that its backward pass adds what a fork has to add.
    """

    name: str = column("block")
    grad_output_norm: float = column("|grad_output|", ".3e")
    masked_fraction: float = column("masked", ".1%")
    stopped_share: float = column("stopped", ".1%")
    grad_sum_norm: float = column("|grad_sum|", ".3e")
    grad_shortcut_norm: float | None = column("|grad_shortcut|", ".3e")
    grad_branch_norm: float = column("|grad_branch|", ".3e")
    cosine: float | None = column("cosine", ".3f")
    grad_input_norm: float = column("|grad_input|", ".3e")
    identity_error: float = column("identity error", ".1e")


@dataclass(frozen=True, repr=False)
class Ledger(Result):
    """The gradient's way from the loss to the images, block by block.

    Attributes
    ----------
    rows : tuple of LedgerRow
        From the first block to the last, as the forward pass meets them.
    network : str
        What was looked at, as in ``"Plain net, 20 layers"``.
    images : int
        N, the size of the batch.
    training : bool
        Whether batch norm used the batch's statistics.
    loss : float
        Mean cross entropy, in nats.
    grad_logits_norm, grad_images_norm : float
        Where the gradient begins, and where it ends.
    """

    rows: tuple[LedgerRow, ...]
    network: str
    images: int
    training: bool
    loss: float
    grad_logits_norm: float
    grad_images_norm: float

    def summary(self) -> str:
        """Say where the gradient begins and ends, and what the rows rest on."""
        first, last = self.rows[0], self.rows[-1]
        growth = ""
        if last.grad_output_norm:
            factor = first.grad_input_norm / last.grad_output_norm
            growth = f"; through the blocks x{factor:.3g}"
        return (
            f"{self.network}, {batch_note(self.images, self.training)}: loss "
            f"{self.loss:.4f} nats\n"
            f"norm of the gradient with respect to the logits "
            f"{self.grad_logits_norm:.3e}, to the images "
            f"{self.grad_images_norm:.3e}{growth}"
        )

    def plot(
        self,
        beside: Ledger | Sequence[Ledger] = (),
        scale: Literal["linear", "log"] | None = None,
    ) -> Figure:
        """Draw the gradient as a river.

        Parameters
        ----------
        beside : Ledger or sequence of Ledger
            Others to draw to the right of this one, on the same scale: that of the
            plain twin, for instance.
        scale : {"linear", "log"}, optional
            Of the widths; chosen by the range of the norms where it is not given.
        """
        from npresnet.lens.ledger.picture import river

        others = [beside] if isinstance(beside, Ledger) else beside
        return river([self, *others], scale)
