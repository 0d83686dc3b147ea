"""A port of a systolic array, set up by hand, and how often its period may be repeated.

Used by test_systolic_conditions.py. The functions are called through kernels, as Python cannot
call them.
"""

from __future__ import annotations

import numpy as np

from simulator.kernels import systolic_advance as adv
from simulator.kernels import systolic_compare as cmp
from simulator.kernels import systolic_follow as fol
from simulator.kernels import systolic_past as gone_by
from simulator.kernels import systolic_ports as ports
from simulator.kernels import systolic_remembered as then
from simulator.kernels.jit import kernel

MOST = 1000
"""Periods that are left: more than any port here has."""

SIX = 6
"""Tiles in the buffer of the port, of 4 words each; two come and two leave in a period."""


@kernel
def periods(
    what, state, words, times, memory, then_state, kept_words, kept_times, port, whole, care
):
    """How often a period of 100 ticks, until 1,000, may be repeated; a word takes a tick."""
    all_ports = ports.Ports(state, words, times, memory, 1)
    seen = then.Seen(memory, memory, then_state, kept_words, kept_times)
    now = then.Moment(1000, 0, 0, MOST, 7, False, 0, care)
    if what == 0:
        return adv.fills(all_ports, seen, now, port, MOST)
    if what == 1:
        return fol.follows(all_ports, seen, now, port, 100, MOST)
    return cmp.periods_alike(all_ports, seen, now, port, whole, MOST)


@kernel
def all_past(state, times, port):
    return gone_by.surely_past(ports.Ports(state, times, times, times[0], 1), port)


@kernel
def words_until_asked(state, port, place, gone):
    return gone_by.spare_words(gone_by.asking(state[port], port, 1), place, gone)


FILLS, FOLLOWS, ALIKE = range(3)


class Port:
    """A port as it was a period ago (``then``) and is ``now``: fields by name, tiles by place."""

    def __init__(self, drift: int, port: int = ports.ROW, **now: int) -> None:
        """``drift`` is by how much it is later than the folds, after a period."""
        self.port = port
        self.state = np.zeros((3, ports.FIELDS), np.int64)
        self.words = np.full((3, 64), 4, np.int64)
        self.times = np.full((3, 64), 700, np.int64)
        self.before = np.zeros((3, ports.FIELDS), np.int64)
        self.kept_words = np.full((3, 64), 4, np.int64)
        self.kept_times = np.full((3, 64), 600, np.int64)
        self.memory = np.zeros(then.MEMORY, np.int64)
        self.memory[then.BEGAN_AT] = 900
        self.memory[then.MINIMA : then.SURE] = then.EVER
        both = {"WARM": 1, "CAPACITY": 10**6, "SPARE": 22, "SMALLEST": 4, "HALF": 1000}
        self.now(USED=4 * SIX, EARLY=then.EVER, PAST=then.EVER, TIME=800, WORDS_IN=800, **both)
        self.then(USED=4 * SIX, TIME=700 - drift, WORDS_IN=792, **both)
        self.now(HEAD=10 + SIX, TAIL=10)
        self.then(HEAD=8 + SIX, TAIL=8)
        self.now(**now)

    def now(self, **fields: int) -> Port:
        for name, value in fields.items():
            self.state[self.port, getattr(ports, name)] = value
        return self

    def then(self, **fields: int) -> Port:
        for name, value in fields.items():
            self.before[self.port, getattr(ports, name)] = value
        return self

    def minima(self, early: int, past: int) -> Port:
        """EARLY and PAST of the period before."""
        self.memory[then.MINIMA + 2 * self.port : then.MINIMA + 2 * self.port + 2] = early, past
        return self

    def tile(self, place: int, release: int, before: int) -> Port:
        """When a tile is released, and when its like was, a period before, both from its fold."""
        self.times[self.port, 10 + place] = release
        self.kept_times[self.port, place] = before - 100
        return self

    def may(self, what: int, whole: bool = True, care: int = 0) -> int:
        kept = self.before, self.kept_words, self.kept_times
        now = self.state, self.words, self.times, self.memory
        return periods(what, *now, *kept, self.port, whole, care)

    def mode(self) -> int:
        return int(self.memory[then.FOLLOWS + self.port])
