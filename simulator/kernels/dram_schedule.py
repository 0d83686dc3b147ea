"""First ready, first come, first served: which command goes on a bus, or when to look again.

Each pick returns the bank that it chose or -1; each look says, where nothing was ready, from which
tick on something could be, so that the caller can skip to it. Deadlines only ever move later, so
that tick stays a lower bound until a new request or a changed bank offers a new command.

The picks compare all banks, a block at a time, without branches and signed indices, of which the
compiler makes vector loops: that is faster than to keep the banks in order.
"""

from __future__ import annotations

import numpy as np

from simulator.kernels.dram_state import (
    ACT_BEST,
    ACT_KEY,
    ACT_SOON,
    B_ACT,
    B_PRE,
    B_READ,
    BANK_MASK,
    BANK_STRIDE,
    BLOCK,
    COLUMN_BEST,
    COLUMN_KEY,
    COLUMN_SOON,
    COUNT,
    IS_HIT,
    LOOK_REST,
    LOOK_SOON,
    NEVER,
    NONE,
    OPENED,
    P_ACT,
    P_PRE,
    P_READ,
    PC_STRIDE,
    PRE_BEST,
    PRE_KEY,
    PRE_SOON,
    READ,
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
def _look(c: Ints, v: Narrow, best: int, key: int, deadline: int, banks: int, now: int) -> None:
    """Look at all banks of a pseudo-channel: which is the oldest that is ready, and what follows.

    ``best`` is the place of what is found, ``key`` and ``deadline`` those of the first bank.
    """
    none, tick = np.int32(NONE), np.int32(now)
    oldest, soonest, youngest = none, none, np.int32(-1)
    keys, deadlines = at(key), at(deadline)
    for i in range(at(banks & -BLOCK)):  # whole blocks, and the compiler can see it
        offer, ready_from = v[keys + i], v[deadlines + i]
        waits = ready_from > tick
        ready = none if waits else offer
        oldest = min(oldest, ready)
        youngest = max(youngest, np.int32(ready + 1))  # wraps around where there is none
        soonest = min(soonest, ready_from if waits and offer != none else none)
    c[at(best)] = oldest
    soon = NEVER if soonest == none else np.int64(soonest)
    c[at(best + LOOK_SOON)] = soon
    c[at(best + LOOK_REST)] = soon if youngest <= oldest + 1 else now


@inlined
def _best_column(c: Ints, v: Narrow, g: Geometry, direction: int, now: int) -> int:
    """Smallest key of the ready column commands of a direction, or ``NONE``."""
    oldest, side = NONE, direction * BANK_STRIDE
    for pc in range(g.pcs):
        here, first = direction * PC_STRIDE + pc, side + (pc << g.pc_shift)
        if c[at(P_READ + here)] <= now:
            if c[at(COLUMN_SOON + here)] <= now:
                best = COLUMN_BEST + here
                _look(c, v, best, COLUMN_KEY + first, B_READ + first, 1 << g.pc_shift, now)
            oldest = min(oldest, c[at(COLUMN_BEST + here)])
    return oldest


@inlined
def pick_column(
    c: Ints, v: Narrow, g: Geometry, direction: int, hits: bool, mixed: bool, now: int
) -> tuple[int, int]:
    """The oldest ready column command: of freshly opened rows first, then of hits if allowed.

    Returns bank and direction; a row that was opened for the other direction is served too.
    """
    key = NONE
    if hits or c[at(OPENED + direction)] > 0:
        key = _best_column(c, v, g, direction, now)
    if mixed and c[at(OPENED + 1 - direction)] > 0:
        other = _best_column(c, v, g, 1 - direction, now)
        if other < min(key, IS_HIT):
            return other & BANK_MASK, 1 - direction
    if key >= (NONE if hits else IS_HIT):
        return -1, direction
    return key & BANK_MASK, direction


@inlined
def look_column(c: Ints, g: Geometry, direction: int, hits: bool, start: int) -> int:
    """A lower bound, from ``start`` on, of the tick at which a column command is ready."""
    later = NEVER
    for side in range(2):
        allowed = NONE if hits and side == direction else IS_HIT
        if allowed == NONE or c[at(OPENED + side)] > 0:
            for pc in range(g.pcs):
                here = side * PC_STRIDE + pc
                # a hit that is ready but not allowed does not count
                ready = c[at(COLUMN_BEST + here)] < allowed
                soon = start if ready else c[at(COLUMN_SOON + here)]
                later = min(later, max(soon, c[at(P_READ + here)]))
    return max(later, start)


@inlined
def pick_row(c: Ints, v: Narrow, g: Geometry, per_clock: int, direction: int, now: int) -> int:
    """The bank of the oldest ready activate or precharge, or -1.

    Activates start on a rising clock edge. A bank whose activate still waits for its column
    command is not closed.
    """
    oldest, side = NONE, direction * BANK_STRIDE
    rising, banks = now == align(now, per_clock), 1 << g.pc_shift
    for pc in range(g.pcs):
        here, first = direction * PC_STRIDE + pc, pc << g.pc_shift
        if rising and c[at(P_ACT + pc)] <= now:
            if c[at(ACT_SOON + here)] <= now:
                _look(c, v, ACT_BEST + here, ACT_KEY + side + first, B_ACT + first, banks, now)
            oldest = min(oldest, c[at(ACT_BEST + here)])
        if c[at(P_PRE + pc)] <= now:
            if c[at(PRE_SOON + here)] <= now:
                _look(c, v, PRE_BEST + here, PRE_KEY + side + first, B_PRE + first, banks, now)
            oldest = min(oldest, c[at(PRE_BEST + here)])
    return -1 if oldest == NONE else oldest & BANK_MASK


@inlined
def look_row(c: Ints, g: Geometry, per_clock: int, direction: int, start: int) -> int:
    """A lower bound, from ``start`` on, of the tick at which a row command is ready."""
    later = NEVER
    for pc in range(g.pcs):
        here = direction * PC_STRIDE + pc
        soon = start if c[at(ACT_BEST + here)] < NONE else c[at(ACT_SOON + here)]
        later = min(later, align(max(soon, c[at(P_ACT + pc)], start), per_clock))
        soon = start if c[at(PRE_BEST + here)] < NONE else c[at(PRE_SOON + here)]
        later = min(later, max(soon, c[at(P_PRE + pc)], start))
    return later


@called
def look_row_exactly(
    c: Ints, v: Narrow, g: Geometry, per_clock: int, direction: int, now: int
) -> int:
    """The tick at which a row command is ready, none being ready now.

    Exact for every pseudo-channel that is free of its limits, else a lower bound.
    """
    later, side, banks = NEVER, direction * BANK_STRIDE, 1 << g.pc_shift
    rising = now == align(now, per_clock)
    for pc in range(g.pcs):
        here, first = direction * PC_STRIDE + pc, pc << g.pc_shift
        soon = align(max(c[at(P_ACT + pc)], now + 1), per_clock)
        if rising and c[at(P_ACT + pc)] <= now:
            _look(c, v, ACT_BEST + here, ACT_KEY + side + first, B_ACT + first, banks, now)
            soon = c[at(ACT_SOON + here)]
        later = min(later, soon)
        soon = c[at(P_PRE + pc)]
        if soon <= now:
            _look(c, v, PRE_BEST + here, PRE_KEY + side + first, B_PRE + first, banks, now)
            soon = c[at(PRE_SOON + here)]
        later = min(later, soon)
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
