"""Jumps over folds that repeat in the tile pipeline of a systolic array, exact.

The folds of a column are alike but for the first, which may fetch what stays, and the last, which
may have fewer rows; so are whole columns. Sooner or later each does the same as the one
before, or as one some folds before where a word takes a fraction of a cycle. That is found by
comparing the ports (``systolic_compare``), never assumed. Equal ports have an equal future, so
whole periods are added up. A jump leaves the ports alone, as if the folds jumped over did not
exist. Idle ports (``systolic_idle``) are not compared.

Results that never wait for room are written back as soon as they are complete. How far their port
is, is not compared either: over a period it moves from t to max(t + a, b), where a is the time for
the period's words and b where a port that was idle before would be; n periods have a closed form.
"""

from __future__ import annotations

from simulator.kernels.jit import inner
from simulator.kernels.systolic_advance import FILLS, LEADS, advance, fills, let_fill
from simulator.kernels.systolic_compare import (
    goes_its_own_way,
    keep,
    let_drift,
    periods_alike,
    stands_still,
    worth_looking,
)
from simulator.kernels.systolic_follow import follows, let_follow, let_lead, way_with_array
from simulator.kernels.systolic_ports import (
    MARGIN,
    OUT,
    PHASE,
    TIME,
    WORDS_IN,
    WORDS_OUT,
    Ports,
)
from simulator.kernels.systolic_remembered import (
    BEGAN_AT,
    FOLLOWS,
    FRESH,
    JUMPED,
    KEPT,
    LEFT,
    LOOKED,
    SINCE,
    SPAN,
    STREAM,
    Moment,
    Seen,
)


@inner
def _far(at: int, fresh: int, moved: int, shift: int, periods: int) -> int:
    """How far the port of results is after ``periods`` more, seen from where time stands still."""
    first = fresh + shift + (periods - 1) * moved
    return max(at + periods * moved, first, fresh + periods * shift) - periods * shift


@inner
def _results(ports: Ports, seen: Seen) -> int:
    """Words of results that were written since a fold was kept."""
    return int(ports.state[OUT, WORDS_OUT] - seen.state[OUT, WORDS_OUT])


@inner
def _may_repeat(ports: Ports, seen: Seen, now: Moment, full: int) -> bool:
    """Whether all ports may go on as since a fold was kept: what needs no look at their tiles."""
    whole = full % (ports.state[OUT, MARGIN] + 1) == 0
    for port in range(3):
        if (
            now.live & (1 << port)
            and not stands_still(ports.state, seen.state, port)
            and not goes_its_own_way(ports, seen, now, port, whole)
            and way_with_array(ports, seen, now, port, full) == 0
            and fills(ports, seen, now, port, 1) == 0
        ):
            return False
    return True


@inner
def _periods(ports: Ports, seen: Seen, now: Moment, full: int) -> int:
    """Periods, as that since a fold was kept, that may be jumped over, and how each port may.

    A period takes ``full``, with what was jumped over inside it.
    """
    memory, margin = seen.memory, ports.state[OUT, MARGIN]
    whole = full % (margin + 1) == 0
    results = _results(ports, seen)
    if (
        memory[KEPT] != 1
        or now.stream - memory[STREAM] != now.time - memory[BEGAN_AT]
        # where the port of results is when the next are complete must not hang on parts of cycles
        or not (
            whole or results == 0 or not now.eager or ports.state[OUT, TIME] + margin < now.soon
        )
        or not _may_repeat(ports, seen, now, full)
        or not worth_looking(ports, seen, now.live)
    ):
        return 0
    periods = now.left // memory[SINCE]
    for port in range(3):
        memory[FOLLOWS + port] = 0
        if now.live & (1 << port) and periods > 0:
            alike = periods_alike(ports, seen, now, port, whole, periods)
            if alike == 0:
                alike = fills(ports, seen, now, port, periods)
                memory[FOLLOWS + port] = FILLS if alike > 0 else 0
            if alike == 0:
                alike = follows(ports, seen, now, port, full, periods)
            periods = alike
    return int(periods)


@inner
def _move(ports: Ports, seen: Seen, now: Moment, full: int, periods: int) -> None:
    """Move the ports over so many periods, seen from where time stands still."""
    memory = seen.memory
    for port in range(3):
        way = memory[FOLLOWS + port]
        if way >= FILLS:
            advance(ports, seen, port, full, periods)
        if way == FILLS:
            let_fill(ports, seen, now, port, full, periods)
        elif way == LEADS:
            let_lead(ports, seen, now, port, periods)
        elif way != 0:
            let_follow(ports, seen, now, port)
        elif now.live & (1 << port):
            let_drift(ports, seen, now, port, periods)


@inner
def _count(ports: Ports, seen: Seen, now: Moment, full: int, periods: int) -> None:
    """Count the words of so many periods, and go on where idle results would be."""
    state, memory, outer = ports.state, seen.memory, seen.outer
    results = _results(ports, seen)
    for port in range(3):
        for field in range(WORDS_IN, WORDS_OUT + 1):
            done = state[port, field] - seen.state[port, field]
            state[port, field] += periods * done
    p = state[OUT, MARGIN] + 1
    if now.eager and (full % p == 0 or results == 0):
        # otherwise it has done all that it had to do: how far it is does not matter
        fresh, moved = memory[FRESH], results * ports.word_time
        state[OUT, TIME] = _far(state[OUT, TIME], fresh, moved, full, periods)
        outer[FRESH] = _far(outer[FRESH], fresh, moved, full, periods)
    for port in range(3):
        state[port, PHASE] = (now.jumped + periods * full) % p


@inner
def _skip(ports: Ports, seen: Seen, now: Moment) -> tuple[int, int]:
    """As ``folds_to_skip``, which says what is what."""
    memory = seen.memory
    if memory[LEFT] < 0:  # there was a jump: what is left is less than a period
        return 0, 0
    memory[SINCE] += 1
    period = memory[SINCE]
    # time stands still in a jump: a period inside which folds were jumped over took longer
    full = now.time - memory[BEGAN_AT] + now.jumped - memory[JUMPED]
    periods = _periods(ports, seen, now, full)
    if periods > 0:
        _move(ports, seen, now, full, periods)
        _count(ports, seen, now, full, periods)
        memory[LEFT] = -1 if now.left - (periods + now.care) * period < period else 0
        memory[SPAN], memory[KEPT] = 0, 0
        return int(periods * period), int(periods * full)
    memory[LEFT] -= 1
    if memory[KEPT] == 0 or memory[LEFT] == 0:
        if not worth_looking(ports, seen, now.live):
            memory[LEFT] = 1
            return 0, 0
        memory[SPAN] = max(1, 2 * memory[SPAN])
        memory[LEFT] = memory[SPAN]
        keep(ports, seen, now)
    return 0, 0


@inner
def folds_to_skip(ports: Ports, seen: Seen, now: Moment) -> tuple[int, int]:
    """At the start of a fold (or column of folds): how many to jump over, and the time they take.

    For a column, ``seen`` is what is remembered of columns.
    """
    looked = seen.memory[LOOKED]
    jump = _skip(ports, seen, now)
    # for columns it is worth as much again
    seen.outer[LOOKED] -= seen.memory[LOOKED] - looked
    return jump
