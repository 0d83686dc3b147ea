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
    copy,
)
from simulator.kernels.arrays import Float64Array, Int64Array
from simulator.kernels.chip_vector import (
    CLOCK_HZ,
    COLS,
    DEPTH,
    GPU,
    NO_LIMIT,
    PREFETCH_BYTES,
    ROWS,
    RUN_BANDWIDTH,
    SYSTOLIC,
    UNIT_KIND,
)
from simulator.kernels.jit import inner, kernel
from simulator.kernels.matrix_unit import (
    least_cycles,
    systolic_drain,
    systolic_fill,
)
from simulator.kernels.tile_pipeline import ALL_WEIGHTS
from simulator.mapping.gpu_matmul import gpu_search
from simulator.mapping.loads import Bits, operand_bandwidth, price_loads
from simulator.mapping.tiles import (
    CYCLES,
    MAP_FIELDS,
    ORDER,
    READ,
    SECOND,
    SECOND_K,
    SECOND_M,
    SECOND_N,
    SECOND_ORDER,
    TILE_K,
    TILE_M,
    TILE_N,
    WRITE,
    fits,
    fixed_cycles,
    price_order,
    price_tiles,
    reads,
    step_cycles,
)

MAX_CHOICES = 40
MOST_PROMISING = 4
"""Tiles that are priced in the order of their lower bounds before all others."""


@inner
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


@inner
def lower_bound(
    operands: tuple[float, float, float],
    first: float,
    counts: tuple[int, int, int],
    bits: Bits,
    credit: float,
    work: float,
    tail: float,
) -> float:
    """Cycles that a tile cannot beat: its traffic, or its work between first loads and last store.

    ``operands`` are the cycles in which HBM moves (A, B, C) once, ``first`` those of a tile of A
    and of B, ``credit`` those of the weights that need not be loaded (-1: none need be), ``work``
    the cycles of the work and the last store, ``tail`` those of the last drain.
    """
    resident = credit < 0.0
    a, b, c = operands
    moved = 0.0
    for order in range(2):
        a_times, b_times = reads(counts, order == 1, resident)
        total = a * a_times + b * b_times
        if order == 0 or total < moved:
            moved = total
    traffic = moved + c
    if credit == 0.0:
        work += first
        if bits[0] > 0 and (counts[1] > 1 or counts[0] * counts[2] == 1):
            traffic += tail  # all but the last store comes before the last tile's work
    else:
        traffic -= b if resident else credit
    return max(traffic, work)


@inner
def better(one: Int64Array, other: Int64Array) -> bool:
    """Fewer cycles, or as many with fewer bytes through HBM."""
    if one[CYCLES] != other[CYCLES]:
        return one[CYCLES] < other[CYCLES]
    return one[READ] + one[WRITE] < other[READ] + other[WRITE]


@inner
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
    fixed, step = float(fixed_cycles(chip)), float(step_cycles(chip))
    ideal = least_cycles(chip, m, k, n, max(bits[3], bits[4]))
    rate = chip[CLOCK_HZ] / 8.0
    # weights fetched ahead are worth most where the rest comes in short runs
    saved = -1.0 if credit >= ALL_WEIGHTS else 8.0 * credit * rate / chip[RUN_BANDWIDTH]
    depths = np.empty(MAX_CHOICES, dtype=np.int64)
    a_rates = np.empty(MAX_CHOICES, dtype=np.float64)
    for ki in range(k_count):
        depths[ki] = ceil_div(k, sizes[1, ki])
        a_rates[ki] = bits[0] * rate / operand_bandwidth(chip, sizes[1, ki], depths[ki], bits[0])
    count = 0
    for mi in range(m_count):
        tm = sizes[0, mi]
        nm = ceil_div(m, tm)
        em = m - (nm - 1) * tm
        for ni in range(n_count):
            tn = sizes[2, ni]
            nn = ceil_div(n, tn)
            en = n - (nn - 1) * tn
            b_rate = bits[1] * rate / operand_bandwidth(chip, tn, nn, bits[1])
            c_rate = bits[2] * rate / operand_bandwidth(chip, tn, nn, bits[2])
            tail = 0.0
            if chip[UNIT_KIND] == SYSTOLIC:
                tail = float(systolic_fill(chip) + systolic_drain(chip, em, en))
            beside = ideal - step + tail + float(em) * en * c_rate
            for ki in range(k_count):
                tile = (tm, sizes[1, ki], tn)
                if not fits(chip, shape, tile, bits):
                    continue
                counts = (nm, depths[ki], nn)
                work = beside + step * nm * nn * depths[ki]
                a, b = float(k) * a_rates[ki], float(k) * b_rate
                first = (tm * a_rates[ki] + tn * b_rate) * tile[1]
                operands = (m * a, n * b, float(m) * n * c_rate)
                bound = lower_bound(operands, first, counts, bits, saved, work, tail)
                bounds[count] = (fixed + bound) * (1.0 - 1e-9)
                members[count, 0], members[count, 1], members[count, 2] = tile
                count += 1
    return bounds[:count], members[:count]


