"""Plans for lesions: which blocks run, in which order, which without their branch.

A plan lists places of blocks; ``~place`` stands for the block without its branch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations

import numpy as np

Plan = tuple[int, ...]
Pair = tuple[int, int]
Shape = tuple[int, ...]

# What a stream of random numbers is for: different purposes never share one.
_SETS, _ORDERS = 1, 2


def without(length: int, places: Sequence[int]) -> Plan:
    """Plan the network without the branches at some places.

    Examples
    --------
    >>> without(4, [1, 3])
    (0, -2, 2, -4)
    """
    return tuple(~place if place in places else place for place in range(length))


def swapped(length: int, pairs: Sequence[Pair]) -> Plan:
    """Plan the network in which pairs of places exchange blocks, one after the other.

    Examples
    --------
    >>> swapped(4, [(0, 1), (1, 2)])
    (1, 2, 0, 3)
    """
    order = list(range(length))
    for i, j in pairs:
        order[i], order[j] = order[j], order[i]
    return tuple(order)


def swappable_pairs(shapes: Sequence[tuple[Shape, Shape]]) -> list[Pair]:
    """List the pairs of blocks that take and give one and the same shape.

    Parameters
    ----------
    shapes : sequence of (tuple of int, tuple of int)
        What each block takes and gives.
    """
    return [
        (i, j)
        for i, j in combinations(range(len(shapes)), 2)
        if shapes[i] == shapes[j] and shapes[i][0] == shapes[i][1]
    ]


def random_swaps(pairs: Sequence[Pair], draws: int, seed: int) -> list[list[Pair]]:
    """Draw sequences of swaps: `draws` of 2, of 4, of 8, ... pairs.

    The longest have as many pairs as there are blocks to swap, or fewer. Sequences
    that leave everything in its place are drawn again; where only one pair can be
    swapped, there is nothing to draw.
    """
    movable = {place for pair in pairs for place in pair}
    found: list[list[Pair]] = []
    count = 2
    while len(pairs) > 1 and count <= len(movable):
        rng = _generator(seed, _ORDERS, count)
        wanted = len(found) + draws
        while len(found) < wanted:
            swaps = [pairs[i] for i in rng.integers(len(pairs), size=count)]
            order = swapped(max(movable) + 1, swaps)
            if list(order) != sorted(order):
                found.append(swaps)
        count *= 2
    return found


def random_sets(length: int, count: int, draws: int, seed: int) -> list[Plan]:
    """Draw different sets of `count` places; all of them where there are no more."""
    if math.comb(length, count) <= draws:
        return list(combinations(range(length), count))
    rng = _generator(seed, _SETS, count)
    found: dict[Plan, None] = {}
    while len(found) < draws:
        places = rng.choice(length, count, replace=False)
        found[tuple(sorted(places.tolist()))] = None
    return list(found)


def kendall_tau(order: Sequence[int]) -> float:
    """Return the rank correlation of an order with 0, 1, 2, ...

    Examples
    --------
    >>> kendall_tau([0, 1, 2, 3]), kendall_tau([3, 2, 1, 0])
    (1.0, -1.0)
    """
    pairs = list(combinations(order, 2))
    inverted = sum(first > second for first, second in pairs)
    return 1 - 2 * inverted / len(pairs) if pairs else 1.0


def _generator(seed: int, purpose: int, count: int) -> np.random.Generator:
    """Return random numbers that do not depend on what else is drawn."""
    sequence = np.random.SeedSequence(seed, spawn_key=(purpose, count))
    return np.random.Generator(np.random.PCG64(sequence))
