"""First ready, first come, first served: which command goes on a bus, or when to look again.

Each pick returns the bank that it chose or -1; each look says, where nothing was ready, from which
tick on something could be, so that the caller can skip to it. Deadlines only ever move later, so
that tick stays a lower bound until a new request or a changed bank offers a new command.

A look compares all banks, without branches and signed indices, of which the compiler makes vector
loops: that is faster than to keep the banks in order. What it found holds until its best bank is
taken or another one becomes ready, so that a request costs about one look a command.
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
    BLOCK_BITS,
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
def _compare(v: Narrow, key: int, deadline: int, banks: int, now: int) -> tuple[int, int, int]:
    """Smallest key of the ready banks and largest plus one, earliest deadline of the others."""
    none, tick, one, sign = np.int32(NONE), np.int32(now), np.int32(1), np.int32(31)
    oldest, soonest, youngest = none, none, np.int32(-1)
    keys, deadlines = at(key), at(deadline)
    for i in range(at(banks)):
        offer, due = v[keys + i], v[deadlines + i]
        # all bits where the deadline is to come, and where nothing is offered: a branch would
        # keep the compiler from making vectors
        waits = np.int32(np.int32(tick - due) >> sign)
        empty = np.int32(np.int32(offer + one) >> sign)
        ready = np.int32(offer | np.int32(waits & none))
        oldest = min(oldest, ready)
        youngest = max(youngest, np.int32(ready + one))  # none is the smallest number here
        soonest = min(soonest, max(due, np.int32(np.int32(~waits | empty) & none)))
    return int(oldest), int(youngest), int(soonest)


@inlined
def _look(c: Ints, v: Narrow, best: int, key: int, deadline: int, pc_shift: int, now: int) -> None:
    """Look at all banks of a pseudo-channel: which is the oldest that is ready, and what follows.

    ``best`` is the place of what is found, ``key`` and ``deadline`` those of the first bank.
    """
    # two loops of a known length, which the compiler makes vectors of without a rest
    if pc_shift == BLOCK_BITS:
        oldest, youngest, soonest = _compare(v, key, deadline, BLOCK, now)
    else:
        oldest, youngest, soonest = _compare(v, key, deadline, 2 * BLOCK, now)
    c[at(best)] = oldest
    soon = NEVER if soonest == NONE else soonest
    c[at(best + LOOK_SOON)] = soon
    c[at(best + LOOK_REST)] = soon if youngest <= oldest + 1 else now


@inlined
def _best_column(c: Ints, v: Narrow, g: Geometry, direction: int, now: int) -> int:
    """Smallest key of the ready column commands of a direction, or ``NONE``."""
    oldest, side = NONE, direction * BANK_STRIDE
    for pc in range(g.pcs):
        here, first = direction * PC_STRIDE + pc, side + (pc << g.pc_shift)
        free = c[at(P_READ + here)] <= now
        if free & (c[at(COLUMN_SOON + here)] <= now):
            best = COLUMN_BEST + here
            _look(c, v, best, COLUMN_KEY + first, B_READ + first, g.pc_shift, now)
        best = c[at(COLUMN_BEST + here)]
        oldest = min(oldest, best if free else NONE)
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
                best, soon = c[at(COLUMN_BEST + here)], c[at(COLUMN_SOON + here)]
                soon = start if best < allowed else soon
                later = min(later, max(soon, c[at(P_READ + here)]))
    return max(later, start)


@inlined
def pick_row(c: Ints, v: Narrow, g: Geometry, per_clock: int, direction: int, now: int) -> int:
    """The bank of the oldest ready activate or precharge, or -1.

    Activates start on a rising clock edge. A bank whose activate still waits for its column
    command is not closed.
    """
    oldest, side = NONE, direction * BANK_STRIDE
    rising = now == align(now, per_clock)
    for pc in range(g.pcs):
        here, first = direction * PC_STRIDE + pc, pc << g.pc_shift
        # one branch for each look: most of the others would be guessed wrong every other time
        free = rising & (c[at(P_ACT + pc)] <= now)
        if free & (c[at(ACT_SOON + here)] <= now):
            _look(c, v, ACT_BEST + here, ACT_KEY + side + first, B_ACT + first, g.pc_shift, now)
        best = c[at(ACT_BEST + here)]
        oldest = min(oldest, best if free else NONE)
        free = c[at(P_PRE + pc)] <= now
        if free & (c[at(PRE_SOON + here)] <= now):
            _look(c, v, PRE_BEST + here, PRE_KEY + side + first, B_PRE + first, g.pc_shift, now)
        best = c[at(PRE_BEST + here)]
        oldest = min(oldest, best if free else NONE)
    return -1 if oldest == NONE else oldest & BANK_MASK


@inlined
def look_row(c: Ints, g: Geometry, per_clock: int, direction: int, start: int) -> int:
    """A lower bound, from ``start`` on, of the tick at which a row command is ready."""
    later = NEVER
    for pc in range(g.pcs):
        here = direction * PC_STRIDE + pc
        best, soon = c[at(ACT_BEST + here)], c[at(ACT_SOON + here)]
        soon = soon if best == NONE else start
        later = min(later, align(max(soon, c[at(P_ACT + pc)], start), per_clock))
        best, soon = c[at(PRE_BEST + here)], c[at(PRE_SOON + here)]
        soon = soon if best == NONE else start
        later = min(later, max(soon, c[at(P_PRE + pc)], start))
    return later


@called
def look_row_exactly(
    c: Ints, v: Narrow, g: Geometry, per_clock: int, direction: int, now: int
) -> int:
    """The tick at which a row command is ready, none being ready now.

    Exact for every pseudo-channel that is free of its limits, else a lower bound.
    """
    later, side = NEVER, direction * BANK_STRIDE
    rising = now == align(now, per_clock)
    for pc in range(g.pcs):
        here, first = direction * PC_STRIDE + pc, pc << g.pc_shift
        soon = align(max(c[at(P_ACT + pc)], now + 1), per_clock)
        if rising and c[at(P_ACT + pc)] <= now:
            _look(c, v, ACT_BEST + here, ACT_KEY + side + first, B_ACT + first, g.pc_shift, now)
            soon = c[at(ACT_SOON + here)]
        later = min(later, soon)
        soon = c[at(P_PRE + pc)]
        if soon <= now:
            _look(c, v, PRE_BEST + here, PRE_KEY + side + first, B_PRE + first, g.pc_shift, now)
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
