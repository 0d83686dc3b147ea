"""What each DRAM command does: it changes a bank and moves the deadlines of commands after it.

The deadlines are the constraint tables of the standards (JESD235, JESD238) in the form that
Ramulator 2.1 publishes. Distances within a stack or a bank group are written to each of its banks,
so that the scheduler compares one number a bank; between banks of a pseudo-channel that differ in
nothing there is one number for all.
"""

from __future__ import annotations

import numpy as np

from simulator.kernels.dram_queue import bank_closed, look_again
from simulator.kernels.dram_state import (
    ACT_BEST,
    ACTIVE,
    ACTS,
    B_ACT,
    B_PRE,
    B_READ,
    B_REF,
    B_WRITE,
    COLUMN_BEST,
    COLUMN_SOON,
    COLUMNS,
    FAW,
    FAW_NEXT,
    NEVER,
    P_ACT,
    P_PRE,
    P_READ,
    P_REF,
    P_REFPB,
    P_WRITE,
    PC_STRIDE,
    READ,
    ROW,
    Geometry,
    Ints,
    Narrow,
    Ticks,
    align,
    at,
    called,
    inlined,
)


@inlined
def _not_before(c: Ints | Narrow, deadline: int, tick: int) -> None:
    """Move a deadline later, never earlier."""
    c[at(deadline)] = max(c[at(deadline)], tick)


@inlined
def _none_before(v: Narrow, deadline: int, group: int, shift: int, tick: int) -> None:
    """Move a deadline of all banks of a group (``1 << shift`` of them) later, never earlier."""
    first, later = deadline + (group << shift), np.int32(tick)
    for bank in range(at(first), at(first + (1 << shift))):
        v[bank] = max(v[bank], later)


@inlined
def issue_column(
    c: Ints, v: Narrow, g: Geometry, t: Ticks, bank: int, write: int, now: int
) -> None:
    """Read or write a burst of the open row."""
    c[at(COLUMNS + bank)] += 1
    pc, sid, group = bank >> g.pc_shift, bank >> g.sid_shift, bank >> g.bg_shift
    near, turn, after_turn, to_pre = (
        (B_READ, P_WRITE, t.read_to_write, t.read_to_pre)
        if write == READ
        else (B_WRITE, P_READ, t.write_to_read_s, t.write_to_pre)
    )
    first = (pc << g.pc_shift) >> g.sid_shift
    for s in range(first, first + g.stacks):
        _none_before(v, near, s, g.sid_shift, now + (t.ccd_s if s == sid else t.ccd_r))
    if t.ccd_l > t.ccd_s:
        _none_before(v, near, group, g.bg_shift, now + t.ccd_l)
    if write != READ:
        _none_before(v, B_READ, group, g.bg_shift, now + t.write_to_read_l)
        look_again(c, COLUMN_BEST + pc)
    _not_before(c, COLUMN_SOON + write * PC_STRIDE + pc, now + min(t.ccd_s, t.ccd_r))
    _not_before(c, turn + pc, now + after_turn)
    _not_before(v, B_PRE + bank, now + to_pre)


@inlined
def issue_activate(
    c: Ints, v: Narrow, g: Geometry, t: Ticks, bank: int, row: int, now: int
) -> None:
    """Open a row; the fifth activate of a pseudo-channel waits for the window of four."""
    pc = bank >> g.pc_shift
    if t.rrd_l > t.rrd_s:
        _none_before(v, B_ACT, bank >> g.bg_shift, g.bg_shift, now + t.rrd_l)
    c[at(ACTS + bank)] += 1
    c[at(ROW + bank)] = row
    _not_before(v, B_READ + bank, now + t.act_to_read)
    _not_before(v, B_WRITE + bank, now + t.act_to_write)
    _not_before(v, B_PRE + bank, now + t.act_to_pre)
    _not_before(v, B_ACT + bank, now + t.act_to_act)
    _not_before(c, B_REF + bank, now + t.act_to_ref)
    _not_before(c, P_REF + pc, now + t.act_to_ref)
    _not_before(c, P_REFPB + pc, now + t.act_to_refpb_other)
    oldest = c[at(FAW_NEXT + pc)]
    c[at(FAW + oldest * PC_STRIDE + pc)] = now
    oldest = (oldest + 1) & 3
    c[at(FAW_NEXT + pc)] = oldest
    window = c[at(FAW + oldest * PC_STRIDE + pc)] + t.faw
    _not_before(c, P_ACT + pc, max(now + t.rrd_s, window))


