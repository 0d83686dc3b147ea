"""Routed experts on one rank: which tokens each expert gets, and how long their matmuls take."""

from __future__ import annotations

from simulator.kernels.arithmetic import ceil_div
from simulator.kernels.arrays import Float64Array, Int64Array
from simulator.kernels.chip_vector import SYSTOLIC, UNIT_KIND
from simulator.kernels.gpu_experts import tensor_core_experts
from simulator.kernels.jit import inner, kernel
from simulator.kernels.matrix_unit import tile_price

Products = tuple[int, int, int, int]
"""(cycles of the matrix units, bytes fed by on-chip memory, bytes of weights read from HBM, cycles
until all of it is done on a GPU; 0 on arrays, whose units just overlap)"""


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
    chip: Int64Array,
    counts: Int64Array,
    k: int,
    n: int,
    bits: tuple[int, int],
    kind: tuple[int, int],
    rows_bytes: int,
    seen: tuple[float, float],
) -> Products:
    """counts[e] x k times k x n for every expert with tokens.

    ``bits`` of an element of (activations, weights); ``kind`` = (form, library) of
    ``expert_kernels``; ``rows_bytes`` pass HBM beside the weights; ``seen`` = (assignments
    that the kernels see for each local expert, share of the weights that lie in HBM).
    """
    if chip[UNIT_KIND] == SYSTOLIC:
        return systolic_experts(chip, counts, k, n, bits)
    return tensor_core_experts(chip, counts, (k, n), bits, kind, rows_bytes, seen)


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
    return cycles, moved, active * ceil_div(k * n * bits[1], 8), 0
