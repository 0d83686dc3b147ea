"""The mapper: tile sizes, loop order and held operand of a matmul, searched exhaustively.

The space: tiles of m, n, k that are either the whole dimension or the unit's own size times a
power of two; m or n as the outer loop (k is always the innermost, so that partial sums never
leave the chip); either operand held in the array. A tile fits if two buffers of each operand
(one where the operand is a single tile), the 32-bit partial sums and one output buffer fit the
share of SRAM that is kept for tiles. The best is the one with the fewest cycles, ties going to
the fewest bytes.

The space does not depend on bandwidth or clock, grows with SRAM, and the price of each of its
members is monotone in the sizes; hence so is the best: more memory, bandwidth or clock is never
slower, and a part of the work never takes longer than the whole.
"""

from __future__ import annotations

import numpy as np

from simulator.kernels.arithmetic import (
    bits_to_bytes,
    ceil_div,
    clear,
    copy,
    ps_to_cycles,
    scale_up,
)
from simulator.kernels.arrays import Float64Array, Int64Array
from simulator.kernels.chip_vector import (
    CLOCK_HZ,
    COLS,
    DEPTH,
    HBM_BYTES_PER_S,
    HBM_LATENCY_PS,
    INPUT_BUFFER,
    OVERHEAD_PS,
    PREFETCH_BYTES,
    REGISTER_RESULTS,
    RESULT_BUFFER,
    ROWS,
    SYSTOLIC,
    TILE_BYTES,
    UNIT_KIND,
    WEIGHT_BUFFER,
    run_bandwidth,
)
from simulator.kernels.jit import kernel
from simulator.kernels.matrix_unit import (
    ACCUMULATOR_BYTES,
    feed_cycles,
    least_cycles,
    systolic_drain,
    systolic_fill,
    tile_price,
)
from simulator.kernels.tile_pipeline import walk

Bits = tuple[int, int, int, int, int]

# Fields of a mapped matmul, all int64.
CYCLES = 0
"""Cycles from the start of the operator to its end; -1 where no tile fits."""
ARRAY = 1
"""Cycles in which the matrix unit is busy."""
FEED = 2
"""Cycles in which SRAM feeds the matrix unit."""
COMPUTE = 3
"""Cycles of computation: the slower of array and feed for each tile, with fill and drain."""
HBM = 4
"""Cycles in which HBM is busy."""
READ = 5
WRITE = 6
SRAM = 7
"""Bytes through each memory."""
TILE_M = 8
TILE_K = 9
TILE_N = 10
ORDER = 11
"""Bit 0: n is the outer loop. Bits 1-2: held in the array is B (0), A (1), neither (2)."""
STORING = 12
"""Cycles of ``HBM`` that store results."""
SECOND = 13
"""Cycles of the runner-up (-1 where there is none), then its tile and order."""
SECOND_M = 14
SECOND_K = 15
SECOND_N = 16
SECOND_ORDER = 17
MAP_FIELDS = 18

MAX_CHOICES = 40
LARGE_CREDIT = 1 << 60


@kernel
def dimension_choices(size: int, base: int, out: Int64Array) -> int:
    """Tile sizes of one dimension, largest first; their number."""
    out[0] = size
    count = 1
    power = base
    while power < size:
        power *= 2
    power //= 2
    while power >= base and count < MAX_CHOICES:
        if power < size:
            out[count] = power
            count += 1
        power //= 2
    return count


@kernel
def fits(
    chip: Int64Array, shape: tuple[int, int, int], tile: tuple[int, int, int], bits: Bits
) -> bool:
    """Whether a tile choice fits the SRAM for tiles, unified or in separate buffers.

    Partial sums lie in SRAM beside a systolic array and in the registers of a tensor core, where
    they bound the output tile as soon as the inner dimension is cut.
    """
    m, k, n = shape
    tm, tk, tn = tile
    a_buffers = 1 if (tm == m and tk == k) else 2
    b_buffers = 1 if (tn == n and tk == k) else 2
    inputs = a_buffers * bits_to_bytes(tm * tk * bits[3])
    weights = b_buffers * bits_to_bytes(tk * tn * bits[4])
    results = 0
    if chip[UNIT_KIND] == SYSTOLIC:
        results = tm * tn * ACCUMULATOR_BYTES + bits_to_bytes(tm * tn * max(bits[2], 8))
    elif tk < k and tm * tn > chip[REGISTER_RESULTS]:
        return False
    if chip[INPUT_BUFFER] > 0:
        return (
            inputs <= chip[INPUT_BUFFER]
            and weights <= chip[WEIGHT_BUFFER]
            and results <= chip[RESULT_BUFFER]
        )
    return inputs + weights + results <= chip[TILE_BYTES]


