"""The bank-level kernel: closed forms to the tick, a slow witness, physics."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference_dram import simulate_slowly

from simulator.config.dram_schema import list_memories
from simulator.config.loader import load_memory
from simulator.hardware.dram import DramChannel
from simulator.kernels.dram_address import address_map
from simulator.timing.memory import (
    MemoryResult,
    replay_memory,
    simulate_memory,
    stream_efficiency,
)

PRESETS = ("hbm2-2000", "hbm3-6400")
NONE = np.zeros(0, dtype=np.int64)


def burst(channel: DramChannel, **where: int) -> int:
    """The burst number of a place, under the preset's own map."""
    sizes, number, scale = channel.organisation.field_sizes(), 0, 1
    for name in channel.address_map.split("."):
        number += where.get(name, 0) * scale
        scale *= sizes[name]
    return number


def replay(channel: DramChannel, places: list[dict[str, int]], clocks: list[int]) -> MemoryResult:
    tick = channel.bus.ticks_per_clock
    bursts = np.array([burst(channel, **place) for place in places], dtype=np.int64)
    arrivals = np.array([clock * tick for clock in clocks], dtype=np.int64)
    return replay_memory(channel, bursts, NONE, arrivals, refresh="off")


def clocks_of(channel: DramChannel, result: MemoryResult) -> int:
    clocks = result.time_s / (channel.clock_ps * 1e-12)
    assert clocks == pytest.approx(round(clocks), abs=1e-6)
    return round(clocks)


@pytest.mark.parametrize("name", PRESETS)
def test_a_conflict_takes_precharge_activate_and_read(name: str) -> None:
    channel = load_memory(name)
    t = channel.timing
    result = replay(channel, [{"row": 0}, {"row": 1}], [0, 1000])
    assert clocks_of(channel, result) == 1000 + t.rp + t.rcd_read + t.read_latency + t.burst
    assert (result.row_hits, result.row_misses, result.row_conflicts) == (0, 1, 1)


@pytest.mark.parametrize("name", PRESETS)
def test_row_cycle_is_exact_at_t_minus_1_and_t(name: str) -> None:
    """The second row's activate waits for nRC after the first, and no longer than that."""
    channel = load_memory(name)
    t = channel.timing
    cycle = max(t.rc, t.ras + t.rp)
    at_once = clocks_of(channel, replay(channel, [{"row": 0}, {"row": 1}], [0, 1]))
    # the activate of the first goes out at 0, and the same path from activate to data is added
    first = clocks_of(channel, replay(channel, [{"row": 0}], [0]))
    assert at_once == first + cycle
    # a request that arrives so late that its precharge starts at rc - rp sees no row cycle ...
    late = cycle - t.rp + 1
    assert clocks_of(channel, replay(channel, [{"row": 0}, {"row": 1}], [0, late])) == (
        late + t.rp + t.rcd_read + t.read_latency + t.burst
    )
    # ... and one clock earlier it ends a clock earlier at most
    early = clocks_of(channel, replay(channel, [{"row": 0}, {"row": 1}], [0, late - 1]))
    assert early in (at_once, late - 1 + t.rp + t.rcd_read + t.read_latency + t.burst)


@pytest.mark.parametrize("name", PRESETS)
def test_column_gap_within_and_between_bank_groups(name: str) -> None:
    channel = load_memory(name)
    t = channel.timing
    opened = [{"bg": 0}, {"bg": 1}]
    for bg, gap in ((0, t.ccd_l), (1, max(t.burst, t.ccd_s))):
        places = [*opened, {"bg": 0, "col": 1}, {"bg": bg, "col": 2}]
        result = replay(channel, places, [0, 0, 1000, 1000])
        assert clocks_of(channel, result) == 1000 + gap + t.read_latency + t.burst
        assert result.row_hits == 2


