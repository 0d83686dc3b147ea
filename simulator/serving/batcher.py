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
from simulator.serving.options import PREEMPTIONS, SCHEDULERS, ServingOptions
from simulator.serving.prefix_cache import AFTER, BEFORE, ENTRY_FIELDS, SENTINELS, UNUSED
from simulator.serving.price_table import PriceTable
from simulator.serving.tiers import tiers_of
from simulator.timing.batch import Packed
from simulator.timing.decode_prices import Known

Int64Array = npt.NDArray[np.int64]
Float64Array = npt.NDArray[np.float64]

LOG_ROWS = 8192

_Fixed = tuple[State, Int64Array, BoolArray, Packed, Known, Scratch, Tally, Int64Array]
"""What ``loop.advance`` takes before the horizon."""


class Batcher:
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
        self.prices = prices
        self.requests = requests
        self.blocks = blocks
        self.totals = np.zeros(TOTAL_FIELDS, dtype=np.int64)
        self.sums = np.zeros(fields.SUMS)
        self.course = empty_course() if course is None else course
        self.tally: Tally = (self.totals, self.sums, np.zeros(MARKS), self.course)
        self.logs: list[Int64Array] = []
        self.number = number
        self.settings = _settings(prices, options, blocks, block_bytes, hash_tokens)
        self.settings[fields.PREFILL_ONLY] = int(prefills)
        self.settings[fields.DEADLINE] = fields.NO_HORIZON
        self._most = options.max_batch
        self._ids = np.zeros(0, dtype=np.int64) if ids is None else ids
        self.counters = np.zeros(fields.COUNTERS, dtype=np.int64)
        self._inbox = np.zeros(0, dtype=np.int64)
        self._waiting = np.zeros(2 * self._most + 2, dtype=np.int64)
        self._running = np.zeros(self._most + 1, dtype=np.int64)
        self._batch = np.zeros((BATCH_ROWS, self._most + 1), dtype=np.int64)
        rows = LOG_ROWS if options.record_iterations else 0
        self._log = np.zeros((rows, fields.LOG_FIELDS), dtype=np.int64)
        self._fixed: _Fixed | None = None
        """None after one of its arrays has been replaced."""
        self._empty_cache()
        prices.cover(requests)

    @property
    def now_ps(self) -> int:
        """The end of the last iteration, or the time to which an idle replica was set."""
        return self.counters.item(fields.NOW)

    @property
    def idle(self) -> bool:
        """Whether nothing runs, waits, or was posted ahead."""
        item = self.counters.item
        return (
            item(fields.RUNNING) == 0
            and item(fields.QUEUE_HEAD) == item(fields.QUEUE_TAIL)
            and item(fields.INBOX_HEAD) == item(fields.INBOX_TAIL)
        )

    @property
    def waiting(self) -> int:
        """Requests in the queue, with those that were posted ahead."""
        item = self.counters.item
        queued = item(fields.QUEUE_TAIL) - item(fields.QUEUE_HEAD)
        return queued + item(fields.INBOX_TAIL) - item(fields.INBOX_HEAD)

    @property
    def next_ps(self) -> int:
        """When it begins something next, if nothing comes: now, or at what was posted ahead."""
        item = self.counters.item
        if item(fields.RUNNING) or item(fields.QUEUE_HEAD) != item(fields.QUEUE_TAIL):
            return self.now_ps
        return max(self.now_ps, self.posted_ps or 0)

    @property
    def posted_ps(self) -> int | None:
        """When the first of what was posted takes effect."""
        head = self.counters.item(fields.INBOX_HEAD)
        if head == self.counters.item(fields.INBOX_TAIL):
            return None
        entry = self._inbox.item(head)
        if entry < 0:
            return self.requests.item(~entry, fields.RESERVED_AT)
        return self.requests.item(entry, fields.READY_AT)

    @property
    def busy_ps(self) -> int:
        """Time in iterations so far."""
        return self.totals.item(executor.TIME)

    def fails_at(self, when_ps: int) -> None:
        """Say when the replica will fail: no iteration runs beyond that."""
        self.settings[fields.DEADLINE] = when_ps

    def set_clock(self, now_ps: int) -> None:
        """Time has passed while nothing could run; the clock never goes back."""
        self.counters[fields.NOW] = max(self.now_ps, now_ps)

    def post(self, request: int, ready_ps: int) -> None:
        """Put a request into the queue at a time that is not before those posted earlier."""
        requests = self.requests
        requests[request, fields.READY_AT] = ready_ps
        tokens = requests.item(request, fields.PROMPT) + requests.item(request, fields.EMITTED)
        self.counters[fields.IN_FLIGHT] += tokens
        place = self._next_place(1)
        self._inbox[place] = request

    def post_all(self, requests: Int64Array) -> None:
        """Post requests at their arrivals, which are in order of time."""
        if len(requests):
            self.requests[requests, fields.READY_AT] = self.requests[requests, fields.ARRIVAL]
            self.counters[fields.IN_FLIGHT] += self._tokens_of(requests)
            first = self._next_place(len(requests))
            self._inbox[first : first + len(requests)] = requests

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
        fixed = self._fixed or self._fix()
        while True:
            reason = loop.advance(*fixed, horizon_ps)
            if reason == accounts.TOO_LONG:
                raise InfeasibleError(
                    "simulated time leaves the range of the clock (104 days), or one step takes "
                    "more than a day",
                    hint="is a rate or a delay of the chip off by orders of magnitude?",
                )
            if reason == accounts.UNPRICED:
                counters = self.counters
                self.prices.fill(int(counters[fields.TOKENS]), int(counters[fields.LOGITS]))
            elif reason == accounts.LOG_FULL:
                self.logs.append(self._log.copy())
                self.counters[fields.LOGGED] = 0
            else:
                return reason

    def _fix(self) -> _Fixed:
        """Gather what ``loop.advance`` takes: that takes as long as many a call of it."""
        prices = self.prices
        self._fixed = (
            self._state(),
            prices.table,
            prices.priced,
            prices.plan.packed,
            prices.known,
            prices.scratch,
            self.tally,
            self._log,
        )
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

    def will_reserve(self, request: int, now_ps: int) -> None:
        """As ``reserve``, where there is certainly room; whoever runs it next takes the blocks."""
        self.requests[request, fields.RESERVED_AT] = now_ps
        place = self._next_place(1)
        self._inbox[place] = ~request

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

    def load(self) -> int:
        """Tokens in flight: prompts and emitted tokens of all requests that it has."""
        counters = self.counters
        return counters.item(fields.IN_FLIGHT) + counters.item(fields.EMITTED_TOKENS)

    def cached_tokens(self, request: int) -> int:
        """Leading tokens of a request that the prefix cache has now."""
        if self.requests.item(request, fields.HASH_COUNT) == 0:
            return 0
        return int(loop.cached_tokens(self._state(), request))

    def requests_here(self) -> list[int]:
        """Running, waiting and posted requests, in this order."""
        counters = self.counters
        running = self._running[: counters[fields.RUNNING]]
        waiting = self._waiting[counters[fields.QUEUE_HEAD] : counters[fields.QUEUE_TAIL]]
        posted = self._inbox_now()
        return [int(i) for i in np.concatenate([running, waiting, posted[posted >= 0]])]

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

    def _inbox_now(self) -> Int64Array:
        counters = self.counters
        return self._inbox[counters[fields.INBOX_HEAD] : counters[fields.INBOX_TAIL]]

    def _tokens_of(self, requests: Int64Array | list[int]) -> int:
        return int(self.requests[requests][:, [fields.PROMPT, fields.EMITTED]].sum())

    def _next_place(self, count: int) -> int:
        """The first of ``count`` places at the end of the inbox, which are taken."""
        counters = self.counters
        head, tail = counters.item(fields.INBOX_HEAD), counters.item(fields.INBOX_TAIL)
        if tail + count > len(self._inbox):
            grown = np.zeros(2 * (tail - head + count), dtype=np.int64)
            grown[: tail - head] = self._inbox[head:tail]
            self._inbox, tail = grown, tail - head
            self._fixed = None
            counters[fields.INBOX_HEAD] = 0
        counters[fields.INBOX_TAIL] = tail + count
        return tail

    def _make_room(self) -> None:
        """Let all that was posted join the queue, and every running one return to its head."""
        counters, item = self.counters, self.counters.item
        head, tail = item(fields.QUEUE_HEAD), item(fields.QUEUE_TAIL)
        more = item(fields.INBOX_TAIL) - item(fields.INBOX_HEAD)
        if head >= self._most and tail + more <= len(self._waiting):
            return
        queued = self._waiting[head:tail]
        start = 2 * self._most + 2
        room = np.zeros(start + 2 * (len(queued) + more), dtype=np.int64)
        room[start : start + len(queued)] = queued
        self._waiting = room
        self._fixed = None
        counters[fields.QUEUE_HEAD] = start
        counters[fields.QUEUE_TAIL] = start + len(queued)

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
        most = 0
        if len(self._ids):
            tiers = (fields.BLOCKS_IN_ALL, fields.HOST_BLOCKS, fields.POOL_BLOCKS)
            most = sum(int(settings[t]) // int(settings[fields.HASH_BLOCKS]) for t in tiers)
            # An evicted block may be on its way from one tier to the next.
            most = min(most, len(self._ids)) + 2
        self._table = np.zeros(1 << max(1, (2 * most).bit_length()), dtype=np.int64)
        self._entries = np.zeros((SENTINELS + most, ENTRY_FIELDS), dtype=np.int64)
        rows = np.arange(SENTINELS + most)
        self._entries[:, BEFORE] = self._entries[:, AFTER] = rows
        unused = np.concatenate([[UNUSED], rows[SENTINELS:]])
        following = np.concatenate([unused[1:], unused[:1]])
        self._entries[unused, AFTER] = following
        self._entries[following, BEFORE] = unused
        self._fixed = None


def _settings(
    prices: PriceTable, options: ServingOptions, blocks: int, block_bytes: int, hash_tokens: int
) -> Int64Array:
    """The fixed settings of ``serving.fields``; roles and stops are left at 0."""
    tiers = tiers_of(prices.plan, options)
    settings = np.zeros(fields.SETTINGS, dtype=np.int64)
    settings[fields.BUDGET] = options.token_budget
    settings[fields.MOST] = options.max_batch
    settings[fields.BLOCKS_IN_ALL] = blocks
    settings[fields.HOST_PS] = prices.plan.system.host_iteration_ps
    settings[fields.HOST_SEQUENCE_PS] = prices.plan.system.host_sequence_ps
    settings[fields.HOSTS] = prices.plan.layout.dp
    settings[fields.SCHEDULER] = SCHEDULERS[options.scheduler]
    settings[fields.PREEMPTION] = PREEMPTIONS[options.preemption]
    settings[fields.HEADROOM] = int(options.watermark * blocks)
    settings[fields.SPECULATED] = options.speculate
    settings[fields.ACCEPTANCE] = int(options.acceptance * 2**32)
    settings[fields.MEETING] = prices.plan.model.tokens_of_all_experts
    settings[fields.SEED] = options.seed & (2**62 - 1)
    settings[fields.BLOCK_BYTES] = block_bytes
    settings[fields.HASH_BLOCKS] = hash_tokens // fields.BLOCK_TOKENS
    settings[fields.WINDOW] = prices.plan.model.window or 0
    if block_bytes:
        settings[fields.HOST_BYTES_PER_S] = tiers.host_bytes_per_s
        settings[fields.POOL_BYTES_PER_S] = tiers.pool_bytes_per_s
        settings[fields.HOST_BLOCKS] = tiers.host_bytes // block_bytes
        settings[fields.POOL_BLOCKS] = tiers.pool_bytes // block_bytes
    return settings
