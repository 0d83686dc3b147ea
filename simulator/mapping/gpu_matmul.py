"""The best kernel for a matmul on a GPU: output tile and split of the inner dimension, searched.

Like ``mapping.matmul`` for the other units, with the same fields as result. The schedule is the
physics of ``kernels.gpu_matmul``; here every tile and split is tried, as the heuristics of a
library do, and the best is filled in.
"""

from __future__ import annotations

from simulator.kernels.arithmetic import bits_to_bytes, ceil_div, clear, scale_up
from simulator.kernels.arrays import Int64Array
from simulator.kernels.chip_vector import (
    BEST_SPLIT,
    BEST_TILE,
    CLOCK_HZ,
    GPU_IN_STEP,
    GPU_PERSISTENT,
    GPU_PROMOTED_PER_S,
    GPU_SCALED,
    GPU_SPLIT_PS,
    GPU_SPLIT_RATIO,
    GPU_SPLITS,
    GPU_TILE_PS,
    HBM_BYTES_PER_S,
    HBM_LATENCY_PS,
    OVERHEAD_PS,
    PER_MILLION,
    SRAM_BYTES_PER_S,
    TILE_COUNT,
    TILE_K,
    TILES,
    UNIT_COUNT,
    UNIT_RATE,
)
from simulator.kernels.gpu_matmul import (
    MOST_SPLITS,
    join,
    limited_ps,
    memory_ps,
    missed_share,
    next_split,
    offered,
    operand_bytes,
    results_ps,
    tiles_ps,
    vector_ps,
)
from simulator.kernels.jit import inner, kernel
from simulator.kernels.library_vector import QUANTIZE_GAP_PS
from simulator.kernels.quantization import convert_rows_ps, quantize_ps
from simulator.mapping.loads import Bits
from simulator.mapping.tiles import (
    ARRAY,
    COMPUTE,
    CYCLES,
    FEED,
    HBM,
    ORDER,
    READ,
    SECOND,
    SECOND_K,
    SECOND_M,
    SECOND_N,
    SECOND_ORDER,
    SRAM,
    STORING,
    TILE_M,
    TILE_N,
    WRITE,
)
from simulator.mapping.tiles import TILE_K as MAPPED_K

NOTHING_HELD = 4
"""Order of the loops m, n, k with neither operand held; see ``tiles.ORDER``."""


@inner
def longest_unsplit(chip: Int64Array, shape: tuple[int, int, int]) -> int:
    """The inner dimension up to which the library does not split."""
    longest: int = max(shape[0], shape[2]) * chip[GPU_SPLIT_RATIO] // PER_MILLION
    return min(shape[1], longest)


@inner
def least_unsplit(chip: Int64Array, shape: tuple[int, int, int], a_bits: int, b_bits: int) -> float:
    """Time of the longest product with these sides of the result that the library does not split.

    A longer one takes no less, though it might with its split: so a price never falls with k.
    """
    m, _, n = shape
    k = max(1, longest_unsplit(chip, shape))
    best = -1.0
    for index in range(chip[TILE_COUNT]):
        if offered(chip, m, chip[TILES + 2 * index], chip[TILES + 2 * index + 1]):
            time, _ = tiles_ps(chip, (m, k, n), a_bits, b_bits, index, 1)
            if best < 0.0 or time < best:
                best = time
    return best


