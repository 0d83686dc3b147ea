"""The request queues of a DRAM channel: insertion, removal, and which command each bank needs.

A bank offers at most one column command in each direction (the request for which its row has just
been opened, else its oldest request to the open row) and one row command: an activate if it is
closed, or a precharge if its oldest request wants another row. A younger request never closes a
row that an older one still needs.
"""

from __future__ import annotations

from simulator.kernels.dram_state import (
    ACT_BEST,
    ACT_KEY,
    ACT_SOON,
    ACTIVE,
    ARRIVAL,
    B_ACT,
    B_PRE,
    B_READ,
    BANK_BITS,
    BANK_MASK,
    BANK_STRIDE,
    COLUMN_BEST,
    COLUMN_KEY,
    COLUMN_SOON,
    COUNT,
    FREE,
    FREE_COUNT,
    HEAD,
    HIT,
    IS_HIT,
    IS_WRITE,
    KEY,
    LOOK_REST,
    LOOK_SOON,
    NEVER,
    NEXT,
    NONE,
    OPENED,
    P_ACT,
    P_PRE,
    PC_STRIDE,
    PRE_BEST,
    PRE_KEY,
    PRE_SOON,
    PREVIOUS,
    RANK,
    RANKS,
    ROW,
    SEEN,
    TAIL,
    WANTED,
    Ints,
    Narrow,
    at,
    inlined,
)


@inlined
def _find_hit(c: Ints, start: int, row: int) -> int:
    """The first request from ``start`` on in a bank's list that wants ``row``, or -1."""
    slot = start
    while slot >= 0 and c[at(WANTED + slot)] != row:
        slot = c[at(NEXT + slot)]
    return slot


@inlined
def _ready_from(c: Ints, soon: int, tick: int) -> None:
    """A command was offered that may go from ``tick`` on."""
    c[at(soon)] = min(c[at(soon)], tick)


@inlined
def withdraw(c: Ints, best: int, bank: int) -> None:
    """A bank offers a command no longer: if it was the best of its pseudo-channel, none is."""
    if c[at(best)] & BANK_MASK == bank:
        c[at(best)] = NONE
        _ready_from(c, best + LOOK_SOON, c[at(best + LOOK_REST)])


@inlined
def look_again(c: Ints, best: int) -> None:
    """The best of a pseudo-channel may not be ready any more."""
    c[at(best)] = NONE
    c[at(best + LOOK_SOON)] = -NEVER


@inlined
def _offer_hit(c: Ints, v: Narrow, side: int, hit: int) -> None:
    """Offer a row hit, or none (-1); ``side`` is the bank in the columns of a direction."""
    c[at(HIT + side)] = hit
    v[at(COLUMN_KEY + side)] = c[at(RANK + hit)] | IS_HIT if hit >= 0 else NONE


@inlined
def bank_closed(c: Ints, v: Narrow, bank: int, pc: int) -> None:
    """A bank offers activates once its row is closed."""
    for direction in range(2):
        side, here = direction * BANK_STRIDE + bank, direction * PC_STRIDE + pc
        head = c[at(HEAD + side)]
        if head >= 0:  # a bank without requests offers nothing before and after
            v[at(ACT_KEY + side)] = c[at(RANK + head)]
            _ready_from(c, ACT_SOON + here, v[at(B_ACT + bank)])
            v[at(PRE_KEY + side)] = NONE
            withdraw(c, PRE_BEST + here, bank)
            _offer_hit(c, v, side, -1)
            withdraw(c, COLUMN_BEST + here, bank)


@inlined
def bank_opened(c: Ints, v: Narrow, bank: int, pc: int, row: int, slot: int) -> None:
    """A bank offers column commands once a row is open: first for ``slot``, its oldest request.

    That request leaves the queue.
    """
    own = c[at(IS_WRITE + slot)]
    _unlink(c, slot, own, bank)
    c[at(ACTIVE + bank)] = slot
    c[at(OPENED + own)] += 1
    withdraw(c, ACT_BEST + own * PC_STRIDE + pc, bank)
    # those of its group wait for it
    look_again(c, ACT_BEST + (1 - own) * PC_STRIDE + pc)
    for direction in range(2):
        side = direction * BANK_STRIDE + bank
        v[at(ACT_KEY + side)] = NONE
        head = c[at(HEAD + side)]
        if head >= 0:
            hit = _find_hit(c, head, row)
            _offer_hit(c, v, side, hit)
            if hit >= 0:
                deadline = v[at(B_READ + side)]
                _ready_from(c, COLUMN_SOON + direction * PC_STRIDE + pc, deadline)
    side = own * BANK_STRIDE + bank
    v[at(COLUMN_KEY + side)] = c[at(RANK + slot)]
    _ready_from(c, COLUMN_SOON + own * PC_STRIDE + pc, v[at(B_READ + side)])


