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
from simulator.kernels.jit import kernel
from simulator.kernels.systolic import DOUBLE, OS
from simulator.kernels.systolic_chunks import chunk_count
from simulator.kernels.systolic_compare import MEMORY
from simulator.kernels.systolic_counts import counts
from simulator.kernels.systolic_idle import idle_ports
from simulator.kernels.systolic_ports import (
    COL,
    DOUBT,
    HEAD,
    LONG_AGO,
    OUT,
    RING,
    ROW,
    WRONG,
    Ints,
    fetch,
    push,
    reserve,
    wait,
    wait_for_both,
    whole_cycle,
    write_back,
)
from simulator.kernels.systolic_repeat import deliver, folds_to_skip, forget
from simulator.kernels.systolic_traffic import add_idle_traffic, empty_ports

MAX_STEPS = 2**27
"""Tiles that are followed one by one at most: some seconds."""


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
    stream = ceil_div(vectors, macs)
    chunks = chunk_count(stream, rows, cols)
    row_folds = ceil_div(row_extent, rows)
    col_folds = ceil_div(col_extent, cols)
    record = feeds.shape[0] > 0
    row_resident = row_extent * vectors <= row_capacity
    idle = 0
    if not record:
        idle = idle_ports(
            dataflow,
            load,
            row_extent,
            col_extent,
            vectors,
            rows,
            cols,
            macs,
            row_capacity,
            col_capacity,
            out_capacity,
            p,
            q,
        )
    row_idle, col_idle, out_idle = idle & 1 << ROW != 0, idle & 1 << COL != 0, idle & 1 << OUT != 0
    ring = 1
    while ring <= min(RING, row_folds * col_folds * chunks) and idle != 7:
        ring *= 2
    state = empty_ports(
        dataflow,
        row_extent,
        col_extent,
        vectors,
        rows,
        cols,
        macs,
        row_capacity,
        col_capacity,
        out_capacity,
        p,
    )
    ring_words = np.empty((3, ring), np.int64)
    ring_time = np.empty((3, ring), np.int64)
    ring_tile = np.empty(ring, np.int64)
    mask = ring - 1
    tail = (rows + cols - 2) * p
    # from the start of a fold, or of a column of them, to the next results at least
    least = tail + stream * p
    if dataflow != OS:
        least = ((row_folds - 1) * stream + stream // chunks) * p
    time = 0
    stream_began = 0
    fold_memory, column_memory = np.zeros(MEMORY, np.int64), np.zeros(MEMORY, np.int64)
    nobody = np.zeros(MEMORY, np.int64)
    forget(column_memory)
    kept = np.empty((2, 6, 0 if record else ring), np.int64)
    fc, jumped, steps = 0, 0, 0
    while fc < col_folds and steps <= MAX_STEPS and np.max(state[:, DOUBT]) < WRONG:
        live = 7 & ~idle
        if row_resident and fc > 0:
            live &= ~(1 << ROW)
        if 0 < fc < col_folds - 1 and not record:
            skipped, each = folds_to_skip(
                state,
                ring_words,
                ring_time,
                kept[0],
                column_memory,
                nobody,
                live,
                out_idle,
                time + least,
                time,
                stream_began,
                jumped,
                col_folds - 1 - fc,
                q,
                care,
            )
            fc += skipped
            jumped += each
        forget(fold_memory)
        width = min(cols, col_extent - fc * cols)
        col_held = dataflow == OS and width * vectors <= col_capacity
        sums_held = dataflow != OS and width * vectors <= out_capacity
        col_base = state[COL, HEAD]
        out_base = state[OUT, HEAD]
        fetch_row = not row_idle and (fc == 0 or not row_resident)
        fr = 0
        while fr < row_folds and steps <= MAX_STEPS:
            if 0 < fr < row_folds - 1 and not record:
                skipped, each = folds_to_skip(
                    state,
                    ring_words,
                    ring_time,
                    kept[1],
                    fold_memory,
                    column_memory,
                    live,
                    out_idle,
                    time + least,
                    time,
                    stream_began,
                    jumped,
                    row_folds - 1 - fr,
                    q,
                    care,
                )
                fr += skipped
                jumped += each
            f = fc * row_folds + fr
            height = min(rows, row_extent - fr * rows)
            start = time
            if dataflow != OS:
                there = 0
                if not col_idle:
                    there = fetch(
                        state, ring_words, ring_time, COL, height * width, col_capacity, q
                    )
                begin = stream_began if load == DOUBLE else time
                if not col_idle:
                    begin = wait(state, COL, begin, there)
                loaded = begin + rows * p
                if not col_idle:
                    ring_time[COL, (state[COL, HEAD] - 1) & mask] = loaded
                start = max(time, loaded)
                if record:
                    feeds[f, 0] = ceil_div(begin, p)
                    arrivals[f, 0] = there
            use_col = dataflow == OS and not col_idle
            use_out = dataflow != OS and not out_idle
            done = dataflow != OS and out_idle and fr == row_folds - 1
            first, count = 0, chunks
            if not (fetch_row or use_col or use_out or done):
                # nothing happens between the start of the stream and its end
                first, count = stream, 0
                stream_began = start
                start += stream * p
            steps += 1 + count
            for c in range(count):
                last = first + stream // chunks + (1 if c < stream % chunks else 0)
                depth = min(vectors, last * macs) - first * macs
                if record:
                    arrivals[f, 1 + c] = -1
                    arrivals[f, 1 + chunks + c] = -1
                there, room, other = LONG_AGO, LONG_AGO, COL
                if fetch_row:
                    there = fetch(
                        state, ring_words, ring_time, ROW, height * depth, row_capacity, q
                    )
                    if record:
                        arrivals[f, 1 + c] = there
                if use_col and (fr == 0 or not col_held):
                    room = fetch(state, ring_words, ring_time, COL, width * depth, col_capacity, q)
                    if record:
                        arrivals[f, 1 + chunks + c] = room
                elif use_out and (fr == 0 or not sums_held):
                    room = reserve(
                        state,
                        ring_words,
                        ring_time,
                        width * depth,
                        out_capacity,
                        q,
                        fr > 0,
                        ring_tile,
                        writes,
                    )
                    other = OUT
                    if record and fr > 0:
                        arrivals[f, 1 + chunks + c] = room
                    push(state, ring_words, ring_time, OUT, width * depth, 0)
                start = wait_for_both(state, other, start, there, room)
                if c == 0:
                    stream_began = start
                if record:
                    feeds[f, 1 + c] = ceil_div(start, p)
                start += (last - first) * p
                first = last
                if fetch_row:
                    ring_time[ROW, (state[ROW, HEAD] - 1) & mask] = start
                if use_col:
                    slot = col_base + c if col_held else state[COL, HEAD] - 1
                    ring_time[COL, slot & mask] = start
                elif use_out:
                    slot = out_base + c if sums_held else state[OUT, HEAD] - 1
                    ring_time[OUT, slot & mask] = start
                    ring_tile[slot & mask] = f * chunks + c
                elif done:
                    end = whole_cycle(state, OUT, start)
                    deliver(state, fold_memory, column_memory, width * depth, end, q)
            time = start
            if dataflow == OS:
                time += tail
                if not out_idle:
                    room = reserve(
                        state,
                        ring_words,
                        ring_time,
                        height * width,
                        out_capacity,
                        q,
                        False,
                        ring_tile,
                        writes,
                    )
                    time = wait(state, OUT, time, room)
                if out_idle:
                    end = whole_cycle(state, OUT, time)
                    deliver(state, fold_memory, column_memory, height * width, end, q)
                else:
                    slot = push(state, ring_words, ring_time, OUT, height * width, time)
                    ring_tile[slot & mask] = f * chunks
            elif load != DOUBLE:
                time += tail
            fr += 1
        fc += 1
    if dataflow != OS and load == DOUBLE:
        time += tail
    if not record:
        add_idle_traffic(
            state,
            idle,
            dataflow,
            row_extent,
            col_extent,
            vectors,
            rows,
            cols,
            macs,
            row_capacity,
            col_capacity,
        )
    cycles = ceil_div(time + jumped, p) if steps <= MAX_STEPS else -1
    end = write_back(state, ring_words, ring_time, q, ring_tile, writes) + jumped
    if dataflow != OS:
        # results leave the array R + C - 2 cycles after their inputs; the ports see them then
        end += tail
    return counts(state, cycles, ceil_div(end, p), p, q)
