"""Refreshes of a DRAM channel: what is open is closed, then all banks or one are refreshed."""

from __future__ import annotations

from simulator.kernels.dram_control import REFRESH_ALL, Controller, refresh_target
from simulator.kernels.dram_issue import delay_all, issue_precharge, not_before
from simulator.kernels.dram_queue import activate_due, bank_closed
from simulator.kernels.dram_serve import REFRESHES
from simulator.kernels.dram_state import (
    ACT_DUE,
    ACTIVE,
    B_ACT,
    B_PRE,
    B_REF,
    BANK_STRIDE,
    NEVER,
    NONE,
    P_ACT,
    P_PRE,
    P_REF,
    P_REFPB,
    PRE_DUE,
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


@called
def _hold_activates(c: Ints, v: Narrow, g: Geometry, t: Ticks, pc: int, tick: int) -> None:
    """No activate of a pseudo-channel before a tick."""
    not_before(c, P_ACT + pc, tick)
    delay_all(v, B_ACT, pc << g.pc_shift, g, tick)
    for side in range(0, 2 * BANK_STRIDE, BANK_STRIDE):
        due = align(tick, t.per_clock)
        delay_all(v, ACT_DUE + side, pc << g.pc_shift, g, due)


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
            for side in range(0, 2 * BANK_STRIDE, BANK_STRIDE):
                v[at(PRE_DUE + side + bank)] = NONE
                v[at(ACT_DUE + side + bank)] = activate_due(c, v, bank, side, t.per_clock)
            bank_closed(c, v, bank, 2)
    _hold_activates(c, v, g, t, pc, now + t.pre_to_act)
    not_before(c, P_PRE + pc, now + t.pre_to_pre)
    tick = now + t.pre_to_pre
    delay_all(v, B_PRE, first, g, tick)
    not_before(c, P_REF + pc, now + t.pre_to_ref)
    return 0


@inlined
def _refresh_all(c: Ints, v: Narrow, g: Geometry, t: Ticks, pc: int, now: int) -> None:
    """Refresh all banks of a pseudo-channel; they are closed."""
    _hold_activates(c, v, g, t, pc, now + t.ref_to_act)
    not_before(c, P_REF + pc, now + t.ref_to_act)


@inlined
def _refresh_bank(c: Ints, v: Narrow, g: Geometry, t: Ticks, bank: int, now: int) -> None:
    """Refresh one closed bank; the others of the pseudo-channel go on after a short pause."""
    pc = bank >> g.pc_shift
    tick = now + t.refpb_to_act
    not_before(v, B_ACT + bank, tick)
    for side in range(0, 2 * BANK_STRIDE, BANK_STRIDE):
        not_before(v, ACT_DUE + side + bank, align(tick, t.per_clock))
    not_before(c, B_REF + bank, now + t.refpb_to_act)
    _hold_activates(c, v, g, t, pc, now + t.refpb_to_other_act)
    not_before(c, P_REFPB + pc, now + t.refpb_to_refpb)


@called
def serve_refresh(
    c: Ints, v: Narrow, g: Geometry, t: Ticks, control: Controller, counts: Ints, now: int
) -> tuple[int, int, int]:
    """Move a due refresh on: close what it covers, or refresh.

    Returns ticks on the row bus (0 if nothing went out), 1 when the refresh itself went out, which
    is counted, and the tick to look again.
    """
    everything = control.refresh == REFRESH_ALL
    bank = refresh_target(g, control, counts[at(REFRESHES)])
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
        issue_precharge(c, v, g, t, bank, now, 2)
        return t.pre_len, 0, now + t.pre_len
    ready = c[at(P_REF + pc)] if everything else max(c[at(B_REF + bank)], c[at(P_REFPB + pc)])
    ready = align(max(ready, now), t.per_clock)
    if ready > now:
        return 0, 0, ready
    if everything:
        _refresh_all(c, v, g, t, pc, now)
    else:
        _refresh_bank(c, v, g, t, bank, now)
    counts[at(REFRESHES)] += 1
    return t.ref_len, 1, now + t.ref_len
