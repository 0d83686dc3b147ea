"""What each DRAM command does: it changes a bank and moves the deadlines of commands after it.

The deadlines are the constraint tables of the standards (JESD235, JESD238) in the form that
Ramulator 2.1 publishes. Distances within a pseudo-channel, a stack or a bank group are written to
each of its banks, so that the scheduler compares one number a bank.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from simulator.kernels.dram_queue import activate_due, bank_closed
from simulator.kernels.dram_state import (
    ACT_DUE,
    ACTS,
    B_ACT,
    B_PRE,
    B_READ,
    B_REF,
    B_WRITE,
    BANK_STRIDE,
    BLOCK,
    COLUMN_DUE,
    COLUMNS,
    FAW,
    FAW_NEXT,
    LONG_PAST,
    NONE,
    P_ACT,
    P_PRE,
    P_REF,
    P_REFPB,
    PC_STRIDE,
    PRE_DUE,
    READ,
    Geometry,
    Ints,
    Narrow,
    Ticks,
    at,
    inlined,
)

# counted in 64 bits, a vector of bank numbers would take twice the steps
_LANES = np.arange(BLOCK, dtype=np.int32)


@inlined
def not_before(c: Ints | Narrow, deadline: int, tick: int) -> None:
    """Move a deadline later, never earlier."""
    c[at(deadline)] = max(c[at(deadline)], tick)


@inlined
def _range(g: Geometry, bank: int) -> tuple[Any, Any, Any]:
    """The first bank of a bank's pseudo-channel, the bank counted from there, and their number.

    Half a block or a whole one: a run-time number, but seen to leave vector loops no rest.
    """
    number = 1 << g.pc_shift
    whole = np.uintp(number & (BLOCK | BLOCK // 2))
    return at(bank & -number), np.int32(bank & (number - 1)), whole


@inlined
def _delay(
    v: Narrow,
    deadline: int,
    offer: int,
    bank: int,
    g: Geometry,
    ticks: tuple[int, int, int, int, int],
) -> None:
    """Move a deadline of all banks of a bank's pseudo-channel later, never earlier.

    ``offer`` is the column of what the banks offer, which is delayed by as much. ``ticks`` are for
    that bank, for what it offers, and for banks that share its group, its stack, or the
    pseudo-channel only. A bank that is to offer no command any more gets the tick ``NONE`` here and
    not by itself: a look that reads all banks would wait for a single one just written.
    """
    # banks differ by less than the size of what they share; without ``max`` the compiler would
    # choose among 64-bit ticks
    low, one = np.int32(LONG_PAST), np.int32(1)
    in_group, in_stack = np.int32(1 << g.bg_shift), np.int32(1 << g.sid_shift)
    to_own, to_offered = max(np.int32(ticks[0]), low), max(np.int32(ticks[1]), low)
    to_group, to_stack = max(np.int32(ticks[2]), low), max(np.int32(ticks[3]), low)
    to_others = max(np.int32(ticks[4]), low)
    first, here, number = _range(g, bank)
    limits, offers = at(deadline), at(offer)
    for i in range(number):
        apart = np.int32(_LANES[i] ^ here)
        due = to_stack if apart < in_stack else to_others
        due = to_group if apart < in_group else due
        limit, offered = v[first + i + limits], v[first + i + offers]
        v[first + i + limits] = max(limit, to_own if apart < one else due)
        v[first + i + offers] = max(offered, to_offered if apart < one else due)


@inlined
def delay_all(v: Narrow, deadline: int, bank: int, g: Geometry, tick: int) -> None:
    """The same tick for all banks of a bank's pseudo-channel."""
    new = max(np.int32(tick), np.int32(LONG_PAST))
    first, _, number = _range(g, bank)
    place = at(deadline) + first
    for i in range(number):
        v[place + i] = max(v[place + i], new)


@inlined
def _turn_to_activate(
    v: Narrow, side: int, bank: int, g: Geometry, tick: int, activate: int
) -> None:
    """A bank offers an activate and no precharge, which the others may not before a tick."""
    low, one, none = np.int32(LONG_PAST), np.int32(1), np.int32(NONE)
    new, to_activate = max(np.int32(tick), low), max(np.int32(activate), low)
    first, here, number = _range(g, bank)
    limits, pres, acts = at(B_PRE), at(PRE_DUE + side), at(ACT_DUE + side)
    for i in range(number):
        apart = np.int32(_LANES[i] ^ here)
        limit, pre, act = v[first + i + limits], v[first + i + pres], v[first + i + acts]
        v[first + i + limits] = max(limit, new)
        v[first + i + pres] = none if apart < one else max(pre, new)
        v[first + i + acts] = to_activate if apart < one else act


