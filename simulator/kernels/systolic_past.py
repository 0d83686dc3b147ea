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
    LONG_AGO,
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
    Ports,
)

PARTS = 16
"""Tiles of a buffer that are looked at first."""


class Asking(NamedTuple):
    """How soon a port asks for the room of the tiles in its buffer; see ``spare_words``.

    It is at ``time``, less a cycle. Beside the words of older tiles it moves ``spare`` and ``more``
    before it asks, and ``least`` at least if it need not ask at once; or no more than ``few``, and
    ``each`` for every older tile, when the ring's places are used up.
    """

    time: int
    spare: int
    more: int
    least: int
    few: int
    each: int
    word_time: int


@inner
def asking(state: Ints, port: int, word_time: int) -> Asking:
    """How soon a port of that ``state`` asks for room."""
    time, spare = state[TIME] - state[MARGIN], state[SPARE] - state[USED]
    if port == OUT:
        # results are written in their order
        return Asking(time, 0, 0, 0, -LONG_AGO, 0, word_time)
    if state[WARM] == 0:
        # words that take no time do not count; the ring may run out of places first
        many = 2 * state[HALF] >= RING * state[SMALLEST]
        spare = LONG_AGO if many else spare - max(0, state[HALF] - state[COLD])
        return Asking(time, spare, 0, 0, -LONG_AGO, 0, word_time)
    # room is asked for only when even the largest tile does not fit any more, that is after a tile
    # at least where it just fits now
    each, places = state[SMALLEST], RING - state[HEAD] + state[TAIL]
    return Asking(time, spare, 1, each, places * each, each, word_time)


@inlined
def spare_words(ask: Asking, place: int, gone: int) -> int:
    """Words that a port surely moves before the room of a tile in its buffer is asked for.

    The tile is the one at ``place`` from the oldest, and those before it have ``gone`` words.
    """
    spare = ask.spare + gone
    words = min(ask.few + place * ask.each, max(spare + ask.more, ask.least))
    return max(0, words) if spare >= 0 else 0


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
    ask, mask = asking(ports.state[port], port, ports.word_time), ports.times.shape[1] - 1
    each = ports.state[port, SMALLEST]
    first = 0
    for part in range(1, PARTS + 1):
        last = held * part // PARTS
        release = ports.times[port, (tail + last - 1) & mask]
        if slack_of(ask, release, first, first * each) < 0:
            return False
        first = last
    return True
