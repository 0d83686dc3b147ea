"""First ready, first come, first served: which command goes next on a bus, and when.

A look compares all banks, without branches and signed indices, of which the compiler makes vector
loops: that is faster than to keep the banks in order. It finds the first tick at which a command
can go, and then the oldest request whose command can go at that tick. Only a command on the same
bus or a new offer changes that, so a request costs one look a command.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from simulator.kernels.dram_state import (
    ACT_DUE,
    B_ACT,
    B_PRE,
    BANK_STRIDE,
    BLOCK,
    COLUMN_DUE,
    COLUMN_KEY,
    COUNT,
    IS_HIT,
    NEVER,
    NONE,
    OPENED,
    P_ACT,
    P_PRE,
    PRE_DUE,
    READ,
    ROW_KEY,
    WRITE,
    Geometry,
    Ints,
    Narrow,
    align,
    at,
    called,
    inlined,
)


@inlined
def _blocks(banks: int) -> Any:
    """A multiple of ``BLOCK`` as the end of a range, of which the compiler sees that it is one.

    Then it makes vector loops without a rest; loops of a known length it would unroll instead.
    """
    return np.uintp(banks & (8 * BLOCK - BLOCK))


@inlined
def _oldest_row(v: Narrow, g: Geometry, per_clock: int, side: int, tick: int) -> int:
    """Key of the oldest request for which an activate or a precharge can go at a tick."""
    none, oldest = np.int32(NONE), np.int32(NONE)
    acts, pres, keys = at(ACT_DUE + side), at(PRE_DUE + side), at(ROW_KEY + side)
    last_pre = np.int32(tick)
    # activates start on a rising edge
    last_act = last_pre if tick == align(tick, per_clock) else np.int32(-NONE)
    for i in range(_blocks(g.compared)):
        waits = (v[acts + i] > last_act) & (v[pres + i] > last_pre)
        oldest = min(oldest, none if waits else v[keys + i])
    return int(oldest)


@inlined
def first_row(
    v: Narrow, g: Geometry, per_clock: int, direction: int, start: int, crowded: bool
) -> tuple[int, int]:
    """Tick and key of the next activate or precharge of a direction from ``start`` on.

    The tick is ``NEVER`` if there is none. A bank whose activate still waits for its column command
    is not closed. Where the bus is ``crowded``, most often a command can go at once.
    """
    side = direction * BANK_STRIDE
    if crowded:
        oldest = _oldest_row(v, g, per_clock, side, start)
        if oldest < NONE:
            return start, oldest
    act, pre = np.int32(NONE), np.int32(NONE)
    acts, pres = at(ACT_DUE + side), at(PRE_DUE + side)
    for i in range(_blocks(g.compared)):
        act = min(act, v[acts + i])
        pre = min(pre, v[pres + i])
    tick = min(max(int(act), align(start, per_clock)), max(int(pre), start))
    return (NEVER if tick >= NONE else tick), _oldest_row(v, g, per_clock, side, tick)


@called
def look_at_rows(v: Narrow, g: Geometry, per_clock: int, start: int) -> tuple[int, int]:
    """``first_row`` of reads, for where it is seldom needed."""
    return first_row(v, g, per_clock, READ, start, False)


@inlined
def _first_column(
    v: Narrow, g: Geometry, per_clock: int, direction: int, most: int, start: int
) -> tuple[int, int]:
    """Tick and key of the next column command of a direction whose key is below ``most``."""
    side = direction * BANK_STRIDE
    none, limit, soonest, oldest = np.int32(NONE), np.int32(most), np.int32(NONE), np.int32(NONE)
    keys, deadlines = at(COLUMN_KEY + side), at(COLUMN_DUE + side)
    for i in range(_blocks(g.compared)):
        soonest = min(soonest, v[deadlines + i] if v[keys + i] < limit else none)
    tick = align(max(int(soonest), start), per_clock)
    last = np.int32(tick)
    for i in range(_blocks(g.compared)):
        oldest = min(oldest, none if v[deadlines + i] > last else v[keys + i])
    return (NEVER if soonest == none else tick), int(oldest)


@inlined
def first_column(
    c: Ints,
    v: Narrow,
    g: Geometry,
    per_clock: int,
    direction: int,
    hits: bool,
    mixed: bool,
    start: int,
) -> tuple[int, int, int]:
    """Tick, key and direction of the next column command from ``start`` on.

    Freshly opened rows go first, then hits if allowed; a row that was opened for the other
    direction is served too.
    """
    tick, key = _first_column(v, g, per_clock, direction, NONE if hits else IS_HIT, start)
    if mixed and c[at(OPENED + 1 - direction)] > 0:
        other_tick, other = _first_column(v, g, per_clock, 1 - direction, IS_HIT, start)
        if other_tick < tick or (other_tick == tick and other < key):
            return other_tick, other, 1 - direction
    return tick, key, direction


@called
def try_rows_again(
    c: Ints, v: Narrow, g: Geometry, per_clock: int, direction: int, now: int
) -> int:
    """When to try a row command again, none being ready now.

    Exact for every pseudo-channel that is free of its limits, else a lower bound.
    """
    later, side = NEVER, direction * BANK_STRIDE
    rising = now == align(now, per_clock)
    for pc in range(g.pcs):
        act, pre = NEVER, NEVER
        for bank in range(pc << g.pc_shift, (pc + 1) << g.pc_shift):
            act = min(act, v[at(B_ACT + bank)] if v[at(ACT_DUE + side + bank)] != NONE else NEVER)
            pre = min(pre, v[at(B_PRE + bank)] if v[at(PRE_DUE + side + bank)] != NONE else NEVER)
        if not rising or c[at(P_ACT + pc)] > now:
            act = align(max(c[at(P_ACT + pc)], now + 1), per_clock)
        if c[at(P_PRE + pc)] > now:
            pre = c[at(P_PRE + pc)]
        later = min(later, act, pre)
    return later


@inlined
def _sooner(tick: int, key: int, other_tick: int, other: int) -> tuple[int, int]:
    """The earlier of two commands, or of two at the same tick that of the older request."""
    first = (other_tick < tick) | ((other_tick == tick) & (other < key))
    return min(tick, other_tick), (other if first else key)


@inlined
def sooner_row(v: Narrow, bank: int, free: int, tick: int, key: int) -> tuple[int, int]:
    """The next row command of reads, now that a bank may be closed; ``free``: that of the bus."""
    other = v[at(PRE_DUE + bank)]
    return _sooner(tick, key, NEVER if other == NONE else max(other, free), v[at(ROW_KEY + bank)])


@inlined
def sooner_column(
    v: Narrow, bank: int, free: int, per_clock: int, tick: int, key: int
) -> tuple[int, int]:
    """The next column command of reads, now that a bank has been opened or closed."""
    other = v[at(COLUMN_DUE + bank)]
    other = align(NEVER if other == NONE else max(other, free), per_clock)
    return _sooner(tick, key, other, v[at(COLUMN_KEY + bank)])


@inlined
def next_direction(c: Ints, direction: int, write_places: int) -> int:
    """Write drain: from four fifths full down to one fifth, or while there are no reads."""
    reads, writes = c[at(COUNT + READ)], c[at(COUNT + WRITE)]
    if writes == 0:
        return READ
    if direction == READ:
        return WRITE if 5 * writes > 4 * write_places or reads == 0 else READ
    return READ if 5 * writes < write_places and reads != 0 else WRITE
