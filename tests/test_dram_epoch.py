"""The narrow numbers of the DRAM kernel begin anew without a trace: the clock and the ranks."""

from __future__ import annotations

import numpy as np
import pytest

from simulator.config.loader import load_memory
from simulator.kernels import dram
from simulator.kernels.dram_address import address_map
from simulator.kernels.dram_epoch import EPOCH, MOST_RANKS
from simulator.kernels.dram_state import RANKS, geometry_of, new_state, ticks_of

REQUESTS = 3000


def counts_of(
    name: str, write_fraction: float, arrivals: np.ndarray, refresh: int, rank: int = 0
) -> np.ndarray:
    """Counters of a run of random requests whose first one has a given rank."""
    channel = load_memory(name)
    org = channel.organisation
    rng = np.random.default_rng(11)
    bursts = rng.integers(0, org.bursts, REQUESTS)
    bursts[::7] = bursts[0]  # some hits
    writes = np.zeros(0, dtype=np.int64)
    if write_fraction > 0:
        writes = (rng.random(REQUESTS) < write_fraction).astype(np.int64)
    geometry, ticks = geometry_of(org), ticks_of(channel)
    control = dram.Controller(channel.queue, channel.write_queue, refresh, 1)
    state, narrow = new_state(geometry, channel.queue, channel.write_queue)
    state[RANKS] = rank
    counts = np.zeros(dram.COUNTERS, dtype=np.int64)
    fields = address_map(channel.address_map, org)
    dram.run_channel(
        bursts, writes, arrivals, fields, geometry, ticks, control, state, narrow, counts
    )
    return counts


@pytest.mark.parametrize("write_fraction", [0.0, 0.4])
@pytest.mark.parametrize("name", ["hbm2-2000", "hbm3-6400", "ddr5-4800"])
def test_a_long_pause_changes_nothing_but_the_end(name: str, write_fraction: float) -> None:
    """Both halves of a run take what they took, however many epochs lie between them."""
    steps = np.random.default_rng(3).integers(0, 12, REQUESTS)
    paused = []
    for pause in (EPOCH // 8, EPOCH // 8 + 2 * EPOCH, EPOCH // 8 + (1 << 45)):
        gaps = steps.copy()
        gaps[REQUESTS // 2] += pause
        counts = counts_of(name, write_fraction, np.cumsum(gaps), dram.REFRESH_OFF)
        counts[dram.END] -= pause
        paused.append(counts.tolist())
    assert paused[0] == paused[1] == paused[2]
    assert paused[0][dram.READS] + paused[0][dram.WRITES] == REQUESTS


@pytest.mark.parametrize("write_fraction", [0.0, 0.4])
@pytest.mark.parametrize("refresh", [dram.REFRESH_ALL, dram.REFRESH_BANK])
def test_ranks_that_begin_anew_change_nothing(write_fraction: float, refresh: int) -> None:
    none = np.zeros(0, dtype=np.int64)
    expected = counts_of("hbm3-6400", write_fraction, none, refresh).tolist()
    for before in (1, 150, 1777):
        rank = MOST_RANKS - before
        assert counts_of("hbm3-6400", write_fraction, none, refresh, rank).tolist() == expected
