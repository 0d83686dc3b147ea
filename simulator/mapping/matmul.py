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
def least_traffic(
    operands: tuple[float, float, float], counts: tuple[int, int, int], credit: float
) -> float:
    """Cycles in which HBM moves what a tile with the whole inner dimension has to move.

    ``operands`` are those in which it moves (A, B, C) once, ``credit`` those of the weights that
    need not be loaded (-1: none need be).
    """
    a, b, c = operands
    moved = 0.0
    for order in range(2):
        a_times, b_times = reads(counts, order == 1, credit < 0.0)
        total = a * a_times + b * b_times
        if order == 0 or total < moved:
            moved = total
    return moved + c - (b if credit < 0.0 else credit)


@inner
def better(one: Int64Array, other: Int64Array) -> bool:
    """Fewer cycles, or as many with fewer bytes through HBM."""
    if one[CYCLES] != other[CYCLES]:
        return one[CYCLES] < other[CYCLES]
    return one[READ] + one[WRITE] < other[READ] + other[WRITE]


@inner
def deepest(
    chip: Int64Array,
    shape: tuple[int, int, int],
    tile: tuple[int, int, int],
    bits: Bits,
    depths: Int64Array,
    count: int,
) -> int:
    """Index of the deepest tile that fits among ``depths[1:count]``, descending; all behind it do.

    ``count`` if none does. Only m and n of ``tile`` count.
    """
    ki = count
    while ki > 1 and fits(chip, shape, (tile[0], depths[ki - 1], tile[2]), bits):
        ki -= 1
    return ki


@inner
def rates(
    chip: Int64Array, size: int, sizes: Int64Array, count: int, bits: int, out: Float64Array
) -> None:
    """Cycles in which HBM moves an element of a matrix in tiles of each width of ``sizes``."""
    for i in range(count):
        bandwidth = operand_bandwidth(chip, sizes[i], ceil_div(size, sizes[i]), bits)
        out[i] = bits * (chip[CLOCK_HZ] / 8.0) / bandwidth


@inner
def space(
    chip: Int64Array, shape: tuple[int, int, int], bits: Bits, credit: int
) -> tuple[Float64Array, Int64Array]:
    """Every tile that fits: its lower bound float64[S], its (m, k, n) int64[S, 3].

    A tile cannot beat its traffic, nor its work between the first loads and the last store. Where
    the inner dimension is cut, the second tile of each result but the first waits for the store of
    the result before it (``tiles.least_stalls``).
    """
    m, k, n = shape
    sizes = np.empty((3, MAX_CHOICES), dtype=np.int64)
    m_count = dimension_choices(m, chip[ROWS], sizes[0])
    k_count = dimension_choices(k, chip[DEPTH], sizes[1])
    n_count = dimension_choices(n, chip[COLS], sizes[2])
    bounds = np.empty(m_count * k_count * n_count, dtype=np.float64)
    members = np.empty((len(bounds), 3), dtype=np.int64)
    element = np.empty((3, MAX_CHOICES), dtype=np.float64)
    rates(chip, k, sizes[1], k_count, bits[0], element[0])
    rates(chip, n, sizes[2], n_count, bits[1], element[1])
    rates(chip, n, sizes[2], n_count, bits[2], element[2])
    fixed, step = float(fixed_cycles(chip)), float(step_cycles(chip))
    ideal = least_cycles(chip, m, k, n, max(bits[3], bits[4]))
    mac = ideal / (float(m) * k * n)
    fetched = credit != 0
    # weights fetched ahead are worth most where the rest comes in short runs
    saved = 8.0 * credit * (chip[CLOCK_HZ] / 8.0) / chip[RUN_BANDWIDTH]
    if credit >= ALL_WEIGHTS:
        saved = -1.0
    systolic = chip[UNIT_KIND] == SYSTOLIC
    count = 0
    for mi in range(m_count):
        tm = sizes[0, mi]
        nm = ceil_div(m, tm)
        em = m - (nm - 1) * tm
        for ni in range(n_count):
            tn = sizes[2, ni]
            nn = ceil_div(n, tn)
            en = n - (nn - 1) * tn
            tail, last_tail = 0.0, 0.0
            if systolic:
                tail = float(systolic_fill(chip) + systolic_drain(chip, tm, tn))
                last_tail = float(systolic_fill(chip) + systolic_drain(chip, em, en))
            b_rate, c_rate = element[1, ni], element[2, ni]
            stored, last_store = float(m) * n * c_rate, float(em) * en * c_rate
            beside = ideal - step + last_tail + last_store
            if fits(chip, shape, (tm, k, tn), bits):
                a, b = float(m) * k * element[0, 0], float(k) * n * b_rate
                work = beside + step * nm * nn
                traffic = least_traffic((a, b, stored), (nm, 1, nn), saved)
                if not fetched:
                    work += (tm * element[0, 0] + tn * b_rate) * k
                    if bits[0] > 0:
                        # beside the last tile's work only the result before it is stored
                        beside_it = float(tm) * tn * c_rate if nm * nn > 1 else 0.0
                        traffic += max(0.0, float(em) * en * k * mac + last_tail - beside_it)
                bounds[count] = (fixed + max(traffic, work)) * (1.0 - 1e-9)
                members[count, 0], members[count, 1], members[count, 2] = tm, k, tn
                count += 1
            b_all = float(k) * n * b_rate * nm
            b_moved = b_all - saved
            if saved < 0.0:
                b_moved = 0.0
            others = nm * nn - 1
            result = float(tm) * tn * mac
            for ki in range(deepest(chip, shape, (tm, k, tn), bits, sizes[1], k_count), k_count):
                tk = sizes[1, ki]
                a_rate = element[0, ki]
                nk = ceil_div(k, tk)
                ek = k - (nk - 1) * tk
                traffic = float(m) * k * a_rate * nn + b_moved + stored
                work = beside + step * nm * nn * nk
                load = em * ek * a_rate
                if not fetched:
                    load += ek * en * b_rate
                    work += (tm * a_rate + tn * b_rate) * tk
                    if bits[0] > 0:
                        traffic += float(em) * en * ek * mac + last_tail
                if load > 0.0 and c_rate > 0.0:
                    wait = max(load, tail) - result * tk - step
                    work += max(0.0, stored - last_store + others * wait)
                bounds[count] = (fixed + max(traffic, work)) * (1.0 - 1e-9)
                members[count, 0], members[count, 1], members[count, 2] = tm, tk, tn
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
    # The least lower bounds come first, so that the best is soon known and rules out all others.
    # Of equals the one that comes first in the space is taken.
    place = len(bounds)
    for _ in range(len(bounds)):
        index = int(np.argmin(bounds))
        if bounds[index] > cutoff:
            break
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
