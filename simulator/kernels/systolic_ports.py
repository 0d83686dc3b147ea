"""The three ports between the buffers of a systolic array and DRAM: fetches, room, write-back.

A port is a row of the state, and a ring of the tiles that its buffer holds: their words, and the
time at which each is released (or, of results, is complete). A ring has a power of two of places.
Times are int64 multiples of 1/p cycle. The rings hold times as the array has them; a port sees the
next whole cycle.

The functions here are steps of the loop over all tiles. They take a port's row of the state by
itself, so that it may be a copy that lies in registers.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from simulator.kernels.arithmetic import ceil_div
from simulator.kernels.jit import inlined, inner

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


class Ports(NamedTuple):
    """The three ports of a run.

    ``state`` is int64[3, FIELDS]. The rings ``words`` and ``times`` are int64[3, places]; ``tile``,
    int64[places], says which of all result tiles it is that lies in OUT's ring. A word takes
    ``word_time`` ticks.
    """

    state: Ints
    words: Ints
    times: Ints
    tile: Ints
    word_time: int


@inlined
def whole_cycle(port: Ints, time: int) -> int:
    """The first whole cycle that is not before ``time``."""
    if port[MARGIN] == 0:
        return time
    p, phase = port[MARGIN] + 1, port[PHASE]
    return int(ceil_div(time + phase, p) * p - phase)


@inlined
def _release(port: Ints, time: int) -> int:
    """When a port sees a tile released at ``time``; not rounded where that does not matter."""
    past = port[TIME] - port[MARGIN] - time
    port[PAST] = min(port[PAST], past)
    if past < 0:
        time = whole_cycle(port, time)
    if time >= port[TIME] and port[DOUBT] == UNSURE:
        port[DOUBT] = CERTAIN  # the port waits for this, wherever it is
        port[TIME] = time
    return time


@inlined
def push(port: Ints, ports: Ports, which: int, words: int, time: int) -> int:
    """Put a tile into a port's ring; its place there."""
    slot = port[HEAD] & (ports.words.shape[1] - 1)
    ports.words[which, slot] = words
    ports.times[which, slot] = time
    port[HEAD] += 1
    port[USED] += words
    return int(slot)


@inlined
def wait(port: Ints, start: int, there: int) -> int:
    """When the array goes on that could at ``start``, but for what a port has at ``there``."""
    port[EARLY] = min(port[EARLY], start - there)
    if there > start and port[DOUBT] == UNSURE:
        port[DOUBT] = WRONG
    return max(start, there)


@inlined
def wait_for_both(row: Ints, other: Ints, start: int, row_there: int, there: int) -> int:
    """As ``wait``, for ROW (there at ``row_there``) and another port (at ``there``).

    A port is not waited for where the other one is there later; one in doubt is no excuse.
    """
    last = max(start, row_there, there)
    other[EARLY] = min(other[EARLY], (last if row_there > there else start) - there)
    row[EARLY] = min(row[EARLY], (last if there > row_there else start) - row_there)
    late = there > start and (there > row_there or row[DOUBT] != CERTAIN)
    if late and other[DOUBT] == UNSURE:
        other[DOUBT] = WRONG
    late = row_there > start and (row_there > there or other[DOUBT] != CERTAIN)
    if late and row[DOUBT] == UNSURE:
        row[DOUBT] = WRONG
    return last


@inlined
def fetch(port: Ints, ports: Ports, which: int, words: int) -> int:
    """When the next tile of a read port has arrived; it is released later through its slot."""
    mask = ports.words.shape[1] - 1
    while port[USED] + words > port[CAPACITY] or port[HEAD] - port[TAIL] > RING:
        slot = port[TAIL] & mask
        port[SPACE] = max(port[SPACE], _release(port, ports.times[which, slot]))
        port[USED] -= ports.words[which, slot]
        port[TAIL] += 1
    port[WORDS_IN] += words
    push(port, ports, which, words, 0)
    first = port[HEAD] == 1
    if first or (port[WARM] == 0 and port[COLD] + words <= port[HALF]):
        # the half that feeds first is full before cycle 0: the cold start
        port[COLD] += words
        return 0
    port[WARM] = 1
    port[TIME] = max(port[TIME], port[SPACE]) + words * ports.word_time
    return int(port[TIME])


@inlined
def _write_oldest(port: Ints, ports: Ports, writes: Ints) -> None:
    """Write the oldest result back as soon as it is complete."""
    slot = port[TAIL] & (ports.words.shape[1] - 1)
    words = ports.words[OUT, slot]
    complete = _release(port, ports.times[OUT, slot])
    port[TIME] = max(port[TIME], complete) + words * ports.word_time
    if writes.size > 0:
        writes[ports.tile[slot]] = port[TIME]
    port[WORDS_OUT] += words
    port[USED] -= words
    port[TAIL] += 1


@inlined
def reserve(port: Ints, ports: Ports, words: int, read_back: bool, writes: Ints) -> int:
    """When the result buffer has room for a tile, and its partial sums where ``read_back``."""
    while port[USED] + words > port[CAPACITY] or port[HEAD] - port[TAIL] > RING:
        _write_oldest(port, ports, writes)
        port[SPACE] = port[TIME]
    if read_back:
        port[TIME] += words * ports.word_time
        port[WORDS_IN] += words
        return int(port[TIME])
    return int(port[SPACE])


@inner
def write_back(ports: Ports, writes: Ints) -> int:
    """When the last word of the result is in DRAM."""
    port = ports.state[OUT]
    while port[TAIL] < port[HEAD]:
        _write_oldest(port, ports, writes)
    return int(port[TIME])