@inner
def best_tiles(
    chip: Int64Array, shape: tuple[int, int, int], a_bits: int, b_bits: int
) -> tuple[float, float, int, int, float, int, int]:
    """(time, tensor-core time, tile, split) of the best choice, (time, tile, split) of the next.

    A split by more than the inner dimension has steps adds nothing (the first that does is still
    tried, so that a shorter inner dimension has every choice of a longer one that helps it), and
    neither does one beyond two blocks for each multiprocessor.
    """
    m, k, n = shape
    best, busy, tile, split = -1.0, 0.0, 0, 1
    next_best, next_tile, next_parts = -1.0, 0, 1
    least_split = float(chip[GPU_SPLIT_PS] + chip[GPU_TILE_PS])
    splits = chip[GPU_SPLITS] == BEST_SPLIT and (
        chip[GPU_SPLIT_RATIO] == 0 or longest_unsplit(chip, shape) < k
    )
    for index in range(chip[TILE_COUNT]):
        rows, cols = chip[TILES + 2 * index], chip[TILES + 2 * index + 1]
        if not offered(chip, m, rows, cols):
            continue
        blocks = ceil_div(m, rows) * ceil_div(n, cols)
        parts = 1
        fewer = 0
        while parts == 1 or (parts <= MOST_SPLITS and splits):
            if parts > 1 and (blocks * parts > 2 * chip[UNIT_COUNT] or fewer * chip[TILE_K] >= k):
                break
            if parts > 1 and 0.0 <= next_best <= least_split:
                break  # no split can be faster than what it adds
            time, working = tiles_ps(chip, shape, a_bits, b_bits, index, parts)
            if best < 0.0 or time < best:
                next_best, next_tile, next_parts = best, tile, split
                best, busy, tile, split = time, working, index, parts
            elif next_best < 0.0 or time < next_best:
                next_best, next_tile, next_parts = time, index, parts
            fewer = parts
            parts = next_split(parts)
    if split > 1 and chip[GPU_SPLIT_RATIO] > 0:
        best = max(best, least_unsplit(chip, shape, a_bits, b_bits))
    return best, busy, tile, split, next_best, next_tile, next_parts


@inner
def to_cycles(chip: Int64Array, time: float) -> int:
    """Cycles that a time in picoseconds takes, rounded up."""
    cycles = time * 1e-12 * chip[CLOCK_HZ]
    whole = int(cycles)
    return whole + 1 if cycles > whole else whole


