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

from simulator.kernels.jit import inner, kernel
from simulator.kernels.systolic_advance import FILLS, LEADS, advance, fills, let_fill
from simulator.kernels.systolic_compare import (
    BEGAN_AT,
    EVER,
    FOLLOWS,
    FRESH,
    JUMPED,
    KEPT,
    LEFT,
    LOOKED,
    MINIMA,
    NEVER,
    PORTS,
    SINCE,
    SPAN,
    STREAM,
    keep,
    let_drift,
    periods_alike,
    worth_looking,
)
from simulator.kernels.systolic_follow import follows, let_follow, let_lead
from simulator.kernels.systolic_ports import (
    FIELDS,
    MARGIN,
    OUT,
    PHASE,
    TIME,
    WORDS_IN,
    WORDS_OUT,
    Ints,
)


@inner
def forget(memory: Ints) -> None:
    """Start anew: nothing was seen."""
    memory[:FRESH] = 0
    memory[FRESH] = NEVER
    memory[MINIMA:PORTS] = EVER


@inner
def deliver(
    state: Ints, folds: Ints, columns: Ints, words: int, ready: int, word_time: int
) -> None:
    """Write results back that are complete at ``ready`` and need not wait for anything else."""
    moved = words * word_time
    state[OUT, TIME] = max(state[OUT, TIME], ready) + moved
    folds[FRESH] = max(folds[FRESH], ready) + moved
    columns[FRESH] = max(columns[FRESH], ready) + moved
    state[OUT, WORDS_OUT] += words


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
    soon: int,
    time: int,
    stream: int,
    jumped: int,
    left: int,
    word_time: int,
    care: int,
) -> tuple[int, int]:
    """As ``folds_to_skip``, which says what is what."""
    if memory[LEFT] < 0:  # there was a jump: what is left is less than a period
        return 0, 0
    memory[SINCE] += 1
    period, shift = memory[SINCE], time - memory[BEGAN_AT]
    # time stands still in a jump: a period inside which folds were jumped over took longer
    full = shift + jumped - memory[JUMPED]
    whole = full % (state[OUT, MARGIN] + 1) == 0
    results = state[OUT, WORDS_OUT] - memory[PORTS + FIELDS * OUT + WORDS_OUT]
    periods = 0
    if (
        memory[KEPT] == 1
        and stream - memory[STREAM] == shift
        # where the port of results is when the next are complete must not hang on parts of cycles
        and (whole or results == 0 or not eager or state[OUT, TIME] + state[OUT, MARGIN] < soon)
        and worth_looking(state, times, memory, live, word_time)
    ):
        periods = left // period
        for port in range(3):
            memory[FOLLOWS + port] = 0
            if live & (1 << port) and periods > 0:
                alike = periods_alike(
                    state, words, times, kept, memory, port, time, whole, word_time, periods
                )
                if alike == 0:
                    alike = fills(state, memory, port, time, periods)
                    memory[FOLLOWS + port] = FILLS if alike > 0 else 0
                if alike == 0:
                    alike = follows(
                        state,
                        words,
                        times,
                        kept,
                        memory,
                        port,
                        time,
                        full,
                        word_time,
                        periods,
                        care,
                    )
                periods = alike
    if periods > 0:
        for port in range(3):
            if memory[FOLLOWS + port] >= FILLS:
                advance(state, words, times, memory, port, full, periods)
            if memory[FOLLOWS + port] == FILLS:
                let_fill(state, memory, port, time, full, periods)
            elif memory[FOLLOWS + port] == LEADS:
                let_lead(state, memory, port, time, periods)
            elif memory[FOLLOWS + port] != 0:
                let_follow(state, memory, port, time)
            elif live & (1 << port):
                let_drift(state, times, memory, port, time, periods)
            for field in range(WORDS_IN, WORDS_OUT + 1):
                done = state[port, field] - memory[PORTS + FIELDS * port + field]
                state[port, field] += periods * done
        if eager and (whole or results == 0):
            # otherwise it has done all that it had to do: how far it is does not matter
            fresh, moved = memory[FRESH], results * word_time
            state[OUT, TIME] = _far(state[OUT, TIME], fresh, moved, full, periods)
            outer[FRESH] = _far(outer[FRESH], fresh, moved, full, periods)
        memory[LEFT] = -1 if left - (periods + care) * period < period else 0
        state[:, PHASE] = (jumped + periods * full) % (state[OUT, MARGIN] + 1)
        memory[SPAN], memory[KEPT] = 0, 0
        return periods * period, periods * full
    memory[LEFT] -= 1
    if memory[KEPT] == 0 or memory[LEFT] == 0:
        if not worth_looking(state, times, memory, live, word_time):
            memory[LEFT] = 1
            return 0, 0
        memory[SPAN] = max(1, 2 * memory[SPAN])
        memory[LEFT] = memory[SPAN]
        memory[STREAM], memory[JUMPED] = stream, jumped
        keep(state, words, times, kept, memory, outer, live, time, word_time)
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
    soon: int,
    time: int,
    stream: int,
    jumped: int,
    left: int,
    word_time: int,
    care: int,
) -> tuple[int, int]:
    """At the start of a fold (or column of folds): how many to jump over, and the time they take.

    ``left`` folds are alike from this one on. Bit i of ``live`` is set where port i is to be
    compared; with ``eager`` results are written back by ``deliver``, the next of them not before
    ``soon``. ``kept`` is int64[6, ring], ``memory`` what this function remembers, ``outer`` what it
    remembers of columns (for a column any other array), and ``jumped`` the time jumped over so far.
    The traffic of what is jumped over is added to ``state``. With ``care`` 2 no port may be left in
    doubt, with 1 a fold is left in which to resolve it.
    """
    looked = memory[LOOKED]
    jump = _skip(
        state,
        words,
        times,
        kept,
        memory,
        outer,
        live,
        eager,
        soon,
        time,
        stream,
        jumped,
        left,
        word_time,
        care,
    )
    # for columns it is worth as much again
    outer[LOOKED] -= memory[LOOKED] - looked
    return jump
