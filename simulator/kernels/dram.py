"""One DRAM channel at bank level: open page, FR-FCFS over a finite queue, refresh.

Requests enter the queue in order, at most one a tick, when there is a place; one request is one
burst. Row and column commands have a bus each (or share one), which the pseudo-channels share.
A request whose row is being opened leaves the queue for its bank and its column command goes
first. A refresh that is due stops new requests until it has gone out.

The loop skips from event to event: a tick at which no command can go is never visited twice.
"""

from __future__ import annotations

from typing import NamedTuple

from simulator.kernels.dram_address import AddressMap
from simulator.kernels.dram_issue import (
    issue_activate,
    issue_column,
    issue_precharge,
    precharge_all,
    refresh_all,
    refresh_bank,
)
from simulator.kernels.dram_queue import insert, release, unlink, unlink_hit, update_offer
from simulator.kernels.dram_schedule import next_direction, pick_column, pick_row
from simulator.kernels.dram_state import (
    ACTIVE,
    ACTIVE_MASK,
    ARRIVAL,
    B_PRE,
    B_REF,
    BANK,
    COUNT,
    IS_WRITE,
    NEVER,
    P_PRE,
    P_REF,
    P_REFPB,
    READ,
    ROW,
    SEEN,
    WANTED,
    WRITE,
    Geometry,
    Ints,
    Ticks,
    align,
    called,
    entry,
    inlined,
)

REFRESH_OFF = 0
REFRESH_ALL = 1
REFRESH_BANK = 2

# indices of the counters that the kernel returns
HITS = 0
MISSES = 1
CONFLICTS = 2
READS = 3
READ_LATENCY = 4
WRITES = 5
WRITE_LATENCY = 6
END = 7
REFRESHES = 8
PRECHARGES = 9
COUNTERS = 10


class Controller(NamedTuple):
    """Places of the two queues, the kind of refresh, and whether pseudo-channels share it."""

    read_places: int
    write_places: int
    refresh: int
    refresh_together: int