@inlined
def serve_opened(c: Ints, v: Narrow, bank: int, pc: int, own: int) -> None:
    """The request for which a bank was opened goes; hits follow, and it may be closed again."""
    c[at(ACTIVE + bank)] = -1
    c[at(OPENED + own)] -= 1
    v[at(COLUMN_KEY + own * BANK_STRIDE + bank)] = NONE
    withdraw(c, COLUMN_BEST + own * PC_STRIDE + pc, bank)
    for direction in range(2):
        side, here = direction * BANK_STRIDE + bank, direction * PC_STRIDE + pc
        head = c[at(HEAD + side)]
        if head >= 0:
            hit = c[at(HIT + side)]
            _offer_hit(c, v, side, hit)
            if hit >= 0:
                _ready_from(c, COLUMN_SOON + here, v[at(B_READ + side)])
            if hit != head:
                v[at(PRE_KEY + side)] = c[at(RANK + head)]
                _ready_from(c, PRE_SOON + here, v[at(B_PRE + bank)])


@inlined
def serve_hit(c: Ints, v: Narrow, slot: int, bank: int, pc: int, own: int) -> None:
    """Take the oldest request to the open row out, and offer the next one to that row."""
    side = own * BANK_STRIDE + bank
    following = c[at(NEXT + slot)]
    _unlink(c, slot, own, bank)
    hit = _find_hit(c, following, c[at(WANTED + slot)])
    _offer_hit(c, v, side, hit)
    withdraw(c, COLUMN_BEST + own * PC_STRIDE + pc, bank)
    if hit >= 0:
        _ready_from(c, COLUMN_SOON + own * PC_STRIDE + pc, v[at(B_READ + side)])
    head = c[at(HEAD + side)]
    # an older request to another row wants the bank closed, even while younger ones hit
    if head != hit and c[at(ACTIVE + bank)] < 0:
        v[at(PRE_KEY + side)] = c[at(RANK + head)]
    for direction in range(2):
        if v[at(PRE_KEY + direction * BANK_STRIDE + bank)] != NONE:
            here = direction * PC_STRIDE + pc
            withdraw(c, PRE_BEST + here, bank)
            _ready_from(c, PRE_SOON + here, v[at(B_PRE + bank)])


@inlined
def insert(
    c: Ints, v: Narrow, age: int, arrival: int, bank: int, pc: int, row: int, write: int
) -> tuple[int, int]:
    """Append a request to its queue; the ticks of commands that its bank offers now and did not.

    They are those from which the column and the row command may go, or ``NEVER``.

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
    c[at(NEXT + slot)] = -1
    c[at(COUNT + write)] += 1
    tail, is_open = c[at(TAIL + side)], c[at(ROW + bank)]
    c[at(PREVIOUS + slot)] = tail
    c[at(TAIL + side)] = slot
    column = NEVER
    if is_open == row and c[at(HIT + side)] < 0:
        column = v[at(B_READ + side)]
        c[at(HIT + side)] = slot
        if v[at(COLUMN_KEY + side)] == NONE:
            v[at(COLUMN_KEY + side)] = key | IS_HIT
            _ready_from(c, COLUMN_SOON + write * PC_STRIDE + pc, column)
    if tail >= 0:
        c[at(NEXT + tail)] = slot
        return column, NEVER
    c[at(HEAD + side)] = slot
    if is_open < 0:
        v[at(ACT_KEY + side)] = key
        _ready_from(c, ACT_SOON + write * PC_STRIDE + pc, v[at(B_ACT + bank)])
        return column, max(v[at(B_ACT + bank)], c[at(P_ACT + pc)])
    if is_open != row and c[at(ACTIVE + bank)] < 0:
        v[at(PRE_KEY + side)] = key
        _ready_from(c, PRE_SOON + write * PC_STRIDE + pc, v[at(B_PRE + bank)])
        return column, max(v[at(B_PRE + bank)], c[at(P_PRE + pc)])
    return column, NEVER


@inlined
def _unlink(c: Ints, slot: int, direction: int, bank: int) -> None:
    """Take a request out of its bank's list and free its place in the queue, but not its slot."""
    before, after = c[at(PREVIOUS + slot)], c[at(NEXT + slot)]
    side = direction * BANK_STRIDE + bank
    c[at(NEXT + before if before >= 0 else HEAD + side)] = after
    c[at(PREVIOUS + after if after >= 0 else TAIL + side)] = before
    c[at(COUNT + direction)] -= 1


@inlined
def release(c: Ints, slot: int) -> None:
    """Give a slot back."""
    c[at(KEY + slot)] = NEVER
    c[at(FREE + c[at(FREE_COUNT)])] = slot
    c[at(FREE_COUNT)] += 1
