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
nothing is rounded but the start of a tile, which is a whole cycle.
"""

from __future__ import annotations

import numpy as np

from simulator.kernels.arithmetic import ceil_div
from simulator.kernels.jit import kernel
from simulator.kernels.systolic import DOUBLE, OS
from simulator.kernels.systolic_chunks import chunk_count, chunk_start
from simulator.kernels.systolic_ports import (
    COL,
    COLD,
    FIELDS,
    HEAD,
    OUT,
    ROW,
    WORDS_IN,
    WORDS_OUT,
    Ints,
    fetch,
    push,
    reserve,
    write_back,
)
from simulator.kernels.systolic_repeat import MEMORY, columns_to_skip

RING = 65536
"""More tiles than this are never in flight at once; a bound on memory, not on a real machine."""

# entries of the result vector of run_pipeline
TOTAL_CYCLES = 0
COLD_CYCLES = 1
WRITE_BACK_CYCLES = 2
ROW_WORDS = 3
COL_WORDS = 4
OUT_READ_WORDS = 5
OUT_WRITE_WORDS = 6


@kernel
def _up(time: int, p: int) -> int:
    """The next whole cycle."""
    return ceil_div(time, p) * p


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
    feeds: Ints,
    arrivals: Ints,
    writes: Ints,
) -> Ints:
    """Run all folds through the three ports and return the seven counts named above.

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
    ring = min(RING, row_folds * col_folds * chunks) + 1
    state = np.zeros((3, FIELDS), np.int64)
    ring_words = np.zeros((3, ring), np.int64)
    ring_time = np.zeros((3, ring), np.int64)
    ring_tile = np.zeros(ring, np.int64)
    record = feeds.shape[0] > 0
    row_resident = row_extent * vectors <= row_capacity
    tail = (rows + cols - 2) * p
    time = 0
    stream_began = 0
    # results that the buffer holds all never wait; nor does an operand that is fetched once
    results = col_extent * (row_extent if dataflow == OS else vectors)
    tiles = col_folds * (row_folds if dataflow == OS else chunks)
    never_full = results <= out_capacity and tiles < ring
    memory = np.zeros(MEMORY, np.int64)
    kept = np.empty((6, 0 if record else ring), np.int64)
    fc, skipped_time = 0, 0
    while fc < col_folds:
        if 0 < fc < col_folds - 1 and not record:
            skipped, each = columns_to_skip(
                state,
                ring_words,
                ring_time,
                kept,
                memory,
                row_resident,
                never_full,
                time,
                stream_began,
                col_folds - 1 - fc,
                q,
            )
            fc += skipped
            skipped_time += each
        width = min(cols, col_extent - fc * cols)
        col_held = dataflow == OS and width * vectors <= col_capacity
        sums_held = dataflow != OS and width * vectors <= out_capacity
        col_base = state[COL, HEAD]
        out_base = state[OUT, HEAD]
        for fr in range(row_folds):
            f = fc * row_folds + fr
            height = min(rows, row_extent - fr * rows)
            start = time
            if dataflow != OS:
                there = fetch(state, ring_words, ring_time, COL, height * width, col_capacity, q)
                begin = _up(max(stream_began if load == DOUBLE else time, there), p)
                loaded = begin + rows * p
                ring_time[COL, (state[COL, HEAD] - 1) % ring] = loaded
                start = max(time, loaded)
                if record:
                    feeds[f, 0] = begin // p
                    arrivals[f, 0] = there
            for c in range(chunks):
                first = chunk_start(stream, chunks, c)
                last = chunk_start(stream, chunks, c + 1)
                depth = min(vectors, last * macs) - first * macs
                if record:
                    arrivals[f, 1 + c] = -1
                    arrivals[f, 1 + chunks + c] = -1
                if fc == 0 or not row_resident:
                    there = fetch(
                        state, ring_words, ring_time, ROW, height * depth, row_capacity, q
                    )
                    start = max(start, there)
                    if record:
                        arrivals[f, 1 + c] = there
                if dataflow == OS:
                    if fr == 0 or not col_held:
                        there = fetch(
                            state, ring_words, ring_time, COL, width * depth, col_capacity, q
                        )
                        start = max(start, there)
                        if record:
                            arrivals[f, 1 + chunks + c] = there
                elif fr == 0 or not sums_held:
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
                    start = max(start, room)
                    if record and fr > 0:
                        arrivals[f, 1 + chunks + c] = room
                    push(state, ring_words, ring_time, OUT, width * depth, 0)
                start = _up(start, p)
                if c == 0:
                    stream_began = start
                if record:
                    feeds[f, 1 + c] = start // p
                start += (last - first) * p
                if fc == 0 or not row_resident:
                    ring_time[ROW, (state[ROW, HEAD] - 1) % ring] = start
                if dataflow == OS:
                    slot = col_base + c if col_held else state[COL, HEAD] - 1
                    ring_time[COL, slot % ring] = start
                else:
                    slot = out_base + c if sums_held else state[OUT, HEAD] - 1
                    ring_time[OUT, slot % ring] = start
                    ring_tile[slot % ring] = f * chunks + c
            time = start
            if dataflow == OS:
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
                time = _up(max(time + tail, room), p)
                slot = push(state, ring_words, ring_time, OUT, height * width, time)
                ring_tile[slot % ring] = f * chunks
            elif load != DOUBLE:
                time += tail
        fc += 1
    if dataflow != OS and load == DOUBLE:
        time += tail
    result = np.zeros(7, np.int64)
    result[TOTAL_CYCLES] = (time + skipped_time) // p
    cold = max(state[ROW, COLD], state[COL, COLD])
    result[COLD_CYCLES] = ceil_div(cold * q, p)
    end = write_back(state, ring_words, ring_time, q, ring_tile, writes)
    if dataflow != OS:
        # results leave the array R + C - 2 cycles after their inputs; the ports see them then
        end += tail
    result[WRITE_BACK_CYCLES] = max(0, ceil_div(end, p) - time // p)
    result[ROW_WORDS] = state[ROW, WORDS_IN]
    result[COL_WORDS] = state[COL, WORDS_IN]
    result[OUT_READ_WORDS] = state[OUT, WORDS_IN]
    result[OUT_WRITE_WORDS] = state[OUT, WORDS_OUT]
    return result