@inner
def gpu_search(
    chip: Int64Array, shape: tuple[int, int, int], bits: Bits, prefetched: int, out: Int64Array
) -> None:
    """Price C[m,n] = A[m,k] B[k,n] on a GPU into ``out`` (the fields of ``mapping.tiles``).

    ``bits`` and ``prefetched`` are those of ``mapping.matmul.search``.
    """
    m, k, n = shape
    clear(out)
    clock = chip[CLOCK_HZ]
    weights = max(operand_bytes(chip, k * n, bits[1]) - prefetched, 0)
    a_moved, c_moved = operand_bytes(chip, m * k, bits[0]), bits_to_bytes(m * n * bits[2])
    of_weights, of_others = missed_share(chip, float(weights), float(a_moved + c_moved))
    fetched, a_fetched = int(weights * of_weights), int(a_moved * of_others)
    out[READ] = fetched + a_fetched
    out[WRITE] = int(c_moved * of_others)
    result = bits_to_bytes(m * n * max(bits[2], bits[3]))
    out[SRAM] = bits_to_bytes(m * k * bits[3] + k * n * bits[4]) + result
    if chip[GPU_SCALED] > 0:
        out[SRAM] = operand_bytes(chip, m * k, bits[3]) + operand_bytes(chip, k * n, bits[4])
        out[SRAM] += result
    missed = float(out[READ] + out[WRITE])
    others = float(a_fetched + out[WRITE])
    stored, total = float(out[WRITE]), float(out[SRAM])
    fixed = float(chip[OVERHEAD_PS] + chip[HBM_LATENCY_PS])
    after = 0.0  # what begins when the tiles are done
    if chip[GPU_IN_STEP] == 1:
        after = results_ps(chip, float(result), stored)
        streamed = memory_ps(chip, float(fetched), others - stored, 0.0, total - result, 0.0)
    else:
        streamed = memory_ps(chip, float(fetched), others, stored, total, float(result))
    time, busy, tile, split, second, second_tile, parts = best_tiles(chip, shape, bits[3], bits[4])
    macs = float(m) * k * n
    limited = limited_ps(chip, time, macs, missed)
    out[COMPUTE] = int(limited * 1e-12 * clock)
    out[ARRAY] = int(busy * (limited / time) * 1e-12 * clock)
    out[FEED] = scale_up(out[SRAM], clock, chip[SRAM_BYTES_PER_S])
    out[HBM] = scale_up(out[READ] + out[WRITE], clock, chip[HBM_BYTES_PER_S])
    out[STORING] = scale_up(out[WRITE], clock, chip[HBM_BYTES_PER_S])
    # the bounds hold in the reals; these keep them to the cycle
    least = max(ceil_div(m * k * n, chip[UNIT_COUNT] * chip[UNIT_RATE]), max(out[FEED], out[HBM]))
    whole = fixed + join(chip, limited, streamed) + after
    if m == 1 and chip[GPU_PERSISTENT] == 0 and chip[GPU_SPLITS] == BEST_SPLIT:
        # a kernel without tensor cores, in libraries before Hopper
        vector = vector_ps(chip, k)
        if fixed + streamed + vector + after < whole:
            whole = fixed + streamed + vector + after
            out[COMPUTE], out[ARRAY], split = int(vector * 1e-12 * clock), 0, 1
    out[CYCLES] = max(to_cycles(chip, whole), least)
    out[ARRAY] = max(out[ARRAY], ceil_div(m * k * n, chip[UNIT_COUNT] * chip[UNIT_RATE]))
    out[COMPUTE] = max(out[COMPUTE], out[ARRAY])
    out[CYCLES] = max(out[CYCLES], out[COMPUTE] + to_cycles(chip, fixed))
    out[TILE_M] = min(chip[TILES + 2 * tile], m)
    out[MAPPED_K] = ceil_div(k, split)
    out[TILE_N] = min(chip[TILES + 2 * tile + 1], n)
    out[ORDER] = NOTHING_HELD
    out[SECOND] = -1
    if second >= 0.0:
        slower = join(chip, limited_ps(chip, second, macs, missed), streamed) + after
        out[SECOND] = max(to_cycles(chip, fixed + slower), out[CYCLES])
        out[SECOND_M] = min(chip[TILES + 2 * second_tile], m)
        out[SECOND_K] = ceil_div(k, parts)
        out[SECOND_N] = min(chip[TILES + 2 * second_tile + 1], n)
        out[SECOND_ORDER] = NOTHING_HELD


@kernel
def add_quantization(chip: Int64Array, shapes: Int64Array, bits: int, out: Int64Array) -> None:
    """Add to priced matmuls the kernel that scales the activations from 16 bits to ``bits``: with a
    scale for each row, or, where elements share scales, with those of groups of them.

    ``shapes`` is int64[R, 3] of (m, k, n), ``out`` int64[R, MAP_FIELDS].
    """
    for row in range(len(shapes)):
        m, k = shapes[row, 0], shapes[row, 1]
        read, written = bits_to_bytes(m * k * 16), operand_bytes(chip, m * k, bits)
        size = read + written
        time = float(chip[OVERHEAD_PS] + chip[HBM_LATENCY_PS])
        if chip[GPU_SPLITS] == BEST_TILE:
            time += convert_rows_ps(chip, m, k, size)
            if chip[GPU_PROMOTED_PER_S] > 0 and chip[GPU_PERSISTENT] == 1:
                # DeepGEMM's kernels for Hopper are launched while it drains; for Blackwell scales
                # are packed for the tensor cores in between
                time -= chip[QUANTIZE_GAP_PS]
        else:
            time += quantize_ps(chip, m, k, size)
        moving = scale_up(size, chip[CLOCK_HZ], chip[HBM_BYTES_PER_S])
        out[row, CYCLES] += max(to_cycles(chip, time), moving)
        if out[row, SECOND] >= 0:
            out[row, SECOND] += max(to_cycles(chip, time), moving)
        out[row, READ] += read
        out[row, WRITE] += written
        out[row, HBM] += moving
        out[row, STORING] += scale_up(written, chip[CLOCK_HZ], chip[HBM_BYTES_PER_S])
