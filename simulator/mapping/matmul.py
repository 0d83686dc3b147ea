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
    copy,
)
from simulator.kernels.arrays import Float64Array, Int64Array
from simulator.kernels.chip_vector import (
    GPU,
    NO_LIMIT,
    PREFETCH_BYTES,
)
from simulator.kernels.jit import inner, kernel
from simulator.kernels.tile_pipeline import ALL_WEIGHTS
from simulator.mapping.gpu_matmul import gpu_search
from simulator.mapping.loads import Bits, price_loads
from simulator.mapping.tile_space import space
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
    fixed_cycles,
    price_order,
    price_tiles,
)


@inner
def better(one: Int64Array, other: Int64Array) -> bool:
    """Fewer cycles, or as many with fewer bytes through HBM."""
    if one[CYCLES] != other[CYCLES]:
        return one[CYCLES] < other[CYCLES]
    return one[READ] + one[WRITE] < other[READ] + other[WRITE]


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


@inner
def _least(bounds: Float64Array) -> int:
    """The first place of the lowest bound."""
    index = 0
    for i in range(1, len(bounds)):
        if bounds[i] < bounds[index]:
            index = i
    return index


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
        index = _least(bounds)
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
