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
    SURE,
    Moment,
    Seen,
    drift_of,
)


@inner
def _released_as_before(ports: Ports, seen: Seen, now: Moment, port: int) -> tuple[int, int, bool]:
    """Up to which places the tiles in a buffer are as they were; and whether they all are just so.

    The first place is that of the oldest tile that is not past, -1 where the words of some are not
    the same; the second that of the oldest that is not past and released later than its like was.
    Each is the number of tiles where there is none.
    """
    tail, mask, gone = ports.state[port, TAIL], ports.words.shape[1] - 1, 0
    ask = asking(ports.state[port], port, ports.word_time)
    held, shift = ports.state[port, HEAD] - tail, now.time - seen.memory[BEGAN_AT]
    place, late, stop, same = 0, held, held, True
    while place < stop:
        at = (tail + place) & mask
        words, later = (
            ports.words[port, at],
            ports.times[port, at] - shift - seen.times[port, place],
        )
        if words != seen.words[port, place]:
            late, stop = -1, 0
        # once a tile is not past only those that are later matter
        matters = late == held or later > 0
        if matters and slack_of(ask, ports.times[port, at], place, gone) < 0:
            late = min(late, place)
            stop = min(stop, place) if later > 0 else stop
        same &= later == 0
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
    then = seen.state
    drift = drift_of(state, seen, port, now.time)
    early = min(state[port, EARLY], memory[MINIMA + 2 * port])
    if (
        memory[SURE + port] == 1
        or state[port, HEAD] == then[port, HEAD]
        or state[port, WARM] != then[port, WARM]
        or state[port, HEAD] - then[port, HEAD] != state[port, TAIL] - then[port, TAIL]
        or state[port, USED] != then[port, USED]
    ):
        return 0
    if port != OUT and state[port, WARM] == 0:
        shift, room = now.time - memory[BEGAN_AT], state[port, SPACE] - then[port, SPACE]
        fetches = state[port, COLD] != then[port, COLD]
        return FILLS if fetches and full % (state[port, MARGIN] + 1) == 0 and room == shift else 0
    if drift < -2 * state[port, MARGIN]:
        # it does not wait yet, or waits for less than it will
        past = min(state[port, PAST], memory[MINIMA + 2 * port + 1])
        sure = state[port, DOUBT] == CERTAIN and then[port, DOUBT] == CERTAIN
        return LEADS if sure and past >= 0 and early >= 0 else 0
    moved = state[port, WORDS_IN] - then[port, WORDS_IN]
    moved += state[port, WORDS_OUT] - then[port, WORDS_OUT]
    in_time = moved * ports.word_time <= full and early >= state[port, MARGIN] + max(0, drift)
    return STAYS if in_time and now.care < 2 else 0


@inner
def follows(ports: Ports, seen: Seen, now: Moment, port: int, full: int, most: int) -> int:
    """Periods, of ``most``, in which a port follows the array, which takes ``full`` for each."""
    state, memory = ports.state, seen.memory
    then = seen.state
    way = way_with_array(ports, seen, now, port, full)
    if way == 0:
        return 0
    tiles, held = state[port, HEAD] - then[port, HEAD], state[port, HEAD] - state[port, TAIL]
    late, stop, same = _released_as_before(ports, seen, now, port)
    if late < 0:
        return 0
    lead = min(most, late // tiles)
    if stop < held:
        # a tile is released too late to be like the one before
        most = min(most, stop // tiles)
    moves = tiles <= RING // 4 and state[port, ALONE] == then[port, ALONE]
    if not moves and (way == LEADS or not same):
        return 0
    if way == FILLS:
        fetched = state[port, COLD] - then[port, COLD]
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
    drift = drift_of(state, seen, port, now.time)
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
    drift = drift_of(state, seen, port, now.time)
    state[port, TIME] += periods * drift
    state[port, PAST] = min(state[port, PAST], 0)
    if port == OUT:
        state[port, SPACE] += periods * drift
    else:
        state[port, SPACE] = min(state[port, SPACE], state[port, TIME] - state[port, MARGIN])
