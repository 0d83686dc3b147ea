"""Cycles that the whole chip's matrix unit takes for a tile that lies in SRAM.

One function for each kind of unit, one entry that chooses by kind. A stationary array may hold
either operand: C^T = B^T A^T is the same product with the other one held, and each tile takes the
cheaper of the two.
"""

from __future__ import annotations

from simulator.kernels.arithmetic import bits_to_bytes, ceil_div, scale_up
from simulator.kernels.arrays import Int64Array
from simulator.kernels.chip_vector import (
    ACCUMULATORS,
    CLOCK_HZ,
    COLS,
    DATAFLOW,
    LOAD,
    LOAD_CYCLES,
    ROWS,
    SRAM_BYTES_PER_S,
    SRAM_WRITE_BYTES_PER_S,
    SYSTOLIC,
    TILE_COUNT,
    TILE_K,
    TILES,
    UNIT_COUNT,
    UNIT_KIND,
    UNIT_RATE,
)
from simulator.kernels.jit import inner, kernel
from simulator.kernels.systolic import DOUBLE, IS, OS

ACCUMULATOR_BYTES = 4
"""Partial sums are held in 32 bits (fp32, or int32 for integer types)."""


@inner
def peak_macs(chip: Int64Array) -> int:
    """Multiply-accumulates per cycle of the whole chip."""
    if chip[UNIT_KIND] == SYSTOLIC:
        return chip[ROWS] * chip[COLS] * chip[UNIT_COUNT] * chip[UNIT_RATE]
    return chip[UNIT_COUNT] * chip[UNIT_RATE]


@inner
def least_cycles(chip: Int64Array, m: int, k: int, n: int, bits: int) -> float:
    """Cycles of work that no tiling can go below: peak rate, and operands fed from L2."""
    work = float(m) * k * n
    if chip[UNIT_KIND] == SYSTOLIC:
        return work / peak_macs(chip)
    best = 0.0
    for index in range(chip[TILE_COUNT]):
        rows = chip[TILES + 2 * index]
        cols = chip[TILES + 2 * index + 1]
        feed = (1.0 / rows + 1.0 / cols) * bits / 8.0 * chip[CLOCK_HZ] / chip[SRAM_BYTES_PER_S]
        each = max(1.0 / peak_macs(chip), feed)
        if index == 0 or each < best:
            best = each
    return work * best


@inner
def fold_stream(chip: Int64Array, stream: int) -> int:
    """Cycles between two folds of a stationary dataflow (see ``kernels.systolic``)."""
    if chip[LOAD] == DOUBLE:
        return max(stream, chip[LOAD_CYCLES])
    return chip[LOAD_CYCLES] + chip[ROWS] + stream + chip[COLS] - 2


@inner
def systolic_tile(chip: Int64Array, m: int, k: int, n: int) -> int:
    """Array cycles of one tile on all arrays, without the operator's first fill and last drain."""
    rows, cols, count, rate = chip[ROWS], chip[COLS], chip[UNIT_COUNT], chip[UNIT_RATE]
    if chip[DATAFLOW] == OS:
        folds = ceil_div(m, rows) * ceil_div(n, cols)
        return ceil_div(folds, count) * (ceil_div(k, rate) + rows + cols - 2)
    held, streamed = n, m
    if chip[DATAFLOW] == IS:
        held, streamed = streamed, held
    folds = ceil_div(k, rows) * ceil_div(held, cols)
    best = ceil_div(folds, count) * fold_stream(chip, ceil_div(streamed, rate))
    if count > 1:
        # Fewer folds than arrays: let them share the stream instead of leaving some idle.
        part = ceil_div(ceil_div(streamed, count), rate)
        best = min(best, folds * fold_stream(chip, part))
    return best


@inner
def systolic_fill(chip: Int64Array) -> int:
    """Cycles before the first product of an operator: the first load of a ``double`` array."""
    if chip[DATAFLOW] != OS and chip[LOAD] == DOUBLE:
        return chip[LOAD_CYCLES]
    return 0


@inner
def systolic_drain(chip: Int64Array, m: int, n: int) -> int:
    """Cycles from the last fold's slot to the last result, for the tile that ends the operator."""
    if chip[DATAFLOW] == OS or chip[LOAD] != DOUBLE:
        return 0
    stream = ceil_div(max(m, n), chip[UNIT_RATE])
    return chip[ROWS] + chip[COLS] - 2 - max(0, chip[LOAD_CYCLES] - stream)