@pytest.mark.parametrize("delta", [-1, 0, 1])
def test_the_fifth_activate_waits_for_the_window(delta: int) -> None:
    """A window one clock longer ends the burst one clock later, and one shorter one earlier."""
    base = load_memory("hbm2-2000")
    channel = replace(base, timing=replace(base.timing, faw=40 + delta))
    t = channel.timing
    places = [{"bg": i % 4, "ba": i // 4} for i in range(5)]
    result = replay(channel, places, [0] * 5)
    first = clocks_of(channel, replay(channel, places[:1], [0]))
    assert clocks_of(channel, result) == first + t.faw


def test_refresh_takes_its_time_off_a_stream() -> None:
    channel = load_memory("hbm2-2000")
    on = simulate_memory(channel, "sequential", requests=20_000)
    off = simulate_memory(channel, "sequential", requests=20_000, refresh="off")
    ideal = 1 - channel.timing.rfc / channel.timing.refi
    assert off.fraction_of_peak > 0.995
    assert ideal - 0.03 < on.fraction_of_peak <= ideal + 0.02


@pytest.mark.parametrize(
    ("name", "stride", "expected"),
    [
        ("hbm2-2000", 64, 0.5),  # one pseudo-channel
        ("hbm2-2000", 256, 2 / 4 / 2),  # one bank group
        ("hbm2-2000", 2**18, 2 / 48 / 2),  # one bank, a new row each time
        ("hbm3-6400", 64, 0.5),
        ("hbm3-6400", 2**19, 2 / 72 / 2),
    ],
)
def test_strides_reach_their_closed_forms(name: str, stride: int, expected: float) -> None:
    result = simulate_memory(load_memory(name), f"stride:{stride}", requests=8000, refresh="off")
    assert result.fraction_of_peak == pytest.approx(expected, rel=0.02)


def test_what_bounds_a_run() -> None:
    hbm2, hbm3 = load_memory("hbm2-2000"), load_memory("hbm3-6400")
    assert simulate_memory(hbm2, "sequential", requests=8000).bound_by == "data bus"
    assert simulate_memory(hbm2, "random", requests=8000).bound_by == "command bus"
    assert simulate_memory(hbm3, "random", requests=8000).bound_by == "activate window"
    assert simulate_memory(hbm2, "stride:262144", requests=2000).bound_by == "row cycle"
    assert simulate_memory(hbm3, "random", requests=2000, queue=1).bound_by == "queue"


# two boards of few banks, in which everything collides
def _small(name: str, sids: int) -> DramChannel:
    base = load_memory(name)
    org = replace(base.organisation, stack_ids=sids, bank_groups=2, banks=2, rows=4, columns=4)
    timing = replace(base.timing, refi=400, rfc=60)
    return replace(base, organisation=org, timing=timing)


@settings(deadline=None, derandomize=True, max_examples=60)
@given(
    channel=st.sampled_from([_small("hbm2-2000", 1), _small("hbm3-6400", 2)]),
    picks=st.lists(st.integers(0, 2**20), min_size=1, max_size=40),
    queue=st.sampled_from([1, 2, 5, 16]),
    refresh=st.booleans(),
)
def test_equals_the_slow_witness(
    channel: DramChannel, picks: list[int], queue: int, refresh: bool
) -> None:
    bursts = [pick % channel.organisation.bursts for pick in picks]
    _assert_equal_to_witness(channel, bursts, queue, refresh)


@pytest.mark.parametrize("seed", range(16))
def test_equals_the_slow_witness_where_younger_hits_overtake(seed: int) -> None:
    """Many requests for each bank in a long queue: an older conflict wants the bank closed."""
    rng = np.random.default_rng(seed)
    channel = _small("hbm2-2000", 1) if seed % 2 else _small("hbm3-6400", 2)
    bursts = rng.integers(0, channel.organisation.bursts, 90).tolist()
    _assert_equal_to_witness(channel, bursts, (8, 16, 32)[seed % 3], refresh=seed % 4 > 1)


def _assert_equal_to_witness(
    channel: DramChannel, bursts: list[int], queue: int, refresh: bool
) -> None:
    slow = simulate_slowly(channel, bursts, queue, refresh)
    fast = replay_memory(
        channel,
        np.array(bursts, dtype=np.int64),
        NONE,
        NONE,
        queue=queue,
        refresh="all" if refresh else "off",
    )
    got = {
        "hits": fast.row_hits,
        "misses": fast.row_misses,
        "conflicts": fast.row_conflicts,
        "end": round(fast.time_s / channel.tick_s),
        "latency": round(fast.mean_latency_s / channel.tick_s * len(bursts)),
    }
    assert got == slow


@settings(deadline=None, derandomize=True, max_examples=60)
@given(
    name=st.sampled_from(list_memories()),
    pattern=st.sampled_from(["sequential", "random", "stride:96", "stride:4096", "block:300"]),
    queue=st.integers(1, 64),
    share=st.sampled_from([0.0, 0.3, 1.0]),
    refresh=st.sampled_from(["all", "per-bank", "off"]),
    field_order=st.permutations(["pc", "bg", "col", "sid", "ba", "row"]),
)
def test_never_above_the_peak_and_every_request_counted_once(
    name: str, pattern: str, queue: int, share: float, refresh: str, field_order: list[str]
) -> None:
    result = simulate_memory(
        load_memory(name),
        pattern,
        requests=700,
        queue=queue,
        write_fraction=share,
        refresh=refresh,
        address_map=".".join(field_order),
    )
    assert 0 < result.fraction_of_peak <= 1
    assert result.row_hits + result.row_misses + result.row_conflicts == 700
    assert all(0 <= share <= 1 for share in result.busy.values())
    t = load_memory(name).timing
    least = min(t.read_latency, t.write_latency) + t.burst
    assert result.mean_latency_s >= least * load_memory(name).clock_ps * 0.999e-12


def test_turnarounds_cost_and_the_seed_decides() -> None:
    channel = load_memory("hbm2-2000")
    reads = simulate_memory(channel, "sequential", requests=8000)
    mixed = simulate_memory(channel, "sequential", requests=8000, write_fraction=0.5, seed=3)
    assert mixed.fraction_of_peak < reads.fraction_of_peak
    assert mixed == simulate_memory(
        channel, "sequential", requests=8000, write_fraction=0.5, seed=3
    )
    assert mixed != simulate_memory(
        channel, "sequential", requests=8000, write_fraction=0.5, seed=4
    )


def test_stream_efficiency_orders_footprints() -> None:
    short, long = (stream_efficiency("hbm2-2000", f"block:{size}") for size in (64, 4096))
    assert short < 0.5 < long < stream_efficiency("hbm2-2000", "sequential") < 1


def test_conventional_maps_are_bit_fields() -> None:
    org = load_memory("hbm3-6400").organisation
    named, written = address_map("RoBaRaCoCh", org), address_map("col.pc.sid.bg.ba.row", org)
    assert named == written
    assert (named.pc_shift, named.row_shift) == (5, 11)
