"""Replicas that change pools while the run goes on.

Every period the two pools are compared. A pool has room to give where its replicas were busy for
less than half of the period and nothing waits; it is short where they were busy for more than nine
tenths, or more requests wait than it has replicas. If one has room and more than one replica, and
the other is short, the replica with the fewest tokens in flight gets no new requests, and changes
over at the first look at which all of its KV cache is free. One replica moves at a time.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING

from simpy.events import Event

from simulator.serving import fields
from simulator.serving.replica import Replica
from simulator.serving.router import least_loaded

if TYPE_CHECKING:
    from simulator.serving.cluster import Cluster

ROOM = 0.5
SHORT = 0.9
"""Shares of the period for which a pool's replicas were busy."""


class Rebalancer:
    """Looks at the pools every ``period_ps``, until all requests are answered."""

    def __init__(self, cluster: Cluster, period_ps: int) -> None:
        self.cluster = cluster
        self.period_ps = period_ps
        self.moves = 0
        self._moving: Replica | None = None
        self._busy_ps: dict[int, int] = {}

    def run(self) -> Generator[Event, None, None]:
        """The process."""
        cluster = self.cluster
        while True:
            yield cluster.world.timeout(self.period_ps)
            if cluster.drained():
                return
            self._look()

    def _look(self) -> None:
        cluster = self.cluster
        assert cluster.prefill is not None
        pools = (cluster.prefill.replicas, cluster.back)
        loads = [self._load(pool) for pool in pools]
        if self._moving is not None:
            if self._empty(self._moving) and self._is_whole(self._moving):
                cluster.change_pool(self._moving)
                self.moves += 1
                self._moving = None
            return
        for giving, taking in ((0, 1), (1, 0)):
            busy, waiting = loads[giving]
            other_busy, other_waiting = loads[taking]
            up = cluster.open_replicas(pools[giving])
            short = other_busy > SHORT or other_waiting > len(pools[taking])
            if busy < ROOM and waiting == 0 and short and len(up) > 1:
                self._moving = least_loaded(up, cluster.world.now_ps)
                cluster.close(self._moving, "moves")
                return

    def _load(self, pool: list[Replica]) -> tuple[float, int]:
        """(busy share of the last period, requests that wait) of a pool."""
        cluster = self.cluster
        assert cluster.prefill is not None
        spent, waiting = 0, 0
        for replica in pool:
            replica.catch_up(cluster.world.now_ps)
            spent += replica.busy_ps - self._busy_ps.get(replica.number, 0)
            self._busy_ps[replica.number] = replica.busy_ps
            waiting += replica.waiting + cluster.prefill.transfers.queued(replica)
        return spent / (len(pool) * self.period_ps), waiting

    def _is_whole(self, replica: Replica) -> bool:
        return self.cluster.closed.get(replica.number) == {"moves"}

    def _empty(self, replica: Replica) -> bool:
        counters = replica.counters
        free = int(counters[fields.FREE_BLOCKS] + counters[fields.EVICTABLE])
        transfers = self.cluster.prefill.transfers if self.cluster.prefill else None
        return (
            replica.idle
            and free == replica.blocks
            and replica.now_ps <= self.cluster.world.now_ps
            and (transfers is None or not transfers.waits_for(replica))
        )
