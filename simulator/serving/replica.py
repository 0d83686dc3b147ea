"""One replica of a deployment: a group of chips that serves together.

A replica is advanced when somebody needs to know or to change its state (``catch_up``), not at
every iteration: between two touches it runs in one numba call.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from simulator.kernels import executor
from simulator.serving import fields, loop
from simulator.serving.batcher import Batcher
from simulator.serving.options import ServingOptions
from simulator.serving.price_table import PriceTable

Int64Array = npt.NDArray[np.int64]

NO_HORIZON = int(fields.NO_HORIZON)


class Replica(Batcher):
    """A serving loop with a place in a deployment.

    ``number`` is its index in the deployment. One that ``prefills`` ends a request with its first
    token, and holds its blocks until ``release``.
    """

    def __init__(
        self,
        prices: PriceTable,
        requests: Int64Array,
        options: ServingOptions,
        *,
        number: int,
        blocks: int,
        block_bytes: int = 0,
        ids: Int64Array | None = None,
        hash_tokens: int = fields.BLOCK_TOKENS,
        prefills: bool = False,
    ) -> None:
        super().__init__(
            prices,
            requests,
            options,
            blocks=blocks,
            block_bytes=block_bytes,
            ids=ids,
            hash_tokens=hash_tokens,
            prefill_only=prefills,
        )
        self.plan = prices.plan
        self.number = number
        self.prefills = prefills
        self.cut = False
        """Whether it does nothing until it fails: its next iteration would end later."""
        self._load = -1

    @property
    def waiting(self) -> int:
        """Requests in its queue."""
        counters = self.counters
        return int(counters[fields.QUEUE_TAIL] - counters[fields.QUEUE_HEAD])

    @property
    def busy_ps(self) -> int:
        """Time in iterations so far."""
        return int(self.totals[executor.TIME])

    def fails_at(self, when_ps: int) -> None:
        """Say when the replica will fail: no iteration ends after that."""
        self.settings[fields.DEADLINE] = when_ps

    def post_at(self, request: int, ready_ps: int) -> None:
        """Let a request join the queue at a time that is not before what has been posted."""
        self.requests[request, fields.READY_AT] = ready_ps
        self.post(np.array([request], dtype=np.int64))
        self._load = -1

    def post_arrivals(self, requests: Int64Array) -> None:
        """Let requests join the queue when they arrive."""
        self.requests[requests, fields.READY_AT] = self.requests[requests, fields.ARRIVAL]
        self.post(requests)
        self._load = -1

    def catch_up(self, when_ps: int) -> None:
        """Run all iterations that start before a time."""
        if self.counters[fields.NOW] < when_ps and not self.idle:
            self.run_until(when_ps)

    def run_until(self, horizon_ps: int, stop: bool = False) -> int:
        """Run iterations that start before the horizon; why it stopped, as in ``serving.loop``.

        With ``stop`` it also stops after an iteration that ended a request; ``take_ended`` tells
        which. Where every block is held for others time passes until the horizon.
        """
        self._load = -1
        self.settings[fields.STOP_AT_COMPLETION] = int(stop)
        self.counters[fields.ENDED] = 0
        reason = self.advance(horizon_ps)
        self.cut = reason == loop.CUT
        if reason == loop.BLOCKED and horizon_ps != NO_HORIZON:
            self.set_clock(horizon_ps)
        return reason

    def last_iteration(self) -> tuple[int, int]:
        """Start and end of the last iteration, picoseconds."""
        return int(self.counters[fields.LAST_START]), self.now_ps

    def cancel(self, request: int) -> None:
        """Return the blocks of a reservation."""
        self.counters[fields.FREE_BLOCKS] += self.requests[request, fields.BLOCKS]
        self.requests[request, fields.BLOCKS] = 0

    def load(self) -> int:
        """Tokens in flight: prompts and emitted tokens of all requests that it has."""
        if self._load < 0:
            self._load = int(loop.tokens_in_flight(self._state()))
        return self._load

    def restart(self, now_ps: int) -> None:
        """Come back from a failure, empty."""
        self.cut = False
        self.settings[fields.DEADLINE] = NO_HORIZON
        self.set_clock(now_ps)