@inlined
def _refresh_target(g: Geometry, control: Controller, number: int) -> int:
    """The bank of a refresh, counted from 0; for an all-bank refresh bank 0 of its channel."""
    if control.refresh == REFRESH_ALL:
        return (number % g.pcs) << g.pc_shift
    if control.refresh_together:
        return ((number % g.pcs) << g.pc_shift) + (number // g.pcs) % g.banks_per_pc
    return number % (g.pcs * g.banks_per_pc)


@called
def _serve_refresh(
    c: Ints, g: Geometry, t: Ticks, everything: bool, bank: int, now: int
) -> tuple[int, int, int]:
    """Move a due refresh on: close what it covers, or refresh.

    Returns ticks on the row bus (0 if nothing went out), 1 when the refresh itself went out, and
    the tick to look again.
    """
    pc = bank >> g.pc_shift
    first, count = (pc << g.pc_shift, g.banks_per_pc) if everything else (bank, 1)
    is_open = False
    for b in range(first, first + count):
        is_open = is_open or c[ROW + b] >= 0
    if is_open and everything:
        wait = precharge_all(c, g, t, pc, now)
        if wait != 0:  # an activate under way: its column command has to go first
            return 0, 0, (wait if wait > 0 else NEVER)
        return t.pre_len, 0, now + t.pre_len
    if is_open:
        if c[ACTIVE + bank] >= 0:
            return 0, 0, NEVER
        ready = max(c[B_PRE + bank], c[P_PRE + pc])
        if ready > now:
            return 0, 0, ready
        issue_precharge(c, g, t, bank, now)
        return t.pre_len, 0, now + t.pre_len
    ready = c[P_REF + pc] if everything else max(c[B_REF + bank], c[P_REFPB + pc])
    ready = align(max(ready, now), t.per_clock)
    if ready > now:
        return 0, 0, ready
    if everything:
        refresh_all(c, t, pc, now)
    else:
        refresh_bank(c, g, t, bank, now)
    return t.ref_len, 1, now + t.ref_len


@inlined
def _first_command(c: Ints, counts: Ints, slot: int, kind: int) -> None:
    """Count a request as hit, miss or conflict at the first command that goes out for it."""
    if c[SEEN + slot] == 0:
        c[SEEN + slot] = 1
        counts[kind] += 1


@inlined
def _finish(c: Ints, g: Geometry, t: Ticks, counts: Ints, slot: int, now: int) -> None:
    """Issue a request's column command and book its latency, up to the end of its burst."""
    write, bank = c[IS_WRITE + slot], c[BANK + slot]
    _first_command(c, counts, slot, HITS)
    if c[ACTIVE + bank] == slot:
        pc = bank >> g.pc_shift
        c[ACTIVE + bank] = -1
        c[ACTIVE_MASK + pc] &= ~(1 << (bank - (pc << g.pc_shift)))
        update_offer(c, READ, bank)
        update_offer(c, WRITE, bank)
    else:
        unlink_hit(c, slot, bank)
    issue_column(c, g, t, bank, write, now)
    end = now + (t.read_done if write == READ else t.write_done)
    at = READS if write == READ else WRITES
    counts[at] += 1
    counts[at + 1] += end - c[ARRIVAL + slot]
    counts[END] = max(counts[END], end)
    release(c, slot)


@inlined
def _row_command(c: Ints, g: Geometry, t: Ticks, counts: Ints, slot: int, now: int) -> int:
    """Activate or precharge for a request; returns the ticks that the row bus is held."""
    bank = c[BANK + slot]
    if c[ROW + bank] >= 0:
        _first_command(c, counts, slot, CONFLICTS)
        counts[PRECHARGES] += 1
        issue_precharge(c, g, t, bank, now)
        return t.pre_len
    _first_command(c, counts, slot, MISSES)
    pc = bank >> g.pc_shift
    unlink(c, slot, bank)
    c[ACTIVE + bank] = slot
    c[ACTIVE_MASK + pc] |= 1 << (bank - (pc << g.pc_shift))
    issue_activate(c, g, t, bank, c[WANTED + slot], now)
    return t.act_len


@entry
def run_channel(
    bursts: Ints,
    writes: Ints,
    arrivals: Ints,
    address: AddressMap,
    g: Geometry,
    t: Ticks,
    control: Controller,
    c: Ints,
    counts: Ints,
) -> None:
    """Serve every request and return the counters (indices above); all times in ticks.

    ``bursts`` are burst numbers inside the channel; ``writes`` (0 or 1) and ``arrivals`` (ticks,
    never falling) may be empty: all reads, all there from the start.
    """
    total, done, sent = bursts.size, 0, 0
    mixed, timed = writes.size > 0, arrivals.size > 0
    direction, now = READ, 0
    column_free, row_free = 0, 0  # when a bus takes the next command
    column_next, row_next = 0, 0  # no candidate of that kind is ready before
    due, refresh_next = 0, NEVER  # refreshes due, and when the next one falls due
    interval, batch = t.refi, g.pcs
    if control.refresh == REFRESH_BANK:
        interval, batch = t.refi_pb, (g.pcs if control.refresh_together else 1)
    if control.refresh != REFRESH_OFF:
        refresh_next = interval
    while done < total:
        if now >= refresh_next:
            due += batch
            refresh_next += interval
            row_next = min(row_next, now)
        while sent < total:
            write = writes[sent] if mixed else READ
            places = control.write_places if write == WRITE else control.read_places
            arrival = arrivals[sent] if timed else 0
            if arrival > now or c[COUNT + write] >= places:
                break
            if True:
                x = bursts[sent]
                pc = (x >> address.pc_shift) & address.pc_mask
                sid = (x >> address.sid_shift) & address.sid_mask
                bg = (x >> address.bg_shift) & address.bg_mask
                ba = (x >> address.ba_shift) & address.ba_mask
                row = (x >> address.row_shift) & address.row_mask
                bank = (pc << g.pc_shift) + (sid << g.sid_shift) + (bg << g.bg_shift) + ba
                arrived = arrival if timed else now
                if insert(c, sent, arrived, bank, row, write):
                    column_next, row_next = min(column_next, now), min(row_next, now)
                sent += 1
        if mixed and due == 0:
            turned = next_direction(c, direction, control.write_places)
            if turned != direction:
                direction, column_next, row_next = turned, now, now
        if now >= column_next and now >= column_free and now == align(now, t.per_clock):
            slot, later = pick_column(c, g, direction, due == 0, now)
            column_next = later
            if slot >= 0:
                bank = c[BANK + slot]
                _finish(c, g, t, counts, slot, now)
                done += 1
                column_free = now + t.col_len
                column_next = column_free
                # its bank may now be closed for the next request
                row_next = min(row_next, max(now, c[B_PRE + bank]))
                if t.separate_buses == 0:
                    row_free = column_free
        if now >= row_free and now >= row_next:
            held = 0
            if due > 0:
                bank = _refresh_target(g, control, counts[REFRESHES])
                held, gone, row_next = _serve_refresh(
                    c, g, t, control.refresh == REFRESH_ALL, bank, now
                )
                due -= gone
                counts[REFRESHES] += gone
                if gone and due == 0:
                    column_next = now
            else:
                slot, row_next = pick_row(c, g, t.per_clock, direction, now)
                if slot >= 0:
                    held = _row_command(c, g, t, counts, slot, now)
                    column_next = min(column_next, now + 1)
            if held > 0:
                row_free = now + held
                row_next = row_free
                if t.separate_buses == 0:
                    column_free = row_free
        # skip to the next tick at which something can change
        later = min(align(max(column_next, column_free), t.per_clock), max(row_next, row_free))
        later = min(later, refresh_next)
        if sent < total:
            write = writes[sent] if mixed else READ
            places = control.write_places if write == WRITE else control.read_places
            if c[COUNT + write] < places:
                later = min(later, arrivals[sent] if timed else now + 1)
        now = max(now + 1, later)
