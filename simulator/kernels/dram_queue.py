"""The request queues of a DRAM channel: insertion, removal, and which command each bank needs.

A bank offers at most one column command in each direction (the request for which its row has just
been opened, else its oldest request to the open row) and one row command: an activate if it is
closed, or a precharge if its oldest request wants another row. A younger request never closes a
row that an older one still needs.
"""

from __future__ import annotations

from simulator.kernels.dram_state import (
    ACT_KEY,
    ACT_SOON,
    ACTIVE,
    ARRIVAL,
    B_ACT,
    B_PRE,
    B_READ,
    BANK_BITS,
    BANK_STRIDE,
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
    NEVER,
    NEXT,
    OPENED,
    PC_STRIDE,
    PRE_KEY,
    PRE_SOON,
    PREVIOUS,
    ROW,
    SEEN,
    TAIL,
    WANTED,
    Ints,
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
def _offer_hit(c: Ints, side: int, hit: int) -> None:
    """Offer a row hit, or none (-1); ``side`` is the bank in the columns of a direction."""
    c[at(HIT + side)] = hit
    c[at(COLUMN_KEY + side)] = c[at(KEY + hit)] | IS_HIT if hit >= 0 else NEVER


@inlined
def bank_closed(c: Ints, bank: int, pc: int) -> None:
    """A bank offers activates once its row is closed."""
    for direction in range(2):
        side = direction * BANK_STRIDE + bank
        head = c[at(HEAD + side)]
        if head >= 0:  # a bank without requests offers nothing before and after
            c[at(ACT_KEY + side)] = c[at(KEY + head)]
            _ready_from(c, ACT_SOON + direction * PC_STRIDE + pc, c[at(B_ACT + bank)])
            c[at(PRE_KEY + side)] = NEVER
            _offer_hit(c, side, -1)


@inlined
def bank_opened(c: Ints, bank: int, pc: int, row: int, slot: int) -> None:
    """A bank offers column commands once a row is open: first for ``slot``, its oldest request.

    That request leaves the queue.
    """
    own = c[at(IS_WRITE + slot)]
    _unlink(c, slot, own, bank)
    c[at(ACTIVE + bank)] = slot
    c[at(OPENED + own)] += 1
    for direction in range(2):
        side = direction * BANK_STRIDE + bank
        c[at(ACT_KEY + side)] = NEVER
        head = c[at(HEAD + side)]
        if head >= 0:
            hit = _find_hit(c, head, row)
            _offer_hit(c, side, hit)
            if hit >= 0:
                deadline = c[at(B_READ + side)]
                _ready_from(c, COLUMN_SOON + direction * PC_STRIDE + pc, deadline)
    side = own * BANK_STRIDE + bank
    c[at(COLUMN_KEY + side)] = c[at(KEY + slot)]
    _ready_from(c, COLUMN_SOON + own * PC_STRIDE + pc, c[at(B_READ + side)])


@inlined
def serve_opened(c: Ints, bank: int, pc: int, own: int) -> None:
    """The request for which a bank was opened goes; hits follow, and it may be closed again."""
    c[at(ACTIVE + bank)] = -1
    c[at(OPENED + own)] -= 1
    c[at(COLUMN_KEY + own * BANK_STRIDE + bank)] = NEVER
    for direction in range(2):
        side = direction * BANK_STRIDE + bank
        head = c[at(HEAD + side)]
        if head >= 0:
            hit = c[at(HIT + side)]
            _offer_hit(c, side, hit)
            if hit != head:
                c[at(PRE_KEY + side)] = c[at(KEY + head)]
                _ready_from(c, PRE_SOON + direction * PC_STRIDE + pc, c[at(B_PRE + bank)])


@inlined
def serve_hit(c: Ints, slot: int, bank: int, pc: int, own: int) -> None:
    """Take the oldest request to the open row out, and offer the next one to that row."""
    side = own * BANK_STRIDE + bank
    following = c[at(NEXT + slot)]
    _unlink(c, slot, own, bank)
    hit = _find_hit(c, following, c[at(WANTED + slot)])
    _offer_hit(c, side, hit)
    head = c[at(HEAD + side)]
    # an older request to another row wants the bank closed, even while younger ones hit
    if head != hit and c[at(ACTIVE + bank)] < 0:
        c[at(PRE_KEY + side)] = c[at(KEY + head)]
        _ready_from(c, PRE_SOON + own * PC_STRIDE + pc, c[at(B_PRE + bank)])


@inlined
def insert(c: Ints, age: int, arrival: int, bank: int, pc: int, row: int, write: int) -> bool:
    """Append a request to its queue; True if its bank now offers a command that it did not.

    The caller has made sure that the queue has a free place.
    """
    c[at(FREE_COUNT)] -= 1
    slot = c[at(FREE + c[at(FREE_COUNT)])]
    key = (age << BANK_BITS) | bank
    side = write * BANK_STRIDE + bank
    c[at(WANTED + slot)] = row
    c[at(KEY + slot)] = key
    c[at(ARRIVAL + slot)] = arrival
    c[at(IS_WRITE + slot)] = write
    c[at(SEEN + slot)] = 0
    c[at(NEXT + slot)] = -1
    c[at(COUNT + write)] += 1
    tail, is_open = c[at(TAIL + side)], c[at(ROW + bank)]
    c[at(PREVIOUS + slot)] = tail
    c[at(TAIL + side)] = slot
    offers = False
    if is_open == row and c[at(HIT + side)] < 0:
        offers = True
        c[at(HIT + side)] = slot
        if c[at(COLUMN_KEY + side)] == NEVER:
            c[at(COLUMN_KEY + side)] = key | IS_HIT
            _ready_from(c, COLUMN_SOON + write * PC_STRIDE + pc, c[at(B_READ + side)])
    if tail >= 0:
        c[at(NEXT + tail)] = slot
        return offers
    c[at(HEAD + side)] = slot
    if is_open < 0:
        c[at(ACT_KEY + side)] = key
        _ready_from(c, ACT_SOON + write * PC_STRIDE + pc, c[at(B_ACT + bank)])
    elif is_open != row and c[at(ACTIVE + bank)] < 0:
        c[at(PRE_KEY + side)] = key
        _ready_from(c, PRE_SOON + write * PC_STRIDE + pc, c[at(B_PRE + bank)])
    return True


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
    c[at(FREE + c[at(FREE_COUNT)])] = slot
    c[at(FREE_COUNT)] += 1
