"""Routed experts on one rank: which tokens each expert gets, and how long their matmuls take."""

from __future__ import annotations

import math

from simulator.kernels.arithmetic import ceil_div
from simulator.kernels.arrays import Float64Array, Int64Array
from simulator.kernels.attention import WARP_ROWS
from simulator.kernels.chip_vector import (
    CLOCK_HZ,
    FUSED_EIGHT_BIT,
    FUSED_EXPERT,
    FUSED_EXPERT_ROWS,
    FUSED_SM_BYTES_PER_S,
    HBM_BYTES_PER_S,
    PER_MILLION,
    SRAM_BYTES,
    SYSTOLIC,
    TILE_K,
    UNIT_COUNT,
    UNIT_KIND,
    UNIT_RATE,
)
from simulator.kernels.gpu_attention import overlapped
from simulator.kernels.jit import inner, kernel
from simulator.kernels.matrix_unit import tile_price

SMALLEST_ROWS = 16
"""Fewest rows of a tile of a grouped matmul; the others are its doubles, up to the chip's
``expert_row_tile``."""

NARROW_COLUMNS = 64
WIDE_COLUMNS = 128
"""Output columns of a tile of a grouped matmul."""

CLUSTER = 2.0
"""Neighbouring tiles that load an operand together (thread block clusters, or a shared L1)."""

KEPT_RAMP = 0.5
"""An expert's matrix of up to half of the L2 is kept for its next rows, one as large as the L2 is
not; between, a share that falls evenly (as ``WARM_RAMP`` of attention)."""

Products = tuple[int, int, int]
"""(cycles of the matrix units, bytes fed by on-chip memory, bytes of weights read from HBM)"""


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
    chip: Int64Array, counts: Int64Array, k: int, n: int, bits: tuple[int, int], rows_bytes: int
) -> Products:
    """counts[e] x k times k x n for every expert with tokens.

    ``bits`` of an element of (activations, weights); ``rows_bytes`` pass HBM beside the weights.
    """
    if chip[UNIT_KIND] == SYSTOLIC:
        return systolic_experts(chip, counts, k, n, bits)
    return tensor_core_experts(chip, counts, k, n, bits, rows_bytes)


@inner
def systolic_experts(
    chip: Int64Array, counts: Int64Array, k: int, n: int, bits: tuple[int, int]
) -> Products:
    """One expert after another on all arrays; equal neighbours are priced once."""
    cycles = 0
    moved = 0
    active = 0
    last = -1
    array = 0
    each = 0
    for e in range(len(counts)):
        if counts[e] == 0:
            continue
        active += 1
        if counts[e] != last:
            last = counts[e]
            array, read, written, _ = tile_price(chip, last, k, n, bits[0], bits[1])
            each = read + written
        cycles += array
        moved += each
    return cycles, moved, active * ceil_div(k * n * bits[1], 8)


@inner
def kept_share(chip: Int64Array, size: float) -> float:
    """Share of an expert's matrix of ``size`` bytes that L2 holds until its next rows come."""
    return max(0.0, min(1.0, (1.0 - size / chip[SRAM_BYTES]) / KEPT_RAMP))


@inner
def waves(blocks: float) -> float:
    """Rounds over the multiprocessors that ``blocks`` tiles for each of them take.

    At least one; half of what the last round leaves idle is filled, as tiles do not end together.
    """
    return max(1.0, blocks + 0.5 * (math.ceil(blocks) - blocks))


@inner
def tile_cycles(chip: Int64Array, rows: int, columns: int, k: int, bits: tuple[int, int]) -> float:
    """Cycles of one multiprocessor for a tile: its products, at least those of the smallest
    instruction (``WARP_ROWS``), or the loads of its operands if those are slower.

    Weights narrower than the activations are converted on the way, which takes as long as loading
    them in the activations' type would."""
    rate = float(chip[UNIT_RATE]) * chip[FUSED_EXPERT] / PER_MILLION
    if bits[0] == 8:
        rate *= chip[FUSED_EIGHT_BIT] / PER_MILLION
    products = max(rows, WARP_ROWS) * columns / rate
    operands = (rows * bits[0] + columns * max(bits[0], bits[1])) / 8.0 / CLUSTER
    loads = operands * chip[CLOCK_HZ] / chip[FUSED_SM_BYTES_PER_S]
    return ceil_div(k, chip[TILE_K]) * chip[TILE_K] * max(products, loads)


@inner
def tensor_core_experts(
    chip: Int64Array,
    counts: Int64Array,
    k: int,
    n: int,
    bits: tuple[int, int],
    rows_bytes: int,
) -> Products:
    """Output tiles of all experts in one launch over the multiprocessors, best tile of the set.

    Tiles of the same rows follow each other. Where they are fewer than the multiprocessors, the
    next rows of the expert run beside them and share the weights; else the weights come from HBM
    again, but for what L2 has kept.
    """
    clock = float(chip[CLOCK_HZ])
    matrix = k * n * bits[1] / 8.0
    kept = kept_share(chip, matrix)
    active = 0
    for e in range(len(counts)):
        active += 1 if counts[e] > 0 else 0
    if active == 0:
        return 0, 0, 0
    best = -1.0
    cycles = 0.0
    weights = 0.0
    rows = SMALLEST_ROWS
    while rows <= max(SMALLEST_ROWS, chip[FUSED_EXPERT_ROWS]):
        blocks = 0
        for e in range(len(counts)):
            blocks += ceil_div(counts[e], rows)
        for columns in (NARROW_COLUMNS, WIDE_COLUMNS):
            across = ceil_div(n, columns)
            one = tile_cycles(chip, rows, columns, k, bits)
            busy = waves(blocks * across / float(chip[UNIT_COUNT])) * one
            beside = max(1.0, float(chip[UNIT_COUNT]) / across)
            again = max(float(active), blocks / beside)
            read = matrix * (active * kept + again * (1.0 - kept))
            moving = (read + rows_bytes) * clock / chip[HBM_BYTES_PER_S]
            time = overlapped(busy, moving)
            if best < 0.0 or time < best:
                best = time
                cycles = busy
                weights = read
        rows *= 2
    size = math.ceil(weights)
    return math.ceil(cycles), size + rows_bytes, size
