"""Who sends requests into the world: on time, one after another, or turn by turn."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from simpy.events import Event

from simulator.serving import fields
from simulator.serving.replica import NO_HORIZON, Replica
from simulator.serving.status import COMPLETED
from simulator.serving.turns import Turns
from simulator.workload.request import ClosedLoop, Requests

if TYPE_CHECKING:
    from simulator.serving.cluster import Cluster

Int64Array = npt.NDArray[np.int64]
Progress = Callable[[float], None]

_SLICES = 64
"""Parts of a replay between which progress is shown."""


class Users:
    """Sends requests into the world: on time (open loop) or one after another (closed loop)."""

    def __init__(self, cluster: Cluster, progress: Progress | None) -> None:
        self.cluster = cluster
        self.traffic = cluster.traffic
        self.ahead = isinstance(self.traffic, Requests) and self.traffic.parent is None
        """Whether arrivals are known before the run."""
        self._progress = progress
        self._shown = time.monotonic()
        self._waiting: dict[int, Event] = {}
        self._taken = 0
        self._turns: Turns | None = None
        if self.traffic.parent is not None:
            self._turns = Turns(cluster.world, self.traffic, self._send_turn)

    def start(self) -> None:
        """Begin sending."""
        world = self.cluster.world
        if self._turns is not None:
            self._turns.start()
        elif isinstance(self.traffic, Requests):
            world.process(self._open(self.traffic))
        else:
            for _ in range(min(self.traffic.users, len(self.traffic))):
                world.process(self._closed(self.traffic))

    def answered(self, ended: list[int]) -> None:
        """Wake the users whose requests have been answered, or will never be."""
        for request in ended:
            if self._turns is not None:
                self._turns.ended(request)
                continue
            event = self._waiting.pop(request, None)
            if event is not None:
                event.succeed()

    def finish(self, replicas: Sequence[Replica]) -> None:
        """Run what is left to its end; nothing can happen any more that would disturb it."""
        last = int(self.cluster.requests[:, fields.ARRIVAL].max())
        for index, replica in enumerate(replicas):
            if self._progress is not None and not replica.idle:
                for part in range(1, _SLICES):
                    replica.catch_up(last * part // _SLICES)
                    self._show((index + part / _SLICES) / len(replicas))
            replica.catch_up(NO_HORIZON)

    def deal_ahead(self) -> Generator[Event, None, None]:
        """Deal all requests out in turn, up to the next failure or repair at a time."""
        cluster = self.cluster
        assert isinstance(self.traffic, Requests)
        accepted = np.flatnonzero(cluster.status == COMPLETED)
        arrivals = self.traffic.arrival_ps[accepted]
        position = 0
        while position < len(accepted):
            change = cluster.lives.next_change_ps()
            upto = len(accepted)
            if change != NO_HORIZON:
                upto = int(np.searchsorted(arrivals, change, side="left"))
            replicas = cluster.open_replicas(cluster.back)
            batch = accepted[position:upto]
            position = upto
            if replicas:
                self._deal(batch, replicas)
            else:
                for request in batch.tolist():
                    cluster.wait(request, cluster.back)
            if position < len(accepted):
                yield cluster.world.sleep_until(change)

    def _deal(self, batch: Int64Array, replicas: Sequence[Replica]) -> None:
        cluster = self.cluster
        router = cluster.back_router
        turn = getattr(router, "turn", 0)
        for index, replica in enumerate(replicas):
            mine = batch[(index - turn) % len(replicas) :: len(replicas)]
            cluster.replica_of[mine] = replica.number
            replica.catch_up(cluster.world.now_ps)
            replica.post_all(mine)
        router.turn = turn + len(batch)  # type: ignore[attr-defined]

    def passed(self, request: int) -> None:
        """Show how far the run has come."""
        if self._progress is not None and time.monotonic() - self._shown > 0.05:
            self._show(request / len(self.traffic))

    def _send(self, request: int) -> None:
        self.passed(request)
        self.cluster.send(request)

    def _send_turn(self, request: int) -> None:
        cluster = self.cluster
        cluster.requests[request, fields.ARRIVAL] = cluster.world.now
        if cluster.status[request] == COMPLETED:
            self._send(request)
        elif self._turns is not None:
            self._turns.ended(request)

    def _show(self, fraction: float) -> None:
        self._shown = time.monotonic()
        if self._progress is not None:
            self._progress(fraction)

    def _open(self, traffic: Requests) -> Generator[Event, None, None]:
        world = self.cluster.world
        status = self.cluster.status
        for request, arrival in enumerate(traffic.arrival_ps.tolist()):
            if arrival > world.now:
                yield world.timeout(arrival - world.now)
            if status[request] == COMPLETED:
                self._send(request)

    def _closed(self, traffic: ClosedLoop) -> Generator[Event, None, None]:
        cluster = self.cluster
        world = cluster.world
        while self._taken < len(traffic):
            request = self._taken
            self._taken += 1
            think = int(traffic.think_ps[request])
            if think:
                yield world.timeout(think)
            cluster.requests[request, fields.ARRIVAL] = world.now
            if cluster.status[request] == COMPLETED:
                answered = world.event()
                self._waiting[request] = answered
                self._send(request)
                yield answered
