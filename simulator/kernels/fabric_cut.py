"""The least number of links whose loss cuts a fabric in two, by maximum flow."""

from __future__ import annotations

import numpy as np

from simulator.kernels.arrays import Int64Array
from simulator.kernels.jit import kernel


@kernel
def paths_between(
    neighbour: Int64Array, source: int, target: int, most: int, used: Int64Array, came: Int64Array
) -> int:
    """Paths from ``source`` to ``target`` that share no link, ``most`` at most.

    ``neighbour[node, slot]`` is -1 where there is no link; links go both ways. Ford and Fulkerson
    (1956) with breadth-first search: ``used[node, slot]`` is 1 where a path runs along a link and
    -1 where one runs against it, ``came[node]`` the slot index by which a search got to a node.
    """
    nodes, slots = neighbour.shape
    for node in range(nodes):
        for slot in range(slots):
            used[node, slot] = 0
    queue = np.empty(nodes, dtype=np.int64)
    found = 0
    while found < most:
        for node in range(nodes):
            came[node] = -1
        came[source] = -2
        queue[0] = source
        at, end = 0, 1
        while at < end and came[target] == -1:
            node = queue[at]
            at += 1
            for slot in range(slots):
                other = neighbour[node, slot]
                if other >= 0 and came[other] == -1 and used[node, slot] < 1:
                    came[other] = node * slots + slot
                    queue[end] = other
                    end += 1
        if came[target] == -1:
            break
        node = target
        while node != source:
            before, slot = came[node] // slots, came[node] % slots
            used[before, slot] += 1
            for back in range(slots):
                if neighbour[node, back] == before:
                    used[node, back] -= 1
                    break
            node = before
        found += 1
    return found


@kernel
def least_cut(neighbour: Int64Array, chips: Int64Array, most: int) -> int:
    """Links of the least cut between any of the ``chips``; ``most`` if there is none below that.

    The first chip is on one side of the least cut, so its paths to all others are enough.
    """
    used = np.empty(neighbour.shape, dtype=np.int64)
    came = np.empty(neighbour.shape[0], dtype=np.int64)
    least = most
    for index in range(1, len(chips)):
        least = min(least, paths_between(neighbour, chips[0], chips[index], least, used, came))
    return least
