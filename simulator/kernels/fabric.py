"""Time of a collective on an uncontended fabric, in closed form.

A group on a torus uses every axis and both directions at once: with V bytes and n ranks each chip
sends (n-1)/n V over all its links together for an all-gather or reduce-scatter, and twice that
for an all-reduce. The steps around each ring pay its hops. Source: the torus formulas of Austin
et al., "How to Scale Your Model" (2025), section "TPU networking"; Patarasuk and Yuan (2009) for
the bandwidth bound.
"""

from __future__ import annotations

import numpy as np

from simulator.hardware import Fabric
from simulator.kernels.arithmetic import transfer_ps
from simulator.kernels.arrays import Int64Array
from simulator.kernels.jit import kernel

RANKS = 0
INJECTION = 1
"""Bytes per second that one chip sends over all its links together."""
HOPS = 2
"""Links on the longest way through all axes."""
HOP_PS = 3
OVERHEAD_PS = 4
FABRIC_FIELDS = 5

ALL_REDUCE = 0
ALL_GATHER = 1


def pack_fabric(fabric: Fabric) -> Int64Array:
    """The vector of the part of a fabric that a group spans."""
    out = np.zeros(FABRIC_FIELDS, dtype=np.int64)
    ranks = 1
    directions = 0
    hops = 0
    for size, closed in zip(fabric.axes, fabric.wrap, strict=True):
        ranks *= size
        if size > 1:
            directions += 2 if closed and size > 2 else 1
            hops += size // 2 if closed else size - 1
    if fabric.kind == "switch":
        directions, hops = 1, 1
    out[RANKS] = ranks if fabric.kind != "none" else 1
    out[INJECTION] = directions * fabric.link_bandwidth_bytes_per_s
    out[HOPS] = hops
    out[HOP_PS] = fabric.hop_latency_ps
    out[OVERHEAD_PS] = fabric.collective_overhead_ps
    return out


@kernel
def collective(fabric: Int64Array, op: int, size: int) -> tuple[int, int, int]:
    """(picoseconds, link picoseconds, bytes sent by one chip) for a full buffer of ``size`` bytes.

    ``size`` is what every rank holds in the end (all-gather) or at both ends (all-reduce).
    """
    ranks = fabric[RANKS]
    if ranks <= 1:
        return 0, 0, 0
    passes = 2 if op == ALL_REDUCE else 1
    sent = passes * ((size * (ranks - 1) + ranks - 1) // ranks)
    moving = transfer_ps(sent, fabric[INJECTION])
    return fabric[OVERHEAD_PS] + passes * fabric[HOPS] * fabric[HOP_PS] + moving, moving, sent
