"""Jumps in the tile pipeline of a systolic array change nothing.

A run whose times are kept visits every tile and knows neither idle ports nor jumps; one that need
not keep them must give the same counts. (The first is compared with a pipeline that ticks in
test_systolic_memory.py.)
"""

from __future__ import annotations

import math
import random
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from simulator.kernels.systolic_chunks import chunk_count
from simulator.timing.systolic import SystolicCase, check_case, extents, systolic_timing
from simulator.timing.systolic import _tiles as tiles_of
from simulator.timing.systolic import run_case as run_of

MODES = [("ws", "single"), ("os", "single"), ("is", "single"), ("ws", "double"), ("is", "double")]
NONE = np.zeros((0, 0), np.int64)


def geometry(case: SystolicCase) -> tuple[int, int]:
    """Folds, and chunks of each."""
    along_rows, along_cols, vectors = extents(case)
    folds = math.ceil(along_rows / case.rows) * math.ceil(along_cols / case.cols)
    return folds, chunk_count(math.ceil(vectors / case.macs), case.rows, case.cols)


def visited(case: SystolicCase) -> list[int]:
    folds, chunks = geometry(case)
    feeds = np.zeros((folds, 1 + chunks), np.int64)
    arrivals = np.zeros((folds, 1 + 2 * chunks), np.int64)
    return run_of(case, feeds, arrivals, np.zeros(folds * chunks, np.int64)).tolist()


def jumped(case: SystolicCase) -> list[int]:
    return run_of(case, NONE, NONE, NONE.ravel()).tolist()


def shape(rng: random.Random, most: int) -> tuple[int, int, int]:
    sizes = [rng.randint(1, most) for _ in range(3)]
    longest = rng.randrange(3)
    sizes[longest] *= rng.choice((1, 1, 1, 8))
    if rng.random() < 0.2:
        sizes[rng.randrange(3)] = 1
    return sizes[0], sizes[1], sizes[2]


def capacity(rng: random.Random, tile: int, stripe: int, everything: int) -> int:
    """Around the sizes at which something else happens: a tile, a stripe, the whole operand."""
    kind = rng.randrange(5)
    if kind == 0:
        return tile * rng.choice((1, 2))
    if kind == 1:
        return rng.randint(tile, 6 * tile)
    if kind == 2:
        return max(tile, int(stripe * rng.choice((1, 1.2, 2, 2.3, 4))))
    if kind == 3:
        return max(tile, int(everything * rng.choice((0.5, 0.9, 1, 1.3, 2, 4))))
    return max(tile, 2 ** rng.randint(4, 20))


def random_case(rng: random.Random) -> SystolicCase | None:
    side = rng.choice((2, 4, 8, 16))
    array = (side, side) if rng.random() < 0.5 else (rng.randint(1, side), rng.randint(1, side))
    flow, load = rng.choice(MODES)
    words = Fraction(rng.choice((rng.randint(1, 9), rng.randint(1, 99))), rng.choice((1, 2, 3, 10)))
    case = SystolicCase(
        *shape(rng, rng.choice((8, 60, 200))), *array, flow, load, rng.choice((1, 1, 2))
    )
    along_rows, along_cols, vectors = extents(case)
    width = min(case.cols, along_cols)
    totals = (
        along_rows * vectors,
        along_cols * (vectors if flow == "os" else along_rows),
        along_cols * (along_rows if flow == "os" else vectors),
    )
    stripes = (along_rows * vectors, width * vectors, width * vectors)
    sizes = [capacity(rng, *each) for each in zip(tiles_of(case), stripes, totals, strict=True)]
    if flow == "is":
        sizes[:2] = sizes[1], sizes[0]
    case = replace(
        case,
        sram_ifmap_bytes=sizes[0],
        sram_filter_bytes=sizes[1],
        sram_ofmap_bytes=sizes[2],
        bandwidth=words if rng.random() < 0.95 else None,
    )
    folds, chunks = geometry(case)
    return case if folds * chunks < 60_000 and check_case(case) is None else None


@pytest.mark.parametrize("seed", range(8))
def test_every_count_is_that_of_a_run_that_visits_all_tiles(seed: int) -> None:
    rng = random.Random(seed)
    cases = [case for case in (random_case(rng) for _ in range(150)) if case is not None]
    assert len(cases) > 75
    for case in cases:
        assert jumped(case) == visited(case), case


@pytest.mark.parametrize(
    ("words", "buffer"), [("3.7", 4096), ("3.7", 262_144), ("10", 65_536), ("2.5", 8192)]
)
@pytest.mark.parametrize("mode", MODES)
def test_layers_on_few_cells(mode: tuple[str, str], words: str, buffer: int) -> None:
    for m, k, n in ((1, 512, 1024), (196, 320, 64), (400, 147, 64)):
        sizes = (buffer,) * 3
        case = SystolicCase(m, k, n, 8, 8, *mode, 1, 1, *sizes, Fraction(words))
        assert jumped(case) == visited(case), case


def slow_case(rng: random.Random) -> SystolicCase | None:
    """Ports about as fast as the array, and buffers of many tiles: long cold starts."""
    side = rng.choice((1, 2, 3, 4, 8))
    flow, load = rng.choice(MODES)
    macs = rng.choice((1, 1, 2))
    words = Fraction(side * macs * rng.randint(60, 115), 100)
    sizes = (rng.randint(1, 300) for _ in range(3))
    case = SystolicCase(*sizes, side, rng.randint(1, side), flow, load, macs)
    tiles = tiles_of(case)
    room = [int(tile * rng.choice((rng.randint(1, 12), rng.uniform(2, 400)))) for tile in tiles]
    if rng.random() < 0.4:
        room = [max(room)] * 3
    if flow == "is":
        room[:2] = room[1], room[0]
    case = replace(
        case,
        sram_ifmap_bytes=room[0],
        sram_filter_bytes=room[1],
        sram_ofmap_bytes=room[2],
        bandwidth=words,
    )
    folds, chunks = geometry(case)
    return case if 60 < folds * chunks < 60_000 and check_case(case) is None else None


@pytest.mark.parametrize("seed", range(4))
def test_long_cold_starts_change_nothing(seed: int) -> None:
    rng = random.Random(seed)
    cases = [case for case in (slow_case(rng) for _ in range(300)) if case is not None]
    assert len(cases) > 100
    for case in cases:
        assert jumped(case) == visited(case), case


@pytest.mark.parametrize("mode", MODES)
def test_buffers_of_thousands_of_tiles(mode: tuple[str, str]) -> None:
    """Each port is a little slower than the array, which stops when their lead is used up."""
    for m, k, n in ((1568, 64, 64), (49, 256, 512)):
        case = SystolicCase(m, k, n, 4, 4, *mode, 1, 1, *(2**16,) * 3, Fraction("3.7"))
        assert jumped(case) == visited(case), case


def test_a_port_that_is_too_slow_sets_the_pace() -> None:
    """Three million tiles: jumps lose none of them, and only the cold start is free."""
    case = SystolicCase(
        1, 4096, 49_152, 8, 8, "ws", "single", 1, 1, 2**18, 2**18, 2**18, Fraction(5, 2)
    )
    timing = systolic_timing(case)
    assert timing.dram_filter_reads == 4096 * 49_152
    weights = (timing.dram_filter_reads - 2**17) / Fraction(5, 2)
    last_fold = 8 + 1 + 8 + 8 - 2
    assert timing.cycles == math.ceil(weights) + last_fold
    # with enough bandwidth the same folds wait for nothing
    assert systolic_timing(replace(case, bandwidth=Fraction(3))).stall_cycles == 0
