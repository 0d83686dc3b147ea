"""Loads of a uniform all-to-all on a torus that has lost chips or links, many sources at once.

On a whole torus the minimal paths of all sources look alike. Here they are counted in that order
for all sources along the last axis side by side ("lanes"), the lost parts left out; where all
minimal paths to a living chip are lost, its source is handed back.

A chip is (o, z): o its place in the other axes, z along the last one, of Z. Seen from the source
(o', b) it is the node (o - o', r = z - b). For a fixed node the lanes b = 0 ... Z-1 meet the chips
z = r + b, which lie side by side in tables that are stored twice over, from 0 to 2 Z - 1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from simulator.kernels.arrays import Int64Array
from simulator.kernels.jit import kernel

Float64Array = NDArray[np.float64]


@kernel
def add_ways(ways: Float64Array, some: Float64Array, whole: Float64Array) -> None:
    """Ways over one slot, from the nodes of the same r before: all three tables begin with r."""
    size, lanes = ways.shape
    for r in range(size):
        for lane in range(lanes):
            ways[r, lane] += some[r, lane] * whole[r + lane]


@kernel
def pass_back(
    through: Float64Array,
    ways: Float64Array,
    load: Float64Array,
    whole: Float64Array,
    c: Float64Array,
) -> None:
    """Traffic over one slot back to the nodes of the same r before, and its load."""
    size, lanes = ways.shape
    for r in range(size):
        for lane in range(lanes):
            part = c[r, lane] * ways[r, lane] * whole[r + lane]
            through[r, lane] += part
            load[r + lane] += part


@kernel
def along_last(ways: Float64Array, up: Float64Array, down: Float64Array) -> None:
    """Ways along the last axis: outwards from r = 0, both ways, which meet in the middle."""
    size, lanes = ways.shape
    for r in range(1, size // 2 + 1):
        for lane in range(lanes):
            ways[r, lane] += ways[r - 1, lane] * up[r + lane]
    for r in range(size - 1, (size - 1) // 2, -1):
        for lane in range(lanes):
            ways[r, lane] += ways[(r + 1) % size, lane] * down[r + lane]


@kernel
def back_along_last(
    through: Float64Array,
    ways: Float64Array,
    load_up: Float64Array,
    load_down: Float64Array,
    up: Float64Array,
    down: Float64Array,
    c: Float64Array,
) -> None:
    """Traffic along the last axis, inwards to r = 0; ``c`` becomes traffic by ways, 0 if none."""
    size, lanes = ways.shape
    for step in range(size // 2, -1, -1):
        for side in range(2):
            r = step if side == 0 else size - step
            if side == 1 and (step == 0 or 2 * step == size):
                continue
            for lane in range(lanes):
                c[r, lane] = through[r, lane] / ways[r, lane] if ways[r, lane] > 0.0 else 0.0
            if 0 < 2 * r <= size:
                for lane in range(lanes):
                    part = c[r, lane] * ways[r - 1, lane] * up[r + lane]
                    through[r - 1, lane] += part
                    load_up[r + lane] += part
            if 2 * r >= size:
                for lane in range(lanes):
                    part = c[r, lane] * ways[(r + 1) % size, lane] * down[r + lane]
                    through[(r + 1) % size, lane] += part
                    load_down[r + lane] += part


@kernel
def source_line(
    at: Int64Array,
    first: Int64Array,
    before: Int64Array,
    slot: Int64Array,
    whole: Float64Array,
    alive: Float64Array,
    weight: float,
    ways: Float64Array,
    through: Float64Array,
    load: Float64Array,
    lost: Int64Array,
) -> None:
    """Add the loads of the sources (at[0], b) for all b to ``load``.

    ``at[i]`` is the place of node i in the other axes; its minimal neighbours there are nodes
    ``before[j]`` over the slot ``slot[j]`` of the receiver, for first[i] <= j < first[i+1].
    ``whole`` (1 for a link, 0 for none) and ``load`` are [place, slot of the receiver, 2 Z],
    ``alive`` [place, 2 Z], ``ways`` and ``through`` [node, r, lane]. ``lost[b]`` becomes 1 where
    a source misses a living chip; it adds nothing. A share counts ``weight``.
    """
    nodes, size, lanes = ways.shape
    down, up = whole.shape[1] - 2, whole.shape[1] - 1
    for lane in range(lanes):
        lost[lane] = 0
    for i in range(nodes):
        o = at[i]
        ways[i] = 0.0
        if i == 0:
            for lane in range(lanes):
                ways[0, 0, lane] = alive[o, lane]
        for j in range(first[i], first[i + 1]):
            add_ways(ways[i], ways[before[j]], whole[o, slot[j]])
        along_last(ways[i], whole[o, up], whole[o, down])
        for r in range(size):
            for lane in range(lanes):
                living = alive[o, r + lane] * alive[at[0], lane] * weight
                through[i, r, lane] = living
                if ways[i, r, lane] == 0.0 and living > 0.0:
                    lost[lane] = 1
    c = np.empty((size, lanes), dtype=np.float64)
    for lane in range(lanes):
        if lost[lane] == 1:
            ways[:, :, lane] = 0.0
    for i in range(nodes - 1, -1, -1):
        o = at[i]
        back_along_last(
            through[i], ways[i], load[o, up], load[o, down], whole[o, up], whole[o, down], c
        )
        for j in range(first[i], first[i + 1]):
            p, s = before[j], slot[j]
            pass_back(through[p], ways[p], load[o, s], whole[o, s], c)


@kernel
def torus_loads(
    shifted: Int64Array,
    first: Int64Array,
    before: Int64Array,
    slot: Int64Array,
    whole: Float64Array,
    alive: Float64Array,
    weight: Float64Array,
    load: Float64Array,
    lost: Int64Array,
) -> None:
    """Loads of the sources at all places o' of some weight; ``lost`` is [o', b].

    ``shifted[o', i]`` is the place of node i seen from o'; the other arguments are those of
    ``source_line``.
    """
    places, nodes = shifted.shape
    size = lost.shape[1]
    ways = np.zeros((nodes, size, size), dtype=np.float64)
    through = np.zeros((nodes, size, size), dtype=np.float64)
    for place in range(places):
        if weight[place] > 0.0:
            source_line(
                shifted[place],
                first,
                before,
                slot,
                whole,
                alive,
                weight[place],
                ways,
                through,
                load,
                lost[place],
            )
