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
from numpy.typing import NDArray

from simulator.kernels.arithmetic import ceil_div
from simulator.kernels.jit import kernel
from simulator.kernels.systolic import DOUBLE, OS
from simulator.kernels.systolic_chunks import chunk_count, chunk_start

ROW = 0
COL = 1
OUT = 2

RING = 65536
"""More tiles than this are never in flight at once; a bound on memory, not on a real machine."""

# columns of the state of one port
_HEAD, _TAIL, _USED, _TIME, _SPACE, _COLD, _WARM, _WORDS_IN, _WORDS_OUT = range(9)

# entries of the result vector of run_pipeline
TOTAL_CYCLES = 0
COLD_CYCLES = 1
WRITE_BACK_CYCLES = 2
ROW_WORDS = 3
COL_WORDS = 4
OUT_READ_WORDS = 5
OUT_WRITE_WORDS = 6

Ints = NDArray[np.int64]


@kernel
def _up(time: int, p: int) -> int:
    """The next whole cycle."""
    return ceil_div(time, p) * p


@kernel
def _push(state: Ints, ring_words: Ints, ring_time: Ints, port: int, words: int, time: int) -> int:
    head = state[port, _HEAD]
    ring_words[port, head % ring_words.shape[1]] = words
    ring_time[port, head % ring_words.shape[1]] = time
    state[port, _HEAD] = head + 1
    state[port, _USED] += words
    return int(head)