@kernel
def fixed_cycles(chip: Int64Array) -> int:
    """Operator overhead and the latency of the first word from HBM, in cycles."""
    clock = chip[CLOCK_HZ]
    return ps_to_cycles(chip[HBM_LATENCY_PS], clock) + ps_to_cycles(chip[OVERHEAD_PS], clock)


@kernel
def reads(counts: tuple[int, int, int], n_outer: bool, weights_resident: bool) -> tuple[int, int]:
    """How often A and B are read in full, for ``counts`` = tiles of (m, k, n).

    Again for every step of the other loop, unless the outer operand is held (one k tile) or the
    operand is a single tile. Weights that lie in the prefetch buffer are never read again.
    """
    nm, nk, nn = counts
    a_again = nk > 1 if not n_outer else (nm > 1 or nk > 1)
    b_again = nk > 1 if n_outer else (nn > 1 or nk > 1)
    a_times = nn if a_again else 1
    b_times = nm if b_again and not weights_resident else 1
    return a_times, b_times


@kernel
def lower_bound(
    rate: float,
    operands: tuple[float, float, float],
    tile: tuple[int, int, int],
    counts: tuple[int, int, int],
    bits: Bits,
    credit: int,
    work: float,
) -> float:
    """Cycles that a tile cannot beat: its traffic, or its work between first loads and last store.

    ``rate`` is cycles a bit of HBM, ``operands`` the bits of (A, B, C) in HBM, ``work`` the
    cycles of the work and the last store.
    """
    resident = credit >= LARGE_CREDIT
    a, b, c = operands
    moved = 0.0
    for order in range(2):
        a_times, b_times = reads(counts, order == 1, resident)
        total = a * a_times + b * b_times
        if order == 0 or total < moved:
            moved = total
    traffic = (moved + c) * rate
    first = 0.0
    if credit == 0:
        first = (float(tile[0]) * bits[0] + float(tile[2]) * bits[1]) * tile[1] * rate
    elif resident:
        traffic -= b * rate
    else:
        traffic -= credit
    return max(traffic, work + first)


@kernel
def last_work(
    chip: Int64Array,
    shape: tuple[int, int, int],
    tile: tuple[int, int, int],
    counts: tuple[int, int, int],
    bits: Bits,
    rate: float,
) -> float:
    """Cycles after the last product: the drain of the array and the store of the last tile."""
    em = shape[0] - (counts[0] - 1) * tile[0]
    en = shape[2] - (counts[2] - 1) * tile[2]
    tail = 0
    if chip[UNIT_KIND] == SYSTOLIC:
        tail = systolic_fill(chip) + systolic_drain(chip, em, en)
    return tail + float(em) * en * bits[2] * rate


@kernel
def operand_bandwidth(chip: Int64Array, width: int, tiles: int, bits: int) -> int:
    """HBM bytes per second of tiles that are ``width`` elements of a row-major matrix wide.

    A tile as wide as the matrix is one contiguous stream; a narrower one is read in short runs.
    """
    if tiles == 1:
        return chip[HBM_BYTES_PER_S]
    return run_bandwidth(chip, bits_to_bytes(width * bits))


@kernel
def price_tiles(
    chip: Int64Array,
    shape: tuple[int, int, int],
    bits: Bits,
    tile: tuple[int, int, int],
    cutoff: int,
    cycles: Int64Array,
    stores: Int64Array,
    out: Int64Array,
) -> bool:
    """Compute and store cycles by [m edge, n edge, k edge]; False if they exceed ``cutoff``.

    Fills the fields of ``out`` that do not depend on the order of the loops.
    """
    m, k, n = shape
    tm, tk, tn = tile
    nm, nk, nn = ceil_div(m, tm), ceil_div(k, tk), ceil_div(n, tn)
    em, ek, en = m - (nm - 1) * tm, k - (nk - 1) * tk, n - (nn - 1) * tn
    clock = chip[CLOCK_HZ]
    clear(out)
    out[TILE_M], out[TILE_K], out[TILE_N] = tm, tk, tn
    c_bandwidth = operand_bandwidth(chip, tn, nn, bits[2])
    if chip[UNIT_KIND] == SYSTOLIC:
        out[COMPUTE] = systolic_fill(chip) + systolic_drain(chip, em, en)
    for me in range(2):
        rows, row_times = (em, 1) if me else (tm, nm - 1)
        for ne in range(2):
            cols, col_times = (en, 1) if ne else (tn, nn - 1)
            size = bits_to_bytes(rows * cols * bits[2])
            stores[me, ne] = scale_up(size, clock, c_bandwidth)
            out[WRITE] += row_times * col_times * size
            out[STORING] += row_times * col_times * stores[me, ne]
            for ke in range(2):
                depth, depth_times = (ek, 1) if ke else (tk, nk - 1)
                times = row_times * col_times * depth_times
                if times == 0:
                    continue
                array, fed, kept, held = tile_price(chip, rows, depth, cols, bits[3], bits[4])
                feed = feed_cycles(chip, fed, kept)
                cycles[me, ne, ke] = max(array, feed)
                out[ARRAY] += times * array
                out[FEED] += times * feed
                out[SRAM] += times * (fed + kept)
                out[COMPUTE] += times * max(array, feed)
                out[ORDER] = 2 * held
                if out[COMPUTE] > cutoff:
                    return False
    return True


