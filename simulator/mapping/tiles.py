"""One way of cutting a matmul into tiles: whether it fits on chip, and what it costs.

``price_tiles`` prices what the matrix unit does with each sort of tile, ``loads.price_loads`` what
HBM does, ``price_order`` the walk over them in one order of the loops. The fields below are what is
known of a mapped matmul.
"""

from __future__ import annotations

from simulator.kernels.arithmetic import (
    bits_to_bytes,
    ceil_div,
    clear,
    ps_to_cycles,
    scale_up,
)
from simulator.kernels.arrays import Int64Array
from simulator.kernels.chip_vector import (
    CLOCK_HZ,
    HBM_LATENCY_PS,
    INPUT_BUFFER,
    OVERHEAD_PS,
    REGISTER_RESULTS,
    RESULT_BUFFER,
    SYSTOLIC,
    TILE_BYTES,
    TILE_OVERHEAD_PS,
    UNIT_KIND,
    WEIGHT_BUFFER,
)
from simulator.kernels.jit import inner, kernel
from simulator.kernels.matrix_unit import (
    ACCUMULATOR_BYTES,
    feed_cycles,
    systolic_drain,
    systolic_fill,
    tile_price,
)
from simulator.kernels.tile_pipeline import ALL_WEIGHTS, walk
from simulator.mapping.loads import Bits, extent, operand_bandwidth

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


@inner
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


@inner
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


@inner
def step_cycles(chip: Int64Array) -> int:
    """Cycles that a tile takes beside its work."""
    return ps_to_cycles(chip[TILE_OVERHEAD_PS], chip[CLOCK_HZ])


@inner
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
    em, en = m - (nm - 1) * tm, n - (nn - 1) * tn
    clock = chip[CLOCK_HZ]
    clear(out)
    out[TILE_M], out[TILE_K], out[TILE_N] = tm, tk, tn
    c_bandwidth = operand_bandwidth(chip, tn, nn, bits[2])
    if chip[UNIT_KIND] == SYSTOLIC:
        out[COMPUTE] = systolic_fill(chip) + systolic_drain(chip, em, en)
    # the first tile's is part of the operator's overhead
    step = step_cycles(chip)
    out[COMPUTE] -= step
    for me in range(2):
        rows, row_times = extent(m, tm, nm, me)
        for ne in range(2):
            cols, col_times = extent(n, tn, nn, ne)
            # what is equal to a full tile has been priced as one
            same_m, same_n = me * (rows < tm), ne * (cols < tn)
            if row_times * col_times == 0:
                stores[me, ne] = stores[same_m, same_n]
                for ke in range(2):
                    cycles[me, ne, ke] = cycles[same_m, same_n, ke]
                continue
            size = bits_to_bytes(rows * cols * bits[2])
            stores[me, ne] = scale_up(size, clock, c_bandwidth)
            out[WRITE] += row_times * col_times * size
            out[STORING] += row_times * col_times * stores[me, ne]
            for ke in range(2):
                depth, depth_times = extent(k, tk, nk, ke)
                times = row_times * col_times * depth_times
                if times == 0:
                    cycles[me, ne, ke] = cycles[me, ne, 0]
                    continue
                array, fed, kept, held = tile_price(chip, rows, depth, cols, bits[3], bits[4])
                feed = feed_cycles(chip, fed, kept)
                cycles[me, ne, ke] = step + max(array, feed)
                out[ARRAY] += times * array
                out[FEED] += times * feed
                out[SRAM] += times * (fed + kept)
                out[COMPUTE] += times * cycles[me, ne, ke]
                out[ORDER] = 2 * held
                if out[COMPUTE] > cutoff:
                    return False
    return True


@inner
def least_stalls(results: int, k_tiles: int, load: int, store: int, work: int, tail: int) -> int:
    """Cycles of waiting that stored results cause at least.

    Tile j waits for the store of tile j-2, which comes behind the load of tile j and the ``tail``
    after tile j-2; so between the ends of tiles j-2 and j lie the longer of these, that store and
    the work of tile j, where without waiting there would be ``work`` of two tiles. Such pairs of
    tiles must not overlap.
    """
    if load == 0 or store == 0:
        return 0
    times = results - 1 if k_tiles > 1 else (results - 1) // 2
    return times * max(0, store + max(load, tail) - work)


@inner
def price_order(
    chip: Int64Array,
    shape: tuple[int, int, int],
    bits: Bits,
    tile: tuple[int, int, int],
    n_outer: bool,
    credit: int,
    cutoff: int,
    cycles: Int64Array,
    stores: Int64Array,
    loads: Int64Array,
    out: Int64Array,
) -> bool:
    """Fill in the fields of ``out`` that depend on the order of the loops.

    ``loads`` are those of ``price_loads``. False, without walking over the tiles, if a bound shows
    that they exceed ``cutoff`` cycles.
    """
    m, k, n = shape
    tm, tk, tn = tile
    nm, nk, nn = ceil_div(m, tm), ceil_div(k, tk), ceil_div(n, tn)
    em, en = m - (nm - 1) * tm, n - (nn - 1) * tn
    a_times, b_times = reads((nm, nk, nn), n_outer, credit >= ALL_WEIGHTS)
    out[READ] = loads[3, 0, 0] * a_times + loads[3, 0, 1] * b_times
    b_cycles = loads[3, 1, 1] * b_times
    out[HBM] = out[STORING] + loads[3, 1, 0] * a_times + b_cycles
    tail, last_tail = 0, 0
    if chip[UNIT_KIND] == SYSTOLIC:
        tail = systolic_fill(chip) + systolic_drain(chip, tm, tn)
        last_tail = systolic_fill(chip) + systolic_drain(chip, em, en)
    # beside the walk: the overhead of the operator, which pays for the first tile's
    step = step_cycles(chip)
    beside = fixed_cycles(chip) - step
    # weights that were fetched ahead may be free
    b_free = 1 if credit > 0 else 0
    first = loads[0, 0, 0] + loads[1, 0, 0] * (1 - b_free)
    moved = out[HBM] - b_cycles * b_free
    if credit == 0 and bits[0] > 0:  # the last tile loads something
        # behind its load lies its work, beside which only the result before it is stored
        storing = stores[0, 0] if nk == 1 and nm * nn > 1 else 0
        moved += max(0, cycles[1, 1, 1] + last_tail - storing)
    # what every tile loads at least
    a_moves = nk > 1 or (nm > 1 and (n_outer or nn == 1))
    b_moves = nk > 1 or (nn > 1 and (nm == 1 or not n_outer))
    load = loads[0, 1, 1] * a_moves + loads[1, 1, 1] * b_moves * (1 - b_free)
    waits = least_stalls(nm * nn, nk, load, stores[1, 1], cycles[0, 0, 0], tail)
    worked = out[COMPUTE] + step + first + stores[1, 1] + waits
    if beside + max(moved, worked) > cutoff:
        return False
    tails = (tail, last_tail)
    total = walk(credit, nm, nn, nk, loads[1], loads[2], loads[0], cycles, stores, n_outer, tails)
    out[CYCLES] = beside + total
    out[ORDER] = out[ORDER] // 2 * 2 + (1 if n_outer else 0)
    return True
