"""The double-buffered walk, one DMA job and one tile after another, with nothing skipped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Visit:
    """One tile: cycles to load its operands, to compute it, and to store its result (0: none)."""

    load: int
    compute: int
    store: int


def run(visits: list[Visit], tail: int = 0, last_tail: int = 0) -> int:
    """Time at which everything has been computed and stored.

    The queue carries load(0), load(1), load(2), store(0), load(3), store(1), ...; load(j) waits
    until tile j-2 has been computed, store(j) until the result of tile j has left the array,
    ``tail`` cycles after it was computed, ``last_tail`` after the last. A tile that loads something
    starts when the jobs up to store(j-2) are done. Jobs of no length do not enter the queue.
    """
    count = len(visits)
    computed: list[int] = []
    queue = 0
    arrived = 0
    for j, tile in enumerate(visits):
        if tile.load:
            free = computed[j - 2] if j >= 2 else 0
            queue = max(queue, free) + tile.load
        if j >= 2 and visits[j - 2].store:
            queue = max(queue, computed[j - 2] + tail) + visits[j - 2].store
        if tile.load:
            arrived = queue
        before = computed[j - 1] if j else 0
        computed.append(max(before, arrived) + tile.compute)
    for j in range(max(0, count - 2), count):
        if visits[j].store:
            left = computed[j] + (last_tail if j == count - 1 else tail)
            queue = max(queue, left) + visits[j].store
    return max(computed[-1] + last_tail, queue)


def tiles_of(
    counts: tuple[int, int, int],
    n_outer: bool,
    credit: int,
    weights: Callable[[int, int], int],
    sizes: Callable[[int, int], int],
    inputs: Callable[[int, int], int],
    compute: Callable[[int, int, int], int],
    store: Callable[[int, int], int],
) -> list[Visit]:
    """The tiles in the order of a walk over (m, n, k) ``counts``.

    ``weights(n, k)``, ``inputs(m, k)``, ``compute(m, n, k)`` and ``store(m, n)`` are cycles of the
    tile with those indices. An operand tile is loaded unless the tile before had the same one.
    The first ``credit`` bytes of weights cost nothing, of ``sizes(n, k)`` bytes a tile, or all of
    them if it is 1 << 60.
    """
    nm, nn, nk = counts
    pairs = (
        [(m, n) for n in range(nn) for m in range(nm)]
        if n_outer
        else [(m, n) for m in range(nm) for n in range(nn)]
    )
    held_a: tuple[int, int] | None = None
    held_b: tuple[int, int] | None = None
    visits = []
    for m, n in pairs:
        for k in range(nk):
            load = 0
            if held_a != (m, k):
                load += inputs(m, k)
                held_a = (m, k)
            if held_b != (n, k):
                size = sizes(n, k)
                given = min(credit, size)
                if credit < 1 << 60:
                    credit -= given
                if given < size:
                    load += -(-weights(n, k) * (size - given) // size)
                held_b = (n, k)
            last = k == nk - 1
            visits.append(Visit(load, compute(m, n, k), store(m, n) if last else 0))
    return visits
