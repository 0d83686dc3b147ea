"""Whether the ports of a systolic array do the same as some folds before, for how long, and moved.

The ports are compared from the time at which a fold begins on: what they hold, when it is released,
how far they are.

Times that are past do not decide anything: a tile that is released before its port can ask for the
room is as good as one released long ago. Only the release of a tile is rounded to a cycle. Where
all that are in the buffers are past by a cycle, and were when their room was asked for, a period
need not be whole cycles.

What a read port holds does not matter at all where every tile in its buffer is past: tiles are
released in their order, so that room for a later one does not hang on those before it.

A port that the array never waits for, and that never waits for room, goes its own way, faster or
slower than the folds. A jump ends before one of the two begins to wait for the other. A port that
nothing is asked of stands still. One whose buffer holds all that it ever fetches only has to be as
far; it fetches nothing in time until the cold start is over. Others repeat in the cold start where
the tiles that they fetch take longer afterwards than the array takes for them: then each is past
by more than the one a period before.
"""

from __future__ import annotations

from simulator.kernels.jit import inner
from simulator.kernels.systolic_past import PARTS, slack_of, spare_words, surely_past
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
    PAST,
    ROOMY,
    SPACE,
    TAIL,
    TIME,
    UNSURE,
    USED,
    WARM,
    WORDS_IN,
    Ints,
)

# What is remembered of the fold (or column) to compare with: folds until another one is kept and
# how long it is kept, folds since it, its time, the stream's start, the time jumped over before it,
# whether one is kept, how far an idle port of results were, tiles looked at so far, EARLY and PAST
# before they were last set back; whether all that a port held at the kept one was surely past (then
# its tiles are not kept), whether it follows the array, and the ports' state there.
LEFT, SPAN, SINCE, BEGAN_AT, STREAM, JUMPED, KEPT, FRESH, LOOKED, MINIMA = range(10)
SURE = MINIMA + 6
FOLLOWS = SURE + 3
PORTS = FOLLOWS + 3
MEMORY = PORTS + 3 * FIELDS

NEVER = -(2**62)
EVER = 2**61


@inner
def drift_of(state: Ints, memory: Ints, port: int, time: int) -> int:
    """How much later a port is than when it was kept, seen from the array, which is at ``time``."""
    there: int = memory[PORTS + FIELDS * port + TIME] - memory[BEGAN_AT]
    return int(state[port, TIME] - time - there)


@inner
def worth_looking(state: Ints, times: Ints, memory: Ints, live: int, word_time: int) -> bool:
    """Whether looking at the tiles in the buffers is little work beside what was done so far."""
    moved, held = 0, 0
    for port in range(3):
        moved += state[port, HEAD]
    for port in range(3):
        if live & (1 << port) and state[port, ROOMY] == 0:
            there = state[port, HEAD] - state[port, TAIL]
            few = memory[LOOKED] + held + PARTS <= 4 * moved
            if there > PARTS and few and surely_past(state, times, port, word_time):
                there = PARTS
            held += there
    return bool(memory[LOOKED] + held <= 4 * moved)


@inner
def keep(
    state: Ints,
    words: Ints,
    times: Ints,
    kept: Ints,
    memory: Ints,
    outer: Ints,
    live: int,
    time: int,
    word_time: int,
) -> None:
    """Keep the ports as they are at the start of a fold."""
    memory[SINCE], memory[BEGAN_AT], memory[KEPT], memory[FRESH] = 0, time, 1, NEVER
    mask = words.shape[1] - 1
    for port in range(3):
        for field in range(FIELDS):
            memory[PORTS + FIELDS * port + field] = state[port, field]
        for i in range(2):
            at = MINIMA + 2 * port + i
            outer[at] = min(outer[at], state[port, EARLY + i])
            memory[at] = state[port, EARLY + i] = EVER
        memory[SURE + port] = 0
        if live & (1 << port) and state[port, ROOMY] == 0:
            if surely_past(state, times, port, word_time):
                memory[SURE + port] = 1
                memory[LOOKED] += PARTS
                continue
            tail, gone = state[port, TAIL], 0
            memory[LOOKED] += state[port, HEAD] - tail
            for i in range(state[port, HEAD] - tail):
                at = (tail + i) & mask
                spare = spare_words(state, port, i, gone)
                past = slack_of(state, port, times[port, at], spare, word_time) >= 0
                # less than no words: the tile is past
                kept[port, i] = -words[port, at] if past else words[port, at]
                kept[3 + port, i] = times[port, at] - time
                gone += words[port, at]


@inner
def _idles(state: Ints, memory: Ints, port: int) -> bool:
    """Whether nothing was asked of a port since it was kept."""
    here = PORTS + FIELDS * port
    return bool(
        state[port, HEAD] == memory[here + HEAD]
        and state[port, TAIL] == memory[here + TAIL]
        and state[port, WORDS_IN] == memory[here + WORDS_IN]
    )


