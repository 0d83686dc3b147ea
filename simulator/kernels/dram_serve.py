"""Commands that go out for a request: what they change, and what is counted of the request."""

from __future__ import annotations

from simulator.kernels.dram_issue import issue_activate, issue_column, issue_precharge
from simulator.kernels.dram_queue import bank_opened, release, serve_hit, serve_opened
from simulator.kernels.dram_state import (
    ACTIVE,
    ARRIVAL,
    BANK_STRIDE,
    HEAD,
    HIT,
    IS_WRITE,
    READ,
    ROW,
    SEEN,
    WANTED,
    Geometry,
    Ints,
    Narrow,
    Ticks,
    at,
    inlined,
)

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


@inlined
def _first_command(c: Ints, counts: Ints, slot: int, kind: int) -> None:
    """Count a request as hit, miss or conflict at the first command that goes out for it."""
    counts[at(kind)] += 1 - c[at(SEEN + slot)]
    c[at(SEEN + slot)] = 1


@inlined
def column_command(
    c: Ints,
    v: Narrow,
    g: Geometry,
    t: Ticks,
    counts: Ints,
    bank: int,
    write: int,
    now: int,
    mixed: bool,
) -> None:
    """Issue a bank's column command and book its latency, up to the end of its burst."""
    issue_column(c, v, g, t, bank, write, now, mixed)
    slot = c[at(ACTIVE + bank)]
    if slot >= 0 and (not mixed or c[at(IS_WRITE + slot)] == write):
        serve_opened(c, v, bank, write, 2 if mixed else 1)
    else:
        slot = c[at(HIT + write * BANK_STRIDE + bank)]
        _first_command(c, counts, slot, HITS)
        serve_hit(c, v, slot, bank, write)
    end = now + (t.read_done if write == READ else t.write_done)
    column = READS if write == READ else WRITES
    counts[at(column)] += 1
    counts[at(column + 1)] += end - c[at(ARRIVAL + slot)]
    counts[at(END)] = max(counts[at(END)], end)
    release(c, slot)


@inlined
def row_command(
    c: Ints,
    v: Narrow,
    g: Geometry,
    t: Ticks,
    counts: Ints,
    bank: int,
    direction: int,
    now: int,
    mixed: bool,
) -> int:
    """Activate or precharge for a bank's oldest request; the ticks that the row bus is held."""
    slot, sides = c[at(HEAD + direction * BANK_STRIDE + bank)], (2 if mixed else 1)
    if c[at(ROW + bank)] >= 0:
        _first_command(c, counts, slot, CONFLICTS)
        counts[at(PRECHARGES)] += 1
        issue_precharge(c, v, g, t, bank, now, sides)
        return t.pre_len
    _first_command(c, counts, slot, MISSES)
    issue_activate(c, v, g, t, bank, now, sides)
    bank_opened(c, v, bank, c[at(WANTED + slot)], slot, direction, sides)
    return t.act_len
