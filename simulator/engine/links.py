"""Links that transfers share, in simulated time: rates change where one starts, waits or ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from simulator.engine.world import World
from simulator.kernels import layered_flows as kernels

PS_PER_S = 10**12
WAYS = 2
"""Links of a transfer: that of its source and that of its target."""
FEW = 4
"""Transfers that there is room for at first: every look at the links goes over all places."""


class SharedLinks:
    """Transfers whose bytes appear layer by layer, on links that are shared max-min fairly.

    ``rates`` are bytes a second of each link. Without ``limited`` links take no time. ``arrived``
    is called with the tag of a transfer at the instant at which its last byte has passed.
    """

    def __init__(
        self,
        world: World,
        rates: Sequence[float],
        arrived: Callable[[int], None],
        *,
        limited: bool = True,
    ) -> None:
        self.world = world
        self.carried = [0] * len(rates)
        """Bytes of finished transfers that each link has carried."""
        self._arrived = arrived
        self._limited = limited
        self._capacity = np.array(rates, dtype=np.float64) / PS_PER_S
        self._now = 0
        self._version = 0
        self._under_way: dict[int, tuple[int, int, tuple[int, int]]] = {}
        """Tag, bytes and links of the transfer in each slot, in order of their start."""
        self._free: list[int] = []
        self._flows = np.zeros((0, kernels.FLOW_FIELDS), dtype=np.int64)
        self._layer_bytes = np.zeros(0, dtype=np.float64)
        self._sent = np.zeros(0, dtype=np.float64)
        self._link = np.zeros(0, dtype=np.int64)
        self._outlook: tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]] | None = None
        """Flows and bytes sent at the next arrival, if nothing changes until then."""
        self._grow(FEW)

    def start(
        self,
        tag: int,
        links: tuple[int, int],
        size: int,
        *,
        layers: int = 1,
        start_ps: int = 0,
        duration_ps: int = 0,
    ) -> None:
        """Begin a transfer of ``size`` bytes over ``links`` now.

        Layer l of ``layers`` is ready at ``start_ps`` + ``duration_ps`` (l + 1) / ``layers``.
        """
        self._settle()
        if not self._free:
            self._grow(2 * len(self._sent))
        slot = self._free.pop()
        self._under_way[slot] = (tag, size, links)
        self._flows[slot] = (kernels.ACTIVE, start_ps, duration_ps, layers)
        self._layer_bytes[slot] = size / layers
        self._sent[slot] = 0.0
        self._link[WAYS * slot : WAYS * slot + WAYS] = links
        self._forecast()

    def cancel(self, tags: set[int]) -> None:
        """Drop transfers; what they have sent is lost."""
        self._settle()
        for slot, (tag, _, _) in list(self._under_way.items()):
            if tag in tags:
                self._clear(slot)
        self._forecast()

    def set_rate(self, link: int, rate: float) -> None:
        """Change a link's rate from now on; 0 while it is broken."""
        self._settle()
        self._capacity[link] = rate / PS_PER_S
        self._forecast()

    def _grow(self, slots: int) -> None:
        before = len(self._sent)
        more = slots - before
        none = np.zeros((more, kernels.FLOW_FIELDS), dtype=np.int64)
        self._flows = np.concatenate([self._flows, none])
        self._layer_bytes = np.concatenate([self._layer_bytes, np.zeros(more)])
        self._sent = np.concatenate([self._sent, np.zeros(more)])
        self._link = np.concatenate([self._link, np.zeros(WAYS * more, dtype=np.int64)])
        ways = WAYS if self._limited else 0
        self._first = np.arange(slots + 1, dtype=np.int64) * ways
        self._share = np.ones(WAYS * slots, dtype=np.float64)
        self._free = [*range(slots - 1, before - 1, -1), *self._free]

    def _clear(self, slot: int) -> None:
        del self._under_way[slot]
        self._flows[slot, kernels.STATE] = kernels.FREE
        self._free.append(slot)

    def _settle(self) -> None:
        """Bring the transfers to the present."""
        now = self.world.now_ps
        if not self._under_way:
            self._now = now
        while self._now < now:
            self._now = self._forward(self._flows, self._sent, now)

    def _forward(
        self, flows: npt.NDArray[np.int64], sent: npt.NDArray[np.float64], until: int
    ) -> int:
        return kernels.forward(
            flows,
            self._layer_bytes,
            sent,
            self._first,
            self._link,
            self._share,
            self._capacity,
            self._now,
            until,
        )

    def _any_arrived(self) -> bool:
        state = self._flows.item
        return kernels.ARRIVED in [state(slot, kernels.STATE) for slot in self._under_way]

    def _forecast(self) -> None:
        """Wake when the next transfer arrives, if nothing changes until then."""
        self._version += 1
        if not self._under_way:
            return
        when = self._now
        self._outlook = None
        if not self._any_arrived():
            flows, sent = self._flows.copy(), self._sent.copy()
            when = self._forward(flows, sent, kernels.NEVER)
            self._outlook = (flows, sent)
        if when == kernels.NEVER:
            return
        wake = self.world.timeout(when - self.world.now_ps, self._version)
        assert wake.callbacks is not None
        wake.callbacks.append(lambda event: self._wake(event.value))

    def _wake(self, version: int) -> None:
        if version != self._version:
            return
        if self._outlook is not None:
            # nothing has changed since, so what was foreseen has happened
            self._flows, self._sent = self._outlook
            self._now = self.world.now_ps
        tags = []
        for slot, (tag, size, links) in list(self._under_way.items()):
            if self._flows.item(slot, kernels.STATE) == kernels.ARRIVED:
                for link in links:
                    self.carried[link] += size
                tags.append(tag)
                self._clear(slot)
        self._forecast()
        for tag in tags:
            self._arrived(tag)
