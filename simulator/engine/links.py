"""Links that transfers share, in simulated time: rates change where one starts, waits or ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from simulator.engine.world import World
from simulator.kernels import layered_flows as kernels

PS_PER_S = 10**12


class SharedLinks:
    """Transfers whose bytes appear layer by layer, on links that are shared max-min fairly.

    ``rates`` are bytes a second of each link. ``arrived`` is called with the tag of a transfer at
    the instant at which its last byte has passed.
    """

    def __init__(
        self, world: World, rates: Sequence[float], arrived: Callable[[int], None]
    ) -> None:
        self.world = world
        self.carried = [0] * len(rates)
        """Bytes of finished transfers that each link has carried."""
        self._arrived = arrived
        self._capacity = np.array(rates, dtype=np.float64) / PS_PER_S
        self._now = 0
        self._version = 0
        self._tags: list[int] = []
        self._sizes: list[int] = []
        self._links: list[tuple[int, ...]] = []
        self._flows = np.zeros((0, kernels.FLOW_FIELDS), dtype=np.int64)
        self._layer_bytes = np.zeros(0, dtype=np.float64)
        self._sent = np.zeros(0, dtype=np.float64)
        self._pack()

    def start(
        self,
        tag: int,
        links: tuple[int, ...],
        size: int,
        *,
        layers: int = 1,
        start_ps: int = 0,
        duration_ps: int = 0,
    ) -> None:
        """Begin a transfer of ``size`` bytes over ``links`` now.

        Layer l of ``layers`` is ready at ``start_ps`` + ``duration_ps`` (l + 1) / ``layers``. A
        transfer without links takes no time beyond that.
        """
        self._settle()
        flow = np.array([[kernels.ACTIVE, start_ps, duration_ps, layers]], dtype=np.int64)
        self._flows = np.concatenate([self._flows, flow])
        self._layer_bytes = np.append(self._layer_bytes, size / layers)
        self._sent = np.append(self._sent, 0.0)
        self._tags.append(tag)
        self._sizes.append(size)
        self._links.append(links)
        self._pack()
        self._forecast()

    def cancel(self, tags: set[int]) -> None:
        """Drop transfers; what they have sent is lost."""
        self._settle()
        self._keep([tag not in tags for tag in self._tags])
        self._forecast()

    def set_rate(self, link: int, rate: float) -> None:
        """Change a link's rate from now on; 0 while it is broken."""
        self._settle()
        self._capacity[link] = rate / PS_PER_S
        self._forecast()

    def _settle(self) -> None:
        """Bring the transfers to the present."""
        while self._now < self.world.now_ps:
            self._now = self._forward(self._flows, self._sent, self._now, self.world.now_ps)

    def _forward(
        self, flows: npt.NDArray[np.int64], sent: npt.NDArray[np.float64], now: int, until: int
    ) -> int:
        return int(
            kernels.forward(
                flows,
                self._layer_bytes,
                sent,
                self._first,
                self._link,
                self._share,
                self._capacity,
                now,
                until,
            )
        )

    def _forecast(self) -> None:
        """Wake when the next transfer arrives, if nothing changes until then."""
        self._version += 1
        if not self._tags:
            return
        when = self._now
        if not (self._flows[:, kernels.STATE] == kernels.ARRIVED).any():
            when = self._forward(self._flows.copy(), self._sent.copy(), when, kernels.NEVER)
        if when == kernels.NEVER:
            return
        wake = self.world.timeout(when - self.world.now_ps, self._version)
        assert wake.callbacks is not None
        wake.callbacks.append(lambda event: self._wake(event.value))

    def _wake(self, version: int) -> None:
        if version != self._version:
            return
        self._settle()
        # A transfer that is done at this instant has not been seen yet if it ended just now.
        self._forward(self._flows, self._sent, self._now, self._now)
        done = [state == kernels.ARRIVED for state in self._flows[:, kernels.STATE].tolist()]
        tags = [tag for tag, is_done in zip(self._tags, done, strict=True) if is_done]
        for links, size, is_done in zip(self._links, self._sizes, done, strict=True):
            for link in links if is_done else ():
                self.carried[link] += size
        self._keep([not is_done for is_done in done])
        self._forecast()
        for tag in tags:
            self._arrived(tag)

    def _keep(self, kept: list[bool]) -> None:
        mask = np.array(kept, dtype=np.bool_)
        self._flows = self._flows[mask]
        self._layer_bytes = self._layer_bytes[mask]
        self._sent = self._sent[mask]
        for values in (self._tags, self._sizes, self._links):
            values[:] = [value for value, keep in zip(values, kept, strict=True) if keep]
        self._pack()

    def _pack(self) -> None:
        counts = [len(links) for links in self._links]
        self._first = np.cumsum([0, *counts], dtype=np.int64)
        flat = [link for links in self._links for link in links]
        self._link = np.array(flat, dtype=np.int64)
        self._share = np.ones(len(flat), dtype=np.float64)
