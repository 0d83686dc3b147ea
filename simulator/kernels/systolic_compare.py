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
from simulator.kernels.systolic_past import PARTS, asking, slack_of, surely_past
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
    Ports,
)
from simulator.kernels.systolic_remembered import (
    BEGAN_AT,
    EVER,
    FRESH,
    JUMPED,
    KEPT,
    LOOKED,
    MINIMA,
    NEVER,
    SINCE,
    STREAM,
    SURE,
    Moment,
    Seen,
    drift_of,
)


@inner
def worth_looking(ports: Ports, seen: Seen, live: int) -> bool:
    """Whether looking at the tiles in the buffers is little work beside what was done so far."""
    state, looked = ports.state, seen.memory[LOOKED]
    moved, held = 0, 0
    for port in range(3):
        moved += state[port, HEAD]
    for port in range(3):
        if live & (1 << port) and state[port, ROOMY] == 0:
            there = state[port, HEAD] - state[port, TAIL]
            few = looked + held + PARTS <= 4 * moved
            if there > PARTS and few and surely_past(ports, port):
                there = PARTS
            held += there
    return bool(looked + held <= 4 * moved)


@inner
def _keep_tiles(ports: Ports, seen: Seen, port: int) -> None:
    """Keep what a buffer holds."""
    tail, mask = ports.state[port, TAIL], ports.words.shape[1] - 1
    held = ports.state[port, HEAD] - tail
    seen.memory[LOOKED] += held
    for i in range(held):
        seen.words[port, i] = ports.words[port, (tail + i) & mask]
        seen.times[port, i] = ports.times[port, (tail + i) & mask]


@inner
def keep(ports: Ports, seen: Seen, now: Moment) -> None:
    """Keep the ports as they are at the start of a fold."""
    state, memory, outer = ports.state, seen.memory, seen.outer
    memory[SINCE], memory[BEGAN_AT], memory[KEPT], memory[FRESH] = 0, now.time, 1, NEVER
    memory[STREAM], memory[JUMPED] = now.stream, now.jumped
    for port in range(3):
        for field in range(FIELDS):
            seen.state[port, field] = state[port, field]
        for i in range(2):
            at = MINIMA + 2 * port + i
            outer[at] = min(outer[at], state[port, EARLY + i])
            memory[at] = state[port, EARLY + i] = EVER
        memory[SURE + port] = 0
        if now.live & (1 << port) and state[port, ROOMY] == 0:
            if surely_past(ports, port):
                memory[SURE + port] = 1
                memory[LOOKED] += PARTS
            else:
                _keep_tiles(ports, seen, port)


@inner
def stands_still(state: Ints, then: Ints, port: int) -> bool:
    """Whether nothing was asked of a port since ``then``."""
    return bool(
        state[port, HEAD] == then[port, HEAD]
        and state[port, TAIL] == then[port, TAIL]
        and state[port, WORDS_IN] == then[port, WORDS_IN]
    )


@inner
def _room_as_before(state: Ints, seen: Seen, port: int, time: int, drift: int) -> tuple[int, int]:
    """Whether room was found as at the kept fold: no (0), in whole cycles only (1), yes (2).

    And how long, less a cycle, it is there.
    """
    began = seen.memory[BEGAN_AT]
    now, then = state[port, SPACE], seen.state[port, SPACE]
    if state[port, ROOMY] == 1:
        return 2, EVER
    if port == OUT:
        if drift == 0:
            now, then = max(now, time), max(then, began)
        return (2 if now - then == time - began + drift else 0), EVER
    slack = state[port, TIME] - state[port, MARGIN] - now
    if slack >= 0 and seen.state[port, TIME] - state[port, MARGIN] >= then:
        return 2, slack
    return (1 if drift == 0 and now - then == time - began else 0), slack


@inner
def _least_slack(ports: Ports, seen: Seen, port: int) -> int:
    """The least slack of the tiles in a buffer, or that of the oldest one that has none."""
    tail, mask, gone, least = ports.state[port, TAIL], ports.words.shape[1] - 1, 0, EVER
    ask = asking(ports.state[port], port, ports.word_time)
    held, place = ports.state[port, HEAD] - tail, 0
    while place < held and least >= 0:
        at = (tail + place) & mask
        least = min(least, slack_of(ask, ports.times[port, at], place, gone))
        gone += ports.words[port, at]
        place += 1
    seen.memory[LOOKED] += place
    return least


