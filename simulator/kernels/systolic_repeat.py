"""Jumps over folds that repeat in the tile pipeline of a systolic array, exact.

The folds of a column are alike but for the first, which may fetch what stays, and the last, which
may have fewer rows; so are whole columns. Once the buffers are full each does the same as the one
before, or as one some folds before where a word takes a fraction of a cycle. The ports are compared
from the time at which the fold begins on, never assumed to be equal: what they hold, when it is
released, how far they are. Equal ports have an equal future, so whole periods are added up. A jump
leaves the ports alone, as if the folds jumped over did not exist.

Times that are past do not decide anything: a tile that is released before its port can ask for the
room is as good as one released long ago. Idle ports (``systolic_idle``) are not compared.

A port that the array never waits for, and that never waits for room, goes its own way, faster or
slower than the folds. The jump ends before one of the two begins to wait for the other. A port that
nothing is asked of stands still.

Only the release of a tile is rounded to a cycle. Where all that are in the buffers are past by a
cycle, and were when their room was asked for, a period need not be whole cycles.

Results that never wait for room are written back as soon as they are complete. How far their port
is, is not compared either: over a period it moves from t to max(t + a, b), where a is the time for
the period's words and b where a port that was idle before would be; n periods have a closed form.
"""

from __future__ import annotations

from simulator.kernels.jit import inner, kernel
from simulator.kernels.systolic_ports import (
    COLD,
    EARLY,
    FIELDS,
    HEAD,
    MARGIN,
    OUT,
    PAST,
    RING,
    SMALLEST,
    SPACE,
    SPARE,
    TAIL,
    TIME,
    USED,
    WARM,
    WORDS_IN,
    WORDS_OUT,
    Ints,
)

# What is remembered of the fold (or column) to compare with: folds until another one is kept and
# how long it is kept, folds since it, its time, the stream's start, the time jumped over before it,
# whether one is kept, how far an idle port of results were, tiles looked at so far, EARLY and PAST
# before they were last set back; then the ports' state at the fold before and at the kept one.
_LEFT, _SPAN, _SINCE, _BEGAN_AT, _STREAM, _JUMPED, _KEPT, _FRESH, _LOOKED, _MINIMA = range(10)
_BEFORE = _MINIMA + 6
_PORTS = _BEFORE + 3 * FIELDS
MEMORY = _PORTS + 3 * FIELDS

_NEVER = -(2**62)
_EVER = 2**61


@inner
def forget(memory: Ints) -> None:
    """Start anew: nothing was seen."""
    memory[:_FRESH] = 0
    memory[_FRESH] = _NEVER
    memory[_MINIMA:_BEFORE] = _EVER


@inner
def deliver(
    state: Ints, folds: Ints, columns: Ints, words: int, ready: int, word_time: int
) -> None:
    """Write results back that are complete at ``ready`` and need not wait for anything else."""
    moved = words * word_time
    state[OUT, TIME] = max(state[OUT, TIME], ready) + moved
    folds[_FRESH] = max(folds[_FRESH], ready) + moved
    columns[_FRESH] = max(columns[_FRESH], ready) + moved
    state[OUT, WORDS_OUT] += words


@inner
def _settled(state: Ints, memory: Ints, live: int) -> bool:
    """Whether the ports hold as much as at the fold before; remembers what they hold."""
    same = True
    for port in range(3):
        if live & (1 << port):
            here = _BEFORE + FIELDS * port
            tiles = state[port, HEAD] - state[port, TAIL]
            same = same and memory[here] == tiles and memory[here + 1] == state[port, USED]
            memory[here], memory[here + 1] = tiles, state[port, USED]
    return same


@inner
def _worth_looking(state: Ints, memory: Ints, live: int) -> bool:
    """Whether looking at all tiles in the buffers is little work beside what was done so far."""
    moved, held = 0, 0
    for port in range(3):
        moved += state[port, HEAD]
        if live & (1 << port):
            held += state[port, HEAD] - state[port, TAIL]
    return bool(memory[_LOOKED] + held <= 4 * moved)


@inner
def _spare(state: Ints, port: int, place: int, gone: int) -> int:
    """Words that a port surely moves before the room of a tile in its buffer is asked for.

    The tile is the one at ``place`` from the oldest, and those before it have ``gone`` words.
    """
    if port == OUT:
        return gone  # results are written in their order
    if state[port, WARM] == 0:
        return 0
    held = state[port, HEAD] - state[port, TAIL] - place
    few = (RING - held) * state[port, SMALLEST]
    return int(max(0, min(few, state[port, SPARE] - state[port, USED] + gone)))


