"""One DRAM channel at bank level: open page, FR-FCFS over a finite queue, refresh.

Requests enter the queue in order, at most one a tick, when there is a place; one request is one
burst. Row and column commands have a bus each (or share one), which the pseudo-channels share.
A request whose row is being opened leaves the queue for its bank and its column command goes
first. A refresh that is due stops new requests until it has gone out.

The loop skips from event to event: a tick at which no command can go is never visited twice.
"""

from __future__ import annotations

from typing import Any

from simulator.kernels.dram_address import AddressMap
from simulator.kernels.dram_book import book_column, settle_books
from simulator.kernels.dram_control import (
    REFRESH_ALL,
    REFRESH_BANK,
    REFRESH_OFF,
    Controller,
    next_place,
    refresh_interval,
)
from simulator.kernels.dram_epoch import EPOCH, MOST_RANKS, begin_epoch, earlier, rank_again
from simulator.kernels.dram_queue import insert
from simulator.kernels.dram_refresh import serve_refresh
from simulator.kernels.dram_repeat import bank_of, close_books, jump_ahead
from simulator.kernels.dram_rounds import jump_rounds
from simulator.kernels.dram_schedule import (
    first_column,
    first_row,
    look_at_rows,
    next_direction,
    sooner_column,
    sooner_row,
    try_rows_again,
)
from simulator.kernels.dram_serve import (
    CONFLICTS,
    COUNTERS,
    END,
    HITS,
    MISSES,
    PRECHARGES,
    READ_LATENCY,
    READS,
    REFRESHES,
    WRITE_LATENCY,
    WRITES,
    column_command,
    row_command,
)
from simulator.kernels.dram_state import (
    ACTIVE,
    B_PRE,
    BANK_MASK,
    BOOK_COUNT,
    COUNT,
    NEVER,
    NONE,
    RANKS,
    READ,
    Geometry,
    Ints,
    Narrow,
    Ticks,
    align,
    at,
    entry,
)

__all__ = [
    "CONFLICTS", "COUNTERS", "END", "HITS", "MISSES", "PRECHARGES", "READS", "READ_LATENCY",
    "REFRESHES", "REFRESH_ALL", "REFRESH_BANK", "REFRESH_OFF", "WRITES", "WRITE_LATENCY",
    "Controller", "run_channel",
]  # fmt: skip


