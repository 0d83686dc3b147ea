"""The three ports between the buffers of a systolic array and DRAM: fetches, room, write-back.

A port is a row of the state, and a ring of the tiles that its buffer holds: their words, and the
time at which each is released (or, of results, is complete). A ring has a power of two of places.
Times are int64 multiples of 1/p cycle, a word takes ``word_time`` of them. The rings hold times as
the array has them; a port sees the next whole cycle.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from simulator.kernels.arithmetic import ceil_div
from simulator.kernels.jit import inner, kernel

ROW = 0
COL = 1
OUT = 2

# Columns of the state of one port. EARLY is by how much the array, or another port that it waits
# for, came last, at the least, and PAST how long, less MARGIN (a cycle), room was there before the
# port asked for it; both are minima since somebody set them back. SPARE is what the buffer holds
# beside the largest tile, and SMALLEST the words of the smallest; HALF is half a buffer, ROOMY 1
# where it holds all that is ever fetched. Cycles begin at multiples of MARGIN + 1 less PHASE. DOUBT
# is UNSURE where TIME is an upper bound (of OUT, SPACE too), and WRONG once the array has waited
# for such a port. CAPACITY is what the buffer holds, and ALONE how often the port was left as it
# was in a jump.
HEAD, TAIL, USED, TIME, SPACE, COLD, WARM, WORDS_IN, WORDS_OUT, EARLY, PAST = range(11)
MARGIN, SPARE, SMALLEST, HALF, ROOMY, PHASE, DOUBT, CAPACITY, ALONE, FIELDS = range(11, 21)

CERTAIN, UNSURE, WRONG = range(3)
LONG_AGO = -(2**61)

RING = 65536
"""More tiles than this are never in flight at once; a bound on memory, not on a real machine."""

Ints = NDArray[np.int64]


@inner
def whole_cycle(state: Ints, port: int, time: int) -> int:
    """The first whole cycle that is not before ``time``."""
    p, phase = state[port, MARGIN] + 1, state[port, PHASE]
    return int(ceil_div(time + phase, p) * p - phase)


@inner
def _release(state: Ints, ring_time: Ints, port: int, slot: int) -> int:
    """When a port sees that a tile is released; not rounded where that does not matter."""
    time = ring_time[port, slot]
    past = state[port, TIME] - state[port, MARGIN] - time
    state[port, PAST] = min(state[port, PAST], past)
    if past < 0:
        time = whole_cycle(state, port, time)
    if time >= state[port, TIME] and state[port, DOUBT] == UNSURE:
        state[port, DOUBT] = CERTAIN  # the port waits for this, wherever it is
        state[port, TIME] = time
    return int(time)


@kernel
def push(state: Ints, ring_words: Ints, ring_time: Ints, port: int, words: int, time: int) -> int:
    """Put a tile into a port's ring; its place, counted from the first one ever."""
    head = state[port, HEAD]
    mask = ring_words.shape[1] - 1
    ring_words[port, head & mask] = words
    ring_time[port, head & mask] = time
    state[port, HEAD] = head + 1
    state[port, USED] += words
    return int(head)


@inner
def wait(state: Ints, port: int, start: int, there: int) -> int:
    """When the array goes on that could at ``start``, but for what a port has at ``there``."""
    state[port, EARLY] = min(state[port, EARLY], start - there)
    if there > start and state[port, DOUBT] == UNSURE:
        state[port, DOUBT] = WRONG
    return max(start, there)


@inner
def wait_for_both(state: Ints, port: int, start: int, row: int, there: int) -> int:
    """As ``wait``, for ROW (there at ``row``) and another port (at ``there``).

    A port is not waited for where the other one is there later; one in doubt is no excuse.
    """
    last = max(start, row, there)
    state[port, EARLY] = min(state[port, EARLY], (last if row > there else start) - there)
    state[ROW, EARLY] = min(state[ROW, EARLY], (last if there > row else start) - row)
    late = there > start and (there > row or state[ROW, DOUBT] != CERTAIN)
    if late and state[port, DOUBT] == UNSURE:
        state[port, DOUBT] = WRONG
    late = row > start and (row > there or state[port, DOUBT] != CERTAIN)
    if late and state[ROW, DOUBT] == UNSURE:
        state[ROW, DOUBT] = WRONG
    return last


@kernel
def fetch(
    state: Ints,
    ring_words: Ints,
    ring_time: Ints,
    port: int,
    words: int,
    capacity: int,
    word_time: int,
) -> int:
    """When the next tile of a read port has arrived; it is released later through its slot."""
    mask = ring_words.shape[1] - 1
    room_at = state[port, SPACE]
    while state[port, USED] + words > capacity or state[port, HEAD] - state[port, TAIL] > RING:
        slot = state[port, TAIL] & mask
        room_at = max(room_at, _release(state, ring_time, port, slot))
        state[port, USED] -= ring_words[port, slot]
        state[port, TAIL] += 1
    state[port, SPACE] = room_at
    state[port, WORDS_IN] += words
    first = state[port, HEAD] == 0
    push(state, ring_words, ring_time, port, words, 0)
    if first or (state[port, WARM] == 0 and state[port, COLD] + words <= capacity // 2):
        # the half that feeds first is full before cycle 0: the cold start
        state[port, COLD] += words
        return 0
    state[port, WARM] = 1
    state[port, TIME] = max(state[port, TIME], room_at) + words * word_time
    return int(state[port, TIME])


@kernel
def reserve(
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
    mask = ring_words.shape[1] - 1
    while state[OUT, USED] + words > capacity or state[OUT, HEAD] - state[OUT, TAIL] > RING:
        slot = state[OUT, TAIL] & mask
        complete = _release(state, ring_time, OUT, slot)
        written = max(state[OUT, TIME], complete) + ring_words[OUT, slot] * word_time
        state[OUT, TIME] = written
        state[OUT, SPACE] = written
        if writes.size > 0:
            writes[ring_tile[slot]] = written
        state[OUT, WORDS_OUT] += ring_words[OUT, slot]
        state[OUT, USED] -= ring_words[OUT, slot]
        state[OUT, TAIL] += 1
    if read_back:
        state[OUT, TIME] += words * word_time
        state[OUT, WORDS_IN] += words
        return int(state[OUT, TIME])
    return int(state[OUT, SPACE])


@kernel
def write_back(
    state: Ints,
    ring_words: Ints,
    ring_time: Ints,
    word_time: int,
    ring_tile: Ints,
    writes: Ints,
) -> int:
    """When the last word of the result is in DRAM."""
    mask = ring_words.shape[1] - 1
    while state[OUT, TAIL] < state[OUT, HEAD]:
        slot = state[OUT, TAIL] & mask
        complete = _release(state, ring_time, OUT, slot)
        state[OUT, TIME] = max(state[OUT, TIME], complete) + ring_words[OUT, slot] * word_time
        if writes.size > 0:
            writes[ring_tile[slot]] = state[OUT, TIME]
        state[OUT, WORDS_OUT] += ring_words[OUT, slot]
        state[OUT, TAIL] += 1
    return int(state[OUT, TIME])
