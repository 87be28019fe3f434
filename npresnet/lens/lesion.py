"""Lesions: what a trained network still knows with blocks deleted or swapped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from npresnet.functional import cross_entropy_forward
from npresnet.lens import operations
from npresnet.lens.chain import Chain, taken_apart
from npresnet.lens.operations import Plan
from npresnet.lens.passes import Progress, at_least, check_batch, describe, images_note
from npresnet.lens.result import Result, Table, column
from npresnet.nn import Module

if TYPE_CHECKING:
    from npresnet.plots import Patient
    from npresnet.plots.style import Figure

Array = NDArray[np.floating[Any]]


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
        from npresnet.plots import lesions

        others = [beside] if isinstance(beside, Lesions) else beside
        everyone = [self, *others]
        notes = {images_note(one.images, one.training) for one in everyone}
        note = f"Measured on {notes.pop()}." if len(notes) == 1 else ""
        return lesions([one._patient() for one in everyone], note)

    def _patient(self) -> Patient:
        from npresnet.plots import Patient

        orders = [*self.swaps, *self.reorderings]
        return Patient(
            self.network,
            self.accuracy,
            self.chance,
            [row.name for row in self.rows],
            [row.accuracy for row in self.rows],
            [row.stays != "identity" for row in self.rows],
            [row.removed for row in self.removals],
            [row.accuracy for row in self.removals],
            [row.accuracy_low for row in self.removals],
            [row.accuracy_high for row in self.removals],
            [row.kendall_tau for row in orders],
            [row.accuracy for row in orders],
        )


def lesion(
    model: Module,
    x: Array,
    y: NDArray[np.integer[Any]],
    *,
    removals: Sequence[int] | None = None,
    draws: int = 5,
    seed: int = 0,
    batch_size: int = 256,
    progress: Progress | None = None,
) -> Lesions:
    """Delete and swap blocks, and see what the network still gets right.

    A block is deleted by taking its branch away: what stays is its shortcut, so
    where that is the identity, the network is the same as one built without the
    block. Nothing is trained afterwards.

    Parameters
    ----------
    model : Module
        A network with residual or plain blocks that follow one another directly, in
        the mode it is to be looked at in: evaluation mode, if the question is what
        its weights know. It is left as it was.
    x : ndarray of shape (N, C, H, W)
        Normalised images, of the model's dtype; as many as you like.
    y : ndarray of int of shape (N,)
        Labels.
    removals : sequence of int, optional
        How many random blocks to remove at once; by default up to ten numbers from 1
        to all blocks. An empty sequence leaves that out.
    draws : int
        Different sets of blocks for each of these numbers (fewer where there are
        not so many), and different orders for each number of swaps: 2, 4, 8, ... up
        to the number of blocks that can be swapped. 0 leaves both out.
    seed : int
        Decides these sets and orders.
    batch_size : int
        Images at a time.
    progress : callable, optional
        Called with the passes that are done and that there are: one for each lesion
        and batch.

    Returns
    -------
    Lesions
        With ``.rows`` (a block deleted), ``.swaps``, ``.reorderings``, ``.removals``
        and ``.plot()``.

    Raises
    ------
    TypeError, ValueError
        If the model has no residual blocks, or something stands between them, or
        images, labels or numbers do not suit it.

    Notes
    -----
    In training mode batch norm measures its statistics anew in every batch, and so
    makes up for part of a lesion; the paper, and the command line with trained
    weights, use evaluation mode.

    A plain block has no shortcut that could stay. So that both kinds of network lose
    the same, its branch gives way to what the shortcut of its residual twin would
    be: the identity, and where the shape changes, zero padding (option A of He et
    al., arXiv 1512.03385, section 4.2).

    Swapped are pairs of blocks that keep the shape and agree in it, as in the paper;
    in all networks here that is within a stage.

    References
    ----------
    Veit, Wilber and Belongie, arXiv 1605.06431, sections 4.1 (a block deleted), 4.2
    (several) and 4.3 (reordered).

    Examples
    --------
    >>> import numpy as np, npresnet as nr
    >>> rng = np.random.default_rng(0)
    >>> x, y = rng.standard_normal((8, 3, 8, 8), dtype=np.float32), np.arange(8)
    >>> result = lesion(nr.models.resnet14().eval(), x, y, removals=[1, 6])
    >>> [row.stays for row in result.rows]
    ['identity', 'identity', 'zero padding', 'identity', 'zero padding', 'identity']
    >>> [row.swapped for row in result.swaps]
    [('layer1.0/layer1.1',)]
    >>> [(row.removed, row.draws) for row in result.removals]
    [(1, 5), (6, 1)]
    """
    check_batch(model, x, y)
    draws, seed = at_least("draws", draws, 0), at_least("seed", seed, 0)
    batch_size = at_least("batch_size", batch_size, 1)
    with taken_apart(model, x) as network:
        L = len(network)
        counts = _removal_counts(removals, L) if draws else []
        pairs = operations.swappable_pairs(network.shapes)
        deleted = [operations.without(L, [place]) for place in range(L)]
        swapped = [operations.swapped(L, [pair]) for pair in pairs]
        orders = operations.random_swaps(pairs, draws, seed)
        reordered = [operations.swapped(L, swaps) for swaps in orders]
        removed = {
            count: [
                operations.without(L, places)
                for places in operations.random_sets(L, count, draws, seed)
            ]
            for count in counts
        }
        whole = tuple(range(L))
        plans = [
            whole,
            *deleted,
            *swapped,
            *reordered,
            *chain.from_iterable(removed.values()),
        ]
        found = _measure(
            network, x, y, list(dict.fromkeys(plans)), batch_size, progress
        )
        names, kinds = network.names, network.kinds
    right, loss = found[whole]

    def deletion_row(name: str, stays: str, plan: Plan) -> DeletionRow:
        accuracy, loss = found[plan]
        return DeletionRow(name, stays, accuracy, accuracy - right, loss)

    def order_row(swaps: Sequence[tuple[int, int]], plan: Plan) -> ReorderingRow:
        pairs = tuple(f"{names[i]}/{names[j]}" for i, j in swaps)
        return ReorderingRow(pairs, operations.kendall_tau(plan), *found[plan])

    return Lesions(
        tuple(map(deletion_row, names, kinds, deleted)),
        tuple(map(order_row, ([pair] for pair in pairs), swapped)),
        tuple(map(order_row, orders, reordered)),
        tuple(
            _removal_row(count, [found[plan] for plan in plans])
            for count, plans in removed.items()
        ),
        describe(model),
        len(x),
        model.training,
        seed,
        right,
        loss,
        float(np.unique(y, return_counts=True)[1].max() / len(y)),
    )


def _measure(
    network: Chain,
    x: Array,
    y: NDArray[np.integer[Any]],
    plans: Sequence[Plan],
    batch_size: int,
    progress: Progress | None,
) -> dict[Plan, tuple[float, float]]:
    """Return accuracy and mean loss of the network under each plan.

    The features of the whole network are carried along, and a plan is taken up at
    the first place where it differs.
    """
    L = len(network)
    starting_at: list[list[Plan]] = [[] for _ in range(L + 1)]
    for plan in plans:
        same = (place for place in range(L) if plan[place] != place)
        starting_at[next(same, L)].append(plan)
    correct = dict.fromkeys(plans, 0)
    loss_sum = dict.fromkeys(plans, 0.0)
    done, total = 0, len(plans) * -(-len(x) // batch_size)
    # Networks that are cut up may overflow: their loss then is not finite.
    with np.errstate(over="ignore", invalid="ignore"):
        for first in range(0, len(x), batch_size):
            labels = y[first : first + batch_size]
            features = network.stem(x[first : first + batch_size])
            for place, here in enumerate(starting_at):
                for plan in here:
                    logits = network.head(network.run(plan[place:], features))
                    loss, _ = cross_entropy_forward(logits.astype(np.float64), labels)
                    correct[plan] += int((logits.argmax(axis=1) == labels).sum())
                    loss_sum[plan] += float(loss) * len(labels)
                    done += 1
                    if progress is not None:
                        progress(done, total)
                if place < L:
                    features = network.run([place], features)
    N = len(x)
    return {plan: (correct[plan] / N, loss_sum[plan] / N) for plan in plans}


def _removal_row(count: int, found: Sequence[tuple[float, float]]) -> RemovalRow:
    accuracies, losses = zip(*found, strict=True)
    return RemovalRow(
        count,
        len(found),
        fmean(accuracies),
        min(accuracies),
        max(accuracies),
        fmean(losses),
        min(losses),
        max(losses),
    )


def _removal_counts(removals: Sequence[int] | None, L: int) -> list[int]:
    if removals is None:
        return sorted({round(k) for k in np.linspace(1, L, min(L, 10))})
    counts = [at_least("removals", count, 1) for count in removals]
    if max(counts, default=0) > L:
        raise ValueError(
            f"removals: expected at most the {L} blocks of the model, got {max(counts)}"
        )
    return sorted(set(counts))
