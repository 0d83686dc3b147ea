"""One replica: a tensor-parallel group with its queue, its batch and its KV cache."""

from __future__ import annotations

from collections.abc import Callable, Generator

import numpy as np
import numpy.typing as npt
from simpy.events import Event

from simulator.engine.world import World
from simulator.serving.batcher import Batcher
from simulator.serving.options import ServingOptions
from simulator.serving.price_table import PriceTable

Int64Array = npt.NDArray[np.int64]


class Replica:
    """Advances one group's serving loop; a SimPy process, woken by arrivals.

    ``requests`` is int64[requests, fields.REQUEST_FIELDS], shared by all replicas;
    ``completed`` is called with the ids of requests that ended, where somebody waits for them.
    """

    def __init__(
        self,
        world: World,
        prices: PriceTable,
        requests: Int64Array,
        *,
        options: ServingOptions,
        blocks: int,
        completed: Callable[[list[int]], None] | None = None,
    ) -> None:
        self.world = world
        self.completed = completed
        self.batcher = Batcher(prices, requests, options, blocks=blocks)
        self._idle: Event | None = None
        world.process(self._run())

    @property
    def requests(self) -> Int64Array:
        """int64[requests, fields.REQUEST_FIELDS], shared by all replicas."""
        return self.batcher.requests

    @property
    def counters(self) -> Int64Array:
        """int64[fields.COUNTERS]."""
        return self.batcher.counters

    @property
    def totals(self) -> Int64Array:
        """int64[executor.TOTAL_FIELDS], summed over iterations."""
        return self.batcher.totals

    @property
    def sums(self) -> npt.NDArray[np.float64]:
        """float64[fields.SUMS], summed over iterations."""
        return self.batcher.sums

    def submit(self, request: int) -> None:
        """Put a request into the queue; wakes the replica if it was idle."""
        self.batcher.post(request, self.world.now_ps)
        if self._idle is not None:
            event, self._idle = self._idle, None
            event.succeed()

    def finish_log(self) -> Int64Array:
        """The iteration log, int64[iterations, fields.LOG_FIELDS]."""
        return self.batcher.finish_log()

    def _run(self) -> Generator[Event, None, None]:
        world, batcher = self.world, self.batcher
        while True:
            if batcher.idle:
                self._idle = Event(world)
                yield self._idle
                # Others may arrive at this very instant: form the batch after them.
                yield world.sleep_until(world.now_ps)
                batcher.set_clock(world.now_ps)
            batcher.advance(max(world.horizon_ps(), world.now_ps + 1), self.completed is not None)
            yield world.sleep_until(batcher.now_ps)
            if self._report():
                # Whoever was answered may send again at this very instant: let them go first.
                yield world.sleep_until(world.now_ps)

    def _report(self) -> bool:
        """Tell whoever waits which requests ended with the last iteration; whether any did."""
        if self.completed is None:
            return False
        ended = self.batcher.ended()
        if ended:
            self.completed(ended)
        return bool(ended)
