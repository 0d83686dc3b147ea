"""One DRAM channel at bank level: open page, FR-FCFS over a finite queue, refresh.

Requests enter the queue in order, at most one a tick, when there is a place; one request is one
burst. Row and column commands have a bus each (or share one), which the pseudo-channels share.
A request whose row is being opened leaves the queue for its bank and its column command goes
first. A refresh that is due stops new requests until it has gone out.

The loop skips from event to event: a tick at which no command can go is never visited twice.
"""

from __future__ import annotations

from typing import NamedTuple

from numba import njit

from simulator.kernels.dram_address import AddressMap
from simulator.kernels.dram_issue import (
    issue_activate,
    issue_column,
    issue_precharge,
    issue_precharge_all,
    issue_refresh_all,
    issue_refresh_bank,
    precharge_all_ready,
)
from simulator.kernels.dram_queue import insert, release, unlink
from simulator.kernels.dram_schedule import next_direction, pick_column, pick_row
from simulator.kernels.dram_state import (
    NEVER,
    READ,
    WRITE,
    Banks,
    Geometry,
    Ints,
    Queue,
    Records,
    Ticks,
    align,
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


@njit(_nrt=False, forceinline=True, error_model="numpy")
def _refresh_target(g: Geometry, control: Controller, number: int) -> int:
    """The bank of a refresh, counted from 0; for an all-bank refresh bank 0 of its channel."""
    if control.refresh == REFRESH_ALL:
        return (number % g.pcs) << g.pc_shift
    if control.refresh_together:
        return ((number % g.pcs) << g.pc_shift) + (number // g.pcs) % g.banks_per_pc
    return number % (g.pcs * g.banks_per_pc)


@njit(_nrt=False, forceinline=True, error_model="numpy")
def _serve_refresh(
    q: Queue, banks: Banks, g: Geometry, t: Ticks, everything: int, bank: int, now: int
) -> tuple[int, int, int]:
    """Move a due refresh on: close what it covers, or refresh.

    Returns ticks on the row bus (0 if nothing went out), 1 when the refresh itself went out, and
    the tick to look again.
    """
    pc = bank >> g.pc_shift
    bit = 1 << (bank - (pc << g.pc_shift))
    covered = banks.pc[pc].open_mask if everything else banks.pc[pc].open_mask & bit
    if covered != 0:
        if banks.pc[pc].active_mask & covered != 0:
            return 0, 0, NEVER  # a column command has to go first
        if everything:
            ready = precharge_all_ready(banks, g, pc)
        else:
            ready = max(banks.bank[bank].pre, banks.pc[pc].pre)
        if ready > now:
            return 0, 0, ready
        if everything:
            issue_precharge_all(q, banks, g, t, pc, now)
        else:
            issue_precharge(q, banks, g, t, bank, now)
        return t.pre_len, 0, now + t.pre_len
    ready = banks.pc[pc].ref if everything else max(banks.bank[bank].ref, banks.pc[pc].refpb)
    ready = align(max(ready, now), t.per_clock)
    if ready > now:
        return 0, 0, ready
    if everything:
        issue_refresh_all(banks, t, pc, now)
    else:
        issue_refresh_bank(banks, g, t, bank, now)
    return t.ref_len, 1, now + t.ref_len


@njit(_nrt=False, forceinline=True, error_model="numpy")
def _first_command(q: Queue, counts: Ints, slot: int, kind: int) -> None:
    """Count a request as hit, miss or conflict at the first command that goes out for it."""
    if q.slot[slot].seen == 0:
        q.slot[slot].seen = 1
        counts[kind] += 1


@njit(_nrt=False, forceinline=True, error_model="numpy")
def _finish(
    q: Queue, banks: Banks, g: Geometry, t: Ticks, counts: Ints, slot: int, now: int
) -> None:
    """Issue a request's column command and book its latency, up to the end of its burst."""
    write, bank = q.slot[slot].is_write, q.slot[slot].bank
    _first_command(q, counts, slot, HITS)
    if banks.bank[bank].active == slot:
        pc = bank >> g.pc_shift
        banks.bank[bank].active = -1
        banks.pc[pc].active_mask &= ~(1 << (bank - (pc << g.pc_shift)))
    else:
        unlink(q, banks, g, slot)
    issue_column(banks, g, t, bank, write, now)
    end = now + (t.read_done if write == READ else t.write_done)
    at = READS if write == READ else WRITES
    counts[at] += 1
    counts[at + 1] += end - q.slot[slot].arrival
    counts[END] = max(counts[END], end)
    release(q, slot)


@njit(_nrt=False, forceinline=True, error_model="numpy")
def _row_command(
    q: Queue, banks: Banks, g: Geometry, t: Ticks, counts: Ints, slot: int, now: int
) -> int:
    """Activate or precharge for a request; returns the ticks that the row bus is held."""
    bank = q.slot[slot].bank
    if banks.bank[bank].row >= 0:
        _first_command(q, counts, slot, CONFLICTS)
        counts[PRECHARGES] += 1
        issue_precharge(q, banks, g, t, bank, now)
        return t.pre_len
    _first_command(q, counts, slot, MISSES)
    pc = bank >> g.pc_shift
    unlink(q, banks, g, slot)
    banks.bank[bank].active = slot
    banks.pc[pc].active_mask |= 1 << (bank - (pc << g.pc_shift))
    issue_activate(q, banks, g, t, bank, q.slot[slot].row, now)
    return t.act_len


@njit(cache=True, _nrt=False, error_model="numpy")
def run_channel(
    bursts: Ints,
    writes: Ints,
    arrivals: Ints,
    address: AddressMap,
    g: Geometry,
    ticks: Records,
    control: Controller,
    q: Queue,
    banks: Banks,
    counts: Ints,
) -> None:
    """Serve every request and return the counters (indices above); all times in ticks.

    ``bursts`` are burst numbers inside the channel; ``writes`` (0 or 1) and ``arrivals`` (ticks,
    never falling) may be empty: all reads, all there from the start.
    """
    t = ticks[0]
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
            if arrival > now or q.count[write] >= places:
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
                if insert(q, banks, g, sent, arrived, bank, row, write):
                    column_next, row_next = min(column_next, now), min(row_next, now)
                sent += 1
        if mixed and due == 0:
            turned = next_direction(q, direction, control.write_places)
            if turned != direction:
                direction, column_next, row_next = turned, now, now
        if now >= column_next and now >= column_free and now == align(now, t.per_clock):
            slot, later = pick_column(q, banks, g, direction, due == 0, now)
            column_next = later
            if slot >= 0:
                bank = q.slot[slot].bank
                _finish(q, banks, g, t, counts, slot, now)
                done += 1
                column_free = now + t.col_len
                column_next = column_free
                # its bank may now be closed for the next request
                row_next = min(row_next, max(now, banks.bank[bank].pre))
                if t.separate_buses == 0:
                    row_free = column_free
        if now >= row_free and now >= row_next:
            held = 0
            if due > 0:
                bank = _refresh_target(g, control, counts[REFRESHES])
                held, gone, row_next = _serve_refresh(
                    q, banks, g, t, control.refresh == REFRESH_ALL, bank, now
                )
                due -= gone
                counts[REFRESHES] += gone
                if gone and due == 0:
                    column_next = now
            else:
                slot, row_next = pick_row(q, banks, g, t, direction, now)
                if slot >= 0:
                    held = _row_command(q, banks, g, t, counts, slot, now)
                    column_next = min(column_next, now + 1)
            if held > 0:
                row_free = now + held
                row_next = row_free
                if t.separate_buses == 0:
                    column_free = row_free
        # skip to the next tick at which something can change
        later = min(
            align(max(column_next, column_free), t.per_clock), max(row_next, row_free)
        )
        later = min(later, refresh_next)
        if sent < total:
            write = writes[sent] if mixed else READ
            places = control.write_places if write == WRITE else control.read_places
            if q.count[write] < places:
                later = min(later, arrivals[sent] if timed else now + 1)
        now = max(now + 1, later)
