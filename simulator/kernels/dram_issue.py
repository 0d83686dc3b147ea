"""What each DRAM command does: it changes a bank and moves the deadlines of commands after it.

The deadlines are the constraint tables of the standards (JESD235, JESD238) in the form that
Ramulator 2.1 publishes: by bank, bank group, stack and pseudo-channel.
"""

from __future__ import annotations

from numba import njit

from simulator.kernels.dram_queue import row_changed
from simulator.kernels.dram_state import READ, Banks, Geometry, Queue, Ticks, lowest_bit


@njit(_nrt=False, forceinline=True, error_model="numpy")
def issue_column(banks: Banks, g: Geometry, t: Ticks, bank: int, write: int, now: int) -> None:
    """Read or write a burst of the open row."""
    group, sid, pc = bank >> g.bg_shift, bank >> g.sid_shift, bank >> g.pc_shift
    banks.bank[bank].cols += 1
    first = pc * g.stacks
    if write == READ:
        for s in range(first, first + g.stacks):
            gap = t.ccd_s if s == sid else t.ccd_r
            banks.stack[s].read = max(banks.stack[s].read, now + gap)
            banks.stack[s].write = max(banks.stack[s].write, now + t.read_to_write)
        banks.group[group].read = max(banks.group[group].read, now + t.ccd_l)
        banks.bank[bank].pre = max(banks.bank[bank].pre, now + t.read_to_pre)
    else:
        for s in range(first, first + g.stacks):
            gap = t.ccd_s if s == sid else t.ccd_r
            banks.stack[s].write = max(banks.stack[s].write, now + gap)
            banks.stack[s].read = max(banks.stack[s].read, now + t.write_to_read_s)
        banks.group[group].write = max(banks.group[group].write, now + t.ccd_l)
        banks.group[group].read = max(banks.group[group].read, now + t.write_to_read_l)
        banks.bank[bank].pre = max(banks.bank[bank].pre, now + t.write_to_pre)


@njit(_nrt=False, forceinline=True, error_model="numpy")
def issue_activate(
    q: Queue, banks: Banks, g: Geometry, t: Ticks, bank: int, row: int, now: int
) -> None:
    """Open a row; the fifth activate of a pseudo-channel waits for the window of four."""
    group, pc = bank >> g.bg_shift, bank >> g.pc_shift
    bit = 1 << (bank - (pc << g.pc_shift))
    banks.bank[bank].acts += 1
    banks.bank[bank].row = row
    banks.pc[pc].open_mask |= bit
    banks.bank[bank].read = now + t.act_to_read
    banks.bank[bank].write = now + t.act_to_write
    banks.bank[bank].pre = now + t.act_to_pre
    banks.bank[bank].act = now + t.act_to_act
    banks.bank[bank].ref = now + t.act_to_ref
    banks.group[group].act = now + t.rrd_l
    banks.pc[pc].ref = max(banks.pc[pc].ref, now + t.act_to_ref)
    banks.pc[pc].refpb = max(banks.pc[pc].refpb, now + t.act_to_refpb_other)
    oldest = pc * 4 + banks.pc[pc].faw_next
    banks.faw[oldest] = now
    banks.pc[pc].faw_next = (banks.pc[pc].faw_next + 1) & 3
    window = banks.faw[pc * 4 + banks.pc[pc].faw_next] + t.faw
    banks.pc[pc].act = max(banks.pc[pc].act, max(now + t.rrd_s, window))
    row_changed(q, banks, g, bank)


@njit(_nrt=False, forceinline=True, error_model="numpy")
def issue_precharge(q: Queue, banks: Banks, g: Geometry, t: Ticks, bank: int, now: int) -> None:
    """Close one bank."""
    pc = bank >> g.pc_shift
    banks.bank[bank].row = -1
    banks.pc[pc].open_mask &= ~(1 << (bank - (pc << g.pc_shift)))
    banks.bank[bank].act = max(banks.bank[bank].act, now + t.pre_to_act)
    banks.bank[bank].ref = max(banks.bank[bank].ref, now + t.pre_to_ref)
    banks.pc[pc].pre = max(banks.pc[pc].pre, now + t.pre_to_pre)
    banks.pc[pc].ref = max(banks.pc[pc].ref, now + t.pre_to_ref)
    row_changed(q, banks, g, bank)


@njit(_nrt=False, forceinline=True, error_model="numpy")
def precharge_all_ready(banks: Banks, g: Geometry, pc: int) -> int:
    """The earliest tick of a precharge of every open bank of a pseudo-channel."""
    ready = banks.pc[pc].pre
    mask = banks.pc[pc].open_mask
    while mask != 0:
        bank = (pc << g.pc_shift) + lowest_bit(mask)
        mask &= mask - 1
        ready = max(ready, banks.bank[bank].pre)
    return ready


@njit(_nrt=False, forceinline=True, error_model="numpy")
def issue_precharge_all(
    q: Queue, banks: Banks, g: Geometry, t: Ticks, pc: int, now: int
) -> None:
    """Close every open bank of a pseudo-channel with one command."""
    mask = banks.pc[pc].open_mask
    banks.pc[pc].open_mask = 0
    while mask != 0:
        bank = (pc << g.pc_shift) + lowest_bit(mask)
        mask &= mask - 1
        banks.bank[bank].row = -1
        row_changed(q, banks, g, bank)
    banks.pc[pc].act = max(banks.pc[pc].act, now + t.pre_to_act)
    banks.pc[pc].pre = max(banks.pc[pc].pre, now + t.pre_to_pre)
    banks.pc[pc].ref = max(banks.pc[pc].ref, now + t.pre_to_ref)


@njit(_nrt=False, forceinline=True, error_model="numpy")
def issue_refresh_all(banks: Banks, t: Ticks, pc: int, now: int) -> None:
    """Refresh all banks of a pseudo-channel; they are closed."""
    banks.pc[pc].act = max(banks.pc[pc].act, now + t.ref_to_act)
    banks.pc[pc].ref = max(banks.pc[pc].ref, now + t.ref_to_act)


@njit(_nrt=False, forceinline=True, error_model="numpy")
def issue_refresh_bank(banks: Banks, g: Geometry, t: Ticks, bank: int, now: int) -> None:
    """Refresh one closed bank; the others of the pseudo-channel go on after a short pause."""
    pc = bank >> g.pc_shift
    banks.bank[bank].act = max(banks.bank[bank].act, now + t.refpb_to_act)
    banks.bank[bank].ref = max(banks.bank[bank].ref, now + t.refpb_to_act)
    banks.pc[pc].act = max(banks.pc[pc].act, now + t.refpb_to_other_act)
    banks.pc[pc].refpb = max(banks.pc[pc].refpb, now + t.refpb_to_refpb)
