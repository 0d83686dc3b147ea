"""The tilings of a matmul: all that fit on chip, each with a time that it cannot beat.

The bounds come from the sizes of a tile alone: what HBM has to move, and what the matrix unit does
at its peak between the first loads and the last store. ``mapping.tiles`` has the prices.
"""

from __future__ import annotations

import numpy as np

from simulator.kernels.arithmetic import ceil_div
from simulator.kernels.arrays import Float64Array, Int64Array
from simulator.kernels.chip_vector import (
    CLOCK_HZ,
    COLS,
    DEPTH,
    ROWS,
    RUN_BANDWIDTH,
    SYSTOLIC,
    UNIT_KIND,
)
from simulator.kernels.jit import inner
from simulator.kernels.matrix_unit import least_cycles, systolic_drain, systolic_fill
from simulator.kernels.tile_pipeline import ALL_WEIGHTS
from simulator.mapping.loads import Bits, operand_bandwidth
from simulator.mapping.tiles import fits, fixed_cycles, reads, step_cycles

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
def numbers(size: int, sizes: Int64Array, count: int, out: Int64Array) -> None:
    """How many tiles of each of ``sizes`` a dimension has."""
    for i in range(count):
        out[i] = ceil_div(size, sizes[i])


@inner
def rates(
    chip: Int64Array, sizes: Int64Array, tiles: Int64Array, count: int, bits: int, out: Float64Array
) -> None:
    """Cycles in which HBM moves an element of a matrix in tiles of each width of ``sizes``."""
    for i in range(count):
        bandwidth = operand_bandwidth(chip, sizes[i], tiles[i], bits)
        out[i] = bits * (chip[CLOCK_HZ] / 8.0) / bandwidth


@inner
def deepest(
    chip: Int64Array,
    shape: tuple[int, int, int],
    rows: int,
    cols: int,
    bits: Bits,
    depths: Int64Array,
    count: int,
) -> int:
    """Index of the deepest tile that fits in ``depths[1:count]``, descending; all after it do."""
    ki = count
    while ki > 1 and fits(chip, shape, (rows, depths[ki - 1], cols), bits):
        ki -= 1
    return ki


@inner
def traffic_cycles(
    operands: tuple[float, float, float], counts: tuple[int, int, int], saved: float
) -> float:
    """Cycles in which HBM moves what tiles make it move, in the better order of the loops.

    ``operands`` are those in which it moves (A, B, C) once, ``saved`` those of the weights that
    need not be loaded (-1: none need be).
    """
    a, b, c = operands
    if counts[1] > 1:  # neither operand survives a step of the other's loop
        return a * counts[2] + c + (0.0 if saved < 0.0 else b * counts[0] - saved)
    moved = 0.0
    for order in range(2):
        a_times, b_times = reads(counts, order == 1, saved < 0.0)
        total = a * a_times + b * b_times
        if order == 0 or total < moved:
            moved = total
    return moved + c - (b if saved < 0.0 else saved)


@inner
def lower_bound(
    moved: float,
    work: float,
    load: float,
    stores: tuple[float, float, float],
    parts: tuple[float, float],
    tail: float,
    results: int,
    cut: bool,
) -> float:
    """Cycles that a tile cannot beat: its traffic, or its work between first loads and last store.

    ``moved`` are those of its traffic, ``work`` those of the first loads, the unit and the last
    store; ``load`` the least that a later tile loads, ``stores`` those of (all results, a full
    tile's, the last), ``parts`` the least that a full tile is worked on, and the last with its
    tail (0 where it may load nothing), ``tail`` that of a full tile. ``cut``: in k.
    """
    everything, full, last = stores
    beside = 0.0
    if cut and load > 0.0 and everything > 0.0:
        # the second tile of a result waits for the store of the one before: ``least_stalls``
        waits = (results - 1) * (max(load, tail) - parts[0])
        work += max(0.0, everything - last + waits)
    if not cut and results > 1:
        beside = full
    # the last tile is worked on behind all loads, and all stores but of the last two results
    return max(moved + max(0.0, parts[1] - beside), work)


