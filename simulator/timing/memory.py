"""A DRAM channel under an access pattern: achieved bandwidth, row hits, latency, what bounds it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from simulator.errors import InputError, did_you_mean
from simulator.hardware.dram import MAX_QUEUE, REFRESH_MODES, DramChannel

if TYPE_CHECKING:
    from simulator.kernels.dram_state import Geometry, Ticks

MAX_REQUESTS = 50_000_000
BOUNDS = ("data bus", "activate window", "row cycle", "command bus", "refresh", "queue")
BOUNDS_MEAN = {
    "data bus": "bursts follow one another as closely as the bus or a bank group can",
    "activate window": "rows of a pseudo-channel are opened as often as tFAW and tRRD allow",
    "row cycle": "one bank opens one row after another, each tRC apart",
    "command bus": "every slot for a command is taken",
    "refresh": "banks are closed for refresh most of the time",
    "queue": "nothing is full: requests wait for each other, and a longer queue would see more",
}
"""What it means that a resource bounds a run."""
PATTERNS = ("sequential", "random", "stride:BYTES", "block:BYTES")

_SATURATED = 0.8
"""A resource that is busy for this share of the time that refresh leaves bounds the run."""

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Pattern:
    """An access pattern; ``size_bytes`` is the stride or the block, 0 for the others."""

    kind: str
    size_bytes: int = 0

    def __str__(self) -> str:
        return f"{self.kind}:{self.size_bytes}" if self.size_bytes else self.kind


@dataclass(frozen=True, slots=True)
class MemoryResult:
    """What one channel achieved.

    Latency runs from a request's entry into the queue (replay: its cycle) to the last beat of its
    burst, over reads, or over writes where there are no reads. ``busy`` is the share of the time
    that the busiest instance of each resource works.
    """

    memory: str
    pattern: str
    requests: int
    queue: int
    refresh: str
    address_map: str
    write_fraction: float
    seed: int
    time_s: float
    bandwidth_bytes_per_s: float
    fraction_of_peak: float
    row_hits: int
    row_misses: int
    row_conflicts: int
    mean_latency_s: float
    bound_by: str
    busy: Mapping[str, float]


def parse_pattern(text: str) -> Pattern:
    """``sequential``, ``random``, ``stride:BYTES`` or ``block:BYTES``.

    Raises ``InputError`` for anything else; bytes are whole, positive and below 2^50.
    """
    kind, colon, size = text.partition(":")
    if kind in ("sequential", "random") and not colon:
        return Pattern(kind)
    if kind in ("stride", "block"):
        if size.isascii() and size.isdigit() and 0 < int(size[:20]) < 2**50 and len(size) <= 16:
            return Pattern(kind, int(size))
        raise InputError(
            f"found '{text[:60]}', expected {kind}:BYTES with a positive whole number of bytes"
        )
    raise InputError(
        f"unknown pattern '{text[:60]}'; expected {', '.join(PATTERNS)}",
        hint=did_you_mean(kind, ("sequential", "random", "stride", "block")),
    )


def burst_numbers(channel: DramChannel, pattern: Pattern, requests: int, seed: int) -> Ints:
    """Burst numbers (int64, ``requests`` long) of a pattern, inside the channel."""
    org = channel.organisation
    if pattern.kind == "random":
        return np.random.default_rng(seed).integers(0, org.bursts, requests, dtype=np.int64)
    index = np.arange(requests, dtype=np.int64)
    if pattern.kind == "sequential":
        return index if requests <= org.bursts else index % org.bursts
    if pattern.kind == "stride":
        # keep the product inside 64 bits: strides repeat after the capacity
        stride = pattern.size_bytes % org.capacity_bytes
        if stride * requests < 2**62:
            return index * stride % org.capacity_bytes // org.burst_bytes
        return np.array(
            [i * stride % org.capacity_bytes // org.burst_bytes for i in range(requests)],
            dtype=np.int64,
        )
    length = -(-pattern.size_bytes // org.burst_bytes)
    if length > org.bursts:
        raise InputError(
            f"a block of {pattern.size_bytes} bytes is larger than the channel "
            f"({org.capacity_bytes} bytes)"
        )
    blocks = np.random.default_rng(seed).integers(
        0, org.bursts // length, -(-requests // length), dtype=np.int64
    )
    return np.repeat(blocks, length)[:requests] * length + index % length


def simulate_memory(
    channel: DramChannel,
    pattern: Pattern | str = "sequential",
    *,
    requests: int = 40_000,
    queue: int | None = None,
    write_fraction: float = 0.0,
    refresh: str = "all",
    address_map: str | None = None,
    seed: int = 0,
) -> MemoryResult:
    """Run ``requests`` bursts of a pattern through one channel.

    ``write_fraction`` of them, chosen at random, are writes. Raises ``InputError`` for an unknown
    pattern, map or refresh mode and for numbers out of range.
    """
    if isinstance(pattern, str):
        pattern = parse_pattern(pattern)
    if not 1 <= requests <= MAX_REQUESTS:
        raise InputError(f"requests: found {requests}, expected 1 to {MAX_REQUESTS}")
    if not (math.isfinite(write_fraction) and 0 <= write_fraction <= 1):
        raise InputError(f"write fraction: found {write_fraction}, expected 0 to 1")
    bursts = burst_numbers(channel, pattern, requests, seed)
    writes = np.zeros(0, dtype=np.int64)
    if write_fraction > 0:
        draw = np.random.default_rng([seed, 1]).random(requests)
        writes = (draw < write_fraction).astype(np.int64)
    return replay_memory(
        channel,
        bursts,
        writes,
        np.zeros(0, dtype=np.int64),
        pattern=str(pattern),
        queue=queue,
        refresh=refresh,
        address_map=address_map,
        seed=seed,
    )


def replay_memory(
    channel: DramChannel,
    bursts: Ints,
    writes: Ints,
    arrivals: Ints,
    *,
    pattern: str = "trace",
    queue: int | None = None,
    refresh: str = "all",
    address_map: str | None = None,
    seed: int = 0,
) -> MemoryResult:
    """Run given bursts: ``writes`` (0 or 1) and ``arrivals`` (ticks, never falling) may be empty.

    Raises ``InputError`` for an unknown map or refresh mode and a queue out of range.
    """
    from simulator.kernels import dram
    from simulator.kernels.dram_address import address_map as make_map
    from simulator.kernels.dram_state import geometry_of, new_state, ticks_of

    places = channel.queue if queue is None else queue
    if not 1 <= places <= MAX_QUEUE or not 1 <= channel.write_queue <= MAX_QUEUE:
        raise InputError(f"queue: found {places}, expected 1 to {MAX_QUEUE}")
    if refresh not in REFRESH_MODES:
        raise InputError(
            f"refresh: unknown mode '{refresh}'; expected {', '.join(REFRESH_MODES)}",
            hint=did_you_mean(refresh, REFRESH_MODES),
        )
    name = channel.address_map if address_map is None else address_map
    fields = make_map(name, channel.organisation)
    geometry, ticks = geometry_of(channel.organisation), ticks_of(channel)
    mode = {"off": dram.REFRESH_OFF, "all": dram.REFRESH_ALL, "per-bank": dram.REFRESH_BANK}
    control = dram.Controller(
        places, channel.write_queue, mode[refresh], int(channel.refresh_together)
    )
    state, narrow = new_state(geometry, places, channel.write_queue)
    counts = np.zeros(dram.COUNTERS, dtype=np.int64)
    dram.run_channel(
        bursts, writes, arrivals, fields, geometry, ticks, control, state, narrow, counts
    )
    end = int(counts[dram.END])
    time_s = channel.seconds(end)
    moved = bursts.size * channel.organisation.burst_bytes
    bus_ticks = geometry.pcs * end
    busy = _busy(state, counts, geometry, ticks, refresh)
    at = dram.READS if counts[dram.READS] else dram.WRITES
    return MemoryResult(
        memory=channel.name,
        pattern=pattern,
        requests=int(bursts.size),
        queue=places,
        refresh=refresh,
        address_map=name,
        write_fraction=float(counts[dram.WRITES]) / bursts.size,
        seed=seed,
        time_s=time_s,
        bandwidth_bytes_per_s=channel.bytes_per_s(moved, end),
        fraction_of_peak=bursts.size * ticks.burst / bus_ticks,
        row_hits=int(counts[dram.HITS]),
        row_misses=int(counts[dram.MISSES]),
        row_conflicts=int(counts[dram.CONFLICTS]),
        mean_latency_s=float(counts[at + 1] / counts[at]) * channel.tick_s,
        bound_by=_bound(busy),
        busy=busy,
    )


def _busy(state: Ints, counts: Ints, g: Geometry, t: Ticks, refresh: str) -> dict[str, float]:
    """Share of the run for which the busiest instance of each resource was held."""
    from simulator.kernels import dram
    from simulator.kernels.dram_state import ACTS, COLUMNS

    end = int(counts[dram.END])
    columns = state[COLUMNS : COLUMNS + g.banks]
    acts = state[ACTS : ACTS + g.banks]
    by_pc = columns.reshape(g.pcs, -1).sum(axis=1)
    by_group = columns.reshape(-1, 1 << g.bg_shift).sum(axis=1)
    acts_by_pc = acts.reshape(g.pcs, -1).sum(axis=1)
    row_bus = int(acts.sum()) * t.act_len + int(counts[dram.PRECHARGES]) * t.pre_len
    column_bus = int(columns.sum()) * t.col_len
    command = max(row_bus, column_bus) if t.separate_buses else row_bus + column_bus
    window = max(t.faw / 4, t.rrd_s)
    each = t.ref_to_act if refresh == "all" else t.refpb_to_other_act
    sharing = g.pcs if refresh == "all" or counts[dram.REFRESHES] else 1
    figures = {
        "data bus": max(int(by_pc.max()) * t.burst, int(by_group.max()) * t.ccd_l),
        "activate window": int(acts_by_pc.max()) * window,
        "row cycle": int(acts.max()) * t.act_to_act,
        "command bus": command,
        "refresh": int(counts[dram.REFRESHES]) * each / sharing,
    }
    return {name: min(1.0, ticks / end) for name, ticks in figures.items()}


def _bound(busy: Mapping[str, float]) -> str:
    """The busiest resource, if it is nearly saturated in what refresh leaves; else the queue."""
    rest = {name: share for name, share in busy.items() if name != "refresh"}
    # of resources that are equally busy the one listed first in BOUNDS is named
    name = max(rest, key=lambda key: rest[key])
    if busy["refresh"] > rest[name]:
        return "refresh"
    left = max(1e-9, 1 - busy["refresh"])
    return name if rest[name] / left >= _SATURATED else "queue"


@lru_cache(maxsize=4096)
def stream_efficiency(memory: str, pattern: str, write_fraction: float = 0.0) -> float:
    """Achieved fraction of the peak of a memory preset under a pattern, refresh paid (memoised).

    Raises ``InputError`` as ``load_memory`` and ``simulate_memory`` do.
    """
    from simulator.config.loader import load_memory

    result = simulate_memory(
        load_memory(memory), pattern, requests=20_000, write_fraction=write_fraction
    )
    return result.fraction_of_peak
