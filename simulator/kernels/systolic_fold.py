"""One fold of a systolic array behind finite memory: its load, the chunks that stream, its result.

The state of the two ports that a stream needs lies in registers while it lasts, because that is
where most of the time of a run goes.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from simulator.kernels.arithmetic import ceil_div
from simulator.kernels.jit import inlined, inner
from simulator.kernels.systolic import DOUBLE, OS
from simulator.kernels.systolic_ports import (
    COL,
    FIELDS,
    HEAD,
    LONG_AGO,
    MARGIN,
    OUT,
    ROW,
    TIME,
    WORDS_OUT,
    Ints,
    Ports,
    fetch,
    push,
    reserve,
    wait,
    wait_for_both,
    whole_cycle,
)
from simulator.kernels.systolic_remembered import FRESH
from simulator.kernels.systolic_work import Buffers, Record, Work

# where the array is, when its last stream began, the time jumped over, tiles visited so far
NOW, BEGAN, JUMPED, STEPS, CLOCK = range(5)


class Column(NamedTuple):
    """A column of folds: its number and width, what stays in a buffer, and from which place on."""

    number: int
    width: int
    col_idle: bool
    out_idle: bool
    fetch_row: bool
    col_held: bool
    sums_held: bool
    col_base: int
    out_base: int


@inner
def column_of(work: Work, room: Buffers, ports: Ports, idle: int, number: int) -> Column:
    """The column of a number; bit i of ``idle`` is set where port i need not be followed."""
    width = min(work.cols, work.col_extent - number * work.cols)
    row_resident = work.row_extent * work.vectors <= room.row
    return Column(
        number,
        width,
        idle & 1 << COL != 0,
        idle & 1 << OUT != 0,
        idle & 1 << ROW == 0 and (number == 0 or not row_resident),
        work.dataflow == OS and width * work.vectors <= room.col,
        work.dataflow != OS and width * work.vectors <= room.out,
        ports.state[COL, HEAD],
        ports.state[OUT, HEAD],
    )


@inlined
def _deliver(port: Ints, seen: Ints, words: int, ready: int, word_time: int) -> None:
    """Write results back that are complete at ``ready`` and need not wait for anything else.

    ``seen`` is what is remembered of folds and of columns.
    """
    moved = words * word_time
    port[TIME] = max(port[TIME], ready) + moved
    for level in range(2):
        seen[level, FRESH] = max(seen[level, FRESH], ready) + moved
    port[WORDS_OUT] += words


@inlined
def _copy(source: Ints, into: Ints) -> None:
    for field in range(FIELDS):
        into[field] = source[field]


@inner
def _load(work: Work, ports: Ports, column: Column, clock: Ints, fr: int, record: Record) -> int:
    """Load the stationary operand of fold ``fr`` of a column; when its stream may start."""
    begin = clock[BEGAN] if work.load == DOUBLE else clock[NOW]
    there, p = 0, ports.state[COL, MARGIN] + 1
    loaded = begin + work.rows * p
    if not column.col_idle:
        port = ports.state[COL]
        height = min(work.rows, work.row_extent - fr * work.rows)
        there = fetch(port, ports, COL, height * column.width)
        begin = wait(port, begin, there)
        loaded = begin + work.rows * p
        ports.times[COL, (port[HEAD] - 1) & (ports.words.shape[1] - 1)] = loaded
    if record.feeds.size > 0:
        fold = column.number * work.row_folds + fr
        record.feeds[fold, 0] = ceil_div(begin, p)
        record.arrivals[fold, 0] = there
    return int(max(clock[NOW], loaded))


class Stream(NamedTuple):
    """What chunks do on their way through a fold: fetches, room for results, and what stays.

    ``place`` is that of the first chunk in the ring of the port that ``stays`` says stays there.
    """

    fold: int
    first: bool
    height: int
    width: int
    place: int
    fetch_row: bool
    fetch_col: bool
    take_room: bool
    stays: bool
    done: bool


@inner
def _stream_of(work: Work, column: Column, fr: int) -> Stream:
    """What happens to the chunks of fold ``fr`` of a column."""
    use_col = work.dataflow == OS and not column.col_idle
    use_out = work.dataflow != OS and not column.out_idle
    held = column.col_held if use_col else column.sums_held
    return Stream(
        column.number * work.row_folds + fr,
        fr == 0,
        min(work.rows, work.row_extent - fr * work.rows),
        column.width,
        column.col_base if use_col else column.out_base,
        column.fetch_row,
        use_col and (fr == 0 or not held),
        use_out and (fr == 0 or not held),
        (use_col or use_out) and held,
        work.dataflow != OS and column.out_idle and fr == work.row_folds - 1,
    )


@inlined
def _chunks(
    work: Work,
    ports: Ports,
    s: Stream,
    row: Ints,
    other: Ints,
    clock: Ints,
    seen: Ints,
    start: int,
    record: Record,
    kept: bool,
) -> int:
    """Stream all chunks from ``start`` on; when the last ended. Its times are kept, or not."""
    p, mask, chunks = ports.state[ROW, MARGIN] + 1, ports.words.shape[1] - 1, work.chunks
    length, longer, first = work.stream // chunks, work.stream % chunks, 0
    which = OUT if work.dataflow != OS else COL
    for c in range(chunks):
        last = first + length + (1 if c < longer else 0)
        depth = min(work.vectors, last * work.macs) - first * work.macs
        there, room = LONG_AGO, LONG_AGO
        if s.fetch_row:
            there = fetch(row, ports, ROW, s.height * depth)
        if s.fetch_col:
            room = fetch(other, ports, COL, s.width * depth)
        elif s.take_room:
            room = reserve(other, ports, s.width * depth, not s.first, record.writes)
            push(other, ports, OUT, s.width * depth, 0)
        start = wait_for_both(row, other, start, there, room)
        if c == 0:
            clock[BEGAN] = start
        if kept:
            record.feeds[s.fold, 1 + c] = ceil_div(start, p)
            record.arrivals[s.fold, 1 + c] = there if s.fetch_row else -1
            read = s.fetch_col or (s.take_room and not s.first)
            record.arrivals[s.fold, 1 + chunks + c] = room if read else -1
            if which == OUT and (s.stays or s.take_room):
                slot = s.place + c if s.stays else other[HEAD] - 1
                ports.tile[slot & mask] = s.fold * chunks + c
        start += (last - first) * p
        first = last
        if s.fetch_row:
            ports.times[ROW, (row[HEAD] - 1) & mask] = start
        if s.stays:
            ports.times[which, (s.place + c) & mask] = start
        elif s.fetch_col or s.take_room:
            ports.times[which, (other[HEAD] - 1) & mask] = start
        elif s.done:
            end = whole_cycle(other, start)
            _deliver(other, seen, s.width * depth, end, ports.word_time)
    return start


@inner
def _stream(
    work: Work,
    ports: Ports,
    column: Column,
    clock: Ints,
    seen: Ints,
    fr: int,
    start: int,
    record: Record,
) -> int:
    """Stream all chunks through fold ``fr`` of a column from ``start`` on; when the last ended."""
    s = _stream_of(work, column, fr)
    if not (s.fetch_row or s.fetch_col or s.take_room or s.stays or s.done):
        # nothing happens between the start of the stream and its end
        clock[BEGAN] = start
        return start + work.stream * (ports.state[ROW, MARGIN] + 1)
    clock[STEPS] += work.chunks
    which = OUT if work.dataflow != OS else COL
    row, other = np.empty(FIELDS, np.int64), np.empty(FIELDS, np.int64)
    _copy(ports.state[ROW], row)
    _copy(ports.state[which], other)
    if record.feeds.size > 0:
        start = _chunks(work, ports, s, row, other, clock, seen, start, record, True)
    else:
        start = _chunks(work, ports, s, row, other, clock, seen, start, record, False)
    _copy(row, ports.state[ROW])
    _copy(other, ports.state[which])
    return start


@inner
def _hand_over(
    work: Work, ports: Ports, column: Column, seen: Ints, fr: int, time: int, writes: Ints
) -> int:
    """Put the result of an output-stationary fold into its buffer; when the next one begins."""
    port = ports.state[OUT]
    words = min(work.rows, work.row_extent - fr * work.rows) * column.width
    if column.out_idle:
        _deliver(port, seen, words, whole_cycle(port, time), ports.word_time)
        return time
    time = wait(port, time, reserve(port, ports, words, False, writes))
    slot = push(port, ports, OUT, words, time)
    ports.tile[slot] = (column.number * work.row_folds + fr) * work.chunks
    return time


@inner
def run_fold(
    work: Work, ports: Ports, column: Column, clock: Ints, seen: Ints, fr: int, record: Record
) -> None:
    """Run fold ``fr`` of a column; ``seen`` is what is remembered of folds and of columns."""
    tail = (work.rows + work.cols - 2) * (ports.state[ROW, MARGIN] + 1)
    clock[STEPS] += 1
    if work.dataflow == OS:
        time = _stream(work, ports, column, clock, seen, fr, clock[NOW], record) + tail
        clock[NOW] = _hand_over(work, ports, column, seen, fr, time, record.writes)
        return
    start = _load(work, ports, column, clock, fr, record)
    time = _stream(work, ports, column, clock, seen, fr, start, record)
    clock[NOW] = time if work.load == DOUBLE else time + tail
