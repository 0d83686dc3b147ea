"""One replica: a tensor-parallel group with its queue, its batch and its KV cache."""

from __future__ import annotations

from collections.abc import Callable, Generator

import numpy as np
import numpy.typing as npt
from simpy.events import Event

from simulator.engine.world import World
from simulator.errors import InfeasibleError
from simulator.kernels.executor import PRICE_FIELDS, TOTAL_FIELDS
from simulator.serving import loop
from simulator.serving import scheduler as sched
from simulator.timing.plan import Plan

Int64Array = npt.NDArray[np.int64]

LOG_ROWS = 8192


class PriceTable:
    """Prices by number of rows, shared by all replicas with the same plan.

    ``table`` is int64[rows + 1, operators, 2, PRICE_FIELDS], filled one row of tokens or logit
    positions at a time, when a batch first needs it.
    """

    def __init__(self, plan: Plan, rows: int) -> None:
        self.plan = plan
        self.table = np.zeros((rows + 1, len(plan.rows), 2, PRICE_FIELDS), dtype=np.int64)
        self.priced = np.zeros((2, rows + 1), dtype=np.bool_)

    def fill(self, tokens: int, logits: int) -> None:
        """Price a batch of ``tokens`` tokens and ``logits`` positions."""
        for sort, rows in enumerate((tokens, logits)):
            if not self.priced[sort, rows]:
                self.plan.price_rows(rows, sort == 1, self.table[rows])
                self.priced[sort, rows] = True


class Replica:
    """Advances one group's serving loop; a SimPy process, woken by arrivals.

    ``requests`` is int64[requests, scheduler.REQUEST_FIELDS], shared by all replicas;
    ``completed`` is called with the ids of requests that ended, where somebody waits for them.
    """

    def __init__(
        self,
        world: World,
        prices: PriceTable,
        requests: Int64Array,
        *,
        blocks: int,
        token_budget: int,
        max_batch: int,
        record: bool,
        completed: Callable[[list[int]], None] | None = None,
    ) -> None:
        plan = prices.plan
        self.world = world
        self.prices = prices
        self.requests = requests
        self.blocks = blocks
        self.completed = completed
        self.counters = np.zeros(sched.COUNTERS, dtype=np.int64)
        self.counters[sched.FREE_BLOCKS] = blocks
        self.totals = np.zeros(TOTAL_FIELDS, dtype=np.int64)
        self.sums = np.zeros(loop.SUMS, dtype=np.float64)
        self.logs: list[Int64Array] = []
        self._waiting = np.zeros(len(requests) + 1, dtype=np.int64)
        self._running = np.zeros(max_batch + 1, dtype=np.int64)
        self._new = np.zeros(max_batch + 1, dtype=np.int64)
        self._past = np.zeros(max_batch + 1, dtype=np.int64)
        self._log = np.zeros((LOG_ROWS if record else 0, loop.LOG_FIELDS), dtype=np.int64)
        self._settings = np.zeros(loop.SETTINGS, dtype=np.int64)
        self._settings[loop.BUDGET] = token_budget
        self._settings[loop.MOST] = max_batch
        self._settings[loop.BLOCKS] = blocks
        self._settings[loop.HOST_PS] = plan.system.host_overhead_ps
        self._settings[loop.STOP_AT_COMPLETION] = int(completed is not None)
        self._idle: Event | None = None
        world.process(self._run())

    def submit(self, request: int) -> None:
        """Put a request at the end of the queue; wakes the replica if it was idle."""
        self._waiting[self.counters[sched.QUEUE_TAIL]] = request
        self.counters[sched.QUEUE_TAIL] += 1
        if self._idle is not None:
            event, self._idle = self._idle, None
            event.succeed()

    def finish_log(self) -> Int64Array:
        """The iteration log, int64[iterations, loop.LOG_FIELDS]."""
        rows = int(self.counters[sched.LOGGED])
        return np.concatenate([*self.logs, self._log[:rows]])

    def _run(self) -> Generator[Event, None, None]:
        world = self.world
        while True:
            if self.counters[sched.RUNNING] == 0 and (
                self.counters[sched.QUEUE_HEAD] == self.counters[sched.QUEUE_TAIL]
            ):
                self._idle = Event(world)
                yield self._idle
                # Others may arrive at this very instant: form the batch after them.
                yield world.sleep_until(world.now_ps)
                self.counters[sched.NOW] = world.now_ps
            self._advance()
            yield world.sleep_until(int(self.counters[sched.NOW]))
            if self._report():
                # Whoever was answered may send again at this very instant: let them go first.
                yield world.sleep_until(world.now_ps)

    def _advance(self) -> None:
        """Run until something outside may matter; at least one iteration."""
        plan = self.prices.plan
        horizon = max(self.world.horizon_ps(), self.world.now_ps + 1)
        reason = loop.UNPRICED
        while reason in (loop.UNPRICED, loop.LOG_FULL):
            reason = loop.advance(
                self._settings,
                self.counters,
                self.requests,
                self._waiting,
                self._running,
                self._new,
                self._past,
                self.prices.table,
                self.prices.priced,
                plan.packed,
                self.totals,
                self.sums,
                self._log,
                horizon,
            )
            if reason == loop.TOO_LONG:
                raise InfeasibleError(
                    "simulated time leaves the range of the clock (104 days), or one step takes "
                    "more than a day",
                    hint="is a rate or a delay of the chip off by orders of magnitude?",
                )
            if reason == loop.UNPRICED:
                counters = self.counters
                self.prices.fill(int(counters[sched.TOKENS]), int(counters[sched.LOGITS]))
            elif reason == loop.LOG_FULL:
                self.logs.append(self._log.copy())
                self.counters[sched.LOGGED] = 0

    def _report(self) -> bool:
        """Tell whoever waits which requests ended with the last iteration; whether any did."""
        ended = int(self.counters[sched.ENDED])
        if self.completed is None or not ended:
            return False
        self.counters[sched.ENDED] = 0
        self.completed([int(i) for i in self._new[:ended]])
        return True