@inner
def _slack(state: Ints, port: int, release: int, spare: int, word_time: int) -> int:
    """How long a tile's room is there, less a cycle, before it is asked for.

    The port moves ``spare`` words until then.
    """
    return int(state[port, TIME] + spare * word_time - state[port, MARGIN] - release)


@inner
def _keep(
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
    memory[_SINCE], memory[_BEGAN_AT], memory[_KEPT], memory[_FRESH] = 0, time, 1, _NEVER
    mask = words.shape[1] - 1
    for port in range(3):
        for field in range(FIELDS):
            memory[_PORTS + FIELDS * port + field] = state[port, field]
        for i in range(2):
            at = _MINIMA + 2 * port + i
            outer[at] = min(outer[at], state[port, EARLY + i])
            memory[at] = state[port, EARLY + i] = _EVER
        if live & (1 << port):
            tail, gone = state[port, TAIL], 0
            memory[_LOOKED] += state[port, HEAD] - tail
            for i in range(state[port, HEAD] - tail):
                at = (tail + i) & mask
                spare = _spare(state, port, i, gone)
                past = _slack(state, port, times[port, at], spare, word_time) >= 0
                kept[port, i] = words[port, at]
                kept[3 + port, i] = _NEVER if past else times[port, at] - time
                gone += words[port, at]


@inner
def _idles(state: Ints, memory: Ints, port: int) -> bool:
    """Whether nothing was asked of a port since it was kept."""
    here = _PORTS + FIELDS * port
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
    here = _PORTS + FIELDS * port
    shift = time - memory[_BEGAN_AT]
    now, then = state[port, SPACE], memory[here + SPACE]
    if port == OUT:
        if drift == 0:
            now, then = max(now, time), max(then, memory[_BEGAN_AT])
        return (2 if now - then == shift + drift else 0), _EVER
    slack = state[port, TIME] - state[port, MARGIN] - now
    if slack >= 0 and memory[here + TIME] - state[port, MARGIN] >= then:
        return 2, slack
    return (1 if drift == 0 and now - then == shift else 0), slack


@inner
def _periods(
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
    here = _PORTS + FIELDS * port
    if _idles(state, memory, port):
        return most
    drift = state[port, TIME] - memory[here + TIME] - (time - memory[_BEGAN_AT])
    alike, slack = _room_as_before(state, memory, port, time, drift)
    past = min(state[port, PAST], memory[_MINIMA + 2 * port + 1])
    early = min(state[port, EARLY], memory[_MINIMA + 2 * port])
    if (
        state[port, HEAD] - memory[here + HEAD] != state[port, TAIL] - memory[here + TAIL]
        or state[port, USED] != memory[here + USED]
        or state[port, COLD] != memory[here + COLD]
        or state[port, WARM] != memory[here + WARM]
        or alike == 0
        or (not whole and (alike == 1 or past < 0))
        or (drift != 0 and (past < 0 or early < 0))
    ):
        return 0
    tail, gone = state[port, TAIL], 0
    mask = words.shape[1] - 1
    for i in range(state[port, HEAD] - tail):
        at = (tail + i) & mask
        spare = _spare(state, port, i, gone)
        here_slack = _slack(state, port, times[port, at], spare, word_time)
        slack = min(slack, here_slack)
        memory[_LOOKED] += 1
        if words[port, at] != kept[port, i]:
            return 0
        if here_slack < 0 and (
            drift != 0 or not whole or times[port, at] - time != kept[3 + port, i]
        ):
            return 0
        if here_slack >= 0 and drift == 0 and kept[3 + port, i] != _NEVER:
            return 0
        gone += words[port, at]
    if drift > 0:
        return int(min(most, early // drift))
    if drift < 0:
        return int(min(most, min(slack, past) // -drift))
    return most


@inner
def _let_drift(state: Ints, times: Ints, memory: Ints, port: int, time: int, periods: int) -> None:
    """Move what goes its own way, or stands still, as seen from where time stands still."""
    drift = state[port, TIME] - memory[_PORTS + FIELDS * port + TIME] - (time - memory[_BEGAN_AT])
    if _idles(state, memory, port):
        state[port, SPACE] += periods * drift
        mask = times.shape[1] - 1
        for i in range(state[port, TAIL], state[port, HEAD]):
            times[port, i & mask] += periods * drift
    elif port == OUT and drift != 0:
        state[port, SPACE] += periods * drift
    state[port, TIME] += periods * drift
    state[port, EARLY] -= periods * max(0, drift)
    state[port, PAST] -= periods * max(0, -drift)


@inner
def _far(at: int, fresh: int, moved: int, shift: int, periods: int) -> int:
    """How far the port of results is after ``periods`` more, seen from where time stands still."""
    first = fresh + shift + (periods - 1) * moved
    return max(at + periods * moved, first, fresh + periods * shift) - periods * shift


@inner
def _skip(
    state: Ints,
    words: Ints,
    times: Ints,
    kept: Ints,
    memory: Ints,
    outer: Ints,
    live: int,
    eager: bool,
    time: int,
    stream: int,
    jumped: int,
    left: int,
    word_time: int,
) -> tuple[int, int]:
    """As ``folds_to_skip``, which says what is what."""
    if memory[_LEFT] < 0:  # there was a jump: what is left is less than a period
        return 0, 0
    if not _settled(state, memory, live):
        memory[_SPAN], memory[_KEPT] = 0, 0
        return 0, 0
    memory[_SINCE] += 1
    period, shift = memory[_SINCE], time - memory[_BEGAN_AT]
    # time stands still in a jump: a period inside which folds were jumped over took longer
    full = shift + jumped - memory[_JUMPED]
    whole = full % (state[OUT, MARGIN] + 1) == 0
    results = state[OUT, WORDS_OUT] - memory[_PORTS + FIELDS * OUT + WORDS_OUT]
    periods = 0
    if (
        memory[_KEPT] == 1
        and stream - memory[_STREAM] == shift
        # where the port of results is must not hang on the parts of cycles
        and (whole or not eager or results == 0 or state[OUT, TIME] + state[OUT, MARGIN] < time)
        and _worth_looking(state, memory, live)
    ):
        periods = left // period
        for port in range(3):
            if live & (1 << port) and periods > 0:
                periods = _periods(
                    state, words, times, kept, memory, port, time, whole, word_time, periods
                )
    if periods > 0:
        for port in range(3):
            if live & (1 << port):
                _let_drift(state, times, memory, port, time, periods)
            for field in range(WORDS_IN, WORDS_OUT + 1):
                done = state[port, field] - memory[_PORTS + FIELDS * port + field]
                state[port, field] += periods * done
        if eager and (whole or results == 0):
            # otherwise it has done all that it had to do: how far it is does not matter
            fresh, moved = memory[_FRESH], results * word_time
            state[OUT, TIME] = _far(state[OUT, TIME], fresh, moved, full, periods)
            outer[_FRESH] = _far(outer[_FRESH], fresh, moved, full, periods)
        memory[_LEFT] = -1 if left - periods * period < period else 0
        memory[_SPAN], memory[_KEPT] = 0, 0
        return periods * period, periods * full
    memory[_LEFT] -= 1
    if memory[_KEPT] == 0 or memory[_LEFT] == 0:
        if not _worth_looking(state, memory, live):
            memory[_LEFT] = 1
            return 0, 0
        memory[_SPAN] = max(1, 2 * memory[_SPAN])
        memory[_LEFT] = memory[_SPAN]
        memory[_STREAM], memory[_JUMPED] = stream, jumped
        _keep(state, words, times, kept, memory, outer, live, time, word_time)
    return 0, 0


@kernel
def folds_to_skip(
    state: Ints,
    words: Ints,
    times: Ints,
    kept: Ints,
    memory: Ints,
    outer: Ints,
    live: int,
    eager: bool,
    time: int,
    stream: int,
    jumped: int,
    left: int,
    word_time: int,
) -> tuple[int, int]:
    """At the start of a fold (or column of folds): how many to jump over, and the time they take.

    ``left`` folds are alike from this one on. Bit i of ``live`` is set where port i is to be
    compared; with ``eager`` results are written back by ``deliver``. ``kept`` is int64[6, ring],
    ``memory`` what this function remembers, ``outer`` what it remembers of columns (for a column
    any other array), and ``jumped`` the time jumped over so far. The traffic of what is jumped over
    is added to ``state``.
    """
    looked = memory[_LOOKED]
    jump = _skip(
        state,
        words,
        times,
        kept,
        memory,
        outer,
        live,
        eager,
        time,
        stream,
        jumped,
        left,
        word_time,
    )
    # for columns it is worth as much again
    outer[_LOOKED] -= memory[_LOOKED] - looked
    return jump