@inner
def _holds_as_before(ports: Ports, seen: Seen, now: Moment, port: int) -> bool:
    """Whether a buffer holds the same tiles, with the same times of release that are not past.

    Not all of a read port's are past.
    """
    state, then = ports.state[port], seen.state[port]
    tail, mask, gone = state[TAIL], ports.words.shape[1] - 1, 0
    held, shift = state[HEAD] - tail, now.time - seen.memory[BEGAN_AT]
    if (
        seen.memory[SURE + port] == 1  # all were
        or held != then[HEAD] - then[TAIL]
        or state[USED] != then[USED]
    ):
        return False
    ask, asked = asking(state, port, ports.word_time), asking(then, port, ports.word_time)
    place, same = 0, True
    while place < held and same:
        at = (tail + place) & mask
        words, release, before = (
            ports.words[port, at],
            ports.times[port, at],
            seen.times[port, place],
        )
        same = words == seen.words[port, place]
        if release - shift != before:
            past = slack_of(ask, release, place, gone) >= 0
            same &= past and slack_of(asked, before, place, gone) >= 0
        gone += words
        place += 1
    seen.memory[LOOKED] += place
    return same


@inner
def _longer(ports: Ports, seen: Seen, now: Moment, port: int) -> int:
    """By how much longer tiles are there before their room is asked for, from period to period."""
    longer = drift_of(ports.state, seen, port, now.time)
    if port != OUT and ports.state[port, WARM] == 0:
        cold = ports.state[port, COLD] - seen.state[port, COLD]
        longer += cold * ports.word_time
    return longer


@inner
def goes_its_own_way(ports: Ports, seen: Seen, now: Moment, port: int, whole: bool) -> bool:
    """Whether a port does the same as since it was kept, as far as can be said without its tiles.

    ``whole`` says that a period has whole cycles.
    """
    state, memory = ports.state, seen.memory
    then = seen.state
    drift = drift_of(state, seen, port, now.time)
    alike, _ = _room_as_before(state, seen, port, now.time, drift)
    past = min(state[port, PAST], memory[MINIMA + 2 * port + 1])
    early = min(state[port, EARLY], memory[MINIMA + 2 * port])
    if (
        state[port, DOUBT] == UNSURE
        or then[port, DOUBT] == UNSURE
        or state[port, WARM] != then[port, WARM]
        or alike == 0
        or (not whole and (alike == 1 or past < 0))
        or (drift != 0 and (past < 0 or early < 0))
    ):
        return False
    if port == OUT or state[port, ROOMY] == 1:
        return True
    if state[port, WARM] == 1:
        return bool(state[port, COLD] == then[port, COLD])
    return alike != 1 and _longer(ports, seen, now, port) >= 0


@inner
def periods_alike(ports: Ports, seen: Seen, now: Moment, port: int, whole: bool, most: int) -> int:
    """Periods, of ``most``, in which a port does the same as since it was kept.

    ``whole`` says that a period has whole cycles.
    """
    state, memory = ports.state, seen.memory
    if stands_still(state, seen.state, port):
        return most
    if not goes_its_own_way(ports, seen, now, port, whole):
        return 0
    drift = drift_of(state, seen, port, now.time)
    _, slack = _room_as_before(state, seen, port, now.time, drift)
    longer = _longer(ports, seen, now, port)
    if state[port, ROOMY] == 0:  # else what it holds does not matter
        if slack >= 0 and longer >= 0 and surely_past(ports, port):
            memory[LOOKED] += PARTS
        else:
            slack = min(slack, _least_slack(ports, seen, port))
            if (slack < 0 or port == OUT) and not _holds_as_before(ports, seen, now, port):
                return 0
            if slack < 0 and drift != 0:
                return 0
    cold = state[port, COLD] - seen.state[port, COLD]
    if cold > 0:
        if state[port, WARM] == 1:
            return 0
        most = min(most, (state[port, HALF] - state[port, COLD]) // cold)
    if drift > 0:
        early = min(state[port, EARLY], memory[MINIMA + 2 * port])
        return int(min(most, early // drift))
    if longer < 0:
        past = min(state[port, PAST], memory[MINIMA + 2 * port + 1])
        return int(min(most, min(slack, past) // -longer))
    return most


@inner
def let_drift(ports: Ports, seen: Seen, now: Moment, port: int, periods: int) -> None:
    """Move what goes its own way, or stands still, as seen from where time stands still."""
    state = ports.state
    drift = drift_of(state, seen, port, now.time)
    if stands_still(state, seen.state, port):
        state[port, SPACE] += periods * drift
        mask, later = ports.times.shape[1] - 1, periods * drift
        for i in range(state[port, TAIL], state[port, HEAD]):
            ports.times[port, i & mask] += later
    else:
        state[port, ALONE] += 1
        if port == OUT:
            state[port, SPACE] += periods * drift
    state[port, TIME] += periods * drift
    state[port, COLD] += periods * (state[port, COLD] - seen.state[port, COLD])
    state[port, EARLY] -= periods * max(0, drift)
    state[port, PAST] -= periods * max(0, -drift)