@inner
def _room_as_before(state: Ints, memory: Ints, port: int, time: int, drift: int) -> tuple[int, int]:
    """Whether room was found as at the kept fold: no (0), in whole cycles only (1), yes (2).

    And how long, less a cycle, it is there.
    """
    here = PORTS + FIELDS * port
    shift = time - memory[BEGAN_AT]
    now, then = state[port, SPACE], memory[here + SPACE]
    if state[port, ROOMY] == 1:
        return 2, EVER
    if port == OUT:
        if drift == 0:
            now, then = max(now, time), max(then, memory[BEGAN_AT])
        return (2 if now - then == shift + drift else 0), EVER
    slack = state[port, TIME] - state[port, MARGIN] - now
    if slack >= 0 and memory[here + TIME] - state[port, MARGIN] >= then:
        return 2, slack
    return (1 if drift == 0 and now - then == shift else 0), slack


@inner
def _least_slack(
    state: Ints, words: Ints, times: Ints, memory: Ints, port: int, word_time: int
) -> int:
    """The least slack of the tiles in a buffer, or that of the oldest one that has none."""
    tail, gone, least = state[port, TAIL], 0, EVER
    mask = words.shape[1] - 1
    for i in range(state[port, HEAD] - tail):
        at = (tail + i) & mask
        spare = spare_words(state, port, i, gone)
        least = min(least, slack_of(state, port, times[port, at], spare, word_time))
        memory[LOOKED] += 1
        if least < 0:
            break
        gone += words[port, at]
    return least


@inner
def _holds_as_before(
    state: Ints,
    words: Ints,
    times: Ints,
    kept: Ints,
    memory: Ints,
    port: int,
    time: int,
    word_time: int,
) -> bool:
    """Whether a buffer holds the same tiles, with the same times of release that are not past.

    Not all of a read port's are past.
    """
    if memory[SURE + port] == 1:
        return False  # all were
    here = PORTS + FIELDS * port
    tail, gone = state[port, TAIL], 0
    held = state[port, HEAD] - tail
    if held != memory[here + HEAD] - memory[here + TAIL]:
        return False
    if state[port, USED] != memory[here + USED]:
        return False
    mask = words.shape[1] - 1
    for i in range(held):
        at = (tail + i) & mask
        spare = spare_words(state, port, i, gone)
        past = slack_of(state, port, times[port, at], spare, word_time) >= 0
        memory[LOOKED] += 1
        if abs(kept[port, i]) != words[port, at]:
            return False
        if kept[3 + port, i] != times[port, at] - time and (kept[port, i] > 0 or not past):
            return False
        gone += words[port, at]
    return True


@inner
def periods_alike(
    state: Ints,
    words: Ints,
    times: Ints,
    kept: Ints,
    memory: Ints,
    port: int,
    time: int,
    whole: bool,
    word_time: int,
    most: int,
) -> int:
    """Periods, of ``most``, in which a port does the same as since it was kept.

    ``whole`` says that a period has whole cycles.
    """
    here = PORTS + FIELDS * port
    if _idles(state, memory, port):
        return most
    drift = drift_of(state, memory, port, time)
    alike, slack = _room_as_before(state, memory, port, time, drift)
    past = min(state[port, PAST], memory[MINIMA + 2 * port + 1])
    early = min(state[port, EARLY], memory[MINIMA + 2 * port])
    roomy = state[port, ROOMY] == 1  # then what it holds does not matter
    if (
        state[port, DOUBT] == UNSURE
        or memory[here + DOUBT] == UNSURE
        or state[port, WARM] != memory[here + WARM]
        or alike == 0
        or (not whole and (alike == 1 or past < 0))
        or (drift != 0 and (past < 0 or early < 0))
    ):
        return 0
    cold = state[port, COLD] - memory[here + COLD]
    # by how much longer tiles are there before their room is asked for, from period to period
    longer = drift
    if port != OUT and state[port, WARM] == 0:
        longer += cold * word_time
        if not roomy and (longer < 0 or alike == 1):
            return 0
    growing = slack >= 0 and longer >= 0
    if not roomy and growing and surely_past(state, times, port, word_time):
        memory[LOOKED] += PARTS
    elif not roomy:
        slack = min(slack, _least_slack(state, words, times, memory, port, word_time))
        if (slack < 0 or port == OUT) and not _holds_as_before(
            state, words, times, kept, memory, port, time, word_time
        ):
            return 0
        if slack < 0 and drift != 0:
            return 0
    if cold > 0:
        if state[port, WARM] == 1:
            return 0
        most = min(most, (state[port, HALF] - state[port, COLD]) // cold)
    if drift > 0:
        return int(min(most, early // drift))
    if longer < 0:
        return int(min(most, min(slack, past) // -longer))
    return most


@inner
def let_drift(state: Ints, times: Ints, memory: Ints, port: int, time: int, periods: int) -> None:
    """Move what goes its own way, or stands still, as seen from where time stands still."""
    drift = drift_of(state, memory, port, time)
    if _idles(state, memory, port):
        state[port, SPACE] += periods * drift
        mask = times.shape[1] - 1
        for i in range(state[port, TAIL], state[port, HEAD]):
            times[port, i & mask] += periods * drift
    else:
        state[port, ALONE] += 1
        if port == OUT:
            state[port, SPACE] += periods * drift
    state[port, TIME] += periods * drift
    state[port, COLD] += periods * (state[port, COLD] - memory[PORTS + FIELDS * port + COLD])
    state[port, EARLY] -= periods * max(0, drift)
    state[port, PAST] -= periods * max(0, -drift)
