"""Whole numbers of tokens of each expert, which only grow with the number of tokens.

A law of loads says how many tokens an expert has on average; rounding these for each number of
tokens by itself gives an expert now one more and now one less, and with it a price that falls. So
loads are rounded at some numbers of tokens, each on top of the one before, and in between the
tokens that the later number adds come one after another: an expert that has a share of them gets
its units evenly spread, as in Webster's method of apportionment (Balinski and Young, Fair
Representation, 1982), which never takes back a unit that it gave.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from simulator.kernels.arrays import Float64Array, Int64Array

Law = Callable[[int], Float64Array]
"""Tokens of each expert on average for a number of tokens; their sum is tokens x top_k."""

STEPS_A_DOUBLING = 4
"""Numbers of tokens at which loads are rounded, 19 % apart; neighbours follow on a straight line.
Powers of two are among them."""

GOLDEN = 0.6180339887498949
"""Its multiples are evenly spread between whole numbers."""

_SEED = 20240713


class GrowingLoads:
    """Loads of experts under a law, each at most the tokens."""

    def __init__(self, law: Law, experts: int, top_k: int) -> None:
        self.experts = experts
        self._law = law
        self._top_k = top_k
        self._sizes = [0]
        self._rounded = [np.zeros(experts, dtype=np.int64)]
        self._mean = np.zeros(experts)
        # where an expert's units lie among those of its like: evenly spread, and no two at once
        apart = np.random.default_rng(_SEED).random(experts) / experts
        self._offsets = (GOLDEN * np.arange(experts) + apart) % 1.0

    def of(self, tokens: int) -> Int64Array:
        """Tokens of each expert, int64[experts]; sum tokens x top_k, no less than for fewer."""
        while self._sizes[-1] < tokens:
            self._extend()
        above = int(np.searchsorted(self._sizes, tokens))
        if self._sizes[above] == tokens:
            return self._rounded[above]
        below = self._rounded[above - 1]
        more = tokens - self._sizes[above - 1]
        units = self._rounded[above] - below
        return below + first_units(units, self._offsets, more * self._top_k, more)

    def _extend(self) -> None:
        """Round the loads of the next number of tokens, whose means are those of the last one and
        what the law adds to these, as far as it does."""
        last, before = self._sizes[-1], self._rounded[-1]
        step = 0
        while round(2 ** (step / STEPS_A_DOUBLING)) <= last:
            step += 1
        tokens = round(2 ** (step / STEPS_A_DOUBLING))
        more = np.maximum(0.0, self._law(tokens) - self._mean)
        more *= (tokens - last) * self._top_k / more.sum()
        self._mean = self._mean + capped(more, tokens - last)
        self._sizes.append(tokens)
        self._rounded.append(self._whole(before, tokens - last, tokens * self._top_k))

    def _whole(self, before: Int64Array, step: int, total: int) -> Int64Array:
        """The means rounded, ``before`` for fewer tokens by ``step``: those go up first that are
        nearest to it."""
        due = self._mean + self._offsets
        found = np.clip(np.floor(due).astype(np.int64), before, before + step)
        while (missing := total - int(found.sum())) > 0:
            found[np.argmax(np.where(found < before + step, due - found, -np.inf))] += 1
        while missing < 0:
            found[np.argmin(np.where(found > before, due - found, np.inf))] -= 1
            missing += 1
        return found


def capped(loads: Float64Array, most: float) -> Float64Array:
    """Loads of which none is above ``most``, with the same sum: the others share what is above.

    A token goes to an expert at most once. The sum must not be above ``most`` for each expert.
    """
    loads = loads.copy()
    while (over := loads > most).any():
        above = float((loads[over] - most).sum())
        loads[over] = most
        room = loads < most
        if not room.any():
            break
        held = float(loads[room].sum())
        loads[room] += above / room.sum() if held == 0 else loads[room] * (above / held)
    return loads


def first_units(units: Int64Array, offsets: Float64Array, count: int, most: int) -> Int64Array:
    """How many of each expert's units, at most ``most``, are among the first ``count`` of all.

    Unit i (from 1) of an expert comes at (i - offset) / units, its offset being between 0 and 1.
    """
    limits = np.minimum(units, most)
    even = np.floor(units * (count / units.sum()) + offsets).astype(np.int64)
    found: Int64Array = np.minimum(even, limits)
    each = np.maximum(units, 1)
    missing = count - int(found.sum())
    while missing > 0:
        due = np.where(found < limits, (found + 1 - offsets) / each, np.inf)
        found[np.argmin(due)] += 1
        missing -= 1
    while missing < 0:
        came = np.where(found > 0, (found - offsets) / each, -np.inf)
        found[np.argmax(came)] -= 1
        missing += 1
    return found
