"""Column commands that nothing can delay are booked as their row is opened.

In reads that hit no rows, each column command goes at the first tick that its row allows: the
commands of a pseudo-channel are as far apart as the activates before them. Such a command does
nothing to the others but to keep the data bus, so it need not be waited for and looked for. It is
booked ahead, at its tick, if the limits of those that were booked before do not move it. (Where row
and column commands share a bus, a row command may come first, so nothing is booked.)

That holds until a request hits an open row, because its command may come between. Then the books
are settled: the limits that booked commands leave behind are written to the banks, and what has
been booked for later is taken back and waited for.
"""

from __future__ import annotations

from simulator.kernels.dram_issue import keep_columns_apart
from simulator.kernels.dram_queue import release, serve_opened
from simulator.kernels.dram_serve import END, READ_LATENCY, READS
from simulator.kernels.dram_state import (
    ACTIVE,
    ARRIVAL,
    B_PRE,
    B_READ,
    BANK_MASK,
    BOOK_COUNT,
    BOOK_FREE,
    BOOK_GROUP,
    BOOK_PC,
    BOOK_SLOT,
    BOOK_TICK,
    BOOKS,
    COLUMN_DUE,
    COLUMN_KEY,
    COLUMNS,
    HIT,
    KEY,
    NONE,
    OPENED,
    PRE_DUE,
    RANK,
    READ,
    SLOTS,
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
def book_column(
    c: Ints, v: Narrow, g: Geometry, t: Ticks, counts: Ints, bank: int, now: int, free: int
) -> bool:
    """Book the read for which a bank has just been opened, if nothing can delay it.

    ``free`` is the tick from which the column bus is free. Returns whether it is booked.
    """
    group, pc = bank >> g.bg_shift, bank >> g.pc_shift
    tick = align(max(v[at(B_READ + bank)], free), t.per_clock)
    limit = max(c[at(BOOK_GROUP + group)], c[at(BOOK_PC + pc)], c[at(BOOK_FREE)])
    count = c[at(BOOK_COUNT)]
    place = count & (BOOKS - 1)
    # a request keeps its slot until its command has gone
    full = count >= BOOKS and c[at(BOOK_TICK + place)] > now
    if limit > tick or full or c[at(HIT + bank)] < SLOTS:
        return False
    if count >= BOOKS:
        release(c, c[at(BOOK_SLOT + place)])
    slot = c[at(ACTIVE + bank)]
    c[at(BOOK_TICK + place)] = tick
    c[at(BOOK_SLOT + place)] = slot
    c[at(BOOK_COUNT)] = count + 1
    c[at(BOOK_GROUP + group)] = tick + max(t.ccd_l, t.ccd_s)
    c[at(BOOK_PC + pc)] = tick + max(t.ccd_s, t.ccd_r)
    c[at(BOOK_FREE)] = tick + t.col_len
    # where a precharge holds its bus for longer than tRTP, it still starts no earlier than the read
    v[at(B_PRE + bank)] = max(v[at(B_PRE + bank)], tick + max(t.read_to_pre, 0))
    v[at(COLUMN_DUE + bank)] = NONE
    _count(c, t, counts, bank, slot, tick, 1)
    serve_opened(c, v, bank, READ, 1)
    return True


@inlined
def _count(c: Ints, t: Ticks, counts: Ints, bank: int, slot: int, tick: int, number: int) -> None:
    """Count a read at a tick, or take that back with -1."""
    c[at(COLUMNS + bank)] += number
    counts[at(READS)] += number
    counts[at(READ_LATENCY)] += number * (tick + t.read_done - c[at(ARRIVAL + slot)])


@called
def settle_books(
    c: Ints, v: Narrow, g: Geometry, t: Ticks, counts: Ints, first: int, free: int
) -> tuple[int, int]:
    """Take back what is booked for ``first`` and later, and leave the limits of what is before.

    Returns how many are taken back, and the tick from which the column bus is free.
    """
    count, back = c[at(BOOK_COUNT)], 0
    for i in range(max(count - BOOKS, 0), count):  # by tick
        place = i & (BOOKS - 1)
        tick, slot = c[at(BOOK_TICK + place)], c[at(BOOK_SLOT + place)]
        bank = c[at(KEY + slot)] & BANK_MASK
        if tick < first:
            keep_columns_apart(v, g, t, bank, tick, 0 * i, tick + max(t.ccd_l, t.ccd_s))
            counts[at(END)] = max(counts[at(END)], tick + t.read_done)
            free = max(free, tick + t.col_len)
            release(c, slot)
        else:
            back += 1
            _count(c, t, counts, bank, slot, tick, -1)
            c[at(ACTIVE + bank)] = slot
            c[at(OPENED + READ)] += 1
            v[at(COLUMN_KEY + bank)] = c[at(RANK + slot)]
            v[at(COLUMN_DUE + bank)] = v[at(B_READ + bank)]
            # when it is closed stands: the command goes no earlier than it was booked for
            v[at(PRE_DUE + bank)] = NONE
    c[at(BOOK_COUNT)] = 0
    return back, free
