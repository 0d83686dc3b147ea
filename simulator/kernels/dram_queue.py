"""The request queues of a DRAM channel: insertion, removal, and which command each bank needs.

A bank offers at most one column command (its oldest request to the open row) and one row command:
an activate if it is closed, or a precharge if its oldest request wants another row. A younger
request never closes a row that an older one still needs.
"""

from __future__ import annotations

from simulator.kernels.dram_state import (
    ACT_KEY,
    ACTIVE,
    AGE,
    ARRIVAL,
    BANK,
    BANK_STRIDE,
    COUNT,
    FREE,
    FREE_COUNT,
    HEAD,
    HIT,
    HIT_KEY,
    IS_WRITE,
    NEVER,
    NEXT,
    PRE_KEY,
    PREVIOUS,
    ROW,
    SEEN,
    TAIL,
    WANTED,
    Ints,
    called,
    inlined,
)

BANK_BITS = 8
"""Bits of a key below the age."""


@inlined
def key_of(c: Ints, slot: int) -> int:
    """Age and bank of a request in one number."""
    return (c[AGE + slot] << BANK_BITS) | c[BANK + slot]


@inlined
def update_offer(c: Ints, direction: int, bank: int) -> None:
    """Recompute what a bank offers in one direction, from its list and its open row."""
    act = pre = column = NEVER
    head = c[HEAD + direction * BANK_STRIDE + bank]
    if head >= 0:
        if c[ROW + bank] < 0:
            act = key_of(c, head)
        else:
            hit = c[HIT + direction * BANK_STRIDE + bank]
            if hit >= 0:
                column = key_of(c, hit)
            if hit != head and c[ACTIVE + bank] < 0:
                pre = key_of(c, head)
    c[ACT_KEY + direction * BANK_STRIDE + bank] = act
    c[PRE_KEY + direction * BANK_STRIDE + bank] = pre
    c[HIT_KEY + direction * BANK_STRIDE + bank] = column


@inlined
def find_hit(c: Ints, start: int, row: int) -> int:
    """The first request from ``start`` on in a bank's list that wants ``row``, or -1."""
    slot = start
    while slot >= 0 and c[WANTED + slot] != row:
        slot = c[NEXT + slot]
    return slot


@called
def row_changed(c: Ints, bank: int) -> None:
    """Bring both directions up to date after a bank was opened or closed."""
    row = c[ROW + bank]
    for direction in range(2):
        if row >= 0:
            head = c[HEAD + direction * BANK_STRIDE + bank]
            c[HIT + direction * BANK_STRIDE + bank] = find_hit(c, head, row)
        else:
            c[HIT + direction * BANK_STRIDE + bank] = -1
        update_offer(c, direction, bank)


@inlined
def insert(c: Ints, age: int, arrival: int, bank: int, row: int, write: int) -> bool:
    """Append a request to its queue; True if its bank now offers a command that it did not.

    The caller has made sure that the queue has a free place.
    """
    c[COUNT + FREE_COUNT] -= 1
    slot = c[FREE + c[COUNT + FREE_COUNT]]
    c[WANTED + slot] = row
    c[BANK + slot] = bank
    c[AGE + slot] = age
    c[ARRIVAL + slot] = arrival
    c[IS_WRITE + slot] = write
    c[SEEN + slot] = 0
    c[NEXT + slot] = -1
    c[COUNT + write] += 1
    tail = c[TAIL + write * BANK_STRIDE + bank]
    c[PREVIOUS + slot] = tail
    c[TAIL + write * BANK_STRIDE + bank] = slot
    first_hit = c[HIT + write * BANK_STRIDE + bank] < 0 and c[ROW + bank] == row
    if first_hit:
        c[HIT + write * BANK_STRIDE + bank] = slot
    if tail >= 0:
        c[NEXT + tail] = slot
        if not first_hit:
            return False
    else:
        c[HEAD + write * BANK_STRIDE + bank] = slot
    update_offer(c, write, bank)
    return True


@inlined
def unlink(c: Ints, slot: int, bank: int) -> None:
    """Take a request out of its bank's list and free its place in the queue, but not its slot."""
    direction = c[IS_WRITE + slot]
    before, after = c[PREVIOUS + slot], c[NEXT + slot]
    if before >= 0:
        c[NEXT + before] = after
    else:
        c[HEAD + direction * BANK_STRIDE + bank] = after
    if after >= 0:
        c[PREVIOUS + after] = before
    else:
        c[TAIL + direction * BANK_STRIDE + bank] = before
    c[COUNT + direction] -= 1


@inlined
def unlink_hit(c: Ints, slot: int, bank: int) -> None:
    """Take the oldest request to the open row out, and offer the next one to that row."""
    direction = c[IS_WRITE + slot]
    unlink(c, slot, bank)
    hit = find_hit(c, c[NEXT + slot], c[WANTED + slot])
    c[HIT + direction * BANK_STRIDE + bank] = hit
    if hit >= 0:  # whether the bank may be precharged is as it was
        c[HIT_KEY + direction * BANK_STRIDE + bank] = key_of(c, hit)
    else:
        update_offer(c, direction, bank)


@inlined
def release(c: Ints, slot: int) -> None:
    """Give a slot back."""
    c[FREE + c[COUNT + FREE_COUNT]] = slot
    c[COUNT + FREE_COUNT] += 1