@inlined
def issue_precharge(c: Ints, v: Narrow, g: Geometry, t: Ticks, bank: int, now: int) -> None:
    """Close one bank."""
    pc = bank >> g.pc_shift
    c[at(ROW + bank)] = -1
    _not_before(v, B_ACT + bank, now + t.pre_to_act)
    _not_before(c, B_REF + bank, now + t.pre_to_ref)
    _not_before(c, P_PRE + pc, now + t.pre_to_pre)
    _not_before(c, P_REF + pc, now + t.pre_to_ref)
    bank_closed(c, v, bank, pc)


@called
def _precharge_all(c: Ints, v: Narrow, g: Geometry, t: Ticks, pc: int, now: int) -> int:
    """Close every open bank of a pseudo-channel with one command, if that is possible now.

    Returns 0 if it went out, else the tick to try again; -1 if an activate is under way.
    """
    first, ready = pc << g.pc_shift, c[at(P_PRE + pc)]
    for bank in range(first, first + g.banks_per_pc):
        if c[at(ROW + bank)] >= 0:
            if c[at(ACTIVE + bank)] >= 0:
                return -1
            ready = max(ready, v[at(B_PRE + bank)])
    if ready > now:
        return ready
    for bank in range(first, first + g.banks_per_pc):
        if c[at(ROW + bank)] >= 0:
            c[at(ROW + bank)] = -1
            bank_closed(c, v, bank, pc)
    _not_before(c, P_ACT + pc, now + t.pre_to_act)
    _not_before(c, P_PRE + pc, now + t.pre_to_pre)
    _not_before(c, P_REF + pc, now + t.pre_to_ref)
    return 0


@inlined
def _refresh_all(c: Ints, t: Ticks, pc: int, now: int) -> None:
    """Refresh all banks of a pseudo-channel; they are closed."""
    _not_before(c, P_ACT + pc, now + t.ref_to_act)
    _not_before(c, P_REF + pc, now + t.ref_to_act)


@inlined
def _refresh_bank(c: Ints, v: Narrow, g: Geometry, t: Ticks, bank: int, now: int) -> None:
    """Refresh one closed bank; the others of the pseudo-channel go on after a short pause."""
    pc = bank >> g.pc_shift
    _not_before(v, B_ACT + bank, now + t.refpb_to_act)
    look_again(c, ACT_BEST + pc)
    look_again(c, ACT_BEST + PC_STRIDE + pc)
    _not_before(c, B_REF + bank, now + t.refpb_to_act)
    _not_before(c, P_ACT + pc, now + t.refpb_to_other_act)
    _not_before(c, P_REFPB + pc, now + t.refpb_to_refpb)


@called
def serve_refresh(
    c: Ints, v: Narrow, g: Geometry, t: Ticks, everything: bool, bank: int, now: int
) -> tuple[int, int, int]:
    """Move a due refresh on: close what it covers, or refresh.

    Returns ticks on the row bus (0 if nothing went out), 1 when the refresh itself went out, and
    the tick to look again.
    """
    pc = bank >> g.pc_shift
    first, count = (pc << g.pc_shift, g.banks_per_pc) if everything else (bank, 1)
    is_open = False
    for b in range(first, first + count):
        is_open = is_open or c[at(ROW + b)] >= 0
    if is_open and everything:
        wait = _precharge_all(c, v, g, t, pc, now)
        if wait != 0:  # an activate under way: its column command has to go first
            return 0, 0, (wait if wait > 0 else NEVER)
        return t.pre_len, 0, now + t.pre_len
    if is_open:
        if c[at(ACTIVE + bank)] >= 0:
            return 0, 0, NEVER
        ready = max(v[at(B_PRE + bank)], c[at(P_PRE + pc)])
        if ready > now:
            return 0, 0, ready
        issue_precharge(c, v, g, t, bank, now)
        return t.pre_len, 0, now + t.pre_len
    ready = c[at(P_REF + pc)] if everything else max(c[at(B_REF + bank)], c[at(P_REFPB + pc)])
    ready = align(max(ready, now), t.per_clock)
    if ready > now:
        return 0, 0, ready
    if everything:
        _refresh_all(c, t, pc, now)
    else:
        _refresh_bank(c, v, g, t, bank, now)
    return t.ref_len, 1, now + t.ref_len
