"""Algorithms on rings, meshes and tori, over all axes and both directions of each.

N chips, axes of X_i chips, m = S/N. An axis that closes into a ring has two directions to gather
along, an open one (a line, or a pair) one: its end has to get everything over its only link.
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import lru_cache
from itertools import combinations

from simulator.fabric.parts import Op, Step, assemble, passes, reduces
from simulator.fabric.schedule import Schedule
from simulator.hardware.fabric import Fabric, Protocol


def grid_schedules(fabric: Fabric, op: Op, protocol: Protocol) -> list[Schedule]:
    """Every algorithm that the operation has with one protocol."""
    found: list[Schedule] = []
    if op in ("all-reduce", "all-gather", "reduce-scatter"):
        hops = _closing_hops(fabric)
        if hops:
            found.append(_ring(fabric, op, protocol, hops))
        if _is_line_or_ring(fabric):
            found.append(_both_ways(fabric, op, protocol))
        found.append(_multi_axis(fabric, op, protocol))
        found.append(_direct(fabric, op, protocol))
    elif op == "all-to-all":
        found.append(_direct(fabric, op, protocol))
        if _is_line_or_ring(fabric) and _closing_hops(fabric) == 1:
            found.append(_shift_ring(fabric, protocol))
    elif op == "broadcast":
        found.append(_broadcast(fabric, protocol))
    else:
        wire = Fraction(1)
        if op == "permute":
            wire = Fraction(fabric.chips)
        hops = max(1, _closing_hops(fabric)) if op == "permute" else 1
        found.append(assemble(fabric, protocol, "direct", [Step(1, hops, Fraction(1))], wire))
    return found


def spans(fabric: Fabric) -> list[tuple[int, bool]]:
    """(chips, closed) of every axis longer than one; a ring of two is a pair."""
    return [
        (size, closed and size > 2)
        for size, closed in zip(fabric.axes, fabric.wrap, strict=True)
        if size > 1
    ]


def _is_line_or_ring(fabric: Fabric) -> bool:
    return len(spans(fabric)) == 1


def _closing_hops(fabric: Fabric) -> int:
    """Hops between the last and the first chip of a ring through all; 0 where there is none.

    A Hamiltonian cycle exists in every torus, and in a mesh of two or more axes with an even
    number of chips. A line's ring returns over the other direction of all its links.
    """
    axes = spans(fabric)
    if len(axes) == 1:
        size, closed = axes[0]
        return 1 if closed or size == 2 else size - 1
    return 1 if fabric.chips % 2 == 0 or any(closed for _, closed in axes) else 0


def _ring(fabric: Fabric, op: Op, protocol: Protocol, hops: int) -> Schedule:
    n = fabric.chips
    m = Fraction(1, n)
    steps = []
    if reduces(op):
        steps.append(Step(n - 1, hops, m, reduced=m))
    if op != "reduce-scatter":
        steps.append(Step(n - 1, hops, m))
    wire = passes(op) * (n - 1) * Fraction(n - 1 + hops, n)
    return assemble(fabric, protocol, "ring", steps, wire, copied=m)


def _both_ways(fabric: Fabric, op: Op, protocol: Protocol) -> Schedule:
    """Shards travel both ways at once: a ring needs X/2 steps, a line X - 1.

    On an even ring the farthest shard comes half from either side.
    """
    n = fabric.chips
    m = Fraction(1, n)
    size, closed = spans(fabric)[0]
    if closed:
        rounds = [((size - 1) // 2, m)]
        if size % 2 == 0:
            rounds.append((1, m / 2))
    else:
        rounds = [(size - 1, m)]
    steps = []
    if reduces(op):
        # two shards arrive in a step, one from each side, where there are two sides
        both = 2 if closed else 1
        steps += [Step(count, 1, share, reduced=both * share) for count, share in rounds]
    if op != "reduce-scatter":
        steps += [Step(count, 1, share) for count, share in reversed(rounds)]
    wire = Fraction(passes(op) * (n - 1))
    return assemble(fabric, protocol, "bidirectional-ring", steps, wire, copied=m)


def _multi_axis(fabric: Fabric, op: Op, protocol: Protocol) -> Schedule:
    """Parts of the buffer go over the axes in different orders, so that all links are busy.

    Over a set A of axes with P(A) chips, any order moves at least m (P(A) - 1) into each chip,
    and the fullest set is reached by a mix of orders: these least loads are supermodular, so the
    orders span their base polytope. Hence the busiest link carries
    m max_A (P(A) - 1) / directions(A); for A = all axes that is the bound of the injection.
    The steps are those of the rings one after another, X/2 or X - 1 for each axis; the parts are
    pipelined, so their bytes count once (Austin et al., "How to Scale Your Model", 2025).
    """
    n = fabric.chips
    m = Fraction(1, n)
    share = m * gather_share(fabric)
    rounds = sum(size // 2 if closed else size - 1 for size, closed in spans(fabric))
    per_step = share / rounds
    steps = []
    if reduces(op):
        steps.append(Step(rounds, 1, per_step, reduced=Fraction(n - 1, n) / rounds))
    if op != "reduce-scatter":
        steps.append(Step(rounds, 1, per_step))
    wire = Fraction(passes(op) * (n - 1))
    return assemble(fabric, protocol, "multi-axis", steps, wire, copied=m)


def gather_share(fabric: Fabric) -> Fraction:
    """Shards that the busiest link carries in an all-gather over all axes."""
    axes = spans(fabric)
    if fabric.kind == "twisted-torus":
        # the closing links leave the axis, so only the bound of the injection is left
        return Fraction(fabric.chips - 1, sum(2 if closed else 1 for _, closed in axes))
    worst = Fraction(0)
    for count in range(1, len(axes) + 1):
        for chosen in combinations(axes, count):
            chips = math.prod(size for size, _ in chosen)
            ways = sum(2 if closed else 1 for _, closed in chosen)
            worst = max(worst, Fraction(chips - 1, ways))
    return worst


def _direct(fabric: Fabric, op: Op, protocol: Protocol) -> Schedule:
    """Every chip to every other over minimal paths, ties split equally."""
    n = fabric.chips
    m = Fraction(1, n)
    load, distance, diameter = exchange_load(fabric)
    steps = []
    if op == "all-to-all" or not reduces(op):
        steps.append(Step(1, diameter, load * m))
    else:
        steps.append(Step(1, diameter, load * m, reduced=m))
        if op == "all-reduce":
            steps.append(Step(1, diameter, load * m))
    wire = passes(op) * distance
    return assemble(fabric, protocol, "direct", steps, wire, copied=m)


@lru_cache(maxsize=256)
def exchange_load(fabric: Fabric) -> tuple[Fraction, Fraction, int]:
    """(shares on the busiest link, hops of all shares of one chip, diameter) of an all-to-all.

    Even ring of k in a grid of N: N k / 8; odd: N (k^2 - 1) / (8 k); line: N floor(k/2) ceil(k/2)
    / k. A twisted torus is counted by ``simulator.fabric.links``.
    """
    if fabric.kind == "twisted-torus":
        from simulator.fabric.links import twisted_load

        return twisted_load(fabric)
    n = fabric.chips
    load, hops, diameter = Fraction(0), Fraction(0), 0
    for size, closed in spans(fabric):
        square = size * size - size % 2
        if closed:
            load = max(load, Fraction(n * square, 8 * size))
            hops += Fraction(n * square, 4 * size)
            diameter += size // 2
        else:
            load = max(load, Fraction(n * (size // 2) * ((size + 1) // 2), size))
            hops += Fraction(n * (size * size - 1), 3 * size)
            diameter += size - 1
    return load, hops, diameter


def _shift_ring(fabric: Fabric, protocol: Protocol) -> Schedule:
    """Round k sends to the chip k further on, hop by hop: n (n-1) / 2 steps in one direction."""
    n = fabric.chips
    count = n * (n - 1) // 2
    steps = [Step(count, 1, Fraction(1, n))]
    return assemble(fabric, protocol, "ring", steps, Fraction(count), copied=Fraction(1, n))


def _broadcast(fabric: Fabric, protocol: Protocol) -> Schedule:
    """As many edge-disjoint trees as the least connected chip has links (Edmonds, 1973)."""
    axes = spans(fabric)
    ways = sum(2 if closed else 1 for _, closed in axes)
    diameter = exchange_load(fabric)[2]
    step = Step(1, diameter, Fraction(1, ways))
    return assemble(fabric, protocol, "multi-axis", [step], Fraction(fabric.chips - 1))
