"""Jumps over the columns of folds that repeat in the tile pipeline of a systolic array, exact.

Columns of folds are alike but for the first, which may fetch what stays, and the last, which may be
narrower. Once the buffers are full each does the same as the one before, or as one some columns
before where a word takes a fraction of a cycle. The ports are compared from the time at which the
column begins on, never assumed to be equal: what they hold, when it is released, how far they are.
Equal ports have an equal future, so whole periods are added up. A jump leaves the ports alone, as
if the columns jumped over did not exist.

Left out is what no longer decides anything: an operand that was fetched once and stays, and results
that all fit their buffer. The latter are only written back, as soon as they are complete.
"""

from __future__ import annotations

from simulator.kernels.jit import inner, kernel
from simulator.kernels.systolic_ports import (
    FIELDS,
    HEAD,
    OUT,
    ROW,
    SPACE,
    TAIL,
    TIME,
    USED,
    WORDS_IN,
    WORDS_OUT,
    Ints,
)

# What is remembered of the column to compare with: columns until another one is kept and how long
# it is kept, columns since it, its time, the stream's start, whether one is kept; then the ports'
# state at the column before and at the kept one.
_LEFT, _SPAN, _SINCE, _BEGAN_AT, _STREAM, _KEPT, _BEFORE = range(7)
_PORTS = _BEFORE + 3 * FIELDS
MEMORY = _PORTS + 3 * FIELDS


@inner
def _settled(state: Ints, memory: Ints, first: int, ports: int) -> bool:
    """Whether the ports hold as much as at the column before; remembers what they hold."""
    same = True
    for port in range(first, ports):
        here = _BEFORE + FIELDS * port
        tiles = state[port, HEAD] - state[port, TAIL]
        same = same and memory[here] == tiles and memory[here + 1] == state[port, USED]
        memory[here], memory[here + 1] = tiles, state[port, USED]
    return same


@inner
def _keep(
    state: Ints,
    words: Ints,
    times: Ints,
    kept: Ints,
    memory: Ints,
    first: int,
    ports: int,
    time: int,
    stream: int,
) -> None:
    """Keep the ports as they are at the start of a column."""
    memory[_SINCE], memory[_BEGAN_AT], memory[_STREAM], memory[_KEPT] = 0, time, stream, 1
    for port in range(3):
        for field in range(FIELDS):
            memory[_PORTS + FIELDS * port + field] = state[port, field]
    for port in range(first, ports):
        tail, ring = state[port, TAIL], words.shape[1]
        for i in range(state[port, HEAD] - tail):
            kept[port, i] = words[port, (tail + i) % ring]
            kept[3 + port, i] = times[port, (tail + i) % ring] - time


@inner
def _equal(
    state: Ints,
    words: Ints,
    times: Ints,
    kept: Ints,
    memory: Ints,
    first: int,
    ports: int,
    time: int,
    stream: int,
) -> bool:
    """Whether the ports are as they were when they were kept, but for a shift of time."""
    shift = time - memory[_BEGAN_AT]
    if stream - memory[_STREAM] != shift:
        return False
    for port in range(first, ports):
        here = _PORTS + FIELDS * port
        if state[port, HEAD] - memory[here + HEAD] != state[port, TAIL] - memory[here + TAIL]:
            return False
        for field in range(USED, WORDS_IN):
            moved = shift if field in (TIME, SPACE) else 0
            if state[port, field] - memory[here + field] != moved:
                return False
    for port in range(first, ports):
        tail, ring = state[port, TAIL], words.shape[1]
        for i in range(state[port, HEAD] - tail):
            at = (tail + i) % ring
            if words[port, at] != kept[port, i] or times[port, at] - time != kept[3 + port, i]:
                return False
    return True


@inner
def _write_results(
    state: Ints, words: Ints, times: Ints, since: int, shift: int, periods: int, word_time: int
) -> None:
    """Write back all results so far, and those of ``periods`` more like the ones from ``since``."""
    ring = words.shape[1]
    start = state[OUT, TAIL]
    for period in range(periods + 1):
        for i in range(start, state[OUT, HEAD]):
            ready = times[OUT, i % ring] + period * shift
            moved = words[OUT, i % ring]
            state[OUT, TIME] = max(state[OUT, TIME], ready) + moved * word_time
            state[OUT, WORDS_OUT] += moved
        start = since
    state[OUT, TAIL] = state[OUT, HEAD]
    state[OUT, TIME] -= periods * shift


@kernel
def columns_to_skip(
    state: Ints,
    words: Ints,
    times: Ints,
    kept: Ints,
    memory: Ints,
    row_resident: bool,
    never_full: bool,
    time: int,
    stream: int,
    left: int,
    word_time: int,
) -> tuple[int, int]:
    """At the start of a column: columns to jump over, and the time that they take.

    ``left`` columns are alike from this one on. ``kept`` is int64[6, ring], ``memory`` what this
    function remembers. The traffic of what is jumped over is added to ``state``.
    """
    first = ROW + 1 if row_resident else ROW
    ports = OUT if never_full else OUT + 1
    if memory[_LEFT] < 0:  # there was a jump: what is left is less than a period
        return 0, 0
    if not _settled(state, memory, first, ports):
        memory[_SPAN], memory[_KEPT] = 0, 0
        return 0, 0
    memory[_SINCE] += 1
    period = memory[_SINCE]
    if memory[_KEPT] == 1 and _equal(state, words, times, kept, memory, first, ports, time, stream):
        periods, shift = left // period, time - memory[_BEGAN_AT]
        for port in range(3):
            for field in range(WORDS_IN, WORDS_OUT + 1):
                done = state[port, field] - memory[_PORTS + FIELDS * port + field]
                state[port, field] += periods * done
        if never_full:
            since = memory[_PORTS + FIELDS * OUT + HEAD]
            _write_results(state, words, times, since, shift, periods, word_time)
        memory[_LEFT] = -1
        return periods * period, periods * shift
    memory[_LEFT] -= 1
    if memory[_KEPT] == 0 or memory[_LEFT] == 0:
        memory[_SPAN] = max(1, 2 * memory[_SPAN])
        memory[_LEFT] = memory[_SPAN]
        _keep(state, words, times, kept, memory, first, ports, time, stream)
    return 0, 0
