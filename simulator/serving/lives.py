"""Failures and repairs in simulated time: each replica's life, and that of its network link."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING

from simpy.events import Event

from simulator.serving.faults import link_outages, outages
from simulator.serving.replica import NO_HORIZON, Replica

if TYPE_CHECKING:
    from simulator.serving.cluster import Cluster


class Lives:
    """Breaks and mends what the deployment's faults name, until all requests are answered."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.failures = 0
        self._changes: dict[tuple[str, int], int] = {}
        """When each replica or link that is not in its final state changes next."""

    def start(self) -> None:
        """Begin all lives."""
        cluster = self.cluster
        deployment = cluster.deployment
        if not deployment.faults:
            return
        for replica, chips in zip(cluster.replicas, cluster.fleet.chips_of, strict=True):
            times = outages(deployment.faults, replica.number, chips, cluster.options.seed)
            first = next(times, None)
            if first is not None:
                self._expect("replica", replica, first[0])
                replica.fails_at(first[0])
                cluster.world.process(self._life(replica, first, times))
            link = link_outages(deployment.faults, replica.number)
            if link:
                self._expect("link", replica, link[0][0])
                cluster.world.process(self._link(replica, link))

    def next_change_ps(self) -> int:
        """When something fails or comes back next, ``NO_HORIZON`` where nothing will."""
        return min(self._changes.values(), default=NO_HORIZON)

    def _expect(self, kind: str, replica: Replica, when_ps: int | None) -> None:
        if when_ps is None:
            self._changes.pop((kind, replica.number), None)
        else:
            self._changes[kind, replica.number] = when_ps

    def _life(
        self,
        replica: Replica,
        outage: tuple[int, int | None] | None,
        times: Iterator[tuple[int, int | None]],
    ) -> Generator[Event, None, None]:
        cluster, world = self.cluster, self.cluster.world
        while outage is not None:
            start, end = outage
            yield world.timeout(start - world.now_ps)
            if cluster.drained():
                break
            self.failures += 1
            self._expect("replica", replica, end)
            cluster.fail(cluster.fleet.current(replica))
            if end is None:
                cluster.bury(cluster.fleet.current(replica))
                return
            yield world.timeout(end - world.now_ps)
            outage = next(times, None)
            self._expect("replica", replica, None if outage is None else outage[0])
            now = cluster.fleet.current(replica)
            now.restart(world.now_ps)
            now.fails_at(NO_HORIZON if outage is None else outage[0])
            cluster.open(now, "broken")
        self._expect("replica", replica, None)

    def _link(
        self, replica: Replica, times: list[tuple[int, int | None]]
    ) -> Generator[Event, None, None]:
        cluster, world = self.cluster, self.cluster.world
        for index, (start, end) in enumerate(times):
            yield world.timeout(start - world.now_ps)
            if cluster.drained():
                break
            self.failures += 1
            self._expect("link", replica, end)
            self._set_link(cluster.fleet.current(replica), broken=True)
            if end is None:
                cluster.cut_off(cluster.fleet.current(replica))
                return
            yield world.timeout(end - world.now_ps)
            following = times[index + 1][0] if index + 1 < len(times) else None
            self._expect("link", replica, following)
            self._set_link(cluster.fleet.current(replica), broken=False)
        self._expect("link", replica, None)

    def _set_link(self, replica: Replica, *, broken: bool) -> None:
        cluster = self.cluster
        if cluster.prefill is not None:
            cluster.prefill.transfers.set_link(replica, broken=broken)
        if broken:
            cluster.close(replica, "cut off")
        else:
            cluster.open(replica, "cut off")
