"""Jumps over the repetitions of a stream change nothing: the same stream without them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.config.dram_schema import list_memories
from simulator.config.loader import load_memory
from simulator.hardware.dram import CONVENTIONAL_MAPS, DramChannel
from simulator.kernels.dram_address import address_map
from simulator.timing.memory import MemoryResult, replay_memory

NONE = np.zeros(0, dtype=np.int64)
MAPS = (*CONVENTIONAL_MAPS, "pc.bg.col.sid.ba.row", "pc.bg.sid.ba.col.row", "col.ba.bg.sid.pc.row")


def both_ways(
    channel: DramChannel, bursts: np.ndarray, queue: int, refresh: str, order: str
) -> tuple[MemoryResult, MemoryResult]:
    """With jumps, and without: requests that have a time of arrival, even 0, are not watched.

    The latency then runs from that time, so it is left out.
    """
    with_jumps, without = (
        replay_memory(
            channel, bursts, NONE, arrivals, queue=queue, refresh=refresh, address_map=order
        )
        for arrivals in (NONE, np.zeros_like(bursts))
    )
    return replace(with_jumps, mean_latency_s=0.0), replace(without, mean_latency_s=0.0)


@settings(deadline=None, derandomize=True, max_examples=60)
@given(
    name=st.sampled_from(list_memories()),
    starts=st.lists(st.integers(0, 2**20), min_size=1, max_size=3),
    length=st.integers(3000, 12_000),
    queue=st.sampled_from([1, 7, 64, 128, 300]),
    refresh=st.sampled_from(["off", "all", "per-bank"]),
    order=st.sampled_from(MAPS),
    rows=st.sampled_from([16, 16384]),
)
def test_jumps_change_nothing(
    name: str,
    starts: list[int],
    length: int,
    queue: int,
    refresh: str,
    order: str,
    rows: int,
) -> None:
    channel = load_memory(name)
    channel = replace(channel, organisation=replace(channel.organisation, rows=rows))
    streams = [(start + np.arange(length)) % channel.organisation.bursts for start in starts]
    one, other = both_ways(channel, np.concatenate(streams), queue, refresh, order)
    assert one == other


def test_a_burst_out_of_line_is_not_jumped_over() -> None:
    channel = load_memory("hbm2-2000")
    straight = np.arange(8000)
    for place in (3000, 6000, 7990):
        bent = np.insert(straight, place, 2**19)
        one, other = both_ways(channel, bent, 64, "off", channel.address_map)
        assert one == other


@pytest.mark.parametrize(
    ("name", "length", "queue", "rows"),
    [
        ("hbm3-6400", 300_000, 128, 16384),  # 26 refreshes until it comes round every 8
        ("hbm4-8000", 420_000, 128, 16),  # rows come round before refreshes do
        ("gddr6-14000", 120_000, 64, 16384),
        ("hbm2-2000", 300_000, 7, 64),
        ("hbm2e-3600", 500_000, 64, 65536),
    ],
)
def test_whole_rounds_of_refreshes_change_nothing(
    name: str, length: int, queue: int, rows: int
) -> None:
    """A stream that is long enough to come round, then another one that begins elsewhere."""
    channel = load_memory(name)
    channel = replace(channel, organisation=replace(channel.organisation, rows=rows))
    streams = [(start + np.arange(length)) % channel.organisation.bursts for start in (77, 5000)]
    one, other = both_ways(channel, np.concatenate(streams), queue, "all", channel.address_map)
    assert one == other


def test_a_burst_out_of_line_ends_the_rounds() -> None:
    channel = load_memory("hbm3-6400")
    for place in (200_000, 277_777, 299_990):
        bent = np.insert(np.arange(300_000), place, 2**19)
        one, other = both_ways(channel, bent, 128, "all", channel.address_map)
        assert one == other


def test_the_latency_of_a_stream_is_that_of_its_periods() -> None:
    """Past the start every period adds the same ticks and the same latency."""
    channel = load_memory("hbm3-6400")
    ends = []
    for periods in (20, 30, 40):
        bursts = np.arange(2048 * periods)
        result = replay_memory(channel, bursts, NONE, NONE, refresh="off")
        ends.append((result.time_s, result.mean_latency_s * bursts.size))
    for first, second, third in zip(*ends, strict=True):
        assert third - second == pytest.approx(second - first, rel=1e-9)


@pytest.mark.parametrize(
    ("order", "bits"),
    [
        ("pc.bg.col.sid.ba.row", 8),  # pseudo-channel, bank group and column below the period
        ("col.pc.sid.bg.ba.row", 8),  # 6, but never below 8
        ("pc.bg.col.ba.sid.row", 10),  # a carry of the bank into the stack would tear groups apart
        ("pc.sid.bg.ba.col.row", 11),  # every bank, then the next row
        ("col.row.ba.bg.sid.pc", 0),  # the row is not on top
    ],
)
def test_periods_of_address_maps(order: str, bits: int) -> None:
    assert address_map(order, load_memory("hbm3-6400").organisation).period_bits == bits