@inner
def space(
    chip: Int64Array, shape: tuple[int, int, int], bits: Bits, credit: int
) -> tuple[Float64Array, Int64Array]:
    """Every tile that fits: its lower bound float64[S], its (m, k, n) int64[S, 3].

    ``credit`` are the bytes of weights that were fetched ahead, as in ``tile_pipeline``.
    """
    m, k, n = shape
    sizes = np.empty((3, MAX_CHOICES), dtype=np.int64)
    m_count = dimension_choices(m, chip[ROWS], sizes[0])
    k_count = dimension_choices(k, chip[DEPTH], sizes[1])
    n_count = dimension_choices(n, chip[COLS], sizes[2])
    tiles = np.empty((2, MAX_CHOICES), dtype=np.int64)
    numbers(k, sizes[1], k_count, tiles[0])
    numbers(n, sizes[2], n_count, tiles[1])
    element = np.empty((3, MAX_CHOICES), dtype=np.float64)
    rates(chip, sizes[1], tiles[0], k_count, bits[0], element[0])
    rates(chip, sizes[2], tiles[1], n_count, bits[1], element[1])
    rates(chip, sizes[2], tiles[1], n_count, bits[2], element[2])
    bounds = np.empty(m_count * k_count * n_count, dtype=np.float64)
    members = np.empty((len(bounds), 3), dtype=np.int64)
    fixed, step = float(fixed_cycles(chip)), float(step_cycles(chip))
    ideal = least_cycles(chip, m, k, n, max(bits[3], bits[4]))
    mac = ideal / (float(m) * k * n)
    # weights fetched ahead are worth most where the rest comes in short runs
    saved = credit * (chip[CLOCK_HZ] / chip[RUN_BANDWIDTH]) if credit < ALL_WEIGHTS else -1.0
    cold = 1.0 if credit == 0 else 0.0
    systolic = chip[UNIT_KIND] == SYSTOLIC
    tail, last_tail = 0.0, 0.0
    count = 0
    for mi in range(m_count):
        tm = sizes[0, mi]
        nm = ceil_div(m, tm)
        em = m - (nm - 1) * tm
        for ni in range(n_count):
            tn, nn = sizes[2, ni], tiles[1, ni]
            en = n - (nn - 1) * tn
            if systolic:
                tail = float(systolic_fill(chip) + systolic_drain(chip, tm, tn))
                last_tail = float(systolic_fill(chip) + systolic_drain(chip, em, en))
            b_rate, c_rate = element[1, ni], element[2, ni]
            full, last = float(tm) * tn, float(em) * en
            stores = (float(m) * n * c_rate, full * c_rate, last * c_rate)
            beside = ideal - step + last_tail + last * c_rate
            deep = deepest(chip, shape, tm, tn, bits, sizes[1], k_count)
            for ki in range(k_count):
                if ki < deep and (ki > 0 or not fits(chip, shape, (tm, k, tn), bits)):
                    continue
                tk, nk = sizes[1, ki], tiles[0, ki]
                ek = k - (nk - 1) * tk
                a_rate = element[0, ki]
                operands = (float(m) * k * a_rate, float(k) * n * b_rate, stores[0])
                moved = traffic_cycles(operands, (nm, nk, nn), saved)
                work = beside + step * nm * nn * nk + cold * (tm * a_rate + tn * b_rate) * tk
                load = ek * (em * a_rate + cold * en * b_rate)
                # the last tile loads a part of A or B, unless they lie on chip
                behind = last * ek * mac + last_tail if cold * bits[0] > 0.0 else 0.0
                parts = (full * tk * mac + step, behind)
                bound = lower_bound(moved, work, load, stores, parts, tail, nm * nn, nk > 1)
                bounds[count] = (fixed + bound) * (1.0 - 1e-9)
                members[count, 0], members[count, 1], members[count, 2] = tm, tk, tn
                count += 1
    return bounds[:count], members[:count]
