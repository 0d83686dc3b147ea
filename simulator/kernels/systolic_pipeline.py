"""Stalls of a systolic array behind finite SRAM and DRAM bandwidth, tile by tile.

Each operand has its own SRAM buffer and its own port to DRAM. The unit that moves is a tile: a
fold's block of the stationary operand, or a chunk of a streamed one (about as many vectors as the
array's longer side). Tiles are fetched in the order of their use. A tile may be fetched as soon as
the buffer has room for it, that is when enough older ones have been released; so a buffer of two
tiles fills one half while the other feeds. The array waits until all of a tile has arrived.

The three ports are named by what they carry: ROW holds the operand that streams in along the rows
(A when weight or output stationary, B when input stationary), COL the stationary operand (or, when
output stationary, the one that streams in along the columns), OUT the result. The folds walk down
the rows first, as SCALE-Sim's do, so that partial sums stay in the result buffer while they fit.

Times are int64 multiples of 1/p cycle, a word takes q of them (bandwidth p/q words per cycle):
nothing is rounded but the start of a tile, which is a whole cycle. All that the array itself
does takes whole cycles, so its times are kept unrounded, and are rounded where a port sees them.

Where folds are jumped over, how far a port is may be known only as an upper bound, until it waits
for the array (``systolic_follow``). Should the array wait for it before, the run was in vain, and
is to be made again with jumps that are more careful.
"""

from __future__ import annotations

import numpy as np

from simulator.kernels.arithmetic import ceil_div
from simulator.kernels.jit import inner, kernel
from simulator.kernels.systolic import DOUBLE, OS
from simulator.kernels.systolic_counts import counts
from simulator.kernels.systolic_fold import (
    BEGAN,
    CLOCK,
    JUMPED,
    NOW,
    STEPS,
    Column,
    column_of,
    run_fold,
)
from simulator.kernels.systolic_idle import idle_ports
from simulator.kernels.systolic_ports import (
    DOUBT,
    FIELDS,
    MARGIN,
    OUT,
    RING,
    ROW,
    WRONG,
    Ints,
    Ports,
    write_back,
)
from simulator.kernels.systolic_remembered import MEMORY, Moment, Seen, forget
from simulator.kernels.systolic_repeat import folds_to_skip
from simulator.kernels.systolic_traffic import add_idle_traffic, fill_in
from simulator.kernels.systolic_work import Buffers, Record, Work, work_of

MAX_STEPS = 2**27
"""Tiles that are followed one by one at most: some seconds."""


