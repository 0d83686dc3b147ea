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
    row_idle: bool
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
        idle & 1 << ROW != 0,
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
    kept = record.feeds.size > 0
    p, mask = ports.state[ROW, MARGIN] + 1, ports.words.shape[1] - 1
    height = min(work.rows, work.row_extent - fr * work.rows)
    fold, chunks = column.number * work.row_folds + fr, work.chunks
    use_col = work.dataflow == OS and not column.col_idle
    use_out = work.dataflow != OS and not column.out_idle
    fetch_col = use_col and (fr == 0 or not column.col_held)
    take_room = use_out and (fr == 0 or not column.sums_held)
    done = work.dataflow != OS and column.out_idle and fr == work.row_folds - 1
    if not (column.fetch_row or use_col or use_out or done):
        # nothing happens between the start of the stream and its end
        clock[BEGAN] = start
        return start + work.stream * p
    which = COL if use_col else OUT
    held = column.col_base if use_col else column.out_base
    row, other = np.empty(FIELDS, np.int64), np.empty(FIELDS, np.int64)
    _copy(ports.state[ROW], row)
    _copy(ports.state[which], other)
    clock[STEPS] += chunks
    length, longer, first = work.stream // chunks, work.stream % chunks, 0
    for c in range(chunks):
        last = first + length + (1 if c < longer else 0)
        depth = min(work.vectors, last * work.macs) - first * work.macs
        there, room = LONG_AGO, LONG_AGO
        if column.fetch_row:
            there = fetch(row, ports, ROW, height * depth)
        if fetch_col:
            room = fetch(other, ports, COL, column.width * depth)
        elif take_room:
            room = reserve(other, ports, column.width * depth, fr > 0, record.writes)
            push(other, ports, OUT, column.width * depth, 0)
        start = wait_for_both(row, other, start, there, room)
        if c == 0:
            clock[BEGAN] = start
        if kept:
            record.feeds[fold, 1 + c] = ceil_div(start, p)
            record.arrivals[fold, 1 + c] = there if column.fetch_row else -1
            read = fetch_col or (take_room and fr > 0)
            record.arrivals[fold, 1 + chunks + c] = room if read else -1
        start += (last - first) * p
        first = last
        if column.fetch_row:
            ports.times[ROW, (row[HEAD] - 1) & mask] = start
        if use_col or use_out:
            again = column.col_held if use_col else column.sums_held
            slot = (held + c if again else other[HEAD] - 1) & mask
            ports.times[which, slot] = start
            if use_out:
                ports.tile[slot] = fold * chunks + c
        elif done:
            end = whole_cycle(other, start)
            _deliver(other, seen, column.width * depth, end, ports.word_time)
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
