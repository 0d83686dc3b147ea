"""First ready, first come, first served: which command goes on a bus, or when to look again.

Each pick returns the request it chose and, where nothing is ready, the earliest tick at which
something could be, so that the caller can skip to it. Deadlines only ever move later, so that tick
stays a lower bound until a new request or a changed bank offers a new command.
"""

from __future__ import annotations

import numpy as np

from simulator.kernels.dram_queue import BANK_BITS
from simulator.kernels.dram_state import (
    ACT_KEY,
    ACTIVE,
    ACTIVE_MASK,
    AGE,
    B_ACT,
    B_PRE,
    B_READ,
    B_WRITE,
    BANK_STRIDE,
    COUNT,
    HEAD,
    HIT,
    HIT_KEY,
    IS_WRITE,
    NEVER,
    P_ACT,
    P_PRE,
    PRE_KEY,
    READ,
    S_READ,
    S_WRITE,
    STACK_STRIDE,
    WRITE,
    Geometry,
    Ints,
    align,
    called,
    inlined,
    lowest_bit,
)

_BANK_MASK = (1 << BANK_BITS) - 1


@called
def _oldest_ready(
    c: Ints, key: int, deadline: int, first: int, count: int, now: int
) -> tuple[int, int]:
    """Smallest key of the banks that are ready, and the next tick at which another one is.

    Free of branches and of signed indices, so that the compiler makes a vector loop of it.
    """
    best, later = NEVER, NEVER
    keys, deadlines = np.uintp(key + first), np.uintp(deadline + first)
    for i in range(np.uintp(count)):
        k, d = c[keys + i], c[deadlines + i]
        ready = d <= now
        best = min(best, k if ready else NEVER)
        later = min(later, NEVER if ready or k == NEVER else d)
    return best, later


@inlined
def _opened(c: Ints, g: Geometry, pc: int, now: int) -> tuple[int, int]:
    """The oldest request whose row has just been opened for it and is ready; slot and tick."""
    best, best_age, later = -1, NEVER, NEVER
    mask = c[ACTIVE_MASK + pc]
    while mask != 0:
        bank = (pc << g.pc_shift) + lowest_bit(mask)
        mask &= mask - 1
        slot = c[ACTIVE + bank]
        if c[IS_WRITE + slot] == READ:
            ready = max(c[B_READ + bank], c[S_READ + (bank >> g.sid_shift)])
        else:
            ready = max(c[B_WRITE + bank], c[S_WRITE + (bank >> g.sid_shift)])
        if ready > now:
            later = min(later, ready)
        elif c[AGE + slot] < best_age:
            best, best_age = slot, c[AGE + slot]
    return best, later


@called
def pick_column(c: Ints, g: Geometry, direction: int, hits: bool, now: int) -> tuple[int, int]:
    """The oldest ready column command: of freshly opened rows first, then of hits if allowed.

    Returns its slot or -1, and a lower bound of the tick at which another look pays.
    """
    best, best_age, later = -1, NEVER, NEVER
    for pc in range(g.pcs):
        slot, tick = _opened(c, g, pc, now)
        later = min(later, tick)
        if slot >= 0 and c[AGE + slot] < best_age:
            best, best_age = slot, c[AGE + slot]
    if best >= 0 or not hits:
        return best, later
    oldest, gate = NEVER, S_READ + direction * STACK_STRIDE
    for sid in range(g.banks >> g.sid_shift):
        if c[gate + sid] > now:
            later = min(later, c[gate + sid])
            continue
        key, tick = _oldest_ready(
            c,
            HIT_KEY + direction * BANK_STRIDE,
            B_READ + direction * BANK_STRIDE,
            sid << g.sid_shift,
            1 << g.sid_shift,
            now,
        )
        later = min(later, tick)
        oldest = min(oldest, key)
    if oldest != NEVER:
        best = c[HIT + direction * BANK_STRIDE + (oldest & _BANK_MASK)]
    return best, later


@called
def pick_row(c: Ints, g: Geometry, per_clock: int, direction: int, now: int) -> tuple[int, int]:
    """The oldest ready activate or precharge; its slot (the bank's oldest request) or -1.

    Activates start on a rising clock edge. A bank whose activate still waits for its column
    command is not closed.
    """
    oldest, later = NEVER, NEVER
    rising = now == align(now, per_clock)
    for pc in range(g.pcs):
        if rising and c[P_ACT + pc] <= now:
            key, tick = _oldest_ready(
                c, ACT_KEY + direction * BANK_STRIDE, B_ACT, pc << g.pc_shift, g.banks_per_pc, now
            )
            oldest, later = min(oldest, key), min(later, tick)
        else:
            later = min(later, align(max(c[P_ACT + pc], now + 1), per_clock))
        if c[P_PRE + pc] <= now:
            key, tick = _oldest_ready(
                c, PRE_KEY + direction * BANK_STRIDE, B_PRE, pc << g.pc_shift, g.banks_per_pc, now
            )
            oldest, later = min(oldest, key), min(later, tick)
        else:
            later = min(later, c[P_PRE + pc])
    if oldest == NEVER:
        return -1, later
    return c[HEAD + direction * BANK_STRIDE + (oldest & _BANK_MASK)], later


@inlined
def next_direction(c: Ints, direction: int, write_places: int) -> int:
    """Write drain: from four fifths full down to one fifth, or while there are no reads."""
    writes = c[COUNT + WRITE]
    if writes == 0:
        return READ
    if direction == READ:
        return WRITE if 5 * writes > 4 * write_places or c[COUNT + READ] == 0 else READ
    return READ if 5 * writes < write_places and c[COUNT + READ] != 0 else WRITE