@inner
def tensor_core_tile(chip: Int64Array, m: int, k: int, n: int, bits: int) -> tuple[int, int]:
    """(tensor-core cycles, L2 bytes) of the best kernel tile and split of the inner dimension."""
    steps = ceil_div(k, chip[TILE_K])
    count = chip[UNIT_COUNT]
    best = -1
    best_array = 0
    best_bytes = 0
    for index in range(chip[TILE_COUNT]):
        rows = chip[TILES + 2 * index]
        cols = chip[TILES + 2 * index + 1]
        blocks = ceil_div(m, rows) * ceil_div(n, cols)
        split = 1
        while split <= 8:
            one = ceil_div(rows * cols * ceil_div(steps, split) * chip[TILE_K], chip[UNIT_RATE])
            # Persistent kernels run on into the next tile, so waves do not end in lockstep.
            array = max(one, ceil_div(one * blocks * split, count))
            if best < 0 or array < best:
                moved = blocks * (rows + cols) * bits_to_bytes(k * bits)
                if split > 1:
                    moved += 2 * split * m * n * ACCUMULATOR_BYTES
                cycles = max(array, scale_up(moved, chip[CLOCK_HZ], chip[SRAM_BYTES_PER_S]))
                if best < 0 or cycles < best:
                    best = cycles
                    best_array = array
                    best_bytes = moved
            if blocks * split >= count:
                break  # a further split only adds traffic once every multiprocessor has work
            split *= 2
    return best_array, best_bytes


@inner
def feed_cycles(chip: Int64Array, read: int, written: int) -> int:
    """Cycles in which SRAM serves a tile: one port for both directions, or one for each."""
    clock = chip[CLOCK_HZ]
    if chip[SRAM_WRITE_BYTES_PER_S] == 0:
        return scale_up(read + written, clock, chip[SRAM_BYTES_PER_S])
    reading = scale_up(read, clock, chip[SRAM_BYTES_PER_S])
    return max(reading, scale_up(written, clock, chip[SRAM_WRITE_BYTES_PER_S]))


@kernel
def spilled_passes(chip: Int64Array, streamed: int, k: int, held: int) -> int:
    """How often partial sums leave the accumulators for SRAM and come back.

    While a column of folds runs down the inner dimension each array needs the sums of every
    streamed vector for its columns. If they do not fit, each fold but the last writes them out and
    each but the first reads them back.
    """
    width = min(held, chip[COLS] * chip[UNIT_COUNT])
    if streamed * width * ACCUMULATOR_BYTES <= chip[ACCUMULATORS]:
        return 0
    return ceil_div(k, chip[ROWS]) - 1


@inner
def systolic_price(
    chip: Int64Array, m: int, k: int, n: int, a_bits: int, b_bits: int
) -> tuple[int, int, int, int]:
    """(array cycles, SRAM bytes read, written, operand held) of one tile on the arrays.

    The held operand is read once, the streamed one once for each column of folds, results are
    written once and partial sums as often as they spill. 0: B is held, 1: A is held, 2: neither.
    """
    result = m * n * ACCUMULATOR_BYTES
    if chip[DATAFLOW] == OS:
        a_reads = m * k * ceil_div(n, chip[COLS])
        b_reads = k * n * ceil_div(m, chip[ROWS])
        read = bits_to_bytes(a_reads * a_bits + b_reads * b_bits)
        return systolic_tile(chip, m, k, n), read, result, 2
    # C^T = B^T A^T: the other operand is held
    b_held = systolic_tile(chip, m, k, n)
    a_held = systolic_tile(chip, n, k, m)
    if chip[DATAFLOW] == IS:
        b_held, a_held = a_held, b_held
    b_spill = result * spilled_passes(chip, m, k, n)
    a_spill = result * spilled_passes(chip, n, k, m)
    b_read = bits_to_bytes(m * k * ceil_div(n, chip[COLS]) * a_bits + k * n * b_bits) + b_spill
    a_read = bits_to_bytes(m * k * a_bits + k * n * ceil_div(m, chip[COLS]) * b_bits) + a_spill
    # A tile takes as long as the slower of array and feed, so both decide what is held.
    a_cycles = max(a_held, feed_cycles(chip, a_read, result + a_spill))
    b_cycles = max(b_held, feed_cycles(chip, b_read, result + b_spill))
    if a_cycles < b_cycles or (a_cycles == b_cycles and a_read + a_spill < b_read + b_spill):
        return a_held, a_read, result + a_spill, 1
    return b_held, b_read, result + b_spill, 0


@kernel
def tile_price(
    chip: Int64Array, m: int, k: int, n: int, a_bits: int, b_bits: int
) -> tuple[int, int, int, int]:
    """(array cycles, SRAM bytes read, written, operand held) of one tile."""
    if chip[UNIT_KIND] == SYSTOLIC:
        return systolic_price(chip, m, k, n, a_bits, b_bits)
    array, read = tensor_core_tile(chip, m, k, n, max(a_bits, b_bits))
    return array, read, 0, 2
