"""A matrix kernel on a GPU: output tiles over multiprocessors, memory beside it, a power limit.

Times are float64 picoseconds. Every quantity below grows with m, k, n and the bits, and shrinks
with clock, multiprocessors and bandwidths, and they are combined by sums, maxima and a smooth
maximum only: so does the price. docs/gpu.md has the formulas and what they were fitted to.
"""

from __future__ import annotations

import math

from simulator.kernels.arithmetic import bits_to_bytes, ceil_div
from simulator.kernels.arrays import Int64Array
from simulator.kernels.chip_vector import (
    BEST_TILE,
    FIXED,
    GPU_FEED,
    GPU_IN_STEP,
    GPU_L2_BYTES,
    GPU_MAC_ATTOJOULE,
    GPU_MACS_PER_S,
    GPU_NARROW_ROWS,
    GPU_PERSISTENT,
    GPU_POWER_MW,
    GPU_PROMOTED_PER_S,
    GPU_RAMP_PS,
    GPU_ROTATING,
    GPU_SCALED,
    GPU_SCALED_MACS_PER_S,
    GPU_SPLIT_PS,
    GPU_SPLITS,
    GPU_STEP_PS,
    GPU_STORE_BYTES_PER_S,
    GPU_STREAM_BYTES_PER_S,
    GPU_TILE_PS,
    HBM_BYTES_PER_S,
    PER_MILLION,
    SRAM_BYTES_PER_S,
    TILE_COUNT,
    TILE_K,
    TILES,
    UNIT_COUNT,
)
from simulator.kernels.jit import inner
from simulator.kernels.library_vector import (
    MATMUL_BOOST_ORDER,
    MATMUL_BOOST_PS,
    MATMUL_HBM_BYTE_PJ,
    MATMUL_L2_EDGE,
    MATMUL_L2_WRITE,
    MATMUL_OVERLAP,
    MATMUL_TRIP_PS,
    MATMUL_WAVE_LOSS,
)

PARTIAL_SUM_BYTES = 4
"""Partial sums of a split inner dimension are exchanged in fp32."""

RESULT_BITS = 16
"""Of what operands with scales are multiplied to."""

MOST_SPLITS = 128

TRIP_ELEMENTS = 1024
"""Elements of a row that a block without tensor cores fetches at once."""

NARROWEST_ROWS = 64
"""Rows up to which kernels that do not split have their smallest tile."""

FEWEST_ROWS = 16
"""Rows of a matrix instruction before Hopper (mma m16n8k16, PTX ISA 7.0)."""


@inner
def join(chip: Int64Array, a: float, b: float) -> float:
    """Time of two activities that overlap: a norm, never below either. Within a multiprocessor its
    order is 4 (``blend``)."""
    most, least = max(a, b), min(a, b)
    if least <= 0.0:
        return most
    order = chip[MATMUL_OVERLAP] / PER_MILLION
    return float(most * (1.0 + (least / most) ** order) ** (1.0 / order))


@inner
def blend(a: float, b: float) -> float:
    """The norm of order 4: nearly the maximum, but for times that are alike."""
    most = max(a, b)
    ratio = min(a, b) / most
    square = ratio * ratio
    return most * math.sqrt(math.sqrt(1.0 + square * square))


@inner
def whole_power(base: float, order: int) -> float:
    """``base`` to a whole power of at least 1, by squaring."""
    power = 1.0
    while order > 0:
        if order & 1:
            power *= base
        base *= base
        order >>= 1
    return power


@inner
def lost(chip: Int64Array, touched: float) -> float:
    """Share of what was last used ``touched`` bytes ago that L2 has lost.

    The oldest lines go first: all of them stay while less than the capacity was touched since, and
    none beyond (the stack distance of Mattson et al., IBM Systems Journal 9, 1970). Sets fill
    unevenly, so the edge is not sharp: an ``l2_edge_order`` of 12 takes the share from a tenth to
    nine tenths within a fifth of the capacity on either side.
    """
    ratio = float(chip[GPU_L2_BYTES]) / max(touched, 1.0)
    return 1.0 / (1.0 + whole_power(ratio, chip[MATMUL_L2_EDGE]))


