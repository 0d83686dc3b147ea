"""Jumps over folds that repeat in the tile pipeline of a systolic array, exact.

The folds of a column are alike but for the first, which may fetch what stays, and the last, which
may have fewer rows; so are whole columns. Once the buffers are full each does the same as the one
before, or as one some folds before where a word takes a fraction of a cycle. The ports are compared
from the time at which the fold begins on, never assumed to be equal: what they hold, when it is
released, how far they are. Equal ports have an equal future, so whole periods are added up. A jump
leaves the ports alone, as if the folds jumped over did not exist.

Times that are past do not decide anything: a tile that is released before its port can ask for the
room is as good as one released long ago. Idle ports (``systolic_idle``) are not compared.

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
    FIELDS,
    HEAD,
    LATE,
    MARGIN,
    OUT,
    RING,
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
# whether one is kept, how far an idle port of results were; then the ports' state at the fold
# before and at the kept one.
_LEFT, _SPAN, _SINCE, _BEGAN_AT, _STREAM, _JUMPED, _KEPT, _FRESH, _BEFORE = range(9)
_PORTS = _BEFORE + 3 * FIELDS
MEMORY = _PORTS + 3 * FIELDS

_NEVER = -(2**62)
_UNEQUAL, _EQUAL, _EQUAL_IN_CYCLES = range(3)


@inner
def forget(memory: Ints) -> None:
    """Start anew: nothing was seen."""
    memory[:_BEFORE] = 0
    memory[_FRESH] = _NEVER


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
def _spare(state: Ints, port: int) -> int:
    """Words that a port surely moves before the oldest tile's room is asked for."""
    if port == OUT:
        return 0  # written as soon as it is asked for, but after all older ones
    if state[port, WARM] == 0 or state[port, HEAD] - state[port, TAIL] > RING // 8:
        return _NEVER
    return int(state[port, SPARE] - state[port, USED])


@inner
def _release(state: Ints, port: int, at: int, spare: int, time: int, word_time: int) -> int:
    """When a tile is released, seen from ``time``, or that it is past when its room is asked for.

    The port moves ``spare`` words until then.
    """
    if at + state[port, MARGIN] <= state[port, TIME] + max(0, spare) * word_time:
        return _NEVER
    return at - time


@inner
def _keep(
    state: Ints,
    words: Ints,
    times: Ints,
    kept: Ints,
    memory: Ints,
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
        if live & (1 << port):
            tail, spare = state[port, TAIL], _spare(state, port)
            for i in range(state[port, HEAD] - tail):
                at = (tail + i) & mask
                kept[port, i] = words[port, at]
                kept[3 + port, i] = _release(state, port, times[port, at], spare, time, word_time)
                spare += words[port, at]


@inner
def _compare(
    state: Ints,
    words: Ints,
    times: Ints,
    kept: Ints,
    memory: Ints,
    live: int,
    time: int,
    word_time: int,
) -> int:
    """Whether the ports are as they were when they were kept, but for a shift of time.

    Or only if that is whole cycles.
    """
    began = memory[_BEGAN_AT]
    mask = words.shape[1] - 1
    result = _EQUAL
    for port in range(3):
        if live & (1 << port):
            here = _PORTS + FIELDS * port
            if state[port, HEAD] - memory[here + HEAD] != state[port, TAIL] - memory[here + TAIL]:
                return _UNEQUAL
            if state[port, TIME] - memory[here + TIME] != time - began:
                return _UNEQUAL
            if (
                state[port, USED] != memory[here + USED]
                or state[port, COLD] != memory[here + COLD]
                or state[port, WARM] != memory[here + WARM]
            ):
                return _UNEQUAL
            now, then = state[port, SPACE], memory[here + SPACE]
            if port == OUT:
                if max(now, time) - max(then, began) != time - began:
                    return _UNEQUAL
            else:
                margin = state[port, MARGIN]
                if now + margin > state[port, TIME] or then + margin > memory[here + TIME]:
                    if now - then != time - began:
                        return _UNEQUAL
                    result = _EQUAL_IN_CYCLES
            if state[port, LATE] != memory[here + LATE]:
                result = _EQUAL_IN_CYCLES
    for port in range(3):
        if live & (1 << port):
            tail, spare = state[port, TAIL], _spare(state, port)
            for i in range(state[port, HEAD] - tail):
                at = (tail + i) & mask
                release = _release(state, port, times[port, at], spare, time, word_time)
                if words[port, at] != kept[port, i] or release != kept[3 + port, i]:
                    return _UNEQUAL
                if release != _NEVER:
                    result = _EQUAL_IN_CYCLES
                spare += words[port, at]
    return result


@inner
def _far(at: int, fresh: int, moved: int, shift: int, periods: int) -> int:
    """How far the port of results is after ``periods`` more, seen from where time stands still."""
    first = fresh + shift + (periods - 1) * moved
    return max(at + periods * moved, first, fresh + periods * shift) - periods * shift


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
    the same), and ``jumped`` the time jumped over so far. The traffic of what is jumped over is
    added to ``state``.
    """
    if memory[_LEFT] < 0:  # there was a jump: what is left is less than a period
        return 0, 0
    if not _settled(state, memory, live):
        memory[_SPAN], memory[_KEPT] = 0, 0
        return 0, 0
    memory[_SINCE] += 1
    period, shift = memory[_SINCE], time - memory[_BEGAN_AT]
    alike = _UNEQUAL
    if memory[_KEPT] == 1 and period <= left and stream - memory[_STREAM] == shift:
        alike = _compare(state, words, times, kept, memory, live, time, word_time)
    # time stands still in a jump: a period inside which folds were jumped over took longer
    full = shift + jumped - memory[_JUMPED]
    results = state[OUT, WORDS_OUT] - memory[_PORTS + FIELDS * OUT + WORDS_OUT]
    whole = full % (state[OUT, MARGIN] + 1) == 0
    if eager and results > 0 and not whole and state[OUT, TIME] + state[OUT, MARGIN] >= time:
        # where the port of results is hangs on the parts of cycles
        alike = _UNEQUAL
    if alike == _EQUAL or (alike == _EQUAL_IN_CYCLES and whole):
        periods = left // period
        if eager and (whole or results == 0):
            # otherwise it has done all that it had to do: how far it is does not matter
            fresh, moved = memory[_FRESH], results * word_time
            state[OUT, TIME] = _far(state[OUT, TIME], fresh, moved, full, periods)
            outer[_FRESH] = _far(outer[_FRESH], fresh, moved, full, periods)
        for port in range(3):
            for field in range(WORDS_IN, WORDS_OUT + 1):
                done = state[port, field] - memory[_PORTS + FIELDS * port + field]
                state[port, field] += periods * done
        memory[_LEFT] = -1
        return periods * period, periods * full
    memory[_LEFT] -= 1
    if memory[_KEPT] == 0 or memory[_LEFT] == 0:
        memory[_SPAN] = max(1, 2 * memory[_SPAN])
        memory[_LEFT] = memory[_SPAN]
        memory[_STREAM], memory[_JUMPED] = stream, jumped
        _keep(state, words, times, kept, memory, live, time, word_time)
    return 0, 0
