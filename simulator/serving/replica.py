"""One replica of a deployment: a group of chips that serves together.

A replica is advanced when somebody needs to know or to change its state (``catch_up``), not at
every iteration: between two touches it runs in one numba call.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from simulator.serving import fields, loop
from simulator.serving.batcher import Batcher
from simulator.serving.options import ServingOptions
from simulator.serving.price_table import PriceTable

Int64Array = npt.NDArray[np.int64]
Float64Array = npt.NDArray[np.float64]

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
        course: Float64Array | None = None,
    ) -> None:
        super().__init__(
            prices,
            requests,
            options,
            blocks=blocks,
            block_bytes=block_bytes,
            ids=ids,
            hash_tokens=hash_tokens,
            number=number,
            prefills=prefills,
            course=course,
        )
        self.plan = prices.plan
        self.prefills = prefills
        self.cut = False
        """Whether it does nothing until it fails: its next iteration would end later."""
        self.stalled = False
        """Whether every block that somebody needs is held for others."""
        self.since_ps = 0
        self.until_ps = NO_HORIZON
        """When it belongs to its pool."""

    @property
    def resting(self) -> bool:
        """Whether it does nothing until something comes from outside."""
        return self.idle or self.cut or self.stalled

    def advance(self, horizon_ps: int, stop: bool = False) -> int:
        """As the loop does."""
        reason = super().advance(horizon_ps, stop)
        self.cut = reason == loop.CUT
        self.stalled = reason == loop.STALLED
        return reason

    def catch_up(self, when_ps: int) -> None:
        """As the batcher does; where every block is held for others time passes nevertheless."""
        super().catch_up(when_ps)
        if self.stalled and when_ps != NO_HORIZON:
            self.set_clock(when_ps)

    def post(self, request: int, ready_ps: int) -> None:
        """As the batcher does; who comes may be served before those who wait for blocks."""
        super().post(request, ready_ps)
        self.stalled = False

    def release(self, request: int) -> None:
        """As the batcher does, for iterations that begin from its clock on."""
        super().release(request)
        self.stalled = False

    def cancel(self, request: int) -> None:
        """As the batcher does, for iterations that begin from its clock on."""
        super().cancel(request)
        self.stalled = False

    def resume(self, now_ps: int) -> None:
        """Something has come from outside: it may have blocks now."""
        if self.stalled:
            self.set_clock(now_ps)
            self.stalled = False

    def restart(self, now_ps: int) -> None:
        """Come back from a failure, empty."""
        self.cut = self.stalled = False
        self.set_clock(now_ps)
