"""Routed experts on one rank: which tokens each expert gets, and the cycles of their matmuls."""

from __future__ import annotations

import numpy as np

from simulator.kernels.arithmetic import PS_PER_S, ceil_div, scale_up
from simulator.kernels.arrays import Float64Array, Int64Array
from simulator.kernels.attention import WARP_ROWS
from simulator.kernels.chip_vector import (
    CLOCK_HZ,
    FUSED_EXPERT,
    FUSED_TILE_PS,
    PER_MILLION,
    SYSTOLIC,
    TILE_K,
    UNIT_COUNT,
    UNIT_KIND,
    UNIT_RATE,
)
from simulator.kernels.jit import inner, kernel
from simulator.kernels.matrix_unit import tile_price

EXPERT_COLUMNS = 256
"""Output columns of a tile of a grouped matmul; its rows are a power of two in these bounds, the
tile sizes that vLLM tunes its fused_moe kernel over."""

CLUSTER = 2
"""Neighbouring tiles that load an operand together (thread block clusters, or a shared L1)."""

SMALLEST_ROWS = 16
LARGEST_ROWS = 128


@kernel
def expert_tokens(load: Float64Array, assignments: int, most: int, counts: Int64Array) -> int:
    """Tokens of each local expert of the busiest rank; returns their sum.

    ``load[e]`` is the share of all ``assignments`` (tokens x top_k over the expert group) that
    goes to expert e. The rank's total is rounded up, the experts' shares of it follow by rounding
    the running sum. A token goes to an expert at most once, so none gets more than ``most``: what
    is above goes to the others, and ends here only as far as they have room.
    """
    share = 0.0
    for e in range(len(load)):
        share += load[e]
    total = min(assignments, int(share * assignments * (1.0 - 1e-12)) + 1)
    running = 0.0
    given = 0
    placed = 0
    for e in range(len(load)):
        running += load[e]
        until = int(running / share * total + 0.5)
        counts[e] = min(most, until - given)
        given = until
        placed += counts[e]
    left = total - placed
    for e in range(len(load)):
        more = min(left, most - counts[e])
        counts[e] += more
        left -= more
    return total - left


@inner
def grouped_cycles(
    chip: Int64Array, counts: Int64Array, k: int, n: int, bits: tuple[int, int]
) -> tuple[int, int]:
    """(matrix cycles, bytes fed) of counts[e] x k times k x n for every expert with tokens."""
    if chip[UNIT_KIND] == SYSTOLIC:
        return systolic_experts(chip, counts, k, n, bits)
    return tensor_core_experts(chip, counts, k, n, bits)


@inner
def systolic_experts(
    chip: Int64Array, counts: Int64Array, k: int, n: int, bits: tuple[int, int]
) -> tuple[int, int]:
    """One expert after another on all arrays; equal neighbours are priced once."""
    cycles = 0
    moved = 0
    last = -1
    array = 0
    each = 0
    for e in range(len(counts)):
        if counts[e] == 0:
            continue
        if counts[e] != last:
            last = counts[e]
            array, read, written, _ = tile_price(chip, last, k, n, bits[0], bits[1])
            each = read + written
        cycles += array
        moved += each
    return cycles, moved


@inner
def tensor_core_experts(
    chip: Int64Array, counts: Int64Array, k: int, n: int, bits: tuple[int, int]
) -> tuple[int, int]:
    """Output tiles of all experts in one launch over the multiprocessors, best tile of the set.

    A tile pays its latency and the products of its rows, at least those of the smallest
    instruction (``WARP_ROWS``), at ``expert_efficiency`` of the peak.
    """
    latency = scale_up(chip[FUSED_TILE_PS], chip[CLOCK_HZ], int(np.int64(PS_PER_S)))
    depth = ceil_div(k, chip[TILE_K]) * chip[TILE_K]
    columns = ceil_div(n, EXPERT_COLUMNS)
    best = -1
    best_moved = 0
    rows = SMALLEST_ROWS
    while rows <= LARGEST_ROWS:
        blocks = 0
        for e in range(len(counts)):
            blocks += ceil_div(counts[e], rows)
        blocks *= columns
        macs = max(rows, WARP_ROWS) * EXPERT_COLUMNS * depth
        one = latency + scale_up(macs, PER_MILLION, chip[UNIT_RATE] * chip[FUSED_EXPERT])
        cycles = 0
        if blocks > 0:
            cycles = max(one, ceil_div(one * blocks, chip[UNIT_COUNT]))
        moved = blocks * ceil_div(k * (rows * bits[0] + EXPERT_COLUMNS * bits[1]), 8 * CLUSTER)
        if best < 0 or cycles < best:
            best = cycles
            best_moved = moved
        rows *= 2
    return best, best_moved
