"""Simulated time: a SimPy environment that counts whole picoseconds.

Events at the same instant run in the order arrivals, then replicas, so that a batch which is
formed at the instant of an arrival contains it.
"""

from __future__ import annotations

import simpy
from simpy.events import Event, EventPriority

AFTER_ARRIVALS = EventPriority(2)
"""Priority of replicas; SimPy's own events have 0 (urgent) and 1 (normal)."""

NO_HORIZON = 2**63 - 1


class World(simpy.Environment):
    """A SimPy environment whose clock is an integer."""

    def __init__(self) -> None:
        super().__init__(initial_time=0)

    @property
    def now_ps(self) -> int:
        """Simulated time in picoseconds."""
        return int(self._now)

    def sleep_until(self, when_ps: int) -> Event:
        """An event at an absolute time, after all arrivals of that instant."""
        event = Event(self)
        event._ok = True
        event._value = None
        self.schedule(event, priority=AFTER_ARRIVALS, delay=when_ps - self._now)
        return event

    def horizon_ps(self) -> int:
        """Time of the next event of anybody, or ``NO_HORIZON``."""
        ahead = self.peek()
        return NO_HORIZON if ahead == simpy.core.Infinity else int(ahead)
