"""First ready, first come, first served: which command goes on a bus, or when to look again.

Each pick returns what it chose and, where nothing is ready, the earliest tick at which something
could be, so that the caller can skip to it. Deadlines only ever move later, so that tick stays a
lower bound until a new request or a changed bank offers a new command.
"""

from __future__ import annotations

from numba import njit

from simulator.kernels.dram_state import (
    NEVER,
    READ,
    WRITE,
    Banks,
    Geometry,
    Queue,
    Ticks,
    align,
    lowest_bit,
)


@njit(_nrt=False, forceinline=True, error_model="numpy")
def _column_ready(banks: Banks, g: Geometry, bank: int, write: int) -> int:
    """Earliest tick of a read or a write to the open row of a bank."""
    if write == READ:
        return max(
            banks.bank[bank].read,
            max(banks.group[bank >> g.bg_shift].read, banks.stack[bank >> g.sid_shift].read),
        )
    return max(
        banks.bank[bank].write,
        max(banks.group[bank >> g.bg_shift].write, banks.stack[bank >> g.sid_shift].write),
    )


@njit(_nrt=False, forceinline=True, error_model="numpy")
def _column_floor(banks: Banks, g: Geometry, pc: int, write: int) -> int:
    """A tick before which no bank of a pseudo-channel can be read (or written)."""
    first = pc * g.stacks
    floor = NEVER
    for s in range(first, first + g.stacks):
        floor = min(floor, banks.stack[s].read if write == READ else banks.stack[s].write)
    return floor


@njit(_nrt=False, forceinline=True, error_model="numpy")
def pick_column(
    q: Queue, banks: Banks, g: Geometry, direction: int, hits: int, now: int
) -> tuple[int, int]:
    """The oldest ready column command: of freshly opened rows first, then of hits if allowed.

    Returns its slot or -1, and a lower bound of the tick at which another look pays.
    """
    best, best_age, later = -1, NEVER, NEVER
    for pc in range(g.pcs):
        mask = banks.pc[pc].active_mask
        while mask != 0:
            bank = (pc << g.pc_shift) + lowest_bit(mask)
            mask &= mask - 1
            slot = banks.bank[bank].active
            ready = _column_ready(banks, g, bank, q.slot[slot].is_write)
            if ready > now:
                later = min(later, ready)
            elif q.slot[slot].age < best_age:
                best, best_age = slot, q.slot[slot].age
    if best >= 0 or hits == 0:
        return best, later
    base = direction * g.banks
    for pc in range(g.pcs):
        mask = q.offer[direction * g.pcs + pc].hit_mask
        if mask == 0:
            continue
        floor = _column_floor(banks, g, pc, direction)
        if floor > now:
            later = min(later, floor)
            continue
        while mask != 0:
            bank = (pc << g.pc_shift) + lowest_bit(mask)
            mask &= mask - 1
            slot = q.chain[base + bank].hit
            ready = _column_ready(banks, g, bank, direction)
            if ready > now:
                later = min(later, ready)
            elif q.slot[slot].age < best_age:
                best, best_age = slot, q.slot[slot].age
    return best, later


@njit(_nrt=False, forceinline=True, error_model="numpy")
def pick_row(
    q: Queue, banks: Banks, g: Geometry, t: Ticks, direction: int, now: int
) -> tuple[int, int]:
    """The oldest ready activate or precharge; its slot (the bank's oldest request) or -1.

    Activates start on a rising clock edge. A bank whose activate still waits for its column
    command is not closed.
    """
    best, best_age, later = -1, NEVER, NEVER
    base = direction * g.banks
    rising = now & (t.per_clock - 1) == 0
    for pc in range(g.pcs):
        mask = q.offer[direction * g.pcs + pc].act_mask
        if mask != 0 and (banks.pc[pc].act > now or not rising):
            later = min(later, align(max(banks.pc[pc].act, now + 1), t.per_clock))
            mask = 0
        while mask != 0:
            bank = (pc << g.pc_shift) + lowest_bit(mask)
            mask &= mask - 1
            ready = max(banks.bank[bank].act, banks.group[bank >> g.bg_shift].act)
            slot = q.chain[base + bank].head
            if ready > now:
                later = min(later, ready)
            elif q.slot[slot].age < best_age:
                best, best_age = slot, q.slot[slot].age
        mask = q.offer[direction * g.pcs + pc].pre_mask & ~banks.pc[pc].active_mask
        if mask != 0 and banks.pc[pc].pre > now:
            later = min(later, banks.pc[pc].pre)
            mask = 0
        while mask != 0:
            bank = (pc << g.pc_shift) + lowest_bit(mask)
            mask &= mask - 1
            slot = q.chain[base + bank].head
            if banks.bank[bank].pre > now:
                later = min(later, banks.bank[bank].pre)
            elif q.slot[slot].age < best_age:
                best, best_age = slot, q.slot[slot].age
    return best, later


@njit(_nrt=False, forceinline=True, error_model="numpy")
def next_direction(q: Queue, direction: int, write_places: int) -> int:
    """Write drain: from four fifths full down to one fifth, or while there are no reads."""
    writes = q.count[WRITE]
    if writes == 0:
        return READ
    if direction == READ:
        return WRITE if 5 * writes > 4 * write_places or q.count[READ] == 0 else READ
    return READ if 5 * writes < write_places and q.count[READ] != 0 else WRITE
