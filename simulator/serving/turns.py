"""Turns of sessions: the next one is sent when the last has been answered and its user has thought.

A first turn comes at its time. A later one comes ``think_ps`` after the end of its parent, and not
before its own ``arrival_ps``. A request that is refused or lost ends the moment that is known.
"""

from __future__ import annotations

from collections.abc import Callable, Generator

import numpy as np
import numpy.typing as npt
from simpy.events import Event

from simulator.engine.world import World
from simulator.workload.request import NO_PARENT, ClosedLoop, Requests

Int64Array = npt.NDArray[np.int64]


class Turns:
    """Sends the requests of sessions into the world; ``send`` takes one that arrives now.

    Whoever ends a request, in whatever way, calls ``ended``.
    """

    def __init__(
        self, world: World, traffic: Requests | ClosedLoop, send: Callable[[int], None]
    ) -> None:
        assert traffic.parent is not None
        self._world = world
        self._send = send
        if isinstance(traffic, Requests):
            assert traffic.think_ps is not None
            self._earliest: Int64Array = traffic.arrival_ps
            self._think = traffic.think_ps
            start = traffic.arrival_ps
        else:
            self._earliest = np.zeros(len(traffic), dtype=np.int64)
            self._think = traffic.think_ps
            start = traffic.think_ps
        roots = np.flatnonzero(traffic.parent == NO_PARENT)
        roots = roots[np.argsort(start[roots], kind="stable")]
        self._roots = list(zip(roots.tolist(), start[roots].tolist(), strict=True))
        self._by_parent = np.argsort(traffic.parent, kind="stable")
        self._parents = traffic.parent[self._by_parent]

    def start(self) -> None:
        """Begin with the first turns."""
        self._world.process(self._first_turns())

    def ended(self, request: int) -> None:
        """The request has been answered, refused or lost: whoever waited for it thinks now."""
        low, high = np.searchsorted(self._parents, (request, request + 1))
        for child in self._by_parent[low:high].tolist():
            self._world.process(self._follow(child))

    def _first_turns(self) -> Generator[Event, None, None]:
        world = self._world
        for request, start in self._roots:
            if start > world.now_ps:
                yield world.timeout(start - world.now_ps)
            self._send(request)

    def _follow(self, request: int) -> Generator[Event, None, None]:
        world = self._world
        wait = max(int(self._think[request]), int(self._earliest[request]) - world.now_ps)
        if wait:
            yield world.timeout(wait)
        self._send(request)
