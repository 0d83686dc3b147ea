"""First ready, first come, first served: which command goes next on a bus, and when.

A look compares all banks, without branches and signed indices, of which the compiler makes vector
loops: that is faster than to keep the banks in order. It finds the first tick at which a command
can go, and then the oldest request whose command can go at that tick. Only a command on the same
bus or a new offer changes that, so a request costs one look a command.
"""

from __future__ import annotations

import numpy as np

from simulator.kernels.dram_state import (
    B_ACT,
    B_PRE,
    B_READ,
    BANK_STRIDE,
    BLOCK,
    CLOSED,
    COLUMN_KEY,
    COUNT,
    IS_HIT,
    NEVER,
    NONE,
    OPENED,
    P_ACT,
    P_PRE,
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

_SIGN = 31


@inlined
def _row_due(v: Narrow, bank: int, begin: int, edge: int) -> int:
    """The tick from ``begin`` on of a bank's row command; activates start on a rising edge."""
    closed = v[at(CLOSED) + bank]
    due = np.int32(v[at(B_ACT) + bank] & closed) | np.int32(v[at(B_PRE) + bank] & np.int32(~closed))
    due = max(np.int32(due), begin)
    odd = np.int32(closed & edge)
    return np.int32(np.int32(due + odd) & np.int32(~odd))


@inlined
def _compare_rows(v: Narrow, side: int, start: int, per_clock: int, banks: int) -> tuple[int, int]:
    """First tick from ``start`` on at which one of the banks can go, and the oldest key then."""
    none, one, sign = np.int32(NONE), np.int32(1), np.int32(_SIGN)
    begin, edge = np.int32(start), np.int32(per_clock - 1)
    keys, soonest, oldest = at(ROW_KEY + side), none, none
    for i in range(at(banks)):
        # all bits where nothing is offered: a branch would keep the compiler from making vectors
        empty = np.int32(np.int32(v[keys + i] + one) >> sign)
        due = _row_due(v, i, begin, edge)
        soonest = min(soonest, np.int32(due | np.int32(empty & none)))
    for i in range(at(banks)):
        waits = np.int32(np.int32(soonest - _row_due(v, i, begin, edge)) >> sign)
        oldest = min(oldest, np.int32(v[keys + i] | np.int32(waits & none)))
    return (NEVER if soonest == none else int(soonest)), int(oldest)


@inlined
def first_row(
    v: Narrow, g: Geometry, per_clock: int, direction: int, start: int
) -> tuple[int, int]:
    """Tick and key of the next activate or precharge of a direction from ``start`` on.

    ``NEVER`` and ``NONE`` if there is none. A bank whose activate still waits for its column
    command is not closed.
    """
    side = direction * BANK_STRIDE
    # loops of known lengths, which the compiler makes vectors of without a rest
    if g.banks <= 2 * BLOCK:
        return _compare_rows(v, side, start, per_clock, 2 * BLOCK)
    if g.banks <= 4 * BLOCK:
        return _compare_rows(v, side, start, per_clock, 4 * BLOCK)
    return _compare_rows(v, side, start, per_clock, 8 * BLOCK)


@called
def look_at_rows(v: Narrow, g: Geometry, per_clock: int, start: int) -> tuple[int, int]:
    """``first_row`` of reads, for where it is seldom needed."""
    return first_row(v, g, per_clock, READ, start)


@inlined
def _compare_columns(
    v: Narrow, side: int, most: int, start: int, per_clock: int, banks: int
) -> tuple[int, int]:
    """First tick from ``start`` on at which a bank can go, keys below ``most``; the oldest then."""
    none, sign, begin = np.int32(NONE), np.int32(_SIGN), np.int32(start)
    limit, edge = np.int32(most), np.int32(per_clock - 1)
    keys, deadlines, soonest, oldest = at(COLUMN_KEY + side), at(B_READ + side), none, none
    for i in range(at(banks)):
        allowed = np.int32(np.int32(v[keys + i] - limit) >> sign)
        due = max(v[deadlines + i], begin)
        soonest = min(soonest, np.int32(due | np.int32(np.int32(~allowed) & none)))
    if soonest == none:
        return NEVER, NONE
    soonest = np.int32(np.int32(soonest + edge) & np.int32(~edge))
    for i in range(at(banks)):
        waits = np.int32(np.int32(soonest - v[deadlines + i]) >> sign)
        oldest = min(oldest, np.int32(v[keys + i] | np.int32(waits & none)))
    return int(soonest), int(oldest)


@inlined
def _first_column(
    v: Narrow, g: Geometry, per_clock: int, direction: int, most: int, start: int
) -> tuple[int, int]:
    """Tick and key of the next column command of a direction whose key is below ``most``."""
    side = direction * BANK_STRIDE
    if g.banks <= 2 * BLOCK:
        return _compare_columns(v, side, most, start, per_clock, 2 * BLOCK)
    if g.banks <= 4 * BLOCK:
        return _compare_columns(v, side, most, start, per_clock, 4 * BLOCK)
    return _compare_columns(v, side, most, start, per_clock, 8 * BLOCK)


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
    later, keys = NEVER, ROW_KEY + direction * BANK_STRIDE
    rising = now == align(now, per_clock)
    for pc in range(g.pcs):
        act, pre = NEVER, NEVER
        for bank in range(at(pc << g.pc_shift), at((pc + 1) << g.pc_shift)):
            offer, closed = v[at(keys) + bank] != NONE, v[at(CLOSED) + bank] != 0
            act = min(act, v[at(B_ACT) + bank] if offer & closed else NEVER)
            pre = min(pre, v[at(B_PRE) + bank] if offer & (not closed) else NEVER)
        if not rising or c[at(P_ACT + pc)] > now:
            act = align(max(c[at(P_ACT + pc)], now + 1), per_clock)
        if c[at(P_PRE + pc)] > now:
            pre = c[at(P_PRE + pc)]
        later = min(later, act, pre)
    return later


@inlined
def next_direction(c: Ints, direction: int, write_places: int) -> int:
    """Write drain: from four fifths full down to one fifth, or while there are no reads."""
    reads, writes = c[at(COUNT + READ)], c[at(COUNT + WRITE)]
    if writes == 0:
        return READ
    if direction == READ:
        return WRITE if 5 * writes > 4 * write_places or reads == 0 else READ
    return READ if 5 * writes < write_places and reads != 0 else WRITE