@inner
def keep(trial: Int64Array, earlier: bool, out: Int64Array) -> bool:
    """Rank a priced choice against the best and the runner-up so far; whether it is the best now.

    ``earlier`` says that it comes before the best in the space, which decides between equals.
    """
    if out[CYCLES] < 0 or better(trial, out) or (earlier and not better(out, trial)):
        out[SECOND] = out[CYCLES]
        out[SECOND_M], out[SECOND_K] = out[TILE_M], out[TILE_K]
        out[SECOND_N], out[SECOND_ORDER] = out[TILE_N], out[ORDER]
        for field in range(SECOND):
            out[field] = trial[field]
        return True
    if out[SECOND] < 0 or trial[CYCLES] < out[SECOND]:
        out[SECOND] = trial[CYCLES]
        out[SECOND_M], out[SECOND_K] = trial[TILE_M], trial[TILE_K]
        out[SECOND_N], out[SECOND_ORDER] = trial[TILE_N], trial[ORDER]
    return False


@kernel
def search(
    chip: Int64Array,
    shape: tuple[int, int, int],
    bits: Bits,
    prefetched: int,
    exact_second: bool,
    out: Int64Array,
) -> None:
    """Find the best mapping of C[m,n] = A[m,k] B[k,n] into ``out`` (see the field constants).

    On a GPU ``mapping.gpu_matmul`` does it. ``prefetched`` is the number of bytes of B that lie in
    the prefetch buffer at the start.
    ``out[CYCLES]`` is -1 where not even the smallest tile fits. Tiles whose lower bound is above
    the best, or above the runner-up if ``exact_second``, are left out; without that flag the
    runner-up is the best of those that happened to be priced.
    """
    if chip[GPU] == 1:
        gpu_search(chip, shape, bits, prefetched, out)
        return
    for field in range(MAP_FIELDS):
        out[field] = -1
    credit = 0
    if prefetched > 0:
        whole = bits_to_bytes(shape[1] * shape[2] * bits[1])
        credit = ALL_WEIGHTS if prefetched >= whole else prefetched
    bounds, members = space(chip, shape, bits, credit)
    if len(bounds) == 0:
        return
    stores = np.empty((2, 2), dtype=np.int64)
    loads = np.empty((4, 2, 2), dtype=np.int64)
    cycles = np.zeros((2, 2, 2), dtype=np.int64)
    trial = np.empty(MAP_FIELDS, dtype=np.int64)
    best = np.empty(MAP_FIELDS, dtype=np.int64)
    fixed = fixed_cycles(chip)
    cutoff = NO_LIMIT
    # Start with the least lower bounds, one of which is soon so good that it rules out most others;
    # then go through the space. Of equals the one that comes first there is taken.
    place = len(bounds)
    for turn in range(-MOST_PROMISING, len(bounds)):
        index = turn if turn >= 0 else int(np.argmin(bounds))
        if bounds[index] > cutoff:
            continue
        bounds[index] = np.inf
        tile = (members[index, 0], members[index, 1], members[index, 2])
        if not price_tiles(chip, shape, bits, tile, cutoff - fixed, cycles, stores, trial):
            continue
        price_loads(chip, shape, bits, tile, loads)
        priced = False
        # With a single tile on an axis the order of the loops makes no difference.
        for order in range(2 if tile[0] < shape[0] and tile[2] < shape[2] else 1):
            if price_order(
                chip, shape, bits, tile, order == 1, credit, cutoff, cycles, stores, loads, trial
            ) and (not priced or better(trial, best)):
                copy(trial, best)
                priced = True
        if priced:
            if keep(best, index < place, out):
                place = index
            limit = SECOND if exact_second else CYCLES
            cutoff = out[limit] if out[limit] >= 0 else NO_LIMIT


@inner
def prefetchable(chip: Int64Array, k: int, n: int, bits: int) -> int:
    """Bytes of a weight matrix that fit the prefetch buffer."""
    return min(bits_to_bytes(k * n * bits), chip[PREFETCH_BYTES])


@kernel
def search_all(chip: Int64Array, shapes: Int64Array, bits: Bits, out: Int64Array) -> None:
    """``search`` for each (m, k, n) of ``shapes``, int64[R, 3], into ``out``, int64[R, F]."""
    for row in range(len(shapes)):
        shape = (shapes[row, 0], shapes[row, 1], shapes[row, 2])
        search(chip, shape, bits, 0, True, out[row])