@kernel
def _fetch(
    state: Ints,
    ring_words: Ints,
    ring_time: Ints,
    port: int,
    words: int,
    capacity: int,
    word_time: int,
) -> int:
    """When the next tile of a read port has arrived; it is released later through its slot."""
    ring = ring_words.shape[1]
    room_at = state[port, _SPACE]
    while state[port, _USED] + words > capacity or state[port, _HEAD] - state[port, _TAIL] >= ring:
        slot = state[port, _TAIL] % ring
        room_at = max(room_at, ring_time[port, slot])
        state[port, _USED] -= ring_words[port, slot]
        state[port, _TAIL] += 1
    state[port, _SPACE] = room_at
    state[port, _WORDS_IN] += words
    first = state[port, _HEAD] == 0
    _push(state, ring_words, ring_time, port, words, 0)
    if first or (state[port, _WARM] == 0 and state[port, _COLD] + words <= capacity // 2):
        # the half that feeds first is full before cycle 0: the cold start
        state[port, _COLD] += words
        return 0
    state[port, _WARM] = 1
    state[port, _TIME] = max(state[port, _TIME], room_at) + words * word_time
    return int(state[port, _TIME])


@kernel
def _reserve(
    state: Ints,
    ring_words: Ints,
    ring_time: Ints,
    words: int,
    capacity: int,
    word_time: int,
    read_back: bool,
    ring_tile: Ints,
    writes: Ints,
) -> int:
    """When the result buffer has room for a tile, and its partial sums where ``read_back``."""
    ring = ring_words.shape[1]
    while state[OUT, _USED] + words > capacity or state[OUT, _HEAD] - state[OUT, _TAIL] >= ring:
        slot = state[OUT, _TAIL] % ring
        written = max(state[OUT, _TIME], ring_time[OUT, slot]) + ring_words[OUT, slot] * word_time
        state[OUT, _TIME] = written
        state[OUT, _SPACE] = written
        if writes.size > 0:
            writes[ring_tile[slot]] = written
        state[OUT, _WORDS_OUT] += ring_words[OUT, slot]
        state[OUT, _USED] -= ring_words[OUT, slot]
        state[OUT, _TAIL] += 1
    if read_back:
        state[OUT, _TIME] += words * word_time
        state[OUT, _WORDS_IN] += words
        return int(state[OUT, _TIME])
    return int(state[OUT, _SPACE])


@kernel
def _write_back(
    state: Ints,
    ring_words: Ints,
    ring_time: Ints,
    word_time: int,
    ring_tile: Ints,
    writes: Ints,
) -> int:
    """When the last word of the result is in DRAM."""
    ring = ring_words.shape[1]
    while state[OUT, _TAIL] < state[OUT, _HEAD]:
        slot = state[OUT, _TAIL] % ring
        state[OUT, _TIME] = (
            max(state[OUT, _TIME], ring_time[OUT, slot]) + ring_words[OUT, slot] * word_time
        )
        if writes.size > 0:
            writes[ring_tile[slot]] = state[OUT, _TIME]
        state[OUT, _WORDS_OUT] += ring_words[OUT, slot]
        state[OUT, _TAIL] += 1
    return int(state[OUT, _TIME])


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
    state = np.zeros((3, 9), np.int64)
    ring_words = np.zeros((3, ring), np.int64)
    ring_time = np.zeros((3, ring), np.int64)
    ring_tile = np.zeros(ring, np.int64)
    record = feeds.shape[0] > 0
    row_resident = row_extent * vectors <= row_capacity
    tail = (rows + cols - 2) * p
    time = 0
    stream_began = 0
    for fc in range(col_folds):
        width = min(cols, col_extent - fc * cols)
        col_held = dataflow == OS and width * vectors <= col_capacity
        sums_held = dataflow != OS and width * vectors <= out_capacity
        col_base = state[COL, _HEAD]
        out_base = state[OUT, _HEAD]
        for fr in range(row_folds):
            f = fc * row_folds + fr
            height = min(rows, row_extent - fr * rows)
            start = time
            if dataflow != OS:
                there = _fetch(state, ring_words, ring_time, COL, height * width, col_capacity, q)
                begin = _up(max(stream_began if load == DOUBLE else time, there), p)
                loaded = begin + rows * p
                ring_time[COL, (state[COL, _HEAD] - 1) % ring] = loaded
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
                    there = _fetch(
                        state, ring_words, ring_time, ROW, height * depth, row_capacity, q
                    )
                    start = max(start, there)
                    if record:
                        arrivals[f, 1 + c] = there
                if dataflow == OS:
                    if fr == 0 or not col_held:
                        there = _fetch(
                            state, ring_words, ring_time, COL, width * depth, col_capacity, q
                        )
                        start = max(start, there)
                        if record:
                            arrivals[f, 1 + chunks + c] = there
                elif fr == 0 or not sums_held:
                    room = _reserve(
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
                    _push(state, ring_words, ring_time, OUT, width * depth, 0)
                start = _up(start, p)
                if c == 0:
                    stream_began = start
                if record:
                    feeds[f, 1 + c] = start // p
                start += (last - first) * p
                if fc == 0 or not row_resident:
                    ring_time[ROW, (state[ROW, _HEAD] - 1) % ring] = start
                if dataflow == OS:
                    slot = col_base + c if col_held else state[COL, _HEAD] - 1
                    ring_time[COL, slot % ring] = start
                else:
                    slot = out_base + c if sums_held else state[OUT, _HEAD] - 1
                    ring_time[OUT, slot % ring] = start
                    ring_tile[slot % ring] = f * chunks + c
            time = start
            if dataflow == OS:
                room = _reserve(
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
                slot = _push(state, ring_words, ring_time, OUT, height * width, time)
                ring_tile[slot % ring] = f * chunks
            elif load != DOUBLE:
                time += tail
    if dataflow != OS and load == DOUBLE:
        time += tail
    result = np.zeros(7, np.int64)
    result[TOTAL_CYCLES] = time // p
    cold = max(state[ROW, _COLD], state[COL, _COLD])
    result[COLD_CYCLES] = ceil_div(cold * q, p)
    end = _write_back(state, ring_words, ring_time, q, ring_tile, writes)
    if dataflow != OS:
        # results leave the array R + C - 2 cycles after their inputs; the ports see them then
        end += tail
    result[WRITE_BACK_CYCLES] = max(0, ceil_div(end, p) - time // p)
    result[ROW_WORDS] = state[ROW, _WORDS_IN]
    result[COL_WORDS] = state[COL, _WORDS_IN]
    result[OUT_READ_WORDS] = state[OUT, _WORDS_IN]
    result[OUT_WRITE_WORDS] = state[OUT, _WORDS_OUT]
    return result
