"""What each DRAM command does: it changes a bank and moves the deadlines of commands after it.

The deadlines are the constraint tables of the standards (JESD235, JESD238) in the form that
Ramulator 2.1 publishes. Distances within a bank group are written to each of its banks, so that
the scheduler compares one number a bank.
"""

from __future__ import annotations

from simulator.kernels.dram_queue import row_changed
from simulator.kernels.dram_state import (
    ACTIVE,
    ACTS,
    B_ACT,
    B_PRE,
    B_READ,
    B_REF,
    B_WRITE,
    COLUMNS,
    FAW,
    FAW_NEXT,
    P_ACT,
    P_PRE,
    P_REF,
    P_REFPB,
    PC_STRIDE,
    READ,
    ROW,
    S_READ,
    S_WRITE,
    Geometry,
    Ints,
    Ticks,
    called,
    inlined,
)


@inlined
def _not_before(c: Ints, deadline: int, tick: int) -> None:
    """Move a deadline later, never earlier."""
    if c[deadline] < tick:
        c[deadline] = tick


@inlined
def issue_column(c: Ints, g: Geometry, t: Ticks, bank: int, write: int, now: int) -> None:
    """Read or write a burst of the open row."""
    c[COLUMNS + bank] += 1
    sid = bank >> g.sid_shift
    own, other, after_own, after_other, near, far = (
        (S_READ, S_WRITE, t.ccd_s, t.read_to_write, B_READ, t.read_to_pre)
        if write == READ
        else (S_WRITE, S_READ, t.ccd_s, t.write_to_read_s, B_WRITE, t.write_to_pre)
    )
    if g.stacks == 1:
        _not_before(c, own + sid, now + after_own)
        _not_before(c, other + sid, now + after_other)
    else:
        first = (bank >> g.pc_shift) * g.stacks
        for s in range(first, first + g.stacks):
            _not_before(c, own + s, now + (after_own if s == sid else t.ccd_r))
            _not_before(c, other + s, now + after_other)
    group = (bank >> g.bg_shift) << g.bg_shift
    for b in range(group, group + (1 << g.bg_shift)):
        _not_before(c, near + b, now + t.ccd_l)
        if write != READ:
            _not_before(c, B_READ + b, now + t.write_to_read_l)
    _not_before(c, B_PRE + bank, now + far)


@inlined
def issue_activate(c: Ints, g: Geometry, t: Ticks, bank: int, row: int, now: int) -> None:
    """Open a row; the fifth activate of a pseudo-channel waits for the window of four."""
    pc = bank >> g.pc_shift
    group = (bank >> g.bg_shift) << g.bg_shift
    for b in range(group, group + (1 << g.bg_shift)):
        _not_before(c, B_ACT + b, now + t.rrd_l)
    c[ACTS + bank] += 1
    c[ROW + bank] = row
    _not_before(c, B_READ + bank, now + t.act_to_read)
    _not_before(c, B_WRITE + bank, now + t.act_to_write)
    _not_before(c, B_PRE + bank, now + t.act_to_pre)
    _not_before(c, B_ACT + bank, now + t.act_to_act)
    _not_before(c, B_REF + bank, now + t.act_to_ref)
    _not_before(c, P_REF + pc, now + t.act_to_ref)
    _not_before(c, P_REFPB + pc, now + t.act_to_refpb_other)
    oldest = c[FAW_NEXT + pc]
    c[FAW + oldest * PC_STRIDE + pc] = now
    oldest = (oldest + 1) & 3
    c[FAW_NEXT + pc] = oldest
    window = c[FAW + oldest * PC_STRIDE + pc] + t.faw
    _not_before(c, P_ACT + pc, max(now + t.rrd_s, window))
    row_changed(c, bank)


@inlined
def issue_precharge(c: Ints, g: Geometry, t: Ticks, bank: int, now: int) -> None:
    """Close one bank."""
    pc = bank >> g.pc_shift
    c[ROW + bank] = -1
    _not_before(c, B_ACT + bank, now + t.pre_to_act)
    _not_before(c, B_REF + bank, now + t.pre_to_ref)
    _not_before(c, P_PRE + pc, now + t.pre_to_pre)
    _not_before(c, P_REF + pc, now + t.pre_to_ref)
    row_changed(c, bank)


@called
def precharge_all(c: Ints, g: Geometry, t: Ticks, pc: int, now: int) -> int:
    """Close every open bank of a pseudo-channel with one command, if that is possible now.

    Returns 0 if it went out, else the tick to try again; -1 if an activate is under way.
    """
    first, ready = pc << g.pc_shift, c[P_PRE + pc]
    for bank in range(first, first + g.banks_per_pc):
        if c[ROW + bank] >= 0:
            if c[ACTIVE + bank] >= 0:
                return -1
            ready = max(ready, c[B_PRE + bank])
    if ready > now:
        return ready
    for bank in range(first, first + g.banks_per_pc):
        if c[ROW + bank] >= 0:
            c[ROW + bank] = -1
            row_changed(c, bank)
    _not_before(c, P_ACT + pc, now + t.pre_to_act)
    _not_before(c, P_PRE + pc, now + t.pre_to_pre)
    _not_before(c, P_REF + pc, now + t.pre_to_ref)
    return 0


@inlined
def refresh_all(c: Ints, t: Ticks, pc: int, now: int) -> None:
    """Refresh all banks of a pseudo-channel; they are closed."""
    _not_before(c, P_ACT + pc, now + t.ref_to_act)
    _not_before(c, P_REF + pc, now + t.ref_to_act)


@inlined
def refresh_bank(c: Ints, g: Geometry, t: Ticks, bank: int, now: int) -> None:
    """Refresh one closed bank; the others of the pseudo-channel go on after a short pause."""
    pc = bank >> g.pc_shift
    _not_before(c, B_ACT + bank, now + t.refpb_to_act)
    _not_before(c, B_REF + bank, now + t.refpb_to_act)
    _not_before(c, P_ACT + pc, now + t.refpb_to_other_act)
    _not_before(c, P_REFPB + pc, now + t.refpb_to_refpb)