@inlined
def keep_columns_apart(
    v: Narrow, g: Geometry, t: Ticks, bank: int, now: int, side: int, offered: int
) -> None:
    """Delay columns of a direction after one of a bank, whose next is offered at ``offered``."""
    other_stack, stack = now + t.ccd_r, now + t.ccd_s
    group = max(now + t.ccd_l, stack)
    ticks = group, offered, group, stack, other_stack
    _delay(v, B_READ + side, COLUMN_DUE + side, bank, g, ticks)


@inlined
def issue_column(
    c: Ints, v: Narrow, g: Geometry, t: Ticks, bank: int, write: int, now: int, mixed: bool
) -> None:
    """Read or write a burst of the open row; the bank offers none in that direction after it."""
    c[at(COLUMNS + bank)] += 1
    keep_columns_apart(v, g, t, bank, now, write * BANK_STRIDE, NONE)
    if mixed and write == READ:
        turned = now + t.read_to_write
        delay_all(v, B_WRITE, bank, g, turned)
        delay_all(v, COLUMN_DUE + BANK_STRIDE, bank, g, turned)
    elif mixed:
        turned = now + t.write_to_read_s
        group = max(now + t.write_to_read_l, turned)
        _delay(v, B_READ, COLUMN_DUE, bank, g, (group, group, group, turned, turned))
    to_pre = now + (t.read_to_pre if write == READ else t.write_to_pre)
    not_before(v, B_PRE + bank, to_pre)
    not_before(v, PRE_DUE + bank, to_pre)
    if mixed:
        not_before(v, PRE_DUE + BANK_STRIDE + bank, to_pre)


@inlined
def issue_activate(
    c: Ints, v: Narrow, g: Geometry, t: Ticks, bank: int, now: int, sides: int
) -> None:
    """Open a row; the fifth activate of a pseudo-channel waits for the window of four."""
    pc = bank >> g.pc_shift
    c[at(ACTS + bank)] += 1
    not_before(v, B_READ + bank, now + t.act_to_read)
    not_before(v, B_WRITE + bank, now + t.act_to_write)
    not_before(v, B_PRE + bank, now + t.act_to_pre)
    not_before(c, B_REF + bank, now + t.act_to_ref)
    not_before(c, P_REF + pc, now + t.act_to_ref)
    not_before(c, P_REFPB + pc, now + t.act_to_refpb_other)
    oldest = c[at(FAW_NEXT + pc)]
    c[at(FAW + oldest * PC_STRIDE + pc)] = now
    oldest = (oldest + 1) & 3
    c[at(FAW_NEXT + pc)] = oldest
    window = c[at(FAW + oldest * PC_STRIDE + pc)] + t.faw
    not_before(c, P_ACT + pc, max(now + t.rrd_s, window))
    others = c[at(P_ACT + pc)]
    group = max(now + t.rrd_l, others)
    ticks = max(now + t.act_to_act, group), NONE, group, others, others
    _delay(v, B_ACT, ACT_DUE, bank, g, ticks)
    if sides == 2:
        _delay(v, B_ACT, ACT_DUE + BANK_STRIDE, bank, g, ticks)


@inlined
def issue_precharge(
    c: Ints, v: Narrow, g: Geometry, t: Ticks, bank: int, now: int, sides: int
) -> None:
    """Close one bank."""
    pc = bank >> g.pc_shift
    not_before(c, B_REF + bank, now + t.pre_to_ref)
    not_before(c, P_REF + pc, now + t.pre_to_ref)
    not_before(c, P_PRE + pc, now + t.pre_to_pre)
    not_before(v, B_ACT + bank, now + t.pre_to_act)
    tick = now + t.pre_to_pre
    _turn_to_activate(v, 0, bank, g, tick, activate_due(c, v, bank, 0, t.per_clock))
    if sides == 2:
        other = BANK_STRIDE
        _turn_to_activate(v, other, bank, g, tick, activate_due(c, v, bank, other, t.per_clock))
    bank_closed(c, v, bank, sides)