@inner
def missed_share(chip: Int64Array, weights: float, others: float) -> tuple[float, float]:
    """Shares of the weights and of the other operands that come from HBM and not from L2.

    A benchmark that cycles through ``rotating`` copies of the weights has touched all of them, and
    the other operands, when it comes back to one, and one set of weights when it comes back to
    the others. Without such a benchmark everything is cold.
    """
    copies = float(chip[GPU_ROTATING])
    if copies == 0.0:
        return 1.0, 1.0
    return lost(chip, copies * weights + others), lost(chip, weights + others)


@inner
def memory_ps(
    chip: Int64Array, weights: float, others: float, stored: float, total: float, written: float
) -> float:
    """Time that HBM and L2 need for the operands and the result.

    Of ``total`` bytes, ``written`` are the result; ``weights`` and ``others``, of these ``stored``,
    move from or to HBM. L2 passes all of them, and HBM takes the place of L2 where it is slower.

    The ramp: as long as the stream is shorter than the latency of the memory system the requests
    in flight do not fill it. A stream of x takes x + ramp (1 - exp(-x / ramp)).
    """
    hbm = 1e12 / chip[HBM_BYTES_PER_S]
    near = 1e12 / chip[GPU_STREAM_BYTES_PER_S]
    cost = chip[MATMUL_L2_WRITE] / PER_MILLION
    stream = (total + (cost - 1.0) * written) * near
    stream += (weights + others - stored) * max(0.0, hbm - near)
    stream += stored * max(0.0, hbm - cost * near)
    ramp = float(chip[GPU_RAMP_PS])
    if ramp == 0.0:
        return stream
    return stream + ramp * (1.0 - math.exp(-stream / ramp))


@inner
def results_ps(chip: Int64Array, written: float, stored: float) -> float:
    """Time of writing the results where no other work runs beside: ``written`` bytes to L2, of
    which ``stored`` go on to HBM."""
    return max(written * 1e12 / chip[GPU_STORE_BYTES_PER_S], stored * 1e12 / chip[HBM_BYTES_PER_S])


@inner
def offered(chip: Int64Array, m: int, rows: int, cols: int) -> bool:
    """Whether the library has this tile for a product of ``m`` rows.

    A fixed choice is one by m alone: 64 x 64 up to 64 rows, twice that up to 128 (or what
    ``narrow_rows`` says), and 128 x 128 or more beyond (the dispatch of vLLM's CUTLASS kernels).
    """
    if chip[GPU_SPLITS] != FIXED:
        return True
    least = chip[TILES] * chip[TILES + 1]
    last = TILES + 2 * (chip[TILE_COUNT] - 1)
    if m <= NARROWEST_ROWS:
        return True
    wanted = (2 if m <= chip[GPU_NARROW_ROWS] else 4) * least
    return rows * cols >= min(wanted, chip[last] * chip[last + 1])


@inner
def operand_bytes(chip: Int64Array, elements: int, bits: int) -> int:
    """Bytes of an operand with the scales that its elements share."""
    size = bits_to_bytes(elements * bits)
    if chip[GPU_SCALED] > 0 and bits > 0:
        size += ceil_div(elements, chip[GPU_SCALED])
    return size


@inner
def multiplied_rows(chip: Int64Array, m: int, rows: int) -> int:
    """Rows that a tile of so many multiplies for a product of ``m``, padding among them.

    Kernels of a fixed choice come in tiles of 16 and 32 rows, too, where the instruction allows.
    """
    if chip[GPU_SPLITS] == FIXED and chip[GPU_PERSISTENT] == 0:
        while rows > FEWEST_ROWS and rows >= 2 * m:
            rows //= 2
    return rows


