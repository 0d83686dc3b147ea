"""Ports of a systolic array that wait for it, and that it never waits for: jumps at any period.

Such a port goes at the pace of the array, one buffer ahead. It sees whole cycles, so that with a
period that is not whole cycles it does not repeat, but it stays within a cycle of doing so. Let the
array take T ticks for a period (p to a cycle), the port's words no more than that, and let it be
as far as t1 before and t2 after one. If each tile that leaves its buffer was released no later than
one a period before, T more, or too early to matter, then in all later periods

- it is never further than max(t1 + T, t2) + p - 1 after the first of them, T more each period:
  the words alone take it no further, and whatever it waited for is a cycle later at most;
- so each tile is there no later than a period before, but for max(t1 + T, t2) - t1 - T + p - 1.

If the array waited for none of its tiles by that much, it will not: the port may be left out of a
jump. How far it is afterwards is known only as that bound, until it waits for the array again
(``systolic_ports``). All holds for the bound in place of the port too, which then stays in doubt.

In the cold start a port takes no time, but a buffer of so many tiles that the ring has no place for
more waits for places. Where that repeats in whole cycles, it goes on until the buffer is half full.

A port that has yet to use up its lead waits for nothing until a tile comes up that is released too
late for that. Until then it goes its own way, and is known exactly.

A buffer that holds the same as a period before may stay as it is; otherwise it must hold what it
would (``systolic_advance``).
"""

from __future__ import annotations

from simulator.kernels.jit import inner
from simulator.kernels.systolic_advance import FILLS, LEADS, MOVES, STAYS
from simulator.kernels.systolic_past import asking, slack_of
from simulator.kernels.systolic_ports import (
    ALONE,
    CERTAIN,
    COLD,
    DOUBT,
    EARLY,
    FIELDS,
    HALF,
    HEAD,
    MARGIN,
    OUT,
    PAST,
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
from simulator.kernels.systolic_remembered import (
    BEGAN_AT,
    FOLLOWS,
    LOOKED,
    MINIMA,
    PORTS,
    SURE,
    Moment,
    Seen,
    drift_of,
)


@inner
def _released_as_before(ports: Ports, seen: Seen, now: Moment, port: int) -> tuple[int, int, bool]:
    """Places up to which the tiles are as before: all of them, -1 where their words are not.

    The first is that of the oldest tile that is not past, or their number; the second that of the
    first tile that is not past and released later than its like was. And whether all are released
    just as before.
    """
    tail, mask, gone = ports.state[port, TAIL], ports.words.shape[1] - 1, 0
    held = ports.state[port, HEAD] - tail
    ask, place, late, same = asking(ports, port), 0, held, True
    stop = held
    while place < stop:
        at = (tail + place) & mask
        words, release = ports.words[port, at], ports.times[port, at]
        if words != abs(seen.tiles[port, place]):
            late, stop = -1, 0
        elif release - now.time != seen.tiles[3 + port, place]:
            same = False
        if slack_of(ask, release, place, gone) < 0:
            late = min(late, place)
            if release - now.time > seen.tiles[3 + port, place]:
                stop = min(stop, place)
        gone += words
        place += 1
    seen.memory[LOOKED] += place
    return late, stop, same


@inner
def way_with_array(ports: Ports, seen: Seen, now: Moment, port: int, full: int) -> int:
    """How a port may go along with the array, as far as can be said without looking at its tiles.

    STAYS where it follows, LEADS where it uses up its lead, FILLS where it waits for places in the
    cold start, 0 where it does neither. The array takes ``full`` for a period.
    """
    state, memory = ports.state, seen.memory
    here = PORTS + FIELDS * port
    drift = drift_of(state, memory, port, now.time)
    early = min(state[port, EARLY], memory[MINIMA + 2 * port])
    if (
        memory[SURE + port] == 1
        or state[port, HEAD] == memory[here + HEAD]
        or state[port, WARM] != memory[here + WARM]
        or state[port, HEAD] - memory[here + HEAD] != state[port, TAIL] - memory[here + TAIL]
        or state[port, USED] != memory[here + USED]
    ):
        return 0
    if port != OUT and state[port, WARM] == 0:
        shift, room = now.time - memory[BEGAN_AT], state[port, SPACE] - memory[here + SPACE]
        fetches = state[port, COLD] != memory[here + COLD]
        return FILLS if fetches and full % (state[port, MARGIN] + 1) == 0 and room == shift else 0
    if drift < -2 * state[port, MARGIN]:
        # it does not wait yet, or waits for less than it will
        past = min(state[port, PAST], memory[MINIMA + 2 * port + 1])
        sure = state[port, DOUBT] == CERTAIN and memory[here + DOUBT] == CERTAIN
        return LEADS if sure and past >= 0 and early >= 0 else 0
    moved = state[port, WORDS_IN] - memory[here + WORDS_IN]
    moved += state[port, WORDS_OUT] - memory[here + WORDS_OUT]
    in_time = moved * ports.word_time <= full and early >= state[port, MARGIN] + max(0, drift)
    return STAYS if in_time and now.care < 2 else 0


@inner
def follows(ports: Ports, seen: Seen, now: Moment, port: int, full: int, most: int) -> int:
    """Periods, of ``most``, in which a port follows the array, which takes ``full`` for each."""
    state, memory = ports.state, seen.memory
    here = PORTS + FIELDS * port
    way = way_with_array(ports, seen, now, port, full)
    if way == 0:
        return 0
    tiles, held = state[port, HEAD] - memory[here + HEAD], state[port, HEAD] - state[port, TAIL]
    late, stop, same = _released_as_before(ports, seen, now, port)
    if late < 0:
        return 0
    lead = min(most, late // tiles)
    if stop < held:
        # a tile is released too late to be like the one before
        most = min(most, stop // tiles)
    moves = tiles <= RING // 4 and state[port, ALONE] == memory[here + ALONE]
    if not moves and (way == LEADS or not same):
        return 0
    if way == FILLS:
        fetched = state[port, COLD] - memory[here + COLD]
        return int(min(most, (state[port, HALF] - state[port, COLD]) // fetched)) if same else 0
    if way == LEADS:
        memory[FOLLOWS + port] = LEADS
        return int(lead)
    memory[FOLLOWS + port] = STAYS if same else MOVES
    return int(max(0, most - now.care))


@inner
def let_follow(ports: Ports, seen: Seen, now: Moment, port: int) -> None:
    """Put a port that followed the array in a jump where it may be at most."""
    state = ports.state
    drift = drift_of(state, seen.memory, port, now.time)
    lift = state[port, MARGIN] + max(0, -drift)
    state[port, TIME] += lift
    if port == OUT:
        state[port, SPACE] += lift
    state[port, EARLY] -= state[port, MARGIN] + max(0, drift)
    state[port, DOUBT] = max(state[port, DOUBT], UNSURE)


@inner
def let_lead(ports: Ports, seen: Seen, now: Moment, port: int, periods: int) -> None:
    """Move a port that used up some of its lead in a jump."""
    state = ports.state
    drift = drift_of(state, seen.memory, port, now.time)
    state[port, TIME] += periods * drift
    state[port, PAST] = min(state[port, PAST], 0)
    if port == OUT:
        state[port, SPACE] += periods * drift
    else:
        state[port, SPACE] = min(state[port, SPACE], state[port, TIME] - state[port, MARGIN])
