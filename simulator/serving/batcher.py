"""One replica without a world around it: queue, batch, KV cache and clock as arrays.

``Batcher`` holds the arrays of ``serving.fields`` and calls the kernels on them. It knows nothing
of SimPy: whoever owns it posts requests, says until when nothing else will happen, and looks at
what ended.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from simulator.errors import InfeasibleError
from simulator.kernels import executor
from simulator.kernels.arrays import BoolArray
from simulator.kernels.executor import TOTAL_FIELDS
from simulator.serving import accounts, compile_ahead, fields, loop
from simulator.serving.admission import BATCH_ROWS, SEQUENCE, State
from simulator.serving.course import MARKS, Tally, empty_course
from simulator.serving.decode_run import Scratch
from simulator.serving.options import ServingOptions
from simulator.serving.prefix_cache import empty_prefixes
from simulator.serving.price_table import PriceTable, most_rows
from simulator.serving.queues import Queues
from simulator.serving.settings import settings_of
from simulator.timing.batch import Packed
from simulator.timing.decode_prices import Known

Int64Array = npt.NDArray[np.int64]
Float64Array = npt.NDArray[np.float64]

LOG_ROWS = 8192

_Fixed = tuple[State, Int64Array, BoolArray, Packed, Known, Scratch, Tally, Int64Array]
"""What ``loop.advance`` takes before the horizon."""


class Batcher(Queues):
    """A replica's serving loop: ``advance`` runs iterations, everything else changes who waits.

    ``requests`` is int64[requests, fields.REQUEST_FIELDS], shared by all replicas; ``ids`` the
    content ids of all hash blocks of ``hash_tokens`` tokens. A replica that ``prefills`` only lets
    a request go at its first token and holds its blocks until ``release``. ``block_bytes`` are
    those of a block on all its chips. ``course`` is that of ``serving.course``, its own unless
    given.
    """

    def __init__(
        self,
        prices: PriceTable,
        requests: Int64Array,
        options: ServingOptions,
        *,
        blocks: int,
        block_bytes: int = 0,
        ids: Int64Array | None = None,
        hash_tokens: int = fields.BLOCK_TOKENS,
        number: int = 0,
        prefills: bool = False,
        course: Float64Array | None = None,
    ) -> None:
        super().__init__(requests, options.max_batch)
        if len(prices.table) <= most_rows(prices.plan, options):
            # kernels do not look
            raise ValueError("the table has no row for the largest batch")
        self.prices = prices
        self.blocks = blocks
        self.totals = np.zeros(TOTAL_FIELDS, dtype=np.int64)
        self.sums = np.zeros(fields.SUMS)
        self.course = empty_course() if course is None else course
        self.tally: Tally = (self.totals, self.sums, np.zeros(MARKS), self.course)
        self.logs: list[Int64Array] = []
        self.number = number
        self.settings = settings_of(prices, options, blocks, block_bytes, hash_tokens)
        self.settings[fields.PREFILL_ONLY] = int(prefills)
        self.settings[fields.DEADLINE] = fields.NO_HORIZON
        self._ids = np.zeros(0, dtype=np.int64) if ids is None else ids
        columns = max(self._most + 1, prices.plan.layout.dp)
        self._batch = np.zeros((BATCH_ROWS, columns), dtype=np.int64)
        rows = LOG_ROWS if options.record_iterations else 0
        self._log = np.zeros((rows, fields.LOG_FIELDS), dtype=np.int64)
        self._empty_cache()
        prices.cover(requests)

    @property
    def busy_ps(self) -> int:
        """Time in iterations so far."""
        return self.totals.item(executor.TIME)

    def fails_at(self, when_ps: int) -> None:
        """Say when the replica will fail: no iteration runs beyond that."""
        self.settings[fields.DEADLINE] = when_ps

    def catch_up(self, when_ps: int) -> None:
        """Run all iterations that start before a time."""
        if self.counters.item(fields.NOW) < when_ps and not self.idle:
            self.advance(when_ps)

    def advance(self, horizon_ps: int, stop: bool = False) -> int:
        """Run iterations that start before the horizon; why it stopped, as in ``serving.accounts``.

        With ``stop`` it also stops where requests have ended; ``ended`` tells which.

        Raises InfeasibleError where the clock leaves its range.
        """
        compile_ahead.finish()
        self._make_room()
        self.settings[fields.STOP_AT_COMPLETION] = stop
        self.counters[fields.ENDED] = 0
        fixed = self._fix() if self.replaced else self._fixed
        while True:
            reason = loop.advance(*fixed, horizon_ps)
            if reason == accounts.TOO_LONG:
                raise InfeasibleError(
                    "simulated time leaves the range of the clock (104 days), or one step takes "
                    "more than a day",
                    hint="is a rate or a delay of the chip off by orders of magnitude?",
                )
            if reason == accounts.UNPRICED:
                self.prices.fill()
            elif reason == accounts.LOG_FULL:
                self.logs.append(self._log.copy())
                self.counters[fields.LOGGED] = 0
            else:
                return reason

    def _fix(self) -> _Fixed:
        """Gather what ``loop.advance`` takes: that takes as long as many a call of it."""
        prices = self.prices
        self._fixed: _Fixed = (
            self._state(),
            prices.table,
            prices.priced,
            prices.plan.packed,
            prices.known,
            prices.scratch,
            self.tally,
            self._log,
        )
        self.replaced = False
        return self._fixed

    def ended(self) -> list[int]:
        """Requests that left with the last iteration, after ``advance(..., stop=True)``."""
        found: list[int] = self._batch[SEQUENCE, : self.counters.item(fields.ENDED)].tolist()
        return found

    def last_iteration(self) -> tuple[int, int]:
        """Start and end of the last iteration, picoseconds."""
        return self.counters.item(fields.LAST_START), self.now_ps

    def reserve(self, request: int, now_ps: int) -> bool:
        """Take the blocks for a cache that will come, and one more token; False without room.

        What its prefix cache has already is shared: SHARED hash blocks need not come.
        ``post`` the request when its COMPUTED tokens have arrived.
        """
        return bool(loop.reserve(self._state(), request, now_ps))

    def returning(self, now_ps: int) -> int:
        """Blocks that come back at the end of an iteration which goes on."""
        counters = self.counters
        under_way = counters[fields.NOW] > now_ps and counters[fields.ENDED] > 0
        return int(counters[fields.RETURNED]) if under_way else 0

    def cancel(self, request: int) -> None:
        """Return the blocks of a reservation."""
        loop.cancel(self._state(), request)

    def release(self, request: int) -> None:
        """Free the blocks that were held for a request since its prefill."""
        if self.requests.item(request, fields.HELD_SHARED) > 0:
            loop.release_held(self._state(), request)
            return
        self.counters[fields.FREE_BLOCKS] += self.requests.item(request, fields.HELD)
        self.requests[request, fields.HELD] = 0

    def cached_tokens(self, request: int) -> int:
        """Leading tokens of a request that the prefix cache has now."""
        if self.requests.item(request, fields.HASH_COUNT) == 0:
            return 0
        return int(loop.cached_tokens(self._state(), request))

    def fail(self) -> list[int]:
        """Lose the cache and everything in flight; the requests, in order of admission.

        They keep the tokens that they emitted and have nothing computed. Blocks that were held or
        reserved for others are gone too; HELD of those others is up to the caller.
        """
        lost = self.requests_here()
        self.counters[fields.IN_FLIGHT] -= self._tokens_of(lost)
        for field in (fields.COMPUTED, fields.BLOCKS, fields.SHARED, fields.SWAPPED, fields.RUNS):
            self.requests[lost, field] = 0
        counters = self.counters
        for field in (fields.RUNNING, fields.SCHEDULED, fields.INBOX_TAIL, fields.INBOX_HEAD):
            counters[field] = 0
        counters[fields.QUEUE_TAIL] = counters[fields.QUEUE_HEAD]
        self.settings[fields.DEADLINE] = fields.NO_HORIZON
        self._empty_cache()
        return lost

    def finish_log(self) -> Int64Array:
        """The iteration log, int64[iterations, fields.LOG_FIELDS]."""
        rows = int(self.counters[fields.LOGGED])
        return np.concatenate([*self.logs, self._log[:rows]])

    def _state(self) -> State:
        return (
            self.settings,
            self.counters,
            self.requests,
            self._inbox,
            self._waiting,
            self._running,
            self._batch,
            (self._table, self._entries, self._ids),
        )

    def _empty_cache(self) -> None:
        counters, settings = self.counters, self.settings
        counters[fields.FREE_BLOCKS] = self.blocks
        for field in (
            fields.EVICTABLE,
            fields.HOST_USED,
            fields.POOL_USED,
            fields.COPIED_IN,
            fields.COPIED_OUT,
            fields.POOL_IN,
        ):
            counters[field] = 0
        self._table, self._entries = empty_prefixes(settings, self._ids)
        self.replaced = True
