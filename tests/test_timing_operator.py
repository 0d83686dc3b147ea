"""Bounds and monotonicity of a single matmul over random chips and shapes."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import RESOURCES, chips, doubled

from simulator import api
from simulator.config.loader import load_chip
from simulator.errors import InfeasibleError, InputError
from simulator.hardware import Chip
from simulator.timing.operator import LARGEST, price_matmul
from simulator.timing.results import MatmulTiming

TOY = load_chip("toy")

MANY = settings(deadline=None, derandomize=True, max_examples=250)

SIZES = st.one_of(st.integers(1, 12), st.integers(1, 400), st.sampled_from([512, 1000]))
DTYPES = st.sampled_from(["bf16", "int8"])


def price(chip: Chip, m: int, k: int, n: int, dtype: str = "bf16") -> MatmulTiming:
    return price_matmul(chip, m, k, n, dtype)


@MANY
@given(chips(), SIZES, SIZES, SIZES, DTYPES)
def test_bounds(chip: Chip, m: int, k: int, n: int, dtype: str) -> None:
    p = price(chip, m, k, n, dtype)
    size = 2 if dtype == "bf16" else 1
    peak = 2 * chip.matrix.macs_per_cycle(dtype)
    sustained = chip.hbm.sustained_bytes_per_s

    assert p.flops == 2 * m * k * n
    assert p.cycles * peak >= p.flops
    assert p.cycles * sustained >= p.hbm_bytes * chip.clock_hz
    assert p.cycles * chip.sram.bandwidth_bytes_per_s >= p.sram_bytes * chip.clock_hz
    # operands and result cross HBM at least once, and each operand word reaches the array
    assert p.hbm_read_bytes >= (m * k + k * n) * size
    assert p.hbm_write_bytes == m * n * size
    assert p.sram_bytes >= (m * k + k * n) * size

    assert 0 < p.utilization <= 1
    assert p.utilization == pytest.approx(p.flops / (peak * p.cycles))
    assert p.cycles == p.compute_cycles + p.stall_cycles
    assert p.stall_cycles >= 0
    assert all(0 <= busy <= p.cycles for busy in p.busy_cycles.values())
    assert p.busy_cycles["matrix"] <= p.compute_cycles
    assert all(limit <= p.cycles for limit in p.limits_cycles.values())
    assert p.time_s == pytest.approx(p.cycles / chip.clock_hz, abs=1e-12)
    fixed = math.ceil(chip.hbm.latency_ps * chip.clock_hz / 1e12)
    assert p.cycles >= p.compute_cycles + fixed
    if p.runner_up is not None:
        assert p.runner_up[0] >= p.cycles


@MANY
@given(chips(), SIZES, SIZES, SIZES, DTYPES)
def test_more_hardware_is_never_slower(chip: Chip, m: int, k: int, n: int, dtype: str) -> None:
    base = price(chip, m, k, n, dtype)
    for what in RESOURCES:
        more = price(doubled(chip, what), m, k, n, dtype)
        # in exact arithmetic: cycles of either clock against each other
        assert more.cycles * base.clock_hz <= base.cycles * more.clock_hz, what


@MANY
@given(chips(), SIZES, SIZES, SIZES, st.data())
def test_a_part_never_takes_longer(chip: Chip, m: int, k: int, n: int, data: st.DataObject) -> None:
    whole = price(chip, m, k, n)
    for axis in range(3):
        shape = [m, k, n]
        shape[axis] = data.draw(st.integers(1, shape[axis]))
        assert price(chip, *shape).cycles <= whole.cycles, shape


@MANY
@given(chips(), SIZES, SIZES, SIZES)
def test_fewer_bits_are_never_slower(chip: Chip, m: int, k: int, n: int) -> None:
    assert price(chip, m, k, n, "int8").cycles <= price(chip, m, k, n, "bf16").cycles


@settings(deadline=None, derandomize=True, max_examples=80)
@given(chips(), SIZES, SIZES, SIZES)
def test_tile_fits_the_share_of_sram(chip: Chip, m: int, k: int, n: int) -> None:
    tile_m, tile_k, tile_n = price(chip, m, k, n).tile
    assert tile_m <= m and tile_k <= k and tile_n <= n
    a_buffers = 1 if (tile_m, tile_k) == (m, k) else 2
    b_buffers = 1 if (tile_n, tile_k) == (n, k) else 2
    need = 2 * (a_buffers * tile_m * tile_k + b_buffers * tile_k * tile_n)
    assert need <= chip.sram.capacity_bytes * chip.sram.tile_fraction


@settings(deadline=None, derandomize=True, max_examples=20)
@given(chips())
def test_enormous_matmuls_stay_above_the_bounds(chip: Chip) -> None:
    p = price(chip, 2**17, 2**13, 2**15)
    assert p.cycles * 2 * chip.matrix.macs_per_cycle("bf16") >= p.flops
    assert p.cycles * chip.hbm.sustained_bytes_per_s >= p.hbm_bytes * chip.clock_hz


@pytest.mark.parametrize("shape", [(0, 1, 1), (1, -1, 1), (1, 1, LARGEST + 1), (2**20,) * 3])
def test_bad_sizes(shape: tuple[int, int, int]) -> None:
    with pytest.raises(InputError):
        price(TOY, *shape)


def test_no_rate_and_no_room() -> None:
    with pytest.raises(InputError, match="fp8"):
        price(TOY, 4, 4, 4, "fp8")
    small = dataclasses.replace(TOY, sram=dataclasses.replace(TOY.sram, capacity_bytes=64))
    with pytest.raises(InfeasibleError, match="SRAM"):
        price(small, 64, 64, 64)


def test_a_shape_is_searched_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also in another order and after another chip, and each with its own result."""
    from simulator.mapping import matmul as mapper
    from simulator.timing import operator

    searched = []
    original = mapper.search_all

    def counting(chip: object, shapes: object, bits: object, out: object) -> None:
        searched.extend(map(tuple, shapes.tolist()))  # type: ignore[attr-defined]
        original(chip, shapes, bits, out)  # type: ignore[arg-type]

    operator._remembered.cache_clear()
    monkeypatch.setattr(mapper, "search_all", counting)
    cases = [(64, 64, 64, "bf16"), (32, 64, 16, "bf16"), (64, 64, 64, "bf16")]
    first = operator.price_matmuls(TOY, cases)
    assert searched == [(64, 64, 64), (32, 64, 16)]
    faster = dataclasses.replace(TOY, clock_hz=2 * TOY.clock_hz)
    assert operator.price_matmuls(faster, cases[:1])[0] != first[0]
    assert operator.price_matmuls(TOY, cases[::-1]) == first[::-1]
    assert len(searched) == 3


