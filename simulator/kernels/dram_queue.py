"""The request queue of a DRAM channel: insertion, removal, and which command each bank needs.

A bank offers at most one column command (its oldest request to the open row) and one row command:
an activate if it is closed, or a precharge if its oldest request wants another row. A younger
request never closes a row that an older one still needs.
"""

from __future__ import annotations

from numba import njit

from simulator.kernels.dram_state import Banks, Geometry, Queue


@njit(_nrt=False, forceinline=True, error_model="numpy")
def update_masks(q: Queue, banks: Banks, g: Geometry, direction: int, bank: int) -> None:
    """Recompute what a bank offers in one direction, from its list and its open row."""
    at = direction * g.banks + bank
    pc = bank >> g.pc_shift
    m = direction * g.pcs + pc
    bit = 1 << (bank - (pc << g.pc_shift))
    q.offer[m].hit_mask &= ~bit
    q.offer[m].act_mask &= ~bit
    q.offer[m].pre_mask &= ~bit
    head = q.chain[at].head
    if head < 0:
        return
    if banks.bank[bank].row < 0:
        q.offer[m].act_mask |= bit
        return
    if q.chain[at].hit >= 0:
        q.offer[m].hit_mask |= bit
    if q.chain[at].hit != head:
        q.offer[m].pre_mask |= bit


@njit(_nrt=False, forceinline=True, error_model="numpy")
def find_hit(q: Queue, start: int, row: int) -> int:
    """The first request from ``start`` on in a bank's list that wants ``row``, or -1."""
    slot = start
    while slot >= 0 and q.slot[slot].row != row:
        slot = q.slot[slot].next
    return slot


@njit(_nrt=False, forceinline=True, error_model="numpy")
def row_changed(q: Queue, banks: Banks, g: Geometry, bank: int) -> None:
    """Bring both directions up to date after a bank was opened or closed."""
    row = banks.bank[bank].row
    for direction in range(2):
        at = direction * g.banks + bank
        q.chain[at].hit = find_hit(q, q.chain[at].head, row) if row >= 0 else -1
        update_masks(q, banks, g, direction, bank)


@njit(_nrt=False, forceinline=True, error_model="numpy")
def insert(
    q: Queue, banks: Banks, g: Geometry, age: int, arrival: int, bank: int, row: int, write: int
) -> int:
    """Append a request to its queue; 1 if the bank offers a command that it did not offer before.

    The caller has made sure that the queue has a free place.
    """
    q.count[2] -= 1
    slot = q.free[q.count[2]]
    q.slot[slot].row = row
    q.slot[slot].bank = bank
    q.slot[slot].age = age
    q.slot[slot].arrival = arrival
    q.slot[slot].is_write = write
    q.slot[slot].seen = 0
    q.slot[slot].next = -1
    q.count[write] += 1
    at = write * g.banks + bank
    tail = q.chain[at].tail
    q.slot[slot].previous = tail
    q.chain[at].tail = slot
    is_hit = q.chain[at].hit < 0 and banks.bank[bank].row == row
    if is_hit:
        q.chain[at].hit = slot
    if tail >= 0:
        q.slot[tail].next = slot
        if not is_hit:
            return 0
    else:
        q.chain[at].head = slot
    update_masks(q, banks, g, write, bank)
    return 1


@njit(_nrt=False, forceinline=True, error_model="numpy")
def unlink(q: Queue, banks: Banks, g: Geometry, slot: int) -> None:
    """Take a request out of its bank's list and free its place in the queue, but not its slot."""
    direction = q.slot[slot].is_write
    bank = q.slot[slot].bank
    at = direction * g.banks + bank
    before, after = q.slot[slot].previous, q.slot[slot].next
    if before >= 0:
        q.slot[before].next = after
    else:
        q.chain[at].head = after
    if after >= 0:
        q.slot[after].previous = before
    else:
        q.chain[at].tail = before
    q.count[direction] -= 1
    if q.chain[at].hit == slot:
        hit = find_hit(q, after, q.slot[slot].row)
        q.chain[at].hit = hit
        if hit >= 0 and hit == q.chain[at].head:
            return  # a stream inside one row: the bank offers what it offered before
    update_masks(q, banks, g, direction, bank)


@njit(_nrt=False, forceinline=True, error_model="numpy")
def release(q: Queue, slot: int) -> None:
    """Give a slot back."""
    q.free[q.count[2]] = slot
    q.count[2] += 1
