"""Buffers of a systolic array that fill up: jumps in which their tiles are listed, not followed.

As long as a buffer has room, its port goes its own way at any period, whole cycles or not: nothing
in it was released, or nothing matters when. A jump may go on until it is full, or until the array
would wait for the port. Then it must hold what it would, had the tiles of all periods been put in
one by one: those of the last period again and again, each period as much later.
"""

from __future__ import annotations

from simulator.kernels.jit import inner
from simulator.kernels.systolic_ports import (
    ALONE,
    CAPACITY,
    COLD,
    DOUBT,
    EARLY,
    HALF,
    HEAD,
    OUT,
    RING,
    SPACE,
    TAIL,
    TIME,
    UNSURE,
    USED,
    WARM,
    WORDS_IN,
    WORDS_OUT,
    Ports,
)
from simulator.kernels.systolic_remembered import MINIMA, Moment, Seen, drift_of

# how a port that does not go its own way is moved (0 where it does)
STAYS, FILLS, MOVES, LEADS = 1, 2, 3, 4


@inner
def fills(ports: Ports, seen: Seen, now: Moment, port: int, most: int) -> int:
    """Periods, of ``most``, in which a buffer fills up as since it was kept, and nothing waits."""
    state, memory = ports.state, seen.memory
    then = seen.state
    tiles = state[port, HEAD] - then[port, HEAD]
    moved = state[port, USED] - then[port, USED]
    drift = drift_of(state, seen, port, now.time)
    early = min(state[port, EARLY], memory[MINIMA + 2 * port])
    cold = state[port, COLD] - then[port, COLD]
    if (
        tiles == 0
        or state[port, TAIL] != then[port, TAIL]
        or state[port, ALONE] != then[port, ALONE]
        or state[port, WORDS_OUT] != then[port, WORDS_OUT]
        or (port != OUT and state[port, WORDS_IN] - then[port, WORDS_IN] != moved)
        or state[port, WARM] != then[port, WARM]
        or state[port, DOUBT] == UNSURE
        or then[port, DOUBT] == UNSURE
        or (drift != 0 and early < 0)
        or (state[port, WARM] == 1 and cold != 0)
    ):
        return 0
    most = min(most, (state[port, CAPACITY] - state[port, USED]) // moved)
    most = min(most, (RING - (state[port, HEAD] - state[port, TAIL])) // tiles)
    if cold > 0:
        most = min(most, (state[port, HALF] - state[port, COLD]) // cold)
    if drift > 0:
        most = min(most, early // drift)
    return int(most)


@inner
def advance(ports: Ports, seen: Seen, port: int, full: int, periods: int) -> None:
    """Put the tiles of ``periods`` more into a buffer, seen from where time stands still.

    As much leaves it meanwhile as comes, or nothing. Only the last tiles that come are put in: then
    the ring has places for them beside those of the last period, RING / 4 at most where some leave.
    """
    words, times, mask = ports.words, ports.times, ports.words.shape[1] - 1
    then = seen.state
    before, head = then[port, HEAD], ports.state[port, HEAD]
    oldest, tiles = ports.state[port, TAIL], head - before
    gone = oldest - then[port, TAIL]
    if gone > 0:
        periods = min(periods, (head - oldest) // tiles + 1)
    tail, end = oldest + periods * gone, head + periods * tiles
    earlier = periods * full
    for i in range(min(before, oldest), head):
        times[port, i & mask] -= earlier
    first = max(head, tail)
    place, later = before + (first - head) % tiles, ((first - head) // tiles + 1) * full
    for i in range(first, end):
        words[port, i & mask] = words[port, place & mask]
        times[port, i & mask] = times[port, place & mask] + later
        place += 1
        if place == head:
            place, later = before, later + full
    ports.state[port, HEAD], ports.state[port, TAIL] = end, tail


@inner
def let_fill(ports: Ports, seen: Seen, now: Moment, port: int, full: int, periods: int) -> None:
    """Move the port of a buffer that fills up in a jump; ``advance`` puts the tiles in."""
    state, then = ports.state, seen.state
    drift = drift_of(state, seen, port, now.time)
    state[port, TIME] += periods * drift
    state[port, SPACE] -= periods * full
    state[port, COLD] += periods * (state[port, COLD] - then[port, COLD])
    state[port, EARLY] -= periods * max(0, drift)
    state[port, USED] += periods * (state[port, USED] - then[port, USED])
