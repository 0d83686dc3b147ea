"""The request queues of a DRAM channel: insertion, removal, and which command each bank needs.

A bank offers at most one column command in each direction (the request for which its row has just
been opened, else its oldest request to the open row) and one row command: an activate if it is
closed, or a precharge if its oldest request wants another row. A younger request never closes a
row that an older one still needs.

The end of a list is a slot with the rank ``NONE``, so what a bank offers is written without asking
whether there is a request.
"""

from __future__ import annotations

from simulator.kernels.dram_state import (
    ACT_DUE,
    ACTIVE,
    ARRIVAL,
    B_ACT,
    B_PRE,
    B_READ,
    BANK_BITS,
    BANK_STRIDE,
    COLUMN_DUE,
    COLUMN_KEY,
    COUNT,
    CROWD,
    CROWD_BITS,
    FREE,
    FREE_COUNT,
    HEAD,
    HIT,
    IS_HIT,
    IS_WRITE,
    KEY,
    NEVER,
    NEXT,
    NONE,
    OPENED,
    PRE_DUE,
    PREVIOUS,
    RANK,
    RANKS,
    ROW,
    ROW_KEY,
    SEEN,
    SLOTS,
    TAIL,
    WANTED,
    Ints,
    Narrow,
    align,
    at,
    inlined,
)


@inlined
def _crowd(side: int, row: int) -> int:
    """The place of the count in which requests of a bank and direction to a row are counted."""
    return CROWD + ((side + row * 37) & ((1 << CROWD_BITS) - 1))


@inlined
def _find_hit(c: Ints, start: int, side: int, row: int) -> int:
    """The first request from ``start`` on in a bank's list that wants ``row``, or its end."""
    slot = SLOTS + side
    if c[at(_crowd(side, row))] > 0:
        slot = start
        while slot < SLOTS and c[at(WANTED + slot)] != row:
            slot = c[at(NEXT + slot)]
    return slot


@inlined
def _offer_hit(c: Ints, v: Narrow, side: int, hit: int) -> None:
    """Offer a row hit if there is one; ``side`` is the bank in the columns of a direction."""
    c[at(HIT + side)] = hit
    if hit < SLOTS:
        v[at(COLUMN_KEY + side)] = c[at(RANK + hit)] | IS_HIT
        v[at(COLUMN_DUE + side)] = v[at(B_READ + side)]


@inlined
def activate_due(c: Ints, v: Narrow, bank: int, side: int, per_clock: int) -> int:
    """The tick of a closed bank's activate, or ``NONE`` if no request of a direction waits."""
    waits = c[at(HEAD + side + bank)] < SLOTS
    return align(v[at(B_ACT + bank)], per_clock) if waits else NONE


@inlined
def bank_closed(c: Ints, v: Narrow, bank: int, sides: int) -> None:
    """A closed bank offers no hits; ``sides`` is 1 for a precharge on behalf of a read."""
    c[at(ROW + bank)] = -1
    for direction in range(sides):
        side = direction * BANK_STRIDE + bank
        if sides == 2:  # else it is the key of the precharge
            v[at(ROW_KEY + side)] = c[at(RANK + c[at(HEAD + side)])]
        if c[at(HIT + side)] < SLOTS:
            c[at(HIT + side)] = SLOTS + side
            v[at(COLUMN_DUE + side)] = NONE


@inlined
def bank_opened(c: Ints, v: Narrow, bank: int, row: int, slot: int, own: int, sides: int) -> None:
    """A bank offers column commands once a row is open: first for ``slot``, its oldest request.

    That request leaves the queue.
    """
    _unlink(c, slot, own, bank)
    c[at(ROW + bank)] = row
    c[at(ACTIVE + bank)] = slot
    c[at(OPENED + own)] += 1
    for direction in range(sides):
        side = direction * BANK_STRIDE + bank
        _offer_hit(c, v, side, _find_hit(c, c[at(HEAD + side)], side, row))
    side = own * BANK_STRIDE + bank
    v[at(COLUMN_KEY + side)] = c[at(RANK + slot)]
    v[at(COLUMN_DUE + side)] = v[at(B_READ + side)]


