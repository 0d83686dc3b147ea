"""What is remembered of the fold, or column of folds, that later ones are compared with."""

from __future__ import annotations

from typing import NamedTuple

from simulator.kernels.jit import inner
from simulator.kernels.systolic_ports import TIME, Ints

# Places in the memory: folds until another one is kept and how long it is kept, folds since it, its
# time, the stream's start, the time jumped over before it, whether one is kept, how far an idle
# port of results were, tiles looked at so far, EARLY and PAST before they were last set back;
# whether all that a port held at the kept one was surely past (then its tiles are not kept), and
# whether it follows the array.
LEFT, SPAN, SINCE, BEGAN_AT, STREAM, JUMPED, KEPT, FRESH, LOOKED, MINIMA = range(10)
SURE = MINIMA + 6
FOLLOWS = SURE + 3
MEMORY = FOLLOWS + 3

NEVER = -(2**62)
EVER = 2**61


class Seen(NamedTuple):
    """What is remembered of folds, int64[MEMORY], and of the columns around them.

    ``state`` is that of the ports at the kept one. ``words`` and ``times``, int64[3, ring], are the
    tiles of each port there, oldest first. Around columns is nothing: any other memory.
    """

    memory: Ints
    outer: Ints
    state: Ints
    words: Ints
    times: Ints


class Moment(NamedTuple):
    """The start of a fold, or of a column of folds, of which ``left`` are alike from here on.

    The array is at ``time``; its last stream began at ``stream``, and ``jumped`` was jumped over so
    far. Bit i of ``live`` is set where port i is to be compared. With ``eager`` results are written
    back as soon as they are complete, the next of them not before ``soon``. With ``care`` 2 no port
    may be left in doubt, with 1 a fold is left in which to resolve it.
    """

    time: int
    stream: int
    jumped: int
    left: int
    live: int
    eager: bool
    soon: int
    care: int


@inner
def forget(memory: Ints) -> None:
    """Start anew: nothing was seen."""
    memory[:FRESH] = 0
    memory[FRESH] = NEVER
    memory[MINIMA:] = EVER


@inner
def drift_of(state: Ints, seen: Seen, port: int, time: int) -> int:
    """How much later a port is than when it was kept, seen from the array, which is at ``time``."""
    there: int = seen.state[port, TIME] - seen.memory[BEGAN_AT]
    return int(state[port, TIME] - time - there)
