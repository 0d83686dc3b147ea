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
from simulator.kernels.systolic_advance import LEADS, MOVES, STAYS
from simulator.kernels.systolic_compare import (
    BEGAN_AT,
    FOLLOWS,
    LOOKED,
    MINIMA,
    PORTS,
    SURE,
    drift_of,
)
from simulator.kernels.systolic_past import slack_of, spare_words
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
    Ints,
)


@inner
def follows(
    state: Ints,
    words: Ints,
    times: Ints,
    kept: Ints,
    memory: Ints,
    port: int,
    time: int,
    full: int,
    word_time: int,
    most: int,
    care: int,
) -> int:
    """Periods, of ``most``, in which a port follows the array, which takes ``full`` for each."""
    here = PORTS + FIELDS * port
    tail = state[port, TAIL]
    held = state[port, HEAD] - tail
    moved = state[port, WORDS_IN] - memory[here + WORDS_IN]
    moved += state[port, WORDS_OUT] - memory[here + WORDS_OUT]
    drift = drift_of(state, memory, port, time)
    early = min(state[port, EARLY], memory[MINIMA + 2 * port])
    cold = port != OUT and state[port, WARM] == 0
    tiles = state[port, HEAD] - memory[here + HEAD]
    if (
        memory[SURE + port] == 1
        or tiles == 0
        or state[port, WARM] != memory[here + WARM]
        or held != memory[here + HEAD] - memory[here + TAIL]
        or state[port, USED] != memory[here + USED]
    ):
        return 0
    mask = words.shape[1] - 1
    gone, same, lead = 0, True, min(most, held // tiles)
    for i in range(held):
        at = (tail + i) & mask
        memory[LOOKED] += 1
        if words[port, at] != abs(kept[port, i]):
            return 0
        later = times[port, at] - time - kept[3 + port, i]
        spare = spare_words(state, port, i, gone)
        if slack_of(state, port, times[port, at], spare, word_time) < 0:
            lead = min(lead, i // tiles)
            if later > 0:
                # it is released too late to be like the one before
                most = min(most, i // tiles)
                same = False
                break
        same &= later == 0
        gone += words[port, at]
    moves = tiles <= RING // 4 and state[port, ALONE] == memory[here + ALONE]
    if not same and not moves:
        return 0
    if cold:
        fetched = state[port, COLD] - memory[here + COLD]
        shift = time - memory[BEGAN_AT]
        room = state[port, SPACE] - memory[here + SPACE]
        if not same or full % (state[port, MARGIN] + 1) != 0 or room != shift or fetched == 0:
            return 0
        return int(min(most, (state[port, HALF] - state[port, COLD]) // fetched))
    if drift < -2 * state[port, MARGIN]:
        # it does not wait yet, or waits for less than it will
        past = min(state[port, PAST], memory[MINIMA + 2 * port + 1])
        sure = state[port, DOUBT] == CERTAIN and memory[here + DOUBT] == CERTAIN
        memory[FOLLOWS + port] = LEADS
        return int(lead) if moves and sure and past >= 0 and early >= 0 else 0
    if care == 2 or moved * word_time > full or early < state[port, MARGIN] + max(0, drift):
        return 0
    memory[FOLLOWS + port] = STAYS if same else MOVES
    return int(max(0, most - care))


@inner
def let_follow(state: Ints, memory: Ints, port: int, time: int) -> None:
    """Put a port that followed the array in a jump where it may be at most."""
    drift = drift_of(state, memory, port, time)
    lift = state[port, MARGIN] + max(0, -drift)
    state[port, TIME] += lift
    if port == OUT:
        state[port, SPACE] += lift
    state[port, EARLY] -= state[port, MARGIN] + max(0, drift)
    state[port, DOUBT] = max(state[port, DOUBT], UNSURE)


@inner
def let_lead(state: Ints, memory: Ints, port: int, time: int, periods: int) -> None:
    """Move a port that used up some of its lead in a jump."""
    drift = drift_of(state, memory, port, time)
    state[port, TIME] += periods * drift
    state[port, PAST] = min(state[port, PAST], 0)
    if port == OUT:
        state[port, SPACE] += periods * drift
    else:
        state[port, SPACE] = min(state[port, SPACE], state[port, TIME] - state[port, MARGIN])
