"""Lesions: what a trained network still knows with blocks deleted or swapped."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from npresnet.functional import cross_entropy_forward
from npresnet.lens.lesion import operations
from npresnet.lens.lesion.chain import Chain, taken_apart
from npresnet.lens.lesion.operations import Plan
from npresnet.lens.lesion.result import (
    DeletionRow,
    Lesions,
    RemovalRow,
    ReorderingRow,
)
from npresnet.lens.shared.passes import Progress, at_least, check_batch, describe
from npresnet.nn import Module

Array = NDArray[np.floating[Any]]


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
    x, y = check_batch(model, x, y)
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