@pytest.mark.parametrize(
    ("chip", "dtype"),
    [("h100", "bf16"), ("h100", "fp8"), ("tpu-v6e", "bf16"), ("tpu-v7x-die", "fp8")],
)
def test_seconds_of_many_matmuls_are_those_of_their_prices(chip, dtype):
    sizes = np.array([(1, 64, 64), (96, 4096, 5120), (4096, 4096, 4096), (96, 4096, 5120)])
    gpu = chip == "h100"
    for words in ({}, {"rotating_buffers": 6}, {"quantize": True}) if gpu else ({},):
        cases = [(m, k, n, dtype) for m, k, n in sizes.tolist()]
        priced = api.price_matmuls(chip, cases, **words)
        found = api.matmul_seconds(chip, sizes, dtype, **words)
        assert found.tolist() == [timing.time_s for timing in priced]
    assert len(api.matmul_seconds(chip, sizes[:0], dtype)) == 0


@pytest.mark.parametrize("size", [(0, 1, 1), (2**31 + 1, 1, 1), (2**31, 2**20, 2**5)])
def test_seconds_of_matmuls_out_of_range_are_refused(size):
    with pytest.raises(InputError):
        api.matmul_seconds("h100", np.array([(8, 8, 8), size]), "bf16")
    with pytest.raises(InputError):
        api.price_matmuls("h100", [(*size, "bf16")])
