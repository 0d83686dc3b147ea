"""Ports of a systolic array that wait for it, and that it never waits for: jumps at any period.

Such a port goes at the pace of the array, one buffer ahead. It sees whole cycles, so that with a
period that is not whole cycles it does not repeat, but it stays within a cycle of doing so. Let the
array take T ticks for a period (p to a cycle), the port's words no more than that, and let it be
as far as t1 before and t2 after one. If the tiles in its buffer were released as those a period
before, then in all later periods

- it is never further than max(t1 + T, t2) + p - 1 after the first of them, T more each period:
  the words alone take it no further, and whatever it waited for is a cycle later at most;
- so each tile is there no later than a period before, but for max(t1 + T, t2) - t1 - T + p - 1.

If the array waited for none of its tiles by that much, it never will: the port may be left alone
in a jump. How far it is afterwards is known only as that bound, until it waits for the array again
(``systolic_ports``). All holds for the bound in place of the port too, which then stays in doubt.
"""

from __future__ import annotations

from simulator.kernels.jit import inner
from simulator.kernels.systolic_compare import BEGAN_AT, FOLLOWS, LOOKED, MINIMA, PORTS, SURE
from simulator.kernels.systolic_ports import (
    DOUBT,
    EARLY,
    FIELDS,
    HEAD,
    MARGIN,
    OUT,
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
) -> bool:
    """Whether a port follows the array, which takes ``full`` for a period, and will ever after."""
    here = PORTS + FIELDS * port
    tail = state[port, TAIL]
    held = state[port, HEAD] - tail
    moved = state[port, WORDS_IN] - memory[here + WORDS_IN]
    moved += state[port, WORDS_OUT] - memory[here + WORDS_OUT]
    drift = state[port, TIME] - memory[here + TIME] - (time - memory[BEGAN_AT])
    early = min(state[port, EARLY], memory[MINIMA + 2 * port])
    if (
        memory[SURE + port] == 1
        or (port != OUT and memory[here + WARM] == 0)
        or moved * word_time > full
        or early < state[port, MARGIN] + max(0, drift)
        or held != memory[here + HEAD] - memory[here + TAIL]
        or state[port, USED] != memory[here + USED]
    ):
        return False
    mask = words.shape[1] - 1
    for i in range(held):
        at = (tail + i) & mask
        memory[LOOKED] += 1
        if words[port, at] != abs(kept[port, i]) or times[port, at] - time != kept[3 + port, i]:
            return False
    memory[FOLLOWS + port] = 1
    return True


@inner
def let_follow(state: Ints, memory: Ints, port: int, time: int) -> None:
    """Put a port that followed the array in a jump where it may be at most."""
    drift = state[port, TIME] - memory[PORTS + FIELDS * port + TIME] - (time - memory[BEGAN_AT])
    lift = state[port, MARGIN] + max(0, -drift)
    state[port, TIME] += lift
    if port == OUT:
        state[port, SPACE] += lift
    state[port, EARLY] -= state[port, MARGIN] + max(0, drift)
    state[port, DOUBT] = UNSURE
