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

A buffer that holds the same as a period before may stay as it is; otherwise it must hold what it
would (``systolic_advance``).
"""

from __future__ import annotations

from simulator.kernels.jit import inner
from simulator.kernels.systolic_advance import MOVES, STAYS
from simulator.kernels.systolic_compare import BEGAN_AT, FOLLOWS, LOOKED, MINIMA, PORTS, SURE
from simulator.kernels.systolic_past import slack_of, spare_words
from simulator.kernels.systolic_ports import (
    ALONE,
    COLD,
    DOUBT,
    EARLY,
    FIELDS,
    HALF,
    HEAD,
    MARGIN,
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
) -> int:
    """Periods, of ``most``, in which a port follows the array, which takes ``full`` for each."""
    here = PORTS + FIELDS * port
    tail = state[port, TAIL]
    held = state[port, HEAD] - tail
    moved = state[port, WORDS_IN] - memory[here + WORDS_IN]
    moved += state[port, WORDS_OUT] - memory[here + WORDS_OUT]
    drift = state[port, TIME] - memory[here + TIME] - (time - memory[BEGAN_AT])
    early = min(state[port, EARLY], memory[MINIMA + 2 * port])
    cold = port != OUT and state[port, WARM] == 0
    if (
        memory[SURE + port] == 1
        or state[port, WARM] != memory[here + WARM]
        or (not cold and moved * word_time > full)
        or (not cold and early < state[port, MARGIN] + max(0, drift))
        or held != memory[here + HEAD] - memory[here + TAIL]
        or state[port, USED] != memory[here + USED]
    ):
        return 0
    mask = words.shape[1] - 1
    tiles = state[port, HEAD] - memory[here + HEAD]
    gone, same = 0, True
    for i in range(held):
        at = (tail + i) & mask
        memory[LOOKED] += 1
        if words[port, at] != abs(kept[port, i]):
            return 0
        later = times[port, at] - time - kept[3 + port, i]
        if later > 0:
            spare = spare_words(state, port, i, gone)
            if slack_of(state, port, times[port, at], spare, word_time) < 0:
                # it is released too late to be like the one before
                most = min(most, i // tiles)
                break
        same &= later == 0
        gone += words[port, at]
    if not same and (tiles > RING // 2 or state[port, ALONE] != memory[here + ALONE]):
        return 0
    if cold:
        fetched = state[port, COLD] - memory[here + COLD]
        shift = time - memory[BEGAN_AT]
        room = state[port, SPACE] - memory[here + SPACE]
        if not same or full % (state[port, MARGIN] + 1) != 0 or room != shift or fetched == 0:
            return 0
        return int(min(most, (state[port, HALF] - state[port, COLD]) // fetched))
    memory[FOLLOWS + port] = STAYS if same else MOVES
    return int(most)


@inner
def let_follow(state: Ints, memory: Ints, port: int, time: int) -> None:
    """Put a port that followed the array in a jump where it may be at most."""
    drift = state[port, TIME] - memory[PORTS + FIELDS * port + TIME] - (time - memory[BEGAN_AT])
    lift = state[port, MARGIN] + max(0, -drift)
    state[port, TIME] += lift
    if port == OUT:
        state[port, SPACE] += lift
    state[port, EARLY] -= state[port, MARGIN] + max(0, drift)
    state[port, DOUBT] = max(state[port, DOUBT], UNSURE)
