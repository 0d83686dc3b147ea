"""First ready, first come, first served: which command goes on a bus, or when to look again.

Each pick returns the bank that it chose or -1; each look says, where nothing was ready, from which
tick on something could be, so that the caller can skip to it. Deadlines only ever move later, so
that tick stays a lower bound until a new request or a changed bank offers a new command.

The picks compare all banks, a block at a time, without branches and signed indices, of which the
compiler makes vector loops: that is faster than to keep the banks in order.
"""

from __future__ import annotations

from simulator.kernels.dram_state import (
    ACT_KEY,
    ACT_SOON,
    B_ACT,
    B_PRE,
    B_READ,
    BANK_MASK,
    BANK_STRIDE,
    BLOCK,
    COLUMN_KEY,
    COLUMN_SOON,
    COUNT,
    IS_HIT,
    NEVER,
    OPENED,
    P_ACT,
    P_PRE,
    P_READ,
    PC_STRIDE,
    PRE_KEY,
    PRE_SOON,
    READ,
    WRITE,
    Geometry,
    Ints,
    align,
    at,
    called,
    inlined,
)


@inlined
def _oldest_ready(c: Ints, key: int, deadline: int, banks: int, now: int) -> int:
    """Smallest key of the banks whose deadline has come, or ``NEVER``."""
    best, keys, deadlines = NEVER, at(key), at(deadline)
    for i in range(at(banks & -BLOCK)):  # whole blocks, and the compiler can see it
        best = min(best, c[keys + i] if c[deadlines + i] <= now else NEVER)
    return best


@inlined
def _soonest(c: Ints, key: int, deadline: int, banks: int) -> int:
    """Earliest deadline of the banks that offer a command, or ``NEVER``."""
    soonest, keys, deadlines = NEVER, at(key), at(deadline)
    for i in range(at(banks & -BLOCK)):
        soonest = min(soonest, c[deadlines + i] if c[keys + i] != NEVER else NEVER)
    return soonest


@inlined
def _oldest_column(c: Ints, g: Geometry, direction: int, now: int) -> int:
    """Smallest key of the ready column commands of a direction, or ``NEVER``."""
    best, side = NEVER, direction * BANK_STRIDE
    for pc in range(g.pcs):
        here, first = direction * PC_STRIDE + pc, side + (pc << g.pc_shift)
        if c[at(COLUMN_SOON + here)] <= now and c[at(P_READ + here)] <= now:
            key = _oldest_ready(c, COLUMN_KEY + first, B_READ + first, 1 << g.pc_shift, now)
            if key == NEVER:
                soon = _soonest(c, COLUMN_KEY + first, B_READ + first, 1 << g.pc_shift)
                c[at(COLUMN_SOON + here)] = soon
            best = min(best, key)
    return best


@inlined
def pick_column(
    c: Ints, g: Geometry, direction: int, hits: bool, mixed: bool, now: int
) -> tuple[int, int]:
    """The oldest ready column command: of freshly opened rows first, then of hits if allowed.

    Returns bank and direction; a row that was opened for the other direction is served too.
    """
    key = NEVER
    if hits or c[at(OPENED + direction)] > 0:
        key = _oldest_column(c, g, direction, now)
    if mixed and c[at(OPENED + 1 - direction)] > 0:
        other = _oldest_column(c, g, 1 - direction, now)
        if other < min(key, IS_HIT):
            return other & BANK_MASK, 1 - direction
    if key >= (NEVER if hits else IS_HIT):
        return -1, direction
    return key & BANK_MASK, direction


@inlined
def look_column(c: Ints, g: Geometry, direction: int, hits: bool, now: int) -> int:
    """A lower bound of the tick at which a column command is ready, none being ready now."""
    later = NEVER
    for side in range(2):
        if (hits and side == direction) or c[at(OPENED + side)] > 0:
            for pc in range(g.pcs):
                here = side * PC_STRIDE + pc
                later = min(later, max(c[at(COLUMN_SOON + here)], c[at(P_READ + here)]))
    # a hit that is ready but not allowed does not count
    return max(later, now + 1)


@inlined
def pick_row(c: Ints, g: Geometry, per_clock: int, direction: int, now: int) -> int:
    """The bank of the oldest ready activate or precharge, or -1.

    Activates start on a rising clock edge. A bank whose activate still waits for its column
    command is not closed.
    """
    oldest, side = NEVER, direction * BANK_STRIDE
    rising = now == align(now, per_clock)
    for pc in range(g.pcs):
        here, first = direction * PC_STRIDE + pc, pc << g.pc_shift
        if rising and c[at(P_ACT + pc)] <= now and c[at(ACT_SOON + here)] <= now:
            key = _oldest_ready(c, ACT_KEY + side + first, B_ACT + first, 1 << g.pc_shift, now)
            oldest = min(oldest, key)
        if c[at(P_PRE + pc)] <= now and c[at(PRE_SOON + here)] <= now:
            key = _oldest_ready(c, PRE_KEY + side + first, B_PRE + first, 1 << g.pc_shift, now)
            oldest = min(oldest, key)
    return -1 if oldest == NEVER else oldest & BANK_MASK


@called
def look_row(c: Ints, g: Geometry, per_clock: int, direction: int, exact: bool, now: int) -> int:
    """A lower bound of the tick at which a row command is ready, none being ready now.

    If ``exact`` it is the earliest such tick of every pseudo-channel that is free of its limits.
    """
    later, side = NEVER, direction * BANK_STRIDE
    rising = now == align(now, per_clock)
    for pc in range(g.pcs):
        here, first = direction * PC_STRIDE + pc, pc << g.pc_shift
        if rising and c[at(P_ACT + pc)] <= now:
            if exact or c[at(ACT_SOON + here)] <= now:
                soon = _soonest(c, ACT_KEY + side + first, B_ACT + first, 1 << g.pc_shift)
                c[at(ACT_SOON + here)] = soon
            later = min(later, c[at(ACT_SOON + here)])
        else:
            later = min(later, align(max(c[at(P_ACT + pc)], now + 1), per_clock))
        if c[at(P_PRE + pc)] <= now:
            if exact or c[at(PRE_SOON + here)] <= now:
                soon = _soonest(c, PRE_KEY + side + first, B_PRE + first, 1 << g.pc_shift)
                c[at(PRE_SOON + here)] = soon
            later = min(later, c[at(PRE_SOON + here)])
        else:
            later = min(later, c[at(P_PRE + pc)])
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