@inlined
def serve_opened(c: Ints, v: Narrow, bank: int, own: int, sides: int) -> None:
    """The request for which a bank was opened goes; hits follow, and it may be closed again."""
    c[at(ACTIVE + bank)] = -1
    c[at(OPENED + own)] -= 1
    _offer_hit(c, v, own * BANK_STRIDE + bank, c[at(HIT + own * BANK_STRIDE + bank)])
    for direction in range(sides):
        side = direction * BANK_STRIDE + bank
        head = c[at(HEAD + side)]
        v[at(ROW_KEY + side)] = c[at(RANK + head)]
        v[at(PRE_DUE + side)] = v[at(B_PRE + bank)] if c[at(HIT + side)] != head else NONE


@inlined
def serve_hit(c: Ints, v: Narrow, slot: int, bank: int, own: int) -> None:
    """Take the oldest request to the open row out, and offer the next one to that row."""
    side = own * BANK_STRIDE + bank
    following = c[at(NEXT + slot)]
    _unlink(c, slot, own, bank)
    hit = _find_hit(c, following, side, c[at(WANTED + slot)])
    head = c[at(HEAD + side)]
    _offer_hit(c, v, side, hit)
    # an older request to another row wants the bank closed, even while younger ones hit
    if head != hit and c[at(ACTIVE + bank)] < 0:
        v[at(ROW_KEY + side)] = c[at(RANK + head)]
        v[at(PRE_DUE + side)] = v[at(B_PRE + bank)]


@inlined
def insert(
    c: Ints, v: Narrow, age: int, arrival: int, bank: int, row: int, write: int, per_clock: int
) -> tuple[bool, bool]:
    """Append a request to its queue; whether its bank offers a new hit, and whether it is alone.

    The caller has made sure that the queue has a free place.
    """
    c[at(FREE_COUNT)] -= 1
    slot = c[at(FREE + c[at(FREE_COUNT)])]
    key = (c[at(RANKS)] << BANK_BITS) | bank
    c[at(RANKS)] += 1
    side = write * BANK_STRIDE + bank
    c[at(WANTED + slot)] = row
    c[at(KEY + slot)] = (age << BANK_BITS) | bank
    c[at(RANK + slot)] = key
    c[at(ARRIVAL + slot)] = arrival
    c[at(IS_WRITE + slot)] = write
    c[at(SEEN + slot)] = 0
    c[at(COUNT + write)] += 1
    c[at(_crowd(side, row))] += 1
    end, tail, is_open = SLOTS + side, c[at(TAIL + side)], c[at(ROW + bank)]
    c[at(NEXT + slot)] = end
    c[at(PREVIOUS + slot)] = tail
    c[at(TAIL + side)] = slot
    c[at(NEXT + tail)] = slot
    hits, alone = is_open == row and c[at(HIT + side)] == end, tail == end
    active = c[at(ACTIVE + bank)] >= 0
    if hits:
        c[at(HIT + side)] = slot
        if not active or c[at(IS_WRITE + c[at(ACTIVE + bank)])] != write:
            v[at(COLUMN_KEY + side)] = key | IS_HIT
            v[at(COLUMN_DUE + side)] = v[at(B_READ + side)]
    if alone:
        v[at(ROW_KEY + side)] = key
        if is_open < 0:
            v[at(ACT_DUE + side)] = align(v[at(B_ACT + bank)], per_clock)
        elif is_open != row and not active:
            v[at(PRE_DUE + side)] = v[at(B_PRE + bank)]
    return hits, alone


@inlined
def _unlink(c: Ints, slot: int, direction: int, bank: int) -> None:
    """Take a request out of its bank's list and free its place in the queue, but not its slot."""
    before, after = c[at(PREVIOUS + slot)], c[at(NEXT + slot)]
    c[at(NEXT + before)] = after
    c[at(PREVIOUS + after)] = before
    c[at(COUNT + direction)] -= 1
    c[at(_crowd(direction * BANK_STRIDE + bank, c[at(WANTED + slot)]))] -= 1


@inlined
def release(c: Ints, slot: int) -> None:
    """Give a slot back."""
    c[at(KEY + slot)] = NEVER
    c[at(FREE + c[at(FREE_COUNT)])] = slot
    c[at(FREE_COUNT)] += 1
