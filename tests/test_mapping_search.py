"""The search with its lower bounds finds what trying everything finds."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference_mapping import Bits, best_of_each_tile, price_tile, search
from strategies import chips

from simulator.config.loader import load_chip
from simulator.hardware import Chip, SystolicArray
from simulator.kernels.chip_packing import pack_chip
from simulator.mapping import matmul as mapper
from simulator.mapping import tiles

SMALL = st.one_of(st.integers(1, 8), st.integers(1, 26))


def found(
    chip: Chip, dtype: str, shape: tuple[int, int, int], bits: Bits, prefetched: int = 0
) -> np.ndarray:
    out = np.empty(tiles.MAP_FIELDS, dtype=np.int64)
    mapper.search(
        pack_chip(chip, dtype), shape, tuple(dataclasses.astuple(bits)), prefetched, False, out
    )
    return out


@st.composite
def elements(draw: st.DrawFn) -> Bits:
    """Bits of the operands; activations and results that stay on chip move none."""
    a = draw(st.sampled_from([8, 16]))
    b = draw(st.sampled_from([4, 8, 16]))
    return Bits(draw(st.sampled_from([0, a])), b, draw(st.sampled_from([0, a // 2, a])), a, b)


@settings(deadline=None, derandomize=True, max_examples=150)
@given(chips(), SMALL, SMALL, SMALL, elements())
def test_search_equals_brute_force(chip: Chip, m: int, k: int, n: int, bits: Bits) -> None:
    # tensor cores cut in steps of 16 x tile_k: make some of their inner dimensions that deep
    shape = (m, k if isinstance(chip.matrix, SystolicArray) else 9 * k, n)
    fast = found(chip, "bf16", shape, bits)
    slow = search(chip, "bf16", shape, bits)
    assert slow is not None
    assert fast[tiles.CYCLES] == slow.cycles


@settings(deadline=None, derandomize=True, max_examples=60)
@given(chips(), SMALL, SMALL, SMALL, elements(), st.floats(0.01, 1.0))
def test_search_with_weights_fetched_ahead(
    chip: Chip, m: int, k: int, n: int, bits: Bits, share: float
) -> None:
    whole = -(-k * n * bits.b // 8)
    prefetched = max(1, int(whole * share))
    fast = found(chip, "bf16", (m, k, n), bits, prefetched)
    credit = 1 << 60 if prefetched >= whole else prefetched
    slow = search(chip, "bf16", (m, k, n), bits, credit)
    assert slow is not None
    assert fast[tiles.CYCLES] == slow.cycles
    cold = found(chip, "bf16", (m, k, n), bits)[tiles.CYCLES]
    assert fast[tiles.CYCLES] <= cold
    # what was fetched ahead is worth at most the time that fetching it took
    fetch = -(-prefetched * chip.clock_hz // chip.hbm.sustained_bytes_per_s)
    assert fast[tiles.CYCLES] >= cold - fetch - _slack(chip, whole)


@settings(deadline=None, derandomize=True, max_examples=60)
@given(chips(), SMALL, SMALL, SMALL, elements())
def test_the_reported_runner_up_is_the_second_best_tile(
    chip: Chip, m: int, k: int, n: int, bits: Bits
) -> None:
    out = np.empty((1, tiles.MAP_FIELDS), dtype=np.int64)
    shapes = np.array([[m, k, n]], dtype=np.int64)
    mapper.search_all(pack_chip(chip, "bf16"), shapes, dataclasses.astuple(bits), out)
    ranked = sorted(best_of_each_tile(chip, "bf16", (m, k, n), bits))
    assert out[0, tiles.CYCLES] == ranked[0]
    assert out[0, tiles.SECOND] == (ranked[1] if len(ranked) > 1 else -1)


def _slack(chip: Chip, whole: int) -> int:
    """Whole weights on chip are never read twice, however the tiles are cut."""
    return 0 if whole > chip.sram.capacity_bytes else 10**9


def test_nothing_fits() -> None:
    toy = load_chip("toy")
    tiny = dataclasses.replace(toy, sram=dataclasses.replace(toy.sram, capacity_bytes=32))
    assert found(tiny, "bf16", (8, 8, 8), Bits(16, 16, 16, 16, 16))[tiles.CYCLES] == -1
    assert search(tiny, "bf16", (8, 8, 8), Bits(16, 16, 16, 16, 16)) is None


@pytest.mark.parametrize("n_outer", [False, True])
def test_bytes_of_a_loop_order(n_outer: bool) -> None:
    """2 x 1 x 3 tiles: the outer operand is read once, the inner one for each outer step."""
    counts = (2, 1, 3)
    a_times, b_times = tiles.reads(counts, n_outer, False)
    assert (a_times, b_times) == ((3, 1) if n_outer else (1, 2))
    # with the inner dimension cut, neither operand survives a step of the other's loop
    assert tiles.reads((2, 4, 3), n_outer, False) == (3, 2)
    assert tiles.reads((2, 4, 3), n_outer, True) == (3, 1)


def test_a_large_product_reads_more_than_once_only_as_sram_demands() -> None:
    toy = load_chip("toy")
    out = found(toy, "bf16", (64, 64, 64), Bits(16, 16, 16, 16, 16))
    assert out[tiles.READ] > 2 * 64 * 64 * 2
    roomy = dataclasses.replace(toy, sram=dataclasses.replace(toy.sram, capacity_bytes=1 << 20))
    wide = found(roomy, "bf16", (64, 64, 64), Bits(16, 16, 16, 16, 16))
    assert wide[tiles.CYCLES] <= out[tiles.CYCLES]
    assert wide[tiles.READ] < out[tiles.READ]


def test_the_reference_prices_one_tile_by_hand() -> None:
    toy = load_chip("toy")
    one = price_tile(toy, "bf16", (4, 4, 4), (4, 4, 4), False, Bits(16, 16, 16, 16, 16))
    # latency 10, loads 4 + 4, one fold 4 + 4 + 4 + 4 - 2, store 4
    assert one.cycles == 10 + 8 + 14 + 4
