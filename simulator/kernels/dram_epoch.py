"""What keeps the narrow numbers of the DRAM kernel small: the clock and the ranks begin anew.

Deadlines and keys of banks have 32 bits. Long before they are too small for a tick, all ticks are
moved back, which changes no distance between any two. Long before they are too small for the rank
of a request, those that are in the queues are ranked again from 0, which changes no order.
"""

from __future__ import annotations

from simulator.kernels.dram_state import (
    ACT_DUE,
    ACTIVE,
    ARRIVAL,
    B_ACT,
    B_REF,
    BANK_BITS,
    BANK_MASK,
    BANK_STRIDE,
    BOOK_FREE,
    BOOK_TICK,
    COLUMN_KEY,
    FAW,
    HEAD,
    HIT,
    IS_HIT,
    IS_WRITE,
    KEY,
    LAST_NOW,
    LAST_REFRESH,
    NEVER,
    NONE,
    P_ACT,
    PC_STRIDE,
    RANK,
    RANKS,
    ROW_KEY,
    SLOTS,
    Geometry,
    Ints,
    Narrow,
    at,
    called,
    inlined,
)

EPOCH = 1 << 29
"""Ticks after which the clock begins anew; steps of it and limits of banks are far shorter."""

MOST_RANKS = 1 << 21
"""Ranks after which they begin anew; a tick adds no more than the places of both queues."""


@inlined
def earlier(tick: int, ticks: int) -> int:
    """A tick on the new clock; ``NEVER`` and what is long past stay so."""
    return tick if tick == NEVER else max(tick - ticks, -NEVER)


@called
def begin_epoch(c: Ints, v: Narrow, ticks: int) -> None:
    """Move all ticks of the state back, by whole clocks."""
    for i in range(B_ACT, B_ACT + 4 * BANK_STRIDE):
        v[at(i)] = max(v[at(i)] - ticks, -EPOCH)
    for i in range(ACT_DUE, ROW_KEY):
        v[at(i)] = NONE if v[at(i)] == NONE else max(v[at(i)] - ticks, -EPOCH)
    for i in range(B_REF, B_REF + BANK_STRIDE):
        c[at(i)] -= ticks
    for i in range(P_ACT, P_ACT + 4 * PC_STRIDE):
        c[at(i)] -= ticks
    for i in range(FAW, FAW + 4 * PC_STRIDE):
        c[at(i)] = earlier(c[at(i)], ticks)
    for i in range(ARRIVAL, ARRIVAL + SLOTS):
        c[at(i)] -= ticks
    for i in range(BOOK_TICK, BOOK_FREE + 1):
        c[at(i)] = max(c[at(i)] - ticks, -EPOCH)
    c[at(LAST_NOW)] -= ticks
    c[at(LAST_REFRESH)] = earlier(c[at(LAST_REFRESH)], ticks)


@called
def rank_again(c: Ints, v: Narrow, g: Geometry) -> None:
    """Rank the requests in the queues from 0, by age."""
    count = 0
    for slot in range(SLOTS):
        key, older = c[at(KEY + slot)], 0
        if key < NEVER:
            for other in range(SLOTS):
                older += c[at(KEY + other)] < key
            c[at(RANK + slot)] = (older << BANK_BITS) | (key & BANK_MASK)
            count += 1
    c[at(RANKS)] = count
    for bank in range(g.banks):
        active = c[at(ACTIVE + bank)]
        for direction in range(2):
            side = direction * BANK_STRIDE + bank
            v[at(ROW_KEY + side)] = c[at(RANK + c[at(HEAD + side)])]
            v[at(COLUMN_KEY + side)] = c[at(RANK + c[at(HIT + side)])] | IS_HIT
            if active >= 0 and c[at(IS_WRITE + active)] == direction:
                v[at(COLUMN_KEY + side)] = c[at(RANK + active)]