@kernel
def price_order(
    chip: Int64Array,
    shape: tuple[int, int, int],
    bits: Bits,
    tile: tuple[int, int, int],
    n_outer: bool,
    credit: int,
    cycles: Int64Array,
    stores: Int64Array,
    loads: Int64Array,
    out: Int64Array,
) -> None:
    """Fill in the fields of ``out`` that depend on the order of the loops."""
    m, k, n = shape
    tm, tk, tn = tile
    nm, nk, nn = ceil_div(m, tm), ceil_div(k, tk), ceil_div(n, tn)
    em, ek, en = m - (nm - 1) * tm, k - (nk - 1) * tk, n - (nn - 1) * tn
    clock = chip[CLOCK_HZ]
    a_bandwidth = operand_bandwidth(chip, tk, nk, bits[0])
    b_bandwidth = operand_bandwidth(chip, tn, nn, bits[1])
    a_times, b_times = reads((nm, nk, nn), n_outer, credit >= LARGE_CREDIT)
    out[READ] = 0
    out[HBM] = out[STORING]
    for edge in range(2):
        rows, row_times = (em, 1) if edge else (tm, nm - 1)
        cols, col_times = (en, 1) if edge else (tn, nn - 1)
        for ke in range(2):
            depth, depth_times = (ek, 1) if ke else (tk, nk - 1)
            a_size = bits_to_bytes(rows * depth * bits[0])
            b_size = bits_to_bytes(depth * cols * bits[1])
            loads[0, edge, ke] = scale_up(a_size, clock, a_bandwidth)
            loads[1, edge, ke] = scale_up(b_size, clock, b_bandwidth)
            a_count = row_times * depth_times * a_times
            b_count = col_times * depth_times * b_times
            out[READ] += a_size * a_count + b_size * b_count
            out[HBM] += loads[0, edge, ke] * a_count + loads[1, edge, ke] * b_count
    tail = 0
    if chip[UNIT_KIND] == SYSTOLIC:
        tail = systolic_fill(chip) + systolic_drain(chip, em, en)
    total = walk(credit, nm, nn, nk, loads[1], loads[0], cycles, stores, n_outer, tail)
    out[CYCLES] = fixed_cycles(chip) + total
    out[ORDER] = out[ORDER] // 2 * 2 + (1 if n_outer else 0)


@kernel
def better(one: Int64Array, other: Int64Array) -> bool:
    """Fewer cycles, or as many with fewer bytes through HBM."""
    if one[CYCLES] != other[CYCLES]:
        return one[CYCLES] < other[CYCLES]
    return one[READ] + one[WRITE] < other[READ] + other[WRITE]


@kernel
def keep(trial: Int64Array, out: Int64Array) -> None:
    """Rank a priced choice against the best and the runner-up so far."""
    if out[CYCLES] < 0 or better(trial, out):
        out[SECOND] = out[CYCLES]
        out[SECOND_M], out[SECOND_K] = out[TILE_M], out[TILE_K]
        out[SECOND_N], out[SECOND_ORDER] = out[TILE_N], out[ORDER]
        for field in range(SECOND):
            out[field] = trial[field]
    elif out[SECOND] < 0 or trial[CYCLES] < out[SECOND]:
        out[SECOND] = trial[CYCLES]
        out[SECOND_M], out[SECOND_K] = trial[TILE_M], trial[TILE_K]
        out[SECOND_N], out[SECOND_ORDER] = trial[TILE_N], trial[ORDER]


