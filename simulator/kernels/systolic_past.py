"""Whether tiles in the buffers of a systolic array are released before their room is asked for.

Such tiles are past: when they were released does not matter any more. That all of a read port's are
is mostly seen from a few: what was released no later than one of them, and whose room is asked for
no sooner than that of an earlier one, needs no look of its own.
"""

from __future__ import annotations

from simulator.kernels.jit import inner
from simulator.kernels.systolic_ports import (
    COLD,
    HALF,
    HEAD,
    MARGIN,
    OUT,
    RING,
    SMALLEST,
    SPARE,
    TAIL,
    TIME,
    USED,
    WARM,
    Ints,
)

PARTS = 16
"""Tiles of a buffer that are looked at first."""


@inner
def spare_words(state: Ints, port: int, place: int, gone: int) -> int:
    """Words that a port surely moves before the room of a tile in its buffer is asked for.

    The tile is the one at ``place`` from the oldest, and those before it have ``gone`` words.
    Before the port is warm, words that take no time do not count. Room is asked for only when even
    the largest tile does not fit any more, that is after a tile at least where it just fits now.
    """
    if port == OUT:
        return gone  # results are written in their order
    if state[port, WARM] == 0:
        if 2 * state[port, HALF] >= RING * state[port, SMALLEST]:
            return 0  # so many tiles that the ring may run out of places first
        free = max(0, state[port, HALF] - state[port, COLD])
        return int(max(0, state[port, SPARE] - state[port, USED] + gone - free))
    held = state[port, HEAD] - state[port, TAIL] - place
    few = (RING - held) * state[port, SMALLEST]
    spare = state[port, SPARE] - state[port, USED] + gone
    return int(max(0, min(few, max(spare + 1, state[port, SMALLEST])))) if spare >= 0 else 0


@inner
def slack_of(state: Ints, port: int, release: int, spare: int, word_time: int) -> int:
    """How long a tile's room is there, less a cycle, before it is asked for.

    The port moves ``spare`` words until then.
    """
    return int(state[port, TIME] + spare * word_time - state[port, MARGIN] - release)


@inner
def surely_past(state: Ints, times: Ints, port: int, word_time: int) -> bool:
    """Whether all tiles of a read port are past, by a bound: if not, they may be all the same.

    The last tile of each part of the buffer is looked at as if its room were asked for as soon as
    that of the first one, and as if all before that one were the smallest tiles.
    """
    tail = state[port, TAIL]
    held = state[port, HEAD] - tail
    if port == OUT or held <= PARTS:
        return False
    mask = times.shape[1] - 1
    first = 0
    for part in range(1, PARTS + 1):
        last = held * part // PARTS
        spare = spare_words(state, port, first, first * state[port, SMALLEST])
        if slack_of(state, port, times[port, (tail + last - 1) & mask], spare, word_time) < 0:
            return False
        first = last
    return True
