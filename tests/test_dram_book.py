"""Column commands that are booked ahead change nothing: the same reads where each is waited for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.config.loader import load_memory
from simulator.hardware.dram import DramChannel
from simulator.kernels import dram
from simulator.kernels.dram_address import address_map
from simulator.kernels.dram_state import (
    BOOK_COUNT,
    BOOK_TICK,
    BOOKS,
    geometry_of,
    new_state,
    ticks_of,
)
from simulator.timing.memory import replay_memory

NONE = np.zeros(0, dtype=np.int64)
HBM = ("hbm2-2000", "hbm2e-3600", "hbm3-6400", "hbm3e-9600", "hbm4-8000", "stacked-3d-2000")


def assert_same(
    channel: DramChannel, bursts: np.ndarray, arrivals: np.ndarray, queue: int, refresh: str
) -> None:
    """With books, and in the kernel for reads and writes, which keeps none."""
    one, other = (
        replay_memory(channel, bursts, writes, arrivals, queue=queue, refresh=refresh)
        for writes in (NONE, np.zeros_like(bursts))
    )
    assert one == other


@settings(deadline=None, derandomize=True, max_examples=80)
@given(
    name=st.sampled_from(HBM),
    seed=st.integers(0, 2**20),
    again=st.sampled_from([0.0, 0.005, 0.05, 0.3]),
    gap=st.sampled_from([0, 3, 12]),
    queue=st.sampled_from([1, 4, 64, 128, 512]),
    refresh=st.sampled_from(["off", "all", "per-bank"]),
    ccd_l=st.sampled_from([0, 9, 20]),
)
def test_books_change_nothing(
    name: str, seed: int, again: float, gap: int, queue: int, refresh: str, ccd_l: int
) -> None:
    """Some requests come back to a row that may be open; columns may be further apart than rows."""
    channel = load_memory(name)
    timing = channel.timing
    channel = replace(channel, timing=replace(timing, ccd_l=max(timing.ccd_l, ccd_l)))
    rng = np.random.default_rng(seed)
    bursts = rng.integers(0, channel.organisation.bursts, 1500)
    back = np.arange(1500) - rng.integers(1, 40, 1500)
    bursts = np.where(rng.random(1500) < again, bursts[back] ^ 1, bursts)
    arrivals = np.cumsum(rng.integers(0, gap + 1, 1500)) if gap else NONE
    assert_same(channel, bursts, arrivals, queue, refresh)


@pytest.mark.parametrize("later", range(60, 100))
def test_a_row_hit_comes_before_what_is_booked(later: int) -> None:
    """A hit on an open row arrives at any tick around the booked column of another bank."""
    channel = load_memory("hbm3-6400")
    bank = 1 << 8  # the next bank under the preset's map
    bursts = np.array([0, bank, 2 * bank, 8, 8 + bank, 3 * bank, 5 * bank])
    assert_same(channel, bursts, np.array([0, 8, 16, later, later + 1, 200, 201]), 64, "off")


def test_random_reads_are_booked() -> None:
    channel = load_memory("hbm3-6400")
    org = channel.organisation
    g, t = geometry_of(org), ticks_of(channel)
    control = dram.Controller(channel.queue, channel.write_queue, dram.REFRESH_OFF, 1)
    state, narrow = new_state(g, channel.queue, channel.write_queue)
    counts = np.zeros(dram.COUNTERS, dtype=np.int64)
    fields = address_map(channel.address_map, org)
    rng = np.random.default_rng(5)
    # each request wants a row of its own
    bursts = (rng.permutation(org.rows)[:1000] << fields.row_shift) + rng.integers(
        0, 1 << fields.row_shift, 1000
    )
    dram.run_channel(bursts, NONE, NONE, fields, g, t, control, state, narrow, counts)
    assert counts[dram.HITS] == 0
    # all but the last queue of them, whose commands are waited for
    assert state[BOOK_TICK : BOOK_TICK + BOOKS].max() > 0.8 * counts[dram.END]
    assert state[BOOK_COUNT] == 0


@pytest.mark.parametrize(("rcd_read", "precharge_ticks"), [(60, 4), (101, 4), (101, 1)])
def test_no_precharge_before_the_read_that_its_row_was_opened_for(
    rcd_read: int, precharge_ticks: int
) -> None:
    """A precharge that holds its bus for longer than tRTP could start before the booked read."""
    channel = load_memory("hbm2e-3600")
    channel = replace(
        channel,
        timing=replace(channel.timing, rcd_read=rcd_read, rp=6, rtp=2),
        bus=replace(channel.bus, activate_ticks=5, precharge_ticks=precharge_ticks),
    )
    bursts = np.random.default_rng(1).integers(0, channel.organisation.bursts, 4000)
    assert_same(channel, bursts, NONE, 3, "all")