def _make_channel(has_writes: bool) -> Any:
    """The kernel for reads and writes, or for reads alone, which need less."""

    @entry
    def run(
        bursts: Ints,
        writes: Ints,
        arrivals: Ints,
        address: AddressMap,
        g: Geometry,
        t: Ticks,
        control: Controller,
        c: Ints,
        v: Narrow,
        counts: Ints,
    ) -> None:
        # no literal, as numba would compile all that gets one twice
        zero = bursts.size * 0
        mixed = zero + has_writes > 0
        total, done, sent = bursts.size, zero, zero
        timed = arrivals.size > 0
        direction, now = zero + READ, zero
        column_free, row_free = zero, zero  # when a bus takes the next command
        # In reads alone: tick and key of the next command on each bus, unless it has to be looked
        # for again. With writes no command goes before these ticks.
        column_next, row_next = zero, zero
        column_key, row_key = zero + NONE, zero + NONE
        column_stale, row_stale = zero == 0, zero == 0
        interval, batch = refresh_interval(g, t, control)
        due = zero  # refreshes, and when the next ones fall due
        refresh_next = interval if control.refresh != REFRESH_OFF else zero + NEVER
        # bursts follow one another from request ``straight`` on; repetitions are jumped over
        straight, before, picture_due = zero, zero - NEVER, zero + NEVER
        jumped, ticks_jumped = zero, zero
        plain = not mixed and not timed and control.refresh != REFRESH_BANK
        period = 1 << address.period_bits if plain and address.period_bits > 0 else NEVER
        stretch = 2 * t.burst * period // g.pcs if period < NEVER else 0
        # activates could follow one another faster than the row bus takes them
        crowded = 4 * g.pcs * (t.act_len + t.pre_len) > t.faw
        may_book = not has_writes and t.separate_buses > 0
        while done < total:
            if now > EPOCH:
                past = now & -t.per_clock
                begin_epoch(c, v, past)
                now, ticks_jumped = now - past, ticks_jumped + past
                column_free, row_free = column_free - past, row_free - past
                column_next, row_next = earlier(column_next, past), earlier(row_next, past)
                refresh_next = earlier(refresh_next, past)
                counts[at(END)] -= past
            if c[at(RANKS)] > MOST_RANKS:
                rank_again(c, v, g)
                column_stale, row_stale = True, True
            if now >= refresh_next:
                if not has_writes:  # noqa: SIM102 - what is left out here is not compiled
                    if due + c[at(BOOK_COUNT)] == 0 and sent < total and sent - straight > period:
                        stream = sent, straight, jumped
                        free = column_free, row_free, counts[at(END)]
                        requests, ticks = jump_rounds(
                            bursts, stream, address, g, t, c, v, counts, now, ticks_jumped, free
                        )
                        sent, done, jumped = sent + requests, done + requests, jumped + requests
                        before, ticks_jumped = before + requests, ticks_jumped + ticks
                due += batch
                refresh_next += interval
                # the banks that it closes are all open again after a turn of the stream
                picture_due = max(picture_due, sent + (1 << address.row_shift) - period)
                row_next = min(row_next, now)
                column_stale = True  # row hits have to wait
            entered = False
            while sent < total:
                write, places = next_place(writes, control, sent, mixed)
                arrival = arrivals[sent] - ticks_jumped if timed else 0
                if arrival > now or c[at(COUNT + write)] >= places:
                    break
                x = bursts[at(sent)]
                if x != before + 1:
                    straight, picture_due = sent, sent + period
                before = x
                x -= jumped
                bank = bank_of(address, g, x)
                row = (x >> address.row_shift) & address.row_mask
                arrived = arrival if timed else now
                hits, alone = insert(c, v, sent - jumped, arrived, bank, row, write, t.per_clock)
                if mixed and (hits or alone):
                    column_next, row_next = min(column_next, now), min(row_next, now)
                column_stale, row_stale = column_stale | hits, row_stale | alone
                sent += 1
                entered = True
            if not has_writes:
                if (column_stale or sent >= picture_due) and c[at(BOOK_COUNT)] > 0:
                    back, column_free = settle_books(c, v, g, t, counts, now, column_free)
                    done, row_stale, column_stale = done - back, True, True
                if sent >= picture_due and due == 0:
                    picture_due = sent + period
                    if total > picture_due and refresh_next - now > stretch:
                        stream = sent, straight, jumped
                        free = column_free, row_free, counts[at(END)]
                        requests, ticks = jump_ahead(
                            bursts, stream, address, g, t, c, v, counts, now, refresh_next, free
                        )
                        sent, done, jumped = sent + requests, done + requests, jumped + requests
                        before += requests
                        refresh_next, ticks_jumped = refresh_next - ticks, ticks_jumped + ticks
                if column_stale:
                    column_next, column_key, _ = first_column(
                        c, v, g, t.per_clock, direction, due == 0, mixed, max(now, column_free)
                    )
                    column_stale = False
                if row_stale and due == 0:
                    row_next, row_key = first_row(
                        v, g, t.per_clock, READ, max(now, row_free), crowded
                    )
                    row_stale = False
            # skip to the next tick at which something can change
            later = min(
                align(max(column_next, column_free, now), t.per_clock), max(row_next, row_free)
            )
            if sent < total and timed:
                write, places = next_place(writes, control, sent, mixed)
                if c[at(COUNT + write)] < places:
                    later = min(later, arrivals[sent] - ticks_jumped)
            # the direction is looked at where a request entered
            if later > now and not (mixed and entered):
                now = min(later, refresh_next)
                if timed or now == refresh_next:
                    continue
            if mixed and due == 0:
                turned = next_direction(c, direction, control.write_places)
                if turned != direction:
                    direction, column_next, row_next = turned, now, now
            if now >= column_next and now >= column_free and now == align(now, t.per_clock):
                write = zero + READ
                if has_writes:
                    column_next, column_key, write = first_column(
                        c, v, g, t.per_clock, direction, due == 0, mixed, now
                    )
                if not mixed or column_next == now:
                    bank = column_key & BANK_MASK
                    column_command(c, v, g, t, counts, bank, write, now, mixed)
                    done += 1
                    column_free = now + t.col_len
                    column_next, column_stale = column_free, True
                    if t.separate_buses == 0:
                        row_free, row_stale = column_free, row_stale | (row_next < column_free)
                    # its bank may now be closed for the next request
                    if mixed or due > 0:
                        row_next = min(row_next, max(now, v[at(B_PRE + bank)]))
                    elif row_key & BANK_MASK == bank:
                        row_next, row_key = look_at_rows(v, g, t.per_clock, max(now, row_free))
                    else:
                        row_next, row_key = sooner_row(v, bank, row_free, row_next, row_key)
            if now >= row_free and now >= row_next:
                held = zero
                if due > 0:
                    held, gone, row_next = serve_refresh(c, v, g, t, control, counts, now)
                    due -= gone
                    if gone and due == 0:
                        column_next, column_stale = now, True
                else:
                    if has_writes:
                        row_next, row_key = first_row(v, g, t.per_clock, direction, now, False)
                    if mixed and row_next > now:
                        row_next = try_rows_again(c, v, g, t.per_clock, direction, now)
                    else:
                        bank = row_key & BANK_MASK
                        held = row_command(c, v, g, t, counts, bank, direction, now, mixed)
                        if mixed:
                            column_next = min(column_next, now + 1)
                        elif may_book and column_next == NEVER and not column_stale:
                            # no column command waits, so only an activate leads to one
                            if c[at(ACTIVE + bank)] >= 0:
                                booked = sent < total and book_column(
                                    c, v, g, t, counts, bank, now, column_free
                                )
                                done, column_stale = done + booked, not booked
                        elif column_key & BANK_MASK == bank:
                            column_stale = True
                        else:
                            column_next, column_key = sooner_column(
                                v, bank, column_free, t.per_clock, column_next, column_key
                            )
                if held > 0:
                    row_free = now + held
                    row_next, row_stale = row_free, True
                    if t.separate_buses == 0:
                        column_free = row_free
                        column_stale |= column_next < row_free
            now += 1
        counts[at(END)] += ticks_jumped
        if period < NEVER:
            close_books(c, g, address, jumped)

    return run


_run_reads = _make_channel(False)
_run_mixed = _make_channel(True)


def run_channel(
    bursts: Ints,
    writes: Ints,
    arrivals: Ints,
    address: AddressMap,
    g: Geometry,
    t: Ticks,
    control: Controller,
    c: Ints,
    v: Narrow,
    counts: Ints,
) -> None:
    """Serve every request and return the counters (indices above); all times in ticks.

    ``bursts`` are burst numbers inside the channel; ``writes`` (0 or 1) and ``arrivals`` (ticks,
    never falling) may be empty: all reads, all there from the start.
    """
    run = _run_mixed if writes.size > 0 else _run_reads
    run(bursts, writes, arrivals, address, g, t, control, c, v, counts)
