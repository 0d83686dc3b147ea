"""Jumps of a systolic array's ports that follow it, lead it, or fill their buffers change nothing.

As test_systolic_jumps.py: a run whose times are kept visits every tile. Here the result buffer is
small and sets the pace, a word takes a fraction of a cycle, and other buffers are deep.
"""

from __future__ import annotations

import random
from dataclasses import replace
from fractions import Fraction

import pytest
from test_systolic_jumps import MODES, NONE, geometry, jumped, visited

from simulator.kernels import systolic_pipeline as pipeline
from simulator.kernels.systolic_counts import IN_VAIN, TOTAL_CYCLES
from simulator.timing import systolic as timing
from simulator.timing.systolic import SystolicCase, check_case, systolic_timing

RATES = ("1.01", "3.7", "0.37", "0.1", "1", "2.5", "10/3", "5.13", "17.08", "127.3")


def with_care(case: SystolicCase, care: int) -> list[int]:
    """The counts of one run; its cycles are ``IN_VAIN`` where more care is needed."""
    counts = pipeline.run_pipeline(
        *timing._shape(case)[:2],
        *timing.extents(case),
        case.rows,
        case.cols,
        case.macs,
        *timing._capacities(case),
        *timing.ticks_of(case),
        care,
        NONE,
        NONE,
        NONE.ravel(),
    )
    return [int(count) for count in counts]


def paced_case(rng: random.Random) -> SystolicCase | None:
    """Buffers of a tile or two beside those of thousands; the rates are near the array's."""
    side = rng.choice((2, 4, 4, 8))
    cols = rng.choice((side, side, 2 * side, rng.randint(1, 8)))
    flow, load = rng.choice(MODES)
    macs = rng.choice((1, 1, 2))
    along_rows = side * rng.randint(3, 60) + rng.choice((0, 0, rng.randint(0, side - 1)))
    along_cols, vectors = (
        cols * rng.randint(1, 12) + rng.choice((0, 1)),
        int(2 ** rng.uniform(5, 10)),
    )
    shape = {
        "ws": (vectors, along_rows, along_cols),
        "os": (along_rows, vectors, along_cols),
        "is": (along_cols, along_rows, vectors),
    }[flow]
    case = SystolicCase(*shape, side, cols, flow, load, macs)
    folds, chunks = geometry(case)
    if not 500 < folds * chunks < 60_000:
        return None
    deep = (1, 2, rng.uniform(1, 8), rng.uniform(8, 300), rng.uniform(chunks, 8 * chunks + 8))
    room = [int(tile * rng.choice(deep)) for tile in timing._tiles(case)]
    if flow == "is":
        room[:2] = room[1], room[0]
    near = f"{max(1, int(side * macs * rng.uniform(30, 130)))}/100"
    case = replace(
        case,
        sram_ifmap_bytes=room[0],
        sram_filter_bytes=room[1],
        sram_ofmap_bytes=room[2],
        bandwidth=Fraction(rng.choice((*RATES, near, near, near))),
    )
    return case if check_case(case) is None else None


@pytest.mark.parametrize("seed", range(6))
def test_a_small_result_buffer_beside_deep_ones(seed: int) -> None:
    rng = random.Random(seed)
    cases = [case for case in (paced_case(rng) for _ in range(600)) if case is not None]
    assert len(cases) > 150
    for case in cases:
        expected = visited(case)
        assert jumped(case) == expected, case
        for care in range(3):
            counts = with_care(case, care)
            vain = care < 2 and counts[TOTAL_CYCLES] == IN_VAIN
            assert vain or counts == expected, (case, care)


@pytest.mark.parametrize(
    "case",
    [
        # rings run full, jumps go around them, leads are used up, tiles are released late
        SystolicCase(
            12, 700, 1100, 4, 4, "is", "double", 1, 1, 2**19, 2**18, 2**12, Fraction(10, 3)
        ),
        SystolicCase(
            1, 300, 1200, 2, 2, "is", "single", 1, 1, 2**17, 2**19, 2**14, Fraction("1.01")
        ),
        SystolicCase(
            9, 500, 2000, 2, 2, "is", "double", 1, 1, 2**15, 2**19, 2**12, Fraction("1.01")
        ),
        SystolicCase(
            3, 900, 3000, 2, 2, "is", "double", 1, 1, 2**15, 2**20, 2**11, Fraction("0.37")
        ),
        SystolicCase(
            40, 512, 600, 4, 8, "is", "single", 1, 1, 2**14, 2**17, 2**11, Fraction("0.37")
        ),
        SystolicCase(300, 90, 40, 2, 2, "ws", "single", 1, 1, 2**17, 2**15, 2**12, Fraction("0.1")),
        SystolicCase(
            60, 500, 400, 2, 8, "os", "single", 1, 1, 2**16, 2**13, 2**12, Fraction("0.1")
        ),
        SystolicCase(
            40, 90, 2000, 2, 2, "ws", "double", 1, 1, 2**20, 2**20, 2**20, Fraction("0.37")
        ),
    ],
)
def test_rings_of_tens_of_thousands_of_tiles(case: SystolicCase) -> None:
    assert check_case(case) is None
    assert jumped(case) == visited(case)


@pytest.mark.parametrize(
    ("sizes", "words", "mode", "shape", "side"),
    [
        ((16, 16, 16), "1.01", ("is", "single"), (512, 4096, 22016), (4, 4)),
        ((64, 64, 64), "5.13", ("is", "double"), (2048, 8192, 10240), (8, 8)),
        ((4, 4, 4), "17.08", ("is", "single"), (2048, 8192, 57344), (32, 2)),
        ((256, 1024, 128), "0.37", ("is", "single"), (512, 4096, 22016), (4, 8)),
    ],
)
def test_hundreds_of_millions_of_tiles(sizes, words, mode, shape, side) -> None:
    """Most of them are jumped over: else the case would be refused, or take minutes."""
    room = [1024 * size for size in sizes]
    case = SystolicCase(*shape, *side, *mode, 1, 1, *room, Fraction(words))
    counts = systolic_timing(case)
    ports = (
        counts.dram_ifmap_reads,
        counts.dram_filter_reads,
        counts.dram_ofmap_reads + counts.dram_ofmap_writes,
    )
    around = counts.cold_start_cycles + counts.write_back_cycles
    assert max(ports) / Fraction(words) <= counts.cycles + around
    assert counts.cycles <= sum(ports) / Fraction(words) + counts.compute_cycles
