"""Whether tiles in the buffers of a systolic array are released before their room is asked for.

Such tiles are past: when they were released does not matter any more. That all of a read port's are
is mostly seen from a few: what was released no later than one of them, and whose room is asked for
no sooner than that of an earlier one, needs no look of its own.
"""

from __future__ import annotations

from typing import NamedTuple

from simulator.kernels.jit import inlined, inner
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
    Ports,
)

PARTS = 16
"""Tiles of a buffer that are looked at first."""

IN_ORDER, AT_ONCE, COLD_START, FETCHED = range(4)


class Asking(NamedTuple):
    """How soon a port asks for the room of the tiles in its buffer.

    Results are written IN_ORDER. A read port asks AT_ONCE, where in the cold start the ring might
    run out of places; in the COLD_START after ``spare`` words and those of older tiles; later
    (FETCHED) so, too, or when the last of ``places`` is used up. It is at ``time``, less a cycle.
    """

    how: int
    time: int
    spare: int
    places: int
    smallest: int
    word_time: int


@inner
def asking(ports: Ports, port: int) -> Asking:
    """How soon a port asks for room, as it is now."""
    state = ports.state[port]
    spare = state[SPARE] - state[USED]
    how = FETCHED
    if port == OUT:
        how = IN_ORDER
    elif state[WARM] == 0:
        how = COLD_START
        spare -= max(0, state[HALF] - state[COLD])
        if 2 * state[HALF] >= RING * state[SMALLEST]:
            how = AT_ONCE  # so many tiles that the ring may run out of places first
    return Asking(
        how,
        state[TIME] - state[MARGIN],
        spare,
        RING - state[HEAD] + state[TAIL],
        state[SMALLEST],
        ports.word_time,
    )


@inlined
def spare_words(ask: Asking, place: int, gone: int) -> int:
    """Words that a port surely moves before the room of a tile in its buffer is asked for.

    The tile is the one at ``place`` from the oldest, and those before it have ``gone`` words.
    Before the port is warm, words that take no time do not count. Room is asked for only when even
    the largest tile does not fit any more, that is after a tile at least where it just fits now.
    """
    spare = ask.spare + gone
    if ask.how == FETCHED:
        if spare < 0:
            return 0
        few = (ask.places + place) * ask.smallest
        return max(0, min(few, max(spare + 1, ask.smallest)))
    if ask.how == IN_ORDER:
        return gone
    return max(0, spare) if ask.how == COLD_START else 0


@inlined
def slack_of(ask: Asking, release: int, place: int, gone: int) -> int:
    """How long a tile's room is there, less a cycle, before it is asked for.

    The tile is released at ``release``; see ``spare_words``.
    """
    return ask.time + spare_words(ask, place, gone) * ask.word_time - release


@inner
def surely_past(ports: Ports, port: int) -> bool:
    """Whether all tiles of a read port are past, by a bound: if not, they may be all the same.

    The last tile of each part of the buffer is looked at as if its room were asked for as soon as
    that of the first one, and as if all before that one were the smallest tiles.
    """
    tail = ports.state[port, TAIL]
    held = ports.state[port, HEAD] - tail
    if port == OUT or held <= PARTS:
        return False
    ask, mask = asking(ports, port), ports.times.shape[1] - 1
    first = 0
    for part in range(1, PARTS + 1):
        last = held * part // PARTS
        release = ports.times[port, (tail + last - 1) & mask]
        if slack_of(ask, release, first, first * ask.smallest) < 0:
            return False
        first = last
    return True