@inner
def tiles_ps(
    chip: Int64Array,
    shape: tuple[int, int, int],
    a_bits: int,
    b_bits: int,
    tile: int,
    split: int,
) -> tuple[float, float]:
    """(time of the tiles on the busiest multiprocessor, mean time of its tensor cores)."""
    m, k, n = shape
    rows, cols = chip[TILES + 2 * tile], chip[TILES + 2 * tile + 1]
    depth = chip[TILE_K]
    scales = 8.0 / chip[GPU_SCALED] if chip[GPU_SCALED] > 0 else 0.0
    r_bits = RESULT_BITS if chip[GPU_SPLITS] == BEST_TILE else a_bits
    blocks = ceil_div(m, rows) * ceil_div(n, cols) * split
    share = blocks / chip[UNIT_COUNT]
    # tiles of persistent kernels run on into each other; a wave of blocks is a wave
    waves = blend(1.0, share)
    if chip[GPU_PERSISTENT] == 0:
        # blocks that are not in step drift apart and fill some of the gaps
        loss = 1.0 if chip[GPU_IN_STEP] == 1 else chip[MATMUL_WAVE_LOSS] / PER_MILLION
        waves = max(1.0, share + loss * (math.ceil(share) - share))
    part = ceil_div(k, split)
    steps = float(ceil_div(part, depth))
    issued = multiplied_rows(chip, m, rows) * cols * depth
    issue = float(issued) * 1e12 / chip[GPU_MACS_PER_S]
    # a tile that hangs over the edge multiplies padding but does not fetch it
    real_rows, real_cols = min(rows, m), min(cols, n)
    sides = real_rows * (a_bits + scales) + real_cols * (b_bits + scales)
    feed = sides * depth / 8.0 * 1e12 / chip[GPU_FEED]
    scaled = float(issued) * 1e12 / chip[GPU_SCALED_MACS_PER_S]
    step = blend(issue, max(feed, max(scaled, float(chip[GPU_STEP_PS]))))
    if chip[GPU_PROMOTED_PER_S] > 0:
        step += float(rows * cols) * 1e12 / chip[GPU_PROMOTED_PER_S]
    if chip[GPU_IN_STEP] == 1:
        # all load their first step at once; where that takes as long as a tile, some begin later
        first = blocks * sides * min(part, depth) / 8.0
        first *= 1e12 / chip[GPU_STREAM_BYTES_PER_S]
        start = float(chip[GPU_TILE_PS])
        # a step that is half filled issues half; one is the least, its latency
        if split == 1:
            steps = ceil_div(2 * part, depth) / 2.0
        time = max(1.0, waves * steps) * step + max(0.0, start - step) + min(first, start)
        pulled = float(blocks * part * sides) / 8.0
        time = blend(time, pulled * 1e12 / chip[SRAM_BYTES_PER_S])
    else:
        results = real_rows * real_cols * r_bits / 8.0 * 1e12 / chip[GPU_FEED]
        time = waves * (steps * step + chip[GPU_TILE_PS] + results)
    if split > 1:
        # every block sends its sums to L2, where they are added
        sums = float(blocks * real_rows * real_cols) * PARTIAL_SUM_BYTES
        time += chip[GPU_SPLIT_PS] + sums * 1e12 / chip[SRAM_BYTES_PER_S]
    return time, share * steps * issue


@inner
def limited_ps(chip: Int64Array, time: float, macs: float, missed: float) -> float:
    """``time`` of tensor-core work under the power limit.

    The energy of the work over the power for switching is a time, too: work cannot be sustained
    faster, so a longer one takes the place of ``time``, the clock falling to time / energy of the
    full one. The share r^n / (1 + r^n) of that, r = time / ``boost_ps``, n = ``boost_order``, is
    felt.
    """
    if chip[GPU_POWER_MW] == 0:
        return time
    # aJ / mW = fs; pJ / mW = ns
    hbm_pj = chip[MATMUL_HBM_BYTE_PJ] / PER_MILLION
    energy = (macs * chip[GPU_MAC_ATTOJOULE] * 1e-3 + missed * hbm_pj * 1e3) / chip[GPU_POWER_MW]
    if energy <= time:
        return time
    felt = whole_power(time / chip[MATMUL_BOOST_PS], chip[MATMUL_BOOST_ORDER])
    return time + (energy - time) * felt / (1.0 + felt)


@inner
def vector_ps(chip: Int64Array, k: int) -> float:
    """Time of a product of one row without tensor cores, beside what memory takes."""
    return float(chip[GPU_TILE_PS]) + k * (chip[MATMUL_TRIP_PS] / TRIP_ELEMENTS)


@inner
def next_split(split: int) -> int:
    """1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, ...: a few steps in each octave."""
    if split < 6:
        return split + 1
    octave = 4
    while 2 * octave <= split:
        octave *= 2
    return split + octave // 4 if split < octave * 3 // 2 else 2 * octave