@kernel
def space(
    chip: Int64Array, shape: tuple[int, int, int], bits: Bits, credit: int
) -> tuple[Float64Array, Int64Array]:
    """Every tile that fits: its lower bound float64[S], its (m, k, n) int64[S, 3]."""
    m, k, n = shape
    sizes = np.empty((3, MAX_CHOICES), dtype=np.int64)
    m_count = dimension_choices(m, chip[ROWS], sizes[0])
    k_count = dimension_choices(k, chip[DEPTH], sizes[1])
    n_count = dimension_choices(n, chip[COLS], sizes[2])
    bounds = np.empty(m_count * k_count * n_count, dtype=np.float64)
    members = np.empty((len(bounds), 3), dtype=np.int64)
    fixed = float(fixed_cycles(chip))
    ideal = least_cycles(chip, m, k, n, max(bits[3], bits[4]))
    rate = chip[CLOCK_HZ] / chip[HBM_BYTES_PER_S] / 8.0
    operands = (float(m) * k * bits[0], float(k) * n * bits[1], float(m) * n * bits[2])
    count = 0
    for mi in range(m_count):
        tm = sizes[0, mi]
        nm = ceil_div(m, tm)
        for ni in range(n_count):
            tn = sizes[2, ni]
            nn = ceil_div(n, tn)
            for ki in range(k_count):
                tile = (tm, sizes[1, ki], tn)
                if not fits(chip, shape, tile, bits):
                    continue
                counts = (nm, ceil_div(k, tile[1]), nn)
                work = ideal + last_work(chip, shape, tile, counts, bits, rate)
                bound = lower_bound(rate, operands, tile, counts, bits, credit, work)
                bounds[count] = (fixed + bound) * (1.0 - 1e-9)
                members[count, 0], members[count, 1], members[count, 2] = tile
                count += 1
    return bounds[:count], members[:count]


@kernel
def search(
    chip: Int64Array, shape: tuple[int, int, int], bits: Bits, prefetched: int, out: Int64Array
) -> None:
    """Find the best mapping of C[m,n] = A[m,k] B[k,n] into ``out`` (see the field constants).

    ``prefetched`` is the number of bytes of B that lie in the prefetch buffer at the start.
    ``out[CYCLES]`` is -1 where not even the smallest tile fits. The runner-up is the best of the
    choices that were priced: those whose lower bound is above the best are left out.
    """
    for field in range(MAP_FIELDS):
        out[field] = -1
    credit = 0
    if prefetched > 0:
        whole = bits_to_bytes(shape[1] * shape[2] * bits[1])
        # rounded down: what is prefetched must never be worth more than it took to load
        loading = scale_up(prefetched, chip[CLOCK_HZ], chip[HBM_BYTES_PER_S])
        credit = LARGE_CREDIT if prefetched >= whole else loading - 1
    bounds, members = space(chip, shape, bits, credit)
    if len(bounds) == 0:
        return
    # Start with the least lower bound, so that most of the others need no pricing.
    first = np.argmin(bounds)
    stores = np.empty((2, 2), dtype=np.int64)
    loads = np.empty((2, 2, 2), dtype=np.int64)
    cycles = np.zeros((2, 2, 2), dtype=np.int64)
    trial = np.empty(MAP_FIELDS, dtype=np.int64)
    best = np.empty(MAP_FIELDS, dtype=np.int64)
    fixed = fixed_cycles(chip)
    for turn in range(-1, len(bounds)):
        index = first if turn < 0 else turn
        cutoff = LARGE_CREDIT if turn < 0 else out[CYCLES]
        if turn == first or bounds[index] > cutoff:
            continue
        tile = (members[index, 0], members[index, 1], members[index, 2])
        if not price_tiles(chip, shape, bits, tile, cutoff - fixed, cycles, stores, trial):
            continue
        # With a single tile on an axis the order of the loops makes no difference.
        orders = 2 if tile[0] < shape[0] and tile[2] < shape[2] else 1
        for order in range(orders):
            price_order(chip, shape, bits, tile, order == 1, credit, cycles, stores, loads, trial)
            if order == 0 or better(trial, best):
                copy(trial, best)
        keep(best, out)


@kernel
def prefetchable(chip: Int64Array, k: int, n: int, bits: int) -> int:
    """Bytes of a weight matrix that fit the prefetch buffer."""
    return min(bits_to_bytes(k * n * bits), chip[PREFETCH_BYTES])
