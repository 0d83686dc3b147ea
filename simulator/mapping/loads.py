"""Loads of the operands of one way of cutting a matmul into tiles: their cycles and bytes."""

from __future__ import annotations

from simulator.kernels.arithmetic import bits_to_bytes, ceil_div, scale_up
from simulator.kernels.arrays import Int64Array
from simulator.kernels.chip_vector import CLOCK_HZ, HBM_BYTES_PER_S, run_bandwidth
from simulator.kernels.jit import inner

Bits = tuple[int, int, int, int, int]
"""Bits of an element of (A, B, C) in HBM, 0 where it is on chip, and of (A, B) in SRAM."""


@inner
def operand_bandwidth(chip: Int64Array, width: int, tiles: int, bits: int) -> int:
    """HBM bytes per second of tiles that are ``width`` elements of a row-major matrix wide.

    A tile as wide as the matrix is one contiguous stream; a narrower one is read in short runs.
    """
    if tiles == 1:
        return int(chip[HBM_BYTES_PER_S])
    return run_bandwidth(chip, bits_to_bytes(width * bits))


@inner
def extent(size: int, tile: int, count: int, edge: int) -> tuple[int, int]:
    """Side and number of the tiles along a dimension: the full ones, or the last (``edge``).

    A last tile as large as the others counts as one of them, so that it is not priced again.
    """
    last = size - (count - 1) * tile
    if edge:
        return last, (1 if last < tile else 0)
    return tile, (count - 1 if last < tile else count)


@inner
def price_loads(
    chip: Int64Array,
    shape: tuple[int, int, int],
    bits: Bits,
    tile: tuple[int, int, int],
    loads: Int64Array,
) -> None:
    """Cycles and bytes of loading each sort of tile once, and both operands in full.

    ``loads`` is int64[4, 2, 2]: cycles of a tile of A by [m edge, k edge], of B by [n edge, k
    edge], bytes of a tile of B, and [bytes, cycles] of all of [A, B].
    """
    m, k, n = shape
    tm, tk, tn = tile
    nm, nk, nn = ceil_div(m, tm), ceil_div(k, tk), ceil_div(n, tn)
    clock = chip[CLOCK_HZ]
    a_bandwidth = operand_bandwidth(chip, tk, nk, bits[0])
    b_bandwidth = operand_bandwidth(chip, tn, nn, bits[1])
    a_bytes, a_cycles, b_bytes, b_cycles = 0, 0, 0, 0
    for edge in range(2):
        rows, row_times = extent(m, tm, nm, edge)
        cols, col_times = extent(n, tn, nn, edge)
        for ke in range(2):
            depth, depth_times = extent(k, tk, nk, ke)
            a_size = bits_to_bytes(rows * depth * bits[0])
            b_size = bits_to_bytes(depth * cols * bits[1])
            loads[0, edge, ke] = scale_up(a_size, clock, a_bandwidth)
            loads[1, edge, ke] = scale_up(b_size, clock, b_bandwidth)
            loads[2, edge, ke] = b_size
            a_bytes += a_size * row_times * depth_times
            b_bytes += b_size * col_times * depth_times
            a_cycles += loads[0, edge, ke] * row_times * depth_times
            b_cycles += loads[1, edge, ke] * col_times * depth_times
    loads[3, 0, 0], loads[3, 0, 1] = a_bytes, b_bytes
    loads[3, 1, 0], loads[3, 1, 1] = a_cycles, b_cycles
