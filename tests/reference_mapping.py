"""The obvious mapper: price every tile of the documented space, tile by tile, and take the best.

Written from the prose of ``simulator.mapping.matmul`` and ``simulator.kernels.matrix_unit`` with
Python integers; nothing is skipped, bounded or shared with the kernels.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from math import ceil

from reference_pipeline_walk import run, tiles_of

from simulator.hardware import Chip, SystolicArray


@dataclass(frozen=True)
class Bits:
    """Bits of an element in HBM (A, B, C: 0 where it stays on chip) and on chip (A, B)."""

    a: int
    b: int
    c: int
    a_chip: int
    b_chip: int


@dataclass(frozen=True)
class Mapped:
    cycles: int
    hbm_bytes: int
    tile: tuple[int, int, int]


def up(a: int, b: int) -> int:
    return -(-a // b)


def transfer(size: int, chip: Chip, bandwidth: int) -> int:
    """Cycles that a number of bytes takes, rounded up."""
    return ceil(Fraction(size * chip.clock_hz, bandwidth))


def sizes(dimension: int, base: int) -> list[int]:
    """The whole dimension, and the unit's own size times a power of two.

    Of several output tiles of a tensor core that is the largest.
    """
    out = [dimension]
    while base < dimension:
        out.append(base)
        base *= 2
    return out


def systolic_cost(unit: SystolicArray, m: int, k: int, n: int, rate: int) -> list[tuple[int, str]]:
    """(cycles, what is held) for each way to run a tile on all arrays of a chip."""
    rows, cols, count = unit.rows, unit.cols, unit.count
    if unit.dataflow == "os":
        folds = up(m, rows) * up(n, cols)
        return [(up(folds, count) * (up(k, rate) + rows + cols - 2), "none")]

    def each(stream: int) -> int:
        if unit.weight_load == "double":
            return max(stream, rows)
        return rows + stream + rows + cols - 2

    ways = []
    for held, streamed, name in ((n, m, "b"), (m, n, "a")):
        folds = up(k, rows) * up(held, cols)
        ways.append((up(folds, count) * each(up(streamed, rate)), name))
        if count > 1:
            ways.append((folds * each(up(up(streamed, count), rate)), name))
    return ways


def compute_cycles(chip: Chip, dtype: str, m: int, k: int, n: int, bits: Bits) -> int:
    """Cycles of one tile that lies in SRAM: the slower of the unit and of its feed."""
    unit = chip.matrix
    bandwidth = chip.sram.bandwidth_bytes_per_s
    costs = []
    if isinstance(unit, SystolicArray):
        ways = systolic_cost(unit, m, k, n, unit.macs_per_cell[dtype])
        for cycles, held in ways:
            a_reads = up(n, unit.cols) if held in ("b", "none") else 1
            b_reads = {"b": 1, "a": up(m, unit.cols), "none": up(m, unit.rows)}[held]
            moved = up(m * k * a_reads * bits.a_chip + k * n * b_reads * bits.b_chip, 8)
            moved += 4 * m * n
            costs.append(max(cycles, transfer(moved, chip, bandwidth)))
        return min(costs)
    wide = max(bits.a_chip, bits.b_chip)
    for rows, cols in unit.tiles:
        blocks = up(m, rows) * up(n, cols)
        for split in (1, 2, 4, 8):
            if split > 1 and blocks * split // 2 >= unit.count:
                break  # every multiprocessor has work already
            depth = up(up(k, unit.tile_k), split) * unit.tile_k
            one = up(rows * cols * depth, unit.macs_per_sm[dtype])
            cycles = max(one, up(one * blocks * split, unit.count))
            moved = blocks * (rows + cols) * up(k * wide, 8)
            if split > 1:
                moved += 2 * split * m * n * 4
            costs.append(max(cycles, transfer(moved, chip, bandwidth)))
    return min(costs)


def room(chip: Chip, shape: tuple[int, int, int], tile: tuple[int, int, int], bits: Bits) -> bool:
    m, k, n = shape
    tm, tk, tn = tile
    need = up(tm * tk * bits.a_chip, 8) * (1 if (tm, tk) == (m, k) else 2)
    need += up(tk * tn * bits.b_chip, 8) * (1 if (tn, tk) == (n, k) else 2)
    if isinstance(chip.matrix, SystolicArray):
        need += 4 * tm * tn + up(tm * tn * max(bits.c, 8), 8)
    elif tk < k:
        registers = chip.matrix.count * max(rows * cols for rows, cols in chip.matrix.tiles)
        if tm * tn > registers:
            return False
    return need <= int(chip.sram.capacity_bytes * chip.sram.tile_fraction)


def fill_and_drain(chip: Chip, dtype: str, m: int, n: int) -> int:
    """How much later a result leaves a double-buffered array than its next tile may enter it."""
    unit = chip.matrix
    if not isinstance(unit, SystolicArray):
        return 0
    if unit.dataflow == "os" or unit.weight_load != "double":
        return 0
    stream = up(max(m, n), unit.macs_per_cell[dtype])
    return unit.rows + unit.rows + unit.cols - 2 - max(0, unit.rows - stream)


def price_tile(
    chip: Chip,
    dtype: str,
    shape: tuple[int, int, int],
    tile: tuple[int, int, int],
    n_outer: bool,
    bits: Bits,
    credit: int = 0,
) -> Mapped:
    counts = tuple(up(size, part) for size, part in zip(shape, tile, strict=True))
    nm, nk, nn = counts
    hbm = chip.hbm.sustained_bytes_per_s
    moved = [0]

    def extent(axis: int, index: int) -> int:
        if index < counts[axis] - 1:
            return tile[axis]
        return shape[axis] - (counts[axis] - 1) * tile[axis]

    def through_hbm(rows: int, cols: int, width: int) -> int:
        size = up(rows * cols * width, 8)
        moved[0] += size
        return transfer(size, chip, hbm)

    known: dict[tuple[int, int, int], int] = {}

    def compute(m: int, n: int, k: int) -> int:
        block = (extent(0, m), extent(1, k), extent(2, n))
        if block not in known:
            known[block] = compute_cycles(chip, dtype, *block, bits)
        return known[block]

    def load_b(n: int, k: int) -> int:
        cycles = transfer(up(extent(1, k) * extent(2, n) * bits.b, 8), chip, hbm)
        return cycles

    visits = tiles_of(
        (nm, nn, nk),
        n_outer,
        credit,
        load_b,
        lambda n, k: up(extent(1, k) * extent(2, n) * bits.b, 8),
        lambda m, k: through_hbm(extent(0, m), extent(1, k), bits.a),
        compute,
        lambda m, n: through_hbm(extent(0, m), extent(2, n), bits.c),
    )
    tail = fill_and_drain(chip, dtype, tile[0], tile[2])
    last_tail = fill_and_drain(chip, dtype, extent(0, nm - 1), extent(2, nn - 1))
    fixed = ceil(Fraction(chip.hbm.latency_ps * chip.clock_hz, 10**12))
    fixed += ceil(Fraction(chip.operator_overhead_ps * chip.clock_hz, 10**12))
    return Mapped(fixed + run(visits, tail, last_tail), moved[0], tile)


def search(
    chip: Chip, dtype: str, shape: tuple[int, int, int], bits: Bits, credit: int = 0
) -> Mapped | None:
    """The fewest cycles over the whole space; None where nothing fits."""
    every = [
        price_tile(chip, dtype, shape, tile, n_outer, bits, credit)
        for tile in space(chip, shape, bits)
        for n_outer in (False, True)
    ]
    return min(every, key=lambda one: one.cycles, default=None)


def best_of_each_tile(chip: Chip, dtype: str, shape: tuple[int, int, int], bits: Bits) -> list[int]:
    """Cycles of every tile that fits, in the better order of its loops."""
    return [
        min(price_tile(chip, dtype, shape, tile, order, bits).cycles for order in (False, True))
        for tile in space(chip, shape, bits)
    ]


def space(chip: Chip, shape: tuple[int, int, int], bits: Bits) -> list[tuple[int, int, int]]:
    """Every tile that fits."""
    unit = chip.matrix
    if isinstance(unit, SystolicArray):
        base = (unit.rows, unit.rows, unit.cols)
    else:
        rows, cols = max(unit.tiles, key=lambda tile: (tile[0] * tile[1], tile))
        base = (rows, 16 * unit.tile_k, cols)
    sides = [sizes(size, least) for size, least in zip(shape, base, strict=True)]
    return [tile for tile in product(*sides) if room(chip, shape, tile, bits)]