@inner
def _least(work: Work, p: int) -> int:
    """Ticks from the start of a fold, or of a column of them, to the next results at least."""
    if work.dataflow == OS:
        return (work.rows + work.cols - 2 + work.stream) * p
    return ((work.row_folds - 1) * work.stream + work.stream // work.chunks) * p


@inner
def _places(work: Work, idle: int) -> int:
    """Places of a ring: a power of two, for all tiles or for those that may be in flight."""
    places = 1
    while places <= min(RING, work.row_folds * work.col_folds * work.chunks) and idle != 7:
        places *= 2
    return places


@inner
def _still_right(state: Ints, clock: Ints) -> bool:
    """Whether the run is worth going on with: no port in doubt was waited for, no end in sight."""
    wrong = max(state[0, DOUBT], state[1, DOUBT], state[2, DOUBT]) >= WRONG
    return bool(clock[STEPS] <= MAX_STEPS and not wrong)


@inner
def _moment(work: Work, clock: Ints, live: int, idle: int, left: int, care: int, p: int) -> Moment:
    """The start of the next fold, or column of them, of which ``left`` are alike."""
    time = clock[NOW]
    soon = time + _least(work, p)
    return Moment(time, clock[BEGAN], clock[JUMPED], left, live, idle & 1 << OUT != 0, soon, care)


@inner
def _skip(ports: Ports, seen: Seen, now: Moment, clock: Ints) -> int:
    """Jump over as many folds (or columns) as there are periods of some alike; how many."""
    skipped, each = folds_to_skip(ports, seen, now)
    clock[JUMPED] += each
    return skipped


@inner
def _run_column(
    work: Work,
    ports: Ports,
    column: Column,
    clock: Ints,
    folds: Seen,
    both: Ints,
    live: int,
    idle: int,
    care: int,
    record: Record,
) -> None:
    """Run the folds of a column; ``both`` is what is remembered of folds and of columns."""
    forget(folds.memory)
    p, fr = ports.state[OUT, MARGIN] + 1, 0
    while fr < work.row_folds and clock[STEPS] <= MAX_STEPS:
        if 0 < fr < work.row_folds - 1 and record.feeds.size == 0:
            left = work.row_folds - 1 - fr
            now = _moment(work, clock, live, idle, left, care, p)
            fr += _skip(ports, folds, now, clock)
        run_fold(work, ports, column, clock, both, fr, record)
        fr += 1


@inner
def _run_columns(
    work: Work,
    room: Buffers,
    ports: Ports,
    clock: Ints,
    folds: Seen,
    columns: Seen,
    both: Ints,
    idle: int,
    care: int,
    record: Record,
) -> None:
    """Run all columns of folds."""
    forget(columns.memory)
    fc = 0
    while fc < work.col_folds and _still_right(ports.state, clock):
        live = 7 & ~idle
        if fc > 0 and work.row_extent * work.vectors <= room.row:
            live &= ~(1 << ROW)
        if 0 < fc < work.col_folds - 1 and record.feeds.size == 0:
            left = work.col_folds - 1 - fc
            now = _moment(work, clock, live, idle, left, care, room.p)
            fc += _skip(ports, columns, now, clock)
        column = column_of(work, room, ports, idle, fc)
        _run_column(work, ports, column, clock, folds, both, live, idle, care, record)
        fc += 1


@kernel
def run_pipeline(
    dataflow: int,
    load: int,
    row_extent: int,
    col_extent: int,
    vectors: int,
    rows: int,
    cols: int,
    macs: int,
    row_capacity: int,
    col_capacity: int,
    out_capacity: int,
    p: int,
    q: int,
    care: int,
    feeds: Ints,
    arrivals: Ints,
    writes: Ints,
) -> Ints:
    """Run all folds through the three ports and return seven counts (``systolic_counts``).

    The cycles are -1 where more than ``MAX_STEPS`` tiles would have to be followed one by one, and
    ``IN_VAIN`` where the run is to be made again with more ``care``; with 2 it is good.

    ``row_extent`` x ``col_extent`` is what the folds cut, ``vectors`` what streams. Capacities are
    words and at least one tile each; q = 0 means no limit of bandwidth. ``feeds`` and ``arrivals``
    are empty, or have a row per fold: ``feeds`` the cycle at which the stationary operand starts
    to load and those at which each chunk starts to stream; ``arrivals``, in 1/p cycles, when the
    fetches of COL and ROW end and after them, chunk by chunk, those of COL (output stationary) or
    of spilled partial sums; -1 where nothing is fetched. ``writes`` is flat, folds x chunks, and
    gets the end of each result tile's way to DRAM, likewise.
    """
    work = work_of(dataflow, load, row_extent, col_extent, vectors, rows, cols, macs)
    room = Buffers(row_capacity, col_capacity, out_capacity, p, q)
    record = Record(feeds, arrivals, writes)
    visit_all = feeds.size > 0
    idle = 0 if visit_all else idle_ports(work, room)
    places = _places(work, idle)
    state = np.zeros((3, FIELDS), np.int64)
    fill_in(state, work, room)
    rings = np.empty((2, 3, places), np.int64)
    ports = Ports(state, rings[0], rings[1], np.empty(places, np.int64), q)
    clock, both = np.zeros(CLOCK, np.int64), np.zeros((3, MEMORY), np.int64)
    before, kept = np.empty((2, 3, FIELDS), np.int64), np.empty((4, 3, places), np.int64)
    folds = Seen(both[0], both[1], before[0], kept[0], kept[1])
    columns = Seen(both[1], both[2], before[1], kept[2], kept[3])
    _run_columns(work, room, ports, clock, folds, columns, both, idle, care, record)
    if not visit_all:
        add_idle_traffic(state, idle, work, room)
    # weights that shift in behind others leave the last results' way through the array to the end;
    # results leave the array R + C - 2 cycles after their inputs; the ports see them then
    tail = (rows + cols - 2) * p if dataflow != OS else 0
    time = clock[NOW] + clock[JUMPED] + (tail if load == DOUBLE else 0)
    cycles = ceil_div(time, p) if clock[STEPS] <= MAX_STEPS else -1
    end = write_back(ports, writes) + clock[JUMPED] + tail
    return counts(state, cycles, ceil_div(end, p), p, q)
