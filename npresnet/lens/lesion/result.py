"""What lesions came to: accuracy and loss after each, as a table and as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from npresnet.lens.shared.passes import images_note
from npresnet.lens.shared.result import Result, Table, column

if TYPE_CHECKING:
    from npresnet.plots.style import Figure


@dataclass(frozen=True)
class DeletionRow:
    """The network without the branch of one block.

    Attributes
    ----------
    name : str
        Path of the block, as in ``layer1.0``.
    stays : str
        What is left of it: ``"identity"``, ``"zero padding"`` or ``"projection"``.
    accuracy : float
        Share of the images that are right, from 0 to 1.
    change : float
        That, minus the accuracy of the whole network.
    loss : float
        Mean cross entropy, in nats.
    """

    name: str = column("block deleted")
    stays: str = column("what stays")
    accuracy: float = column("accuracy", ".2%")
    change: float = column("change", "+.2%")
    loss: float = column("loss", ".4f")


@dataclass(frozen=True)
class ReorderingRow:
    """The network with blocks in another order.

    Attributes
    ----------
    swapped : tuple of str
        Pairs of blocks that changed places, one pair after the other, as in
        ``"layer1.0/layer1.2"``.
    kendall_tau : float
        Rank correlation of the new order with the old one, over all blocks: 1 minus
        twice the share of pairs that stand the other way round.
    accuracy, loss : float
        As for `DeletionRow`.
    """

    swapped: tuple[str, ...] = column("swapped")
    kendall_tau: float = column("Kendall tau", ".4f")
    accuracy: float = column("accuracy", ".2%")
    loss: float = column("loss", ".4f")


@dataclass(frozen=True)
class RemovalRow:
    """The network without the branches of k blocks drawn at random.

    Attributes
    ----------
    removed : int
        k.
    draws : int
        How many different sets of k blocks were drawn.
    accuracy, accuracy_low, accuracy_high : float
        Mean over the draws, the least and the greatest.
    loss, loss_low, loss_high : float
        Likewise, in nats.
    """

    removed: int = column("blocks removed")
    draws: int = column("draws")
    accuracy: float = column("accuracy", ".2%")
    accuracy_low: float = column("least", ".2%")
    accuracy_high: float = column("greatest", ".2%")
    loss: float = column("loss", ".4f")
    loss_low: float = column("least loss", ".4f")
    loss_high: float = column("greatest loss", ".4f")


@dataclass(frozen=True, repr=False)
class Lesions(Result):
    """A network under the knife.

    Attributes
    ----------
    rows : tuple of DeletionRow
        Each block deleted on its own, from the first to the last.
    swaps : tuple of ReorderingRow
        Each pair of blocks swapped that take and give the same shape; none in
        networks without such pairs.
    reorderings : tuple of ReorderingRow
        Several random pairs swapped one after the other.
    removals : tuple of RemovalRow
        Several random blocks deleted at once.
    network : str
        What was looked at, as in ``"Residual net, 20 layers"``.
    images : int
        How many images were looked at.
    training : bool
        Whether batch norm used the batches' statistics.
    seed : int
        Of the random sets and orders.
    accuracy, loss : float
        Of the whole network.
    chance : float
        Accuracy of the best answer that is the same for all images.
    """

    rows: tuple[DeletionRow, ...]
    swaps: tuple[ReorderingRow, ...]
    reorderings: tuple[ReorderingRow, ...]
    removals: tuple[RemovalRow, ...]
    network: str
    images: int
    training: bool
    seed: int
    accuracy: float
    loss: float
    chance: float

    def summary(self) -> str:
        """Say what the whole network knows, and what it knows after each lesion."""
        lines = [
            f"{self.network}, {images_note(self.images, self.training)}: "
            f"{self.accuracy:.2%} right, loss {self.loss:.4f} nats; "
            f"by chance {self.chance:.2%}"
        ]
        orders = {"one pair swapped": self.swaps, "reordered": self.reorderings}
        for what, rows in orders.items():
            if rows:
                right = [row.accuracy for row in rows]
                tau = min(row.kendall_tau for row in rows)
                lines.append(
                    f"{what}, {len(rows)} orders, Kendall tau down to {tau:.3f}: "
                    f"{np.mean(right):.2%} right on average "
                    f"({min(right):.2%} to {max(right):.2%})"
                )
        if self.removals:
            parts = [f"{row.removed}: {row.accuracy:.1%}" for row in self.removals]
            lines.append(f"random blocks removed, mean accuracy: {', '.join(parts)}")
        return "\n".join(lines)

    def records(self) -> Table:
        """Return a line per lesion, or per number of blocks removed at random."""
        values: list[tuple[Any, ...]] = [
            ("none", None, 0, None, None, self.accuracy, None, None, self.loss)
        ]
        for row in self.rows:
            found: tuple[Any, ...] = row.accuracy, None, None, row.loss
            values.append(("deleted", row.name, 1, None, None, *found))
        for order in (*self.swaps, *self.reorderings):
            pairs, tau = order.swapped, order.kendall_tau
            found = order.accuracy, None, None, order.loss
            values.append(("swapped", " ".join(pairs), len(pairs), tau, None, *found))
        for some in self.removals:
            low, high = some.accuracy_low, some.accuracy_high
            counts = some.removed, None, some.draws
            found = some.accuracy, low, high, some.loss
            values.append(("removed", None, *counts, *found))
        names = (
            "lesion",
            "blocks",
            "count",
            "kendall_tau",
            "draws",
            "accuracy",
            "accuracy_low",
            "accuracy_high",
            "loss",
        )
        return Table(names, names, ("",) * len(names), tuple(values))

    def plot(self, beside: Lesions | Sequence[Lesions] = ()) -> Figure:
        """Draw the accuracy after every lesion.

        Parameters
        ----------
        beside : Lesions or sequence of Lesions
            Others to draw into the same axes: that of the plain twin, for instance.
        """
        from npresnet.lens.lesion.picture import lesions

        others = [beside] if isinstance(beside, Lesions) else beside
        return lesions([self, *others])
